"""What became of every box of the truth, under which circumstances, and what each kind of fault costs.

A hit is what CLEAR counts as one. A true box without a hit and a box of the tracks without one that still overlap
are one fault, a loose fit, and not two; what is left is missed, or false.

References
----------
- Luiten et al., HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking, IJCV 2021.
- Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors, ECCV 2020 (faults that are repaired
  one kind at a time, to see what each costs).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from trackeval import metrics

from tracker.evaluation.preparation import Matching, Prepared, metric_data
from tracker.geometry import box_scales, intersection_over_union, ltwh_to_xyxy, xyxy_to_ltwh
from tracker.structures import Detections, FloatArray, IntArray

LOOSE_IOU = 0.1
"""Overlap from which a true box without a hit and a box without one are a loose fit."""

NOBODY = -1
"""Identity where there is none."""

Fault: TypeAlias = Literal["identity", "missed", "false", "loose"]
FAULTS: tuple[Fault, ...] = ("identity", "missed", "false", "loose")

CROWDING_EDGES = (0.0, 0.05, 0.2, 0.4, 1.0)
"""Bins of the overlap with the nearest other object, for recall by crowding."""

_SPEED_REACH = 2  # rows on each side: annotations jitter by a pixel or two


class Fate(IntEnum):
    """What became of a true box."""

    MISSED = 0
    LOOSE = 1
    COVERED = 2


@dataclass(frozen=True, slots=True, eq=False)
class Coverage:
    """What became of the boxes that count: a row for each of the truth, by identity and then frame.

    Parameters
    ----------
    rows, ids, frames
        (N,) rows of the truth's table, their identities and frames.
    positions
        (N,) place of the frame among those in which anything stands.
    fates
        (N,) :class:`Fate` values.
    tracks, track_rows
        (N,) track of the box that covers it or fits loosely, and its row in the tracks' table; -1 for none.
    ious
        (N,) overlap with that box; 0 for none.
    switched
        (N,) bool; True where another track covered the identity the last time.
    false_rows
        (M,) rows of the tracks' table that neither cover nor fit, by track and then frame.
    """

    rows: IntArray
    ids: IntArray
    frames: IntArray
    positions: IntArray
    fates: IntArray
    tracks: IntArray
    track_rows: IntArray
    ious: FloatArray
    switched: NDArray[np.bool_]
    false_rows: IntArray

    @property
    def covered(self) -> NDArray[np.bool_]:
        """(N,) True where a box covers the row."""
        return self.fates == Fate.COVERED

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Span:
    """Successive frames of an identity that fared alike.

    Parameters
    ----------
    identity
        The identity.
    first, last
        Rows of the coverage.
    first_frame, last_frame
        Their frames.
    fate
        What became of it.
    track
        Track that covers it or fits loosely; -1 for none.
    """

    identity: int
    first: int
    last: int
    first_frame: int
    last_frame: int
    fate: Fate
    track: int


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """Under which circumstances each true box is to be found; rows as in :class:`Coverage`.

    Parameters
    ----------
    sizes_px
        (N,) square root of the area.
    speeds
        (N,) way of the centre from frame to frame in units of the size; NaN for an identity of one row.
    neighbours, neighbour_ious
        (N,) the other identity that overlaps most, -1 for none, and how much.
    hiders, hidden
        (N,) the identity nearer to the camera (its lower edge is lower in the picture) that covers most of the
        box, -1 for none, and which share.
    """

    sizes_px: FloatArray
    speeds: FloatArray
    neighbours: IntArray
    neighbour_ious: FloatArray
    hiders: IntArray
    hidden: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Recall:
    """Share of true boxes that are found, by bins of a circumstance.

    Parameters
    ----------
    edges
        (B + 1,) ends of the bins; each holds its upper end, the first its lower one too.
    counts
        (B,) true boxes.
    found
        (B,) of them, those that are found.
    """

    edges: FloatArray
    counts: IntArray
    found: IntArray

    @property
    def shares(self) -> FloatArray:
        """(B,) found by count; NaN for an empty bin."""
        return np.divide(self.found, self.counts, out=np.full(len(self.counts), np.nan), where=self.counts > 0)


def coverage(prepared: Prepared, matching: Matching) -> Coverage:
    """Tell what became of every true box and of every box of the tracks."""
    truth, tracks = prepared.truth, prepared.tracks
    box_of, iou_of = np.full(len(truth), NOBODY), np.zeros(len(truth))
    fate_of, switched = np.full(len(truth), Fate.MISSED, np.int64), np.zeros(len(truth), np.bool_)
    box_of[matching.truth_rows], iou_of[matching.truth_rows] = matching.track_rows, matching.ious
    fate_of[matching.truth_rows], switched[matching.truth_rows] = Fate.COVERED, matching.switched
    used = np.zeros(len(tracks), np.bool_)
    used[matching.track_rows] = True

    for here, there, overlap in zip(prepared.truth_rows, prepared.track_rows, prepared.similarity, strict=True):
        left, free = np.flatnonzero(box_of[here] < 0), np.flatnonzero(~used[there])
        near = overlap[np.ix_(left, free)]
        near = np.where(near >= LOOSE_IOU, near, 0.0)
        if not near.any():
            continue
        for i, j in zip(*linear_sum_assignment(near, maximize=True), strict=True):
            if near[i, j] > 0.0:
                row, box = here[left[i]], there[free[j]]
                box_of[row], iou_of[row], fate_of[row], used[box] = box, near[i, j], Fate.LOOSE, True

    rows = np.concatenate([*prepared.truth_rows, np.empty(0, np.int64)])
    rows = rows[np.lexsort((truth.frames[rows], truth.ids[rows]))]
    boxes = np.concatenate([*prepared.track_rows, np.empty(0, np.int64)])
    false_rows = boxes[~used[boxes]]
    return Coverage(
        rows,
        truth.ids[rows],
        truth.frames[rows],
        np.searchsorted(prepared.frames, truth.frames[rows]),
        fate_of[rows],
        np.where(box_of[rows] >= 0, tracks.ids[box_of[rows]] if len(tracks) else NOBODY, NOBODY),
        box_of[rows],
        iou_of[rows],
        switched[rows],
        false_rows[np.lexsort((tracks.frames[false_rows], tracks.ids[false_rows]))],
    )


def spans(cover: Coverage) -> list[Span]:
    """Return what became of each identity as runs of alike frames, by identity and then time.

    A run ends where the identity is out of the picture for a frame of the sequence.
    """
    if not len(cover):
        return []
    breaks = (
        (np.diff(cover.ids) != 0)
        | (np.diff(cover.positions) != 1)
        | (np.diff(cover.fates) != 0)
        | (np.diff(cover.tracks) != 0)
    )
    firsts = np.concatenate([[0], np.flatnonzero(breaks) + 1])
    lasts = np.concatenate([firsts[1:] - 1, [len(cover) - 1]])
    return [
        Span(
            int(cover.ids[first]),
            int(first),
            int(last),
            int(cover.frames[first]),
            int(cover.frames[last]),
            Fate(int(cover.fates[first])),
            int(cover.tracks[first]),
        )
        for first, last in zip(firsts, lasts, strict=True)
    ]


def fragmentation_rows(cover: Coverage, prepared: Prepared) -> IntArray:
    """Return the rows in which an identity is covered again after it was not, as CLEAR counts them.

    Frames without any true box or without any box of the tracks interrupt nothing, as in TrackEval.
    """
    counted = np.cumsum([overlap.size > 0 for overlap in prepared.similarity])
    rows = np.flatnonzero(cover.covered)
    again = (np.diff(cover.ids[rows]) == 0) & (np.diff(counted[cover.positions[rows]]) > 1)
    return rows[1:][again]


def main_tracks(cover: Coverage) -> dict[int, int]:
    """Return, by identity, the track that covers most of it; -1 for an identity that is never covered."""
    found: dict[int, int] = {}
    for identity in np.unique(cover.ids).tolist():
        tracks, counts = np.unique(cover.tracks[(cover.ids == identity) & cover.covered], return_counts=True)
        found[identity] = int(tracks[np.argmax(counts)]) if len(tracks) else NOBODY
    return found


def lost_frames(cover: Coverage) -> dict[int, int]:
    """Return, by identity, in how many frames its main track does not cover it."""
    mains = main_tracks(cover)
    main = np.array([mains[identity] for identity in cover.ids.tolist()], np.int64)
    lost = ~(cover.covered & (cover.tracks == main))
    return {identity: int(lost[cover.ids == identity].sum()) for identity in mains}


def surroundings(cover: Coverage, prepared: Prepared) -> Surroundings:
    """Measure size, speed and neighbours of every true box, by the truth alone."""
    boxes = prepared.truth.boxes_ltwh[cover.rows]
    n = len(cover)
    neighbours, hiders = np.full(n, NOBODY), np.full(n, NOBODY)
    neighbour_ious, hidden = np.zeros(n), np.zeros(n)
    order = np.argsort(cover.positions, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(cover.positions[order])) + 1):
        if len(group) < 2:
            continue
        here, everyone = boxes[group], np.arange(len(group))
        overlap = intersection_over_union(here, here)
        overlap[everyone, everyone] = 0.0
        nearest = overlap.argmax(axis=1)
        neighbour_ious[group] = overlap[everyone, nearest]
        neighbours[group] = np.where(overlap[everyone, nearest] > 0.0, cover.ids[group[nearest]], NOBODY)
        areas = here[:, 2] * here[:, 3]
        # The intersection from IoU and areas: u = i / (a + b - i).
        inner = overlap * (areas[:, None] + areas[None, :]) / (1.0 + overlap)
        bottoms = here[:, 1] + here[:, 3]
        share = np.where(bottoms[None, :] > bottoms[:, None], inner / areas[:, None], 0.0)
        nearest = share.argmax(axis=1)
        hidden[group] = share[everyone, nearest]
        hiders[group] = np.where(share[everyone, nearest] > 0.0, cover.ids[group[nearest]], NOBODY)
    sizes = box_scales(boxes)
    return Surroundings(sizes, _speeds(cover, boxes, sizes), neighbours, neighbour_ious, hiders, hidden)


def detected(prepared: Prepared, cover: Coverage, detections: Mapping[int, Detections], iou: float) -> FloatArray:
    """Return (N,) the score of the detection that is assigned to each true box, NaN for none.

    In every frame the assignment has the largest sum of IoU; pairs below ``iou`` are none.
    """
    scores = np.full(len(cover), np.nan)
    order = np.argsort(cover.positions, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(cover.positions[order])) + 1) if len(order) else []:
        seen = detections.get(int(cover.frames[group[0]]))
        if seen is None:
            continue
        overlap = intersection_over_union(prepared.truth.boxes_ltwh[cover.rows[group]], xyxy_to_ltwh(seen.boxes_xyxy))
        overlap = np.where(overlap >= iou, overlap, 0.0)
        for i, j in zip(*linear_sum_assignment(overlap, maximize=True), strict=True):
            if overlap[i, j] > 0.0:
                scores[group[i]] = seen.scores[j]
    return scores


def recall_by(values: FloatArray, found: NDArray[np.bool_], edges: FloatArray) -> Recall:
    """Return the share of what is found in bins of a circumstance; rows of no value (NaN) are left out.

    Parameters
    ----------
    values
        (N,) the circumstance.
    found
        (N,) whether the row is found.
    edges
        (B + 1,) ends of the bins, ascending; values outside belong to the first and last bin.
    """
    known = ~np.isnan(values)
    bins = np.clip(np.searchsorted(edges, values[known], side="left") - 1, 0, len(edges) - 2)
    counts = np.bincount(bins, minlength=len(edges) - 1)
    hits = np.bincount(bins[found[known]], minlength=len(edges) - 1)
    return Recall(np.asarray(edges, np.float64), counts, hits)


def quantile_edges(values: FloatArray, bins: int = 5) -> FloatArray:
    """Return ends of bins that hold about equally many of the values; fewer bins where values are equal."""
    known = values[~np.isnan(values)]
    if not len(known):
        return np.array([0.0, 1.0])
    edges = np.unique(np.quantile(known, np.linspace(0.0, 1.0, bins + 1)))
    return edges if len(edges) > 1 else np.array([edges[0], edges[0] + 1.0])


def repaired_hota(prepared: Prepared, cover: Coverage) -> dict[Fault, Mapping[str, Any]]:
    """Return the fields of TrackEval's HOTA as they would be without one kind of fault.

    ``identity``: all hits and loose fits of an identity get one track of their own. ``missed``: missed boxes are
    filled in, as the track that covered the identity the last time, or covers it the next. ``false``: boxes that
    neither cover nor fit are removed. ``loose``: boxes that cover or fit get the truth's coordinates. The gains do
    not add up, for faults hide each other.
    """
    return {fault: metrics.HOTA().eval_sequence(_repaired(prepared, cover, (fault,))) for fault in FAULTS}


def without_faults(prepared: Prepared, cover: Coverage) -> Mapping[str, Any]:
    """Return the fields of TrackEval's HOTA when all kinds of faults are repaired together."""
    return metrics.HOTA().eval_sequence(_repaired(prepared, cover, FAULTS))


