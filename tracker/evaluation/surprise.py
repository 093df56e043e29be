"""How unusual each box and each track is, under a mixture learned from the sequence itself.

A row is described by where its feet are, how they move and how large it is, in units that do not depend on the
picture's size: x and y in typical sizes, velocity in own sizes per second, and the log of the size. The density of
all rows is a Gaussian mixture; the Bayesian information criterion chooses the number of its components. Nobody is to
explain himself: a row is judged by a mixture fitted without its track (cross-fitting in ten folds).

The score is the negative log density above the median, in nats. What it means says p: the share of what the *other*
tracks did, by time, that was at least as surprising. p of .002 is as rare as 2 in 1000 of what was seen here; under
the mixture it is uniform (Vovk, Gammerman and Shafer 2005 call it a conformal p-value).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracker.evaluation.heat import feet, scales, velocities
from tracker.formats.table import TrackTable
from tracker.mixture.estimator import GaussianMixture
from tracker.structures import FloatArray, IntArray

FEATURES = ("x", "y", "velocity_x", "velocity_y", "log_size")
ASPECTS = {"place": (0, 1), "motion": (2, 3), "size": (4,)}
"""What a surprise may be due to, and the features that tell."""
_FOLDS = 10
_MOST_COMPONENTS = 12
_SPREAD = 0.15  # standard deviation that no component falls below: what is more alike is the same
_FIT_STRIDE_S = 0.5  # rows of a track that are closer say the same
_WINDOW_S = 1.0
FEWEST_TRACKS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Ordinary:
    """What is ordinary in a scene.

    Parameters
    ----------
    mixture
        Fitted to all tracks.
    calibration
        By pattern of known features, as bytes of the mask, the held-out surprises of the rows, ascending.
    """

    mixture: GaussianMixture
    calibration: Mapping[bytes, FloatArray]

    def judge(self, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return (N,) scores and p of rows that the mixture was not fitted to; NaN marks what is not known of a row.

        A row is ranked among what was seen, of which just as much is made known.
        """
        scores, p = np.full(len(features), np.nan), np.full(len(features), np.nan)
        surprise = -self.mixture.score_samples(features) if len(features) else np.zeros(0)
        known = ~np.isnan(features)
        for mask in np.unique(known, axis=0):
            rows = (known == mask).all(axis=1)
            seen = self.calibration[mask.tobytes()]
            scores[rows] = surprise[rows] - np.median(seen)
            p[rows] = (1.0 + len(seen) - np.searchsorted(seen, surprise[rows])) / (1.0 + len(seen))
        return scores, p


@dataclass(frozen=True, slots=True, eq=False)
class Surprise:
    """How unusual the rows of a table are, and its tracks.

    Parameters
    ----------
    scores, p
        (N,) of each row.
    ids
        (K,) tracks, the most unusual first.
    track_p
        (K,) the least p, as the median over a second, of each track.
    worst_rows
        (K,) the row in the middle of that second.
    aspects
        (K,) what it is due to: the key of :data:`ASPECTS` that is the rarest by itself, or ``combination``.
    """

    scores: FloatArray
    p: FloatArray
    ids: IntArray
    track_p: FloatArray
    worst_rows: IntArray
    aspects: tuple[str, ...]


def features_of(table: TrackTable, velocity_px_s: FloatArray, typical_px: float) -> FloatArray:
    """Return the (N, 5) :data:`FEATURES` of rows.

    Parameters
    ----------
    table
        The rows.
    velocity_px_s
        (N, 2), NaN where not known.
    typical_px
        The typical size.
    """
    scale = scales(table)
    return np.column_stack(
        [feet(table) / typical_px, velocity_px_s / scale[:, None], np.log(scale / typical_px)[:, None]]
    )


