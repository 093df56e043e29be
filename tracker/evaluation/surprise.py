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

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracker.evaluation.heat import feet, scales, velocities
from tracker.formats.table import TrackTable
from tracker.mixture.em import GaussianMixture
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
    fold_mixtures
        Fitted without the tracks of each fold.
    calibration
        By pattern of known features, as bytes of the mask, the held-out surprises of the rows, ascending.
    """

    mixture: GaussianMixture
    fold_mixtures: tuple[GaussianMixture, ...]
    calibration: dict[bytes, FloatArray]

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
) -> tuple[Ordinary, FloatArray]:
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
        (N,) negative log density of each row under the mixture fitted without its track.

    Raises
    ------
    ValueError
        For fewer than three tracks.
    """
    names, track = np.unique(tracks, return_inverse=True)
    if len(names) < FEWEST_TRACKS:
        raise ValueError(f"there are {len(names)} tracks; what is ordinary is learned from {FEWEST_TRACKS} or more")
    weights = np.ones(len(features)) if fitted is None else fitted.astype(np.float64)
    counted = features[weights > 0]
    best = min(
        (_mixture(k, seed).fit(counted) for k in range(1, min(_MOST_COMPONENTS, max(1, len(counted) // 20)) + 1)),
        key=lambda fit: fit.bic(counted),
    )
    folds = min(_FOLDS, len(names))
    fold = np.random.default_rng(seed).permutation(len(names))[track] % folds
    masks = _patterns_of(features)
    without, held_out = [], {mask.tobytes(): np.empty(len(features)) for mask in masks}
    surprises = np.empty(len(features))
    for n in range(folds):
        mine = fold == n
        fit = _mixture(best.n_components, seed)
        fit.warm_start, fit.mixture_ = True, best.mixture_
        others = (weights > 0) & ~mine
        without.append(fit.fit(features[others] if others.any() else features[~mine]))
        surprises[mine] = -fit.score_samples(features[mine])
        for mask in masks:
            held_out[mask.tobytes()][mine] = -fit.score_samples(np.where(mask, features[mine], np.nan))
    complete = ~np.isnan(features)
    calibration = {mask.tobytes(): np.sort(held_out[mask.tobytes()][(complete | ~mask).all(axis=1)]) for mask in masks}
    return Ordinary(best, tuple(without), calibration), surprises


def surprise(table: TrackTable, frame_rate_hz: float, seed: int = 0) -> tuple[Surprise, Ordinary]:
    """Judge all rows and tracks of a table; also return what judges other rows.

    Raises
    ------
    ValueError
        For fewer than three tracks.
    """
    features = features_of(table, velocities(table, frame_rate_hz), typical_size(table))
    stride = max(1, round(_FIT_STRIDE_S * frame_rate_hz))
    track = np.unique(table.ids, return_inverse=True)[1]
    began = np.full(track.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(began, track, table.frames)
    ordinary, surprises = learn_ordinary(features, table.ids, (table.frames - began[track]) % stride == 0, seed=seed)
    p = _rank_among_others(surprises, track)
    scores = surprises - np.median(surprises)

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
    ranking = np.lexsort((-scores[worst], least))
    rows = np.array(worst)[ranking]
    return (
        Surprise(
            scores,
            p,
            table.ids[rows],
            np.array(least)[ranking],
            rows,
            tuple(_aspect(ordinary, features[row], float(p[row])) for row in rows.tolist()),
        ),
        ordinary,
    )


def typical_size(table: TrackTable) -> float:
    """Return the median of sqrt(width x height), px."""
    return float(np.median(scales(table)))


def _mixture(components: int, seed: int) -> GaussianMixture:
    return GaussianMixture(components, reg_covar=_SPREAD**2, tol=1e-3, max_iter=1000, n_init=2, random_state=seed)


def _patterns_of(features: FloatArray) -> NDArray[np.bool_]:
    """Return the (P, D) masks of known features that rows are ranked by: those that occur, and the aspects."""
    wanted = [*(~np.isnan(features)), np.ones(features.shape[1], np.bool_)]
    if features.shape[1] == len(FEATURES):
        unmoved = np.isin(np.arange(len(FEATURES)), ASPECTS["motion"], invert=True)
        wanted += [unmoved, *(np.isin(np.arange(len(FEATURES)), columns) for columns in ASPECTS.values())]
    return np.unique(np.array(wanted), axis=0)


def _rank_among_others(surprises: FloatArray, track: IntArray) -> FloatArray:
    """Return the share of other tracks' rows that are at least as surprising, the row itself counted with them."""
    ascending = np.sort(surprises)
    as_much = len(surprises) - np.searchsorted(ascending, surprises)
    p = np.empty(len(surprises))
    for name in range(int(track.max()) + 1):
        mine = np.flatnonzero(track == name)
        own = np.sort(surprises[mine])
        own_as_much = len(mine) - np.searchsorted(own, surprises[mine])
        p[mine] = (1.0 + as_much[mine] - own_as_much) / (1.0 + len(surprises) - len(mine))
    return p


def _aspect(ordinary: Ordinary, features: FloatArray, p: float) -> str:
    """Return which aspect of a row is the rarest by itself."""
    by_itself = {}
    for name, columns in ASPECTS.items():
        alone = np.full(len(features), np.nan)
        alone[list(columns)] = features[list(columns)]
        if not np.isnan(alone[list(columns)]).any():
            by_itself[name] = float(ordinary.judge(alone[None])[1][0])
    rarest = min(by_itself, key=lambda name: by_itself[name])
    return rarest if by_itself[rarest] <= 5.0 * p else "combination"