def _repaired(prepared: Prepared, cover: Coverage, faults: tuple[Fault, ...]) -> dict[str, Any]:
    """Return what TrackEval's metrics take, with some kinds of faults repaired."""
    truth, tracks = prepared.truth, prepared.tracks
    box_of = np.full(len(truth), NOBODY)
    box_of[cover.rows] = cover.track_rows
    fill_of = np.full(len(truth), NOBODY)
    fill_of[cover.rows] = _filling_tracks(cover)
    false = np.zeros(len(tracks), np.bool_)
    false[cover.false_rows] = True
    owner_of = np.full(len(tracks), NOBODY)
    paired = cover.track_rows >= 0
    owner_of[cover.track_rows[paired]] = cover.ids[paired]

    gt_ids, tracker_ids, similarity = [], [], []
    for here, there, overlap in zip(prepared.truth_rows, prepared.track_rows, prepared.similarity, strict=True):
        identities = truth.ids[here]
        # Two numbers for each column: whose namespace, and the id in it.
        names = np.stack([np.zeros(len(there), np.int64), tracks.ids[there]], axis=1)
        table = overlap.copy()
        if "loose" in faults:
            rows, columns = np.nonzero(box_of[here][:, None] == there[None, :])
            table[rows, columns] = 1.0
        if "identity" in faults:
            known = owner_of[there] >= 0
            names[known] = np.stack([np.ones(known.sum(), np.int64), owner_of[there][known]], axis=1)
        if "false" in faults:
            keep = ~false[there]
            table, names = table[:, keep], names[keep]
        if "missed" in faults:
            missed = np.flatnonzero(box_of[here] < 0)
            fills = fill_of[here[missed]]
            fresh = np.isin(fills, names[names[:, 0] == 0, 1]) | (fills < 0) | ("identity" in faults)
            added = np.stack([fresh.astype(np.int64), np.where(fresh, identities[missed], fills)], axis=1)
            column = np.zeros((len(here), len(missed)))
            column[missed, np.arange(len(missed))] = 1.0
            table, names = np.concatenate([table, column], axis=1), np.concatenate([names, added])
        gt_ids.append(identities)
        tracker_ids.append(names)
        similarity.append(table)
    return metric_data(gt_ids, tracker_ids, similarity)


