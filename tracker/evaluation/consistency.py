"""Whether a tracker is as sure as it should be: innovations and covariances against what they promise.

References
----------
Bar-Shalom, Li and Kirubarajan, Estimation with Applications to Tracking and Navigation, 2001, section 5.4
(consistency of filters: the normalised innovation squared, the normalised estimation error squared).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from tracker.confidence import CLIPPED_AT, DEGREES_OF_FREEDOM
from tracker.evaluation.diagnosis import Coverage
from tracker.evaluation.preparation import Prepared
from tracker.formats.diagnostics import Diagnostics
from tracker.formats.table import find_rows
from tracker.structures import FloatArray, IntArray

POSITION_COORDINATES = 2
LEVELS = (0.5, 0.9, 0.95)
"""Shares of the truth that ellipses are asked to hold."""


@dataclass(frozen=True, slots=True, eq=False)
class Consistency:
    """What was promised and what came.

    Parameters
    ----------
    position_innovations_squared, size_innovations_squared
        (N,) normalised innovations squared, summed over x and the bottom edge, and over width and height; Student's t
        of unit variance by promise, see :mod:`tracker.confidence`. Association takes heavier tails yet, so as not to
        lose objects.
    position_errors_squared, size_errors_squared
        (M,) squared Mahalanobis distance of truth and report in centre x and y, and in width and height; Student's t
        by promise, see :mod:`tracker.confidence`. For boxes that cover an identity.
    continuity, identities_kept
        (R,) probability that an identity is the same object's as a second ago, and whether its box covers the identity
        that its box covered then; where both cover one. For tracks that began since, that of their first box.
    """

    position_innovations_squared: FloatArray
    size_innovations_squared: FloatArray
    position_errors_squared: FloatArray
    size_errors_squared: FloatArray
    continuity: FloatArray
    identities_kept: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Probabilities against how often what they speak of is so, by bins.

    Parameters
    ----------
    promised, kept
        (B,) mean probability and share of the bin.
    counts
        (B,) how many there are; bins without any are left out.
    """

    promised: FloatArray
    kept: FloatArray
    counts: IntArray


def consistency(prepared: Prepared, cover: Coverage, diagnostics: Diagnostics) -> Consistency:
    """Compare what a tracker promised with the truth.

    Rows of the diagnostics without a box of the result in that frame and under that id say nothing of the truth;
    their innovations count all the same.
    """
    covered = np.flatnonzero(cover.covered)
    found = find_rows(diagnostics.frames, diagnostics.ids, cover.frames[covered], cover.tracks[covered])
    rows = np.append(covered, -1)[found]
    known = rows >= 0
    boxes = prepared.truth.boxes_ltwh[cover.rows[rows[known]]]
    truth = np.concatenate([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]], axis=1)
    squares = (truth - diagnostics.means[known]) ** 2 / diagnostics.variances[known]

    now, before = _a_second_apart(diagnostics)
    both = known[now] & known[before]
    now, before = now[both], before[both]
    return Consistency(
        (diagnostics.innovations[:, :POSITION_COORDINATES] ** 2).sum(axis=1),
        (diagnostics.innovations[:, POSITION_COORDINATES:] ** 2).sum(axis=1),
        squares[:, :POSITION_COORDINATES].sum(axis=1),
        squares[:, POSITION_COORDINATES:].sum(axis=1),
        diagnostics.continuity[now],
        (cover.ids[rows[now]] == cover.ids[rows[before]]).astype(np.int64),
    )


def _a_second_apart(diagnostics: Diagnostics) -> tuple[IntArray, IntArray]:
    """Return pairs of rows of the same track: a row, and the one a second before it or else the track's first.

    A second before is the last row at least a second old, where it is not older than 1.1 s.
    """
    now, before = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    order = np.lexsort((diagnostics.times_s, diagnostics.ids))
    for rows in np.split(order, np.flatnonzero(np.diff(diagnostics.ids[order])) + 1):
        times = diagnostics.times_s[rows]
        earlier = np.searchsorted(times, times - 1.0 + 1e-4, side="right") - 1
        young = earlier < 0
        earlier[young] = 0
        apart = times - times[earlier]
        paired = (apart > 0.0) & (young | (apart < 1.1))
        now.append(rows[paired])
        before.append(rows[earlier[paired]])
    return np.concatenate(now), np.concatenate(before)


def held_shares(squares: FloatArray, dimensions: int, levels: FloatArray | tuple[float, ...] = LEVELS) -> FloatArray:
    """Return the share of squared distances inside the ellipse of each level; NaN when there are none.

    With nu degrees of freedom, nu / (nu - 2) times the squared distance in d dimensions is d F(d, nu).
    """
    if not len(squares):
        return np.full(len(levels), np.nan)
    nu = DEGREES_OF_FREEDOM
    limits = np.asarray((nu - 2.0) / nu * dimensions * stats.f.ppf(np.asarray(levels), dimensions, nu))
    return np.asarray((squares[:, None] <= limits[None, :]).mean(axis=0), np.float64)


def clipped_squares(innovations: FloatArray) -> FloatArray:
    """Return (4,) mean squares of (N, 4) innovations, each clipped at 3 standard deviations.

    So few degrees of freedom make plain mean squares a matter of the few largest.
    """
    return np.asarray(np.minimum(innovations**2, CLIPPED_AT**2).mean(axis=0))


def reliability(probabilities: FloatArray, kept: IntArray, bins: int = 10) -> Reliability:
    """Return probabilities against outcomes in bins of equal width."""
    index = np.clip((probabilities * bins).astype(np.int64), 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    some = counts > 0
    promised = np.bincount(index, probabilities, bins)[some] / counts[some]
    return Reliability(promised, np.bincount(index, kept, bins)[some] / counts[some], counts[some])


def brier_score(probabilities: FloatArray, kept: IntArray) -> float:
    """Return the mean squared difference of probabilities and outcomes; NaN when there are none."""
    return float(np.mean((probabilities - kept) ** 2)) if len(kept) else float("nan")


def calibration_error(bars: Reliability) -> float:
    """Return the expected calibration error: the mean gap of promise and outcome by bins, weighted by their counts."""
    total = bars.counts.sum()
    return float((bars.counts * np.abs(bars.promised - bars.kept)).sum() / total) if total else float("nan")