def learn_ordinary(
    features: FloatArray, tracks: IntArray, fitted: NDArray[np.bool_] | None = None, *, seed: int = 0
) -> tuple[Ordinary, Mapping[bytes, FloatArray]]:
    """Learn what is ordinary.

    Parameters
    ----------
    features
        (N, D) rows; NaN is not known.
    tracks
        (N,) track of each row.
    fitted
        (N,) rows to fit to; all when left out.
    seed
        Of the folds and of the starts.

    Returns
    -------
    ordinary
        For rows of others.
    surprises
        By pattern of known features, as bytes of the mask, the (N,) negative log density of each row under the mixture
        fitted without its track; NaN where a row lacks a feature of the pattern.

    Raises
    ------
    ValueError
        For fewer than three tracks, or fewer of which some feature is known.
    """
    names, track = np.unique(tracks, return_inverse=True)
    weights = np.ones(len(features)) if fitted is None else fitted.astype(np.float64)
    counted = features[weights > 0]
    known = np.zeros((len(names), features.shape[1]), np.bool_)
    np.logical_or.at(known, track[weights > 0], ~np.isnan(counted))
    fewest = int(known.sum(axis=0).min())
    if fewest < FEWEST_TRACKS:
        what = f"there are {len(names)} tracks" if fewest == len(names) else f"only {fewest} tracks have several rows"
        raise ValueError(f"{what}; what is ordinary is learned from {FEWEST_TRACKS} or more")
    best = min(
        (_mixture(k, seed).fit(counted) for k in range(1, min(_MOST_COMPONENTS, max(1, len(counted) // 20)) + 1)),
        key=lambda fit: fit.bic(counted),
    )
    folds = min(_FOLDS, len(names))
    # Of whom little is known comes last, so that every fold leaves tracks that tell of each feature.
    order = np.lexsort((np.random.default_rng(seed).permutation(len(names)), ~known.all(axis=1)))
    place = np.empty(len(names), np.int64)
    place[order] = np.arange(len(names))
    fold = place[track] % folds
    masks = _patterns_of(features)
    surprises = {mask.tobytes(): np.full(len(features), np.nan) for mask in masks}
    for n in range(folds):
        mine = fold == n
        fit = _mixture(best.n_components, seed)
        fit.warm_start, fit.mixture_ = True, best.mixture_
        fit.fit(features[(weights > 0) & ~mine])
        for mask in masks:
            rows = np.flatnonzero(mine & (~np.isnan(features) | ~mask).all(axis=1))
            surprises[mask.tobytes()][rows] = -fit.score_samples(np.where(mask, features[rows], np.nan))
    calibration = {mask: np.sort(values[~np.isnan(values)]) for mask, values in surprises.items()}
    return Ordinary(best, calibration), surprises


def surprise(table: TrackTable, frame_rate_hz: float, seed: int = 0) -> tuple[Surprise, Ordinary]:
    """Judge all rows and tracks of a table; also return what judges other rows.

    Raises
    ------
    ValueError
        For fewer than three tracks of several rows.
    """
    features = features_of(table, velocities(table, frame_rate_hz), typical_size(table))
    stride = max(1, round(_FIT_STRIDE_S * frame_rate_hz))
    track = np.unique(table.ids, return_inverse=True)[1]
    began = np.full(track.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(began, track, table.frames)
    ordinary, surprises = learn_ordinary(features, table.ids, (table.frames - began[track]) % stride == 0, seed=seed)
    scores, p = np.empty(len(table)), np.empty(len(table))
    known = ~np.isnan(features)
    for mask in np.unique(known, axis=0):
        rows, told = (known == mask).all(axis=1), surprises[mask.tobytes()]
        scores[rows] = told[rows] - np.nanmedian(told)
        p[rows] = _rank_among_others(told, track)[rows]
    by_itself = {
        name: _rank_among_others(surprises[_only(columns).tobytes()], track) for name, columns in ASPECTS.items()
    }

    order = np.lexsort((table.frames, track))
    starts = np.searchsorted(track[order], np.arange(track.max() + 2))
    window = max(1, round(_WINDOW_S * frame_rate_hz))
    least, worst = [], []
    for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        mine = order[begin:end]
        wide = min(window, len(mine))
        medians = np.median(np.lib.stride_tricks.sliding_window_view(p[mine], wide), axis=1)
        at = int(medians.argmin())
        least.append(float(medians[at]))
        worst.append(int(mine[at + wide // 2]))
    ranking = np.lexsort((-scores[worst], np.array(least)))
    shown = np.array(worst)[ranking]
    aspects = tuple(_aspect({name: float(of[row]) for name, of in by_itself.items()}, float(p[row])) for row in shown)
    return Surprise(scores, p, table.ids[shown], np.array(least)[ranking], shown, aspects), ordinary


def typical_size(table: TrackTable) -> float:
    """Return the median of sqrt(width x height), px."""
    return float(np.median(scales(table)))


def _mixture(components: int, seed: int) -> GaussianMixture:
    return GaussianMixture(components, reg_covar=_SPREAD**2, tol=1e-3, max_iter=1000, n_init=2, random_state=seed)


def _only(columns: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.isin(np.arange(len(FEATURES)), columns)


def _patterns_of(features: FloatArray) -> NDArray[np.bool_]:
    """Return the (P, D) masks of known features that rows are ranked by: those that occur, and the aspects."""
    wanted = [*np.unique(~np.isnan(features), axis=0), np.ones(features.shape[1], np.bool_)]
    if features.shape[1] == len(FEATURES):
        wanted += [~_only(ASPECTS["motion"]), *map(_only, ASPECTS.values())]
    return np.unique(np.array(wanted), axis=0)


def _rank_among_others(surprises: FloatArray, track: IntArray) -> FloatArray:
    """Return the share of other tracks' rows that are at least as surprising, the row itself counted with them.

    Rows whose surprise is NaN are left out, and get NaN.
    """
    p = np.full(len(surprises), np.nan)
    ranked = np.flatnonzero(~np.isnan(surprises))
    values = surprises[ranked]
    as_much = len(values) - np.searchsorted(np.sort(values), values)
    order = np.argsort(track[ranked], kind="stable")
    for mine in np.split(order, np.flatnonzero(np.diff(track[ranked][order])) + 1):
        own_as_much = len(mine) - np.searchsorted(np.sort(values[mine]), values[mine])
        p[ranked[mine]] = (1.0 + as_much[mine] - own_as_much) / (1.0 + len(values) - len(mine))
    return p


def _aspect(by_itself: Mapping[str, float], p: float) -> str:
    """Return which aspect of a row is the rarest by itself, unless it is much less so than the whole."""
    told = {name: share for name, share in by_itself.items() if not np.isnan(share)}
    rarest = min(told, key=lambda name: told[name])
    return rarest if told[rarest] <= 5.0 * p else "combination"