def _filling_tracks(cover: Coverage) -> IntArray:
    """Return (N,) the track that covers the identity in the row, else the last time before, else the next after."""
    fill = np.where(cover.covered, cover.tracks, NOBODY)
    for identity in np.unique(cover.ids):
        rows = np.flatnonzero(cover.ids == identity)
        known = np.flatnonzero(fill[rows] >= 0)
        if len(known):
            last = np.searchsorted(known, np.arange(len(rows)), side="right") - 1
            fill[rows] = fill[rows[known[np.maximum(last, 0)]]]
    return fill


def _speeds(cover: Coverage, boxes_ltwh: FloatArray, sizes_px: FloatArray) -> FloatArray:
    """Return (N,) the way per frame in own sizes, between two rows before and two after where there are."""
    speeds = np.full(len(cover), np.nan)
    centres = ltwh_to_xyxy(boxes_ltwh)
    centres = (centres[:, :2] + centres[:, 2:]) / 2
    for rows in np.split(np.arange(len(cover)), np.flatnonzero(np.diff(cover.ids)) + 1):
        if len(rows) < 2:
            continue
        before = rows[np.maximum(np.arange(len(rows)) - _SPEED_REACH, 0)]
        after = rows[np.minimum(np.arange(len(rows)) + _SPEED_REACH, len(rows) - 1)]
        way = np.linalg.norm(centres[after] - centres[before], axis=1)
        speeds[rows] = way / (cover.frames[after] - cover.frames[before]) / sizes_px[rows]
    return speeds
