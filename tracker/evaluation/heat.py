"""Where objects are and go: the mixture of a sequence averaged over time, on a grid of cells.

Each box stands for one frame's time at its feet, the middle of its lower edge, spread as a Gaussian: by the
tracker's variance of that place, and by a share of the box's own size, so that near and far objects are as smooth.
Summed over all rows that is the integral over time of the frames' mixtures. It is computed in time about linear in rows
and cells, however wide the spread: rows are laid onto the grid in classes of like spread, and each class is smoothed as
a whole, by its cosine transform. The border reflects, so that no part of an object leaves the picture: the grid's sum
is the time that all objects were there.

References
----------
- Lindeberg, Scale-Space for Discrete Signals, IEEE TPAMI 12, 1990 (the Gaussian of a grid).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.fft import dctn, idctn

from tracker.formats.table import TrackTable
from tracker.geometry import box_scales
from tracker.mixture.estimator import GaussianMixture
from tracker.structures import FloatArray, IntArray

MOST_CELLS = 4_000_000
"""Cells of a grid that fit into ordinary memory, with all that is computed for them."""

_CLASSES_PER_OCTAVE = 4
_LEAST_SPREAD = 0.05  # in cells; what is less is none
_VELOCITY_REACH_S = 0.25
_EDGE_S = 0.5
_FEWEST_PASSAGES = 6
_MOST_DOORS = 6
_DOOR_SPREAD = 0.5  # least standard deviation of a door, in typical sizes


@dataclass(frozen=True, slots=True, eq=False)
class Heat:
    """Averages over a sequence, by cells of a grid: row r, column c is centred at (c + 1/2, r + 1/2) ``cell_px``.

    Parameters
    ----------
    cell_px
        Side of a cell.
    presence_s
        (R, C) object-seconds spent in each cell.
    velocity_px_s
        (R, C, 2) mean velocity there, x and y; NaN where nobody's is known.
    speed_px_s
        (R, C) mean speed there; NaN likewise.
    entries, exits
        (R, C) objects that came and went there.
    """

    cell_px: float
    presence_s: FloatArray
    velocity_px_s: FloatArray
    speed_px_s: FloatArray
    entries: FloatArray
    exits: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Doors:
    """Typical places where objects come and go: components of a Gaussian mixture of all such places.

    Parameters
    ----------
    centres, covariances
        (D, 2) px and (D, 2, 2) px^2.
    entries, exits
        (D,) objects that came and went there.
    """

    centres: FloatArray
    covariances: FloatArray
    entries: IntArray
    exits: IntArray


def feet(table: TrackTable) -> FloatArray:
    """Return the (N, 2) middles of the boxes' lower edges."""
    left, top, width, height = table.boxes_ltwh.T
    return np.column_stack([left + width / 2.0, top + height])


def scales(table: TrackTable) -> FloatArray:
    """Return (N,) sqrt(width x height) of the boxes, at least 1 px."""
    return np.maximum(box_scales(table.boxes_ltwh), 1.0)


def velocities(table: TrackTable, frame_rate_hz: float) -> FloatArray:
    """Return the (N, 2) velocities of the feet in px/s; NaN for a track of one row.

    That of a row is the displacement between the track's rows about 1/4 s before and after it, over the time
    between them: jitter of single boxes does not count.
    """
    order = np.lexsort((table.frames, table.ids))
    ids, frames, places = table.ids[order], table.frames[order], feet(table)[order]
    # One ascending key, so that the rows to look at are found by bisection and stay within the track.
    reach = max(1, round(_VELOCITY_REACH_S * frame_rate_hz))
    _, track = np.unique(ids, return_inverse=True)
    span = int(frames.max(initial=1)) + 2 * reach + 2
    key = track * span + frames
    first, last = np.searchsorted(key, track * span), np.searchsorted(key, (track + 1) * span) - 1
    before = np.maximum(np.searchsorted(key, key - reach), first)
    after = np.minimum(np.searchsorted(key, key + reach, side="right") - 1, last)
    # Across a gap the neighbours are the nearest rows on either side.
    here = np.arange(len(key))
    before = np.where(before == here, np.maximum(here - 1, first), before)
    after = np.where(after == here, np.minimum(here + 1, last), after)
    elapsed_s = (frames[after] - frames[before]) / frame_rate_hz
    found = np.full((len(key), 2), np.nan)
    moved = elapsed_s > 0.0
    found[moved] = (places[after] - places[before])[moved] / elapsed_s[moved, None]
    result = np.empty_like(found)
    result[order] = found
    return result


def passages(table: TrackTable, frame_rate_hz: float) -> tuple[IntArray, IntArray]:
    """Return the rows at which objects come and go; not of those there when the sequence begins or ends."""
    order = np.lexsort((table.frames, table.ids))
    if not len(order):
        return order, order
    border = np.diff(table.ids[order]) != 0
    first, last = order[np.append(True, border)], order[np.append(border, True)]
    margin = _EDGE_S * frame_rate_hz
    came = table.frames[first] > table.frames.min() + margin
    went = table.frames[last] < table.frames.max() - margin
    return first[came], last[went]


