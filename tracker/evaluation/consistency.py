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

from tracker.evaluation.diagnosis import Coverage
from tracker.evaluation.preparation import Prepared
from tracker.formats.diagnostics import Diagnostics
from tracker.structures import FloatArray, IntArray

COORDINATES = 4
POSITION_COORDINATES = 2
LEVELS = (0.5, 0.9, 0.95)
"""Shares of the truth that ellipses are asked to hold."""


@dataclass(frozen=True, slots=True, eq=False)
class Consistency:
    """What was promised and what came.

    Parameters
    ----------
    innovations_squared
        (N,) normalised innovations squared, chi-square with 4 degrees of freedom by promise.
    position_errors_squared, size_errors_squared
        (M,) squared Mahalanobis distance of truth and filter in centre x and anchored y, and in width and height;
        chi-square with 2 degrees of freedom by promise. For boxes that cover an identity.
    claim_probabilities, claims_kept
        (R,) responsibility of a claim, and whether its box covers the identity that the track's previous box
        covered; where both cover one.
    """

    innovations_squared: FloatArray
    position_errors_squared: FloatArray
    size_errors_squared: FloatArray
    claim_probabilities: FloatArray
    claims_kept: IntArray


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
    keys = zip(cover.frames[covered].tolist(), cover.tracks[covered].tolist(), strict=True)
    row_of = dict(zip(keys, covered.tolist(), strict=True))
    rows = np.array(
        [row_of.get(key, -1) for key in zip(diagnostics.frames.tolist(), diagnostics.ids.tolist(), strict=True)],
        np.int64,
    )
    known = rows >= 0
    boxes = prepared.truth.boxes_ltwh[cover.rows[rows[known]]]
    anchors = diagnostics.anchors[known]
    truth = np.column_stack(
        [boxes[:, 0] + boxes[:, 2] / 2, boxes[:, 1] + anchors * boxes[:, 3], boxes[:, 2], boxes[:, 3]]
    )
    squares = (truth - diagnostics.means[known]) ** 2 / diagnostics.variances[known]

    order = np.flatnonzero(known)
    order = order[np.lexsort((diagnostics.frames[order], diagnostics.ids[order]))]
    again = np.diff(diagnostics.ids[order]) == 0
    identities = cover.ids[rows[order]]
    return Consistency(
        (diagnostics.innovations**2).sum(axis=1),
        squares[:, :POSITION_COORDINATES].sum(axis=1),
        squares[:, POSITION_COORDINATES:].sum(axis=1),
        diagnostics.responsibilities[order][1:][again],
        (np.diff(identities) == 0)[again].astype(np.int64),
    )


def held_shares(squares: FloatArray, degrees: int, levels: FloatArray | tuple[float, ...] = LEVELS) -> FloatArray:
    """Return the share of squared distances inside the ellipse of each level; NaN when there are none."""
    if not len(squares):
        return np.full(len(levels), np.nan)
    limits = np.asarray(stats.chi2.ppf(np.asarray(levels), degrees))
    return np.asarray((squares[:, None] <= limits[None, :]).mean(axis=0), np.float64)


def reliability(probabilities: FloatArray, kept: IntArray, bins: int = 10) -> Reliability:
    """Return probabilities against outcomes in bins of equal width."""
    index = np.clip((probabilities * bins).astype(np.int64), 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    some = counts > 0
    promised = np.bincount(index, probabilities, bins)[some] / counts[some]
    return Reliability(promised, np.bincount(index, kept, bins)[some] / counts[some], counts[some])