def heat(
    table: TrackTable,
    frame_rate_hz: float,
    size_px: tuple[float, float],
    cell_px: float,
    *,
    spread: float = 0.2,
    variances_px2: FloatArray | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Heat:
    """Average a sequence over time.

    Parameters
    ----------
    table
        The tracks; feet outside the picture count at its border.
    frame_rate_hz
        Each row stands for one frame's time.
    size_px
        Width and height of the picture.
    cell_px
        Side of a cell.
    spread
        Standard deviation that is added, in units of sqrt(width x height) of each box.
    variances_px2
        (N, 2) the tracker's variances of each row's feet; 0 when left out.
    progress
        Called as the work goes on with how much of how much is done.
    """
    places, scale = feet(table), scales(table)
    variance = np.zeros((len(table), 2)) if variances_px2 is None else variances_px2
    sd = np.sqrt(variance + (spread * scale[:, None]) ** 2)
    velocity = velocities(table, frame_rate_hz)
    known = ~np.isnan(velocity[:, 0])
    moving = np.where(known[:, None], velocity, 0.0)
    came, went = (np.isin(np.arange(len(table)), rows) for rows in passages(table, frame_rate_hz))
    weights = np.column_stack(
        [np.ones(len(table)), known, moving[:, 0], moving[:, 1], np.hypot(*moving.T), came, went]
    ).astype(np.float64)
    weights[:, :5] /= frame_rate_hz
    sums = spread_out(places, sd, weights, size_px, cell_px, progress)
    presence, known_s, along_x, along_y, along, entries, exits = sums
    some = known_s > 1e-9 * max(known_s.max(initial=0.0), 1e-300)
    share = np.divide(1.0, known_s, out=np.full_like(known_s, np.nan), where=some)
    return Heat(cell_px, presence, np.stack([along_x * share, along_y * share], axis=-1), along * share, entries, exits)


def spread_out(
    places: FloatArray,
    sd: FloatArray,
    weights: FloatArray,
    size_px: tuple[float, float],
    cell_px: float,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> FloatArray:
    """Return the (M, R, C) sums over N Gaussians of M weights; their totals are kept exactly.

    Parameters
    ----------
    places, sd
        (N, 2) centres and standard deviations in x and y, px. Deviations are rounded to quarters of an octave.
    weights
        (N, M).
    size_px
        Width and height of the picture.
    cell_px
        Side of a cell.
    progress
        Called as the work goes on with how much of how much is done.
    """
    columns, rows = (max(1, int(np.ceil(side / cell_px))) for side in size_px)
    spectra = np.zeros((weights.shape[1], rows, columns))
    if not len(places):
        return spectra
    # The logarithm of what a standard deviation of one cell leaves of each frequency.
    log_across, log_along = (np.cos(np.pi * np.arange(count) / count) - 1.0 for count in (columns, rows))
    cells = np.clip(places, 0.0, size_px) / cell_px - 0.5
    low = np.floor(cells).astype(np.int64)
    beyond = cells - low
    step = np.rint(_CLASSES_PER_OCTAVE * np.log2(np.maximum(sd / cell_px, _LEAST_SPREAD))).astype(np.int64)
    step_of_none = np.rint(_CLASSES_PER_OCTAVE * np.log2(_LEAST_SPREAD))
    kinds, kind = np.unique(step, axis=0, return_inverse=True)
    for number, octaves in enumerate(kinds):
        mine = np.flatnonzero(kind.ravel() == number)
        index, share = [], []
        for right in (0, 1):
            for down in (0, 1):
                column = np.clip(low[mine, 0] + right, 0, columns - 1)
                row = np.clip(low[mine, 1] + down, 0, rows - 1)
                index.append(row * columns + column)
                share.append(np.abs(1 - right - beyond[mine, 0]) * np.abs(1 - down - beyond[mine, 1]))
        across, along = np.where(octaves > step_of_none, 2.0 ** (octaves / _CLASSES_PER_OCTAVE), 0.0)
        kept = np.outer(np.exp(along**2 * log_along), np.exp(across**2 * log_across))
        for m in np.flatnonzero(weights[mine].any(axis=0)):
            laid = np.bincount(np.concatenate(index), np.concatenate(share * weights[mine, m]), rows * columns)
            spectra[m] += kept * dctn(laid.reshape(rows, columns))
        progress(number + 1, len(kinds))
    total = np.asarray(idctn(spectra, axes=(1, 2), overwrite_x=True))
    # Nothing is negative that is a sum of what is not, but for rounding.
    positive = np.flatnonzero(weights.min(axis=0) >= 0.0)
    total[positive] = np.maximum(total[positive], 0.0)
    return total


def doors(table: TrackTable, frame_rate_hz: float, seed: int = 0) -> Doors:
    """Find the typical places where objects come and go; as many as the Bayesian information criterion says.

    Places that belong to none of them are left to the mixture's uniform background. There are none where fewer than
    six objects came or went.
    """
    came, went = passages(table, frame_rate_hz)
    places = feet(table)[np.concatenate([came, went])]
    if len(places) < _FEWEST_PASSAGES or (np.ptp(places, axis=0) == 0.0).any():
        none = np.zeros(0, np.int64)
        return Doors(np.zeros((0, 2)), np.zeros((0, 2, 2)), none, none)
    unit = float(np.median(scales(table)))
    points = places / unit
    fits = [
        GaussianMixture(
            k, reg_covar=_DOOR_SPREAD**2, clutter_weight=0.1, n_init=4, tol=1e-4, max_iter=500, random_state=seed
        ).fit(points)
        for k in range(1, min(_MOST_DOORS, len(points) // 3) + 1)
    ]
    best = min(fits, key=lambda fit: fit.bic(points))
    label = best.predict(points)
    entering = np.arange(len(points)) < len(came)
    counts = [np.bincount(label[(label >= 0) & which], minlength=best.n_components) for which in (entering, ~entering)]
    used = counts[0] + counts[1] > 0
    return Doors(best.means_[used] * unit, best.covariances_[used] * unit**2, counts[0][used], counts[1][used])
