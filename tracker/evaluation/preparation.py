"""What is to be found and what is forgiven: truth and tracks of a sequence, ready to be compared.

Every benchmark has rules for boxes that are neither right nor wrong: reflections, people in vans, crowds too far
away. ``open`` rules, our own, forgive whatever covers a row of the truth that is not to be found. The protocols
``mot17``, ``mot20`` and ``kitti`` are those of the benchmarks, as TrackEval implements them.

References
----------
- Milan et al., MOT16: A Benchmark for Multi-Object Tracking, arXiv:1603.00831.
- Dendorfer et al., MOT20: A benchmark for multi object tracking in crowded scenes, arXiv:2003.09003.
- Geiger, Lenz and Urtasun, Are we ready for Autonomous Driving? The KITTI Vision Benchmark Suite, CVPR 2012.
- Luiten and Hoffhues, TrackEval, https://github.com/JonathonLuiten/TrackEval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from tracker.formats.kitti import DONT_CARE
from tracker.formats.table import NOT_STATED, TrackTable
from tracker.geometry import intersection_over_union
from tracker.structures import FloatArray, IntArray

Protocol: TypeAlias = Literal["open", "mot17", "mot20", "kitti"]

UNNAMED_CLASSES = (1, 3)
"""Pedestrian in MOTChallenge, and car: what is to be found where classes are plain numbers."""

PREPARATION_IOU = 0.5
"""Overlap from which a box covers a row of the truth in the preparation; all protocols have the same."""

_EPSILON = float(np.finfo(float).eps)  # the slack of TrackEval's comparisons

_MOT_CLASSES = range(1, 14)
_MOT_PEDESTRIAN = 1
# Person on a vehicle, static person, distractor, reflection; in MOT20 also vehicles without a motor.
_MOT_DISTRACTORS: Mapping[str, tuple[int, ...]] = {"mot17": (2, 7, 8, 12), "mot20": (2, 6, 7, 8, 12)}

_KITTI_NEIGHBOURS = {"car": "van", "pedestrian": "person"}
_KITTI_MAX_OCCLUSION = 2
_KITTI_MAX_TRUNCATION = 0
_KITTI_MIN_HEIGHT_PX = 25.0
_KITTI_REGION_SHARE = 0.5


class CriteriaError(ValueError):
    """Criteria that do not fit the truth or tracks at hand."""


@dataclass(frozen=True, slots=True)
class Criteria:
    """How a sequence is scored.

    Parameters
    ----------
    classes
        Classes to be found, by label or by name whatever its case; boxes of the tracks that state another
        class are left out. None for pedestrian and car (1 and 3) where classes are numbers, and for all
        where they have names; then no box of the tracks is left out.
    renamed
        New by old class, for truth and tracks; see :meth:`~tracker.formats.table.TrackTable.renamed`.
    protocol
        Whose rules hold. With ``mot17`` and ``mot20`` pedestrians are to be found; with ``kitti`` the one
        class that is chosen, car if none.
    iou
        Overlap from which a box counts as a hit for CLEAR and identity metrics; HOTA has its own thresholds.
    """

    classes: tuple[str, ...] | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    protocol: Protocol = "open"
    iou: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 < self.iou <= 1.0:
            raise CriteriaError(f"IoU threshold is {self.iou:g}; it must be above 0 and at most 1")
        if self.protocol in _MOT_DISTRACTORS and self.classes not in (None, ("1",)):
            raise CriteriaError(f"protocol {self.protocol} scores pedestrians alone, class 1")
        if self.protocol == "kitti" and self.classes is not None:
            chosen = [name.casefold() for name in self.classes]
            if len(chosen) != 1 or chosen[0] not in _KITTI_NEIGHBOURS:
                raise CriteriaError("protocol kitti scores one class at a time: car or pedestrian")


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Truth and tracks of one sequence side by side, without what does not count.

    Parameters
    ----------
    truth, tracks
        The tables, whole.
    frames
        (F,) ascending numbers of the frames in which anything stands.
    truth_rows, track_rows
        By frame, the rows of the tables that count: to be found, and not forgiven.
    similarity
        By frame, their table of IoU.
    """

    truth: TrackTable
    tracks: TrackTable
    frames: IntArray
    truth_rows: list[IntArray]
    track_rows: list[IntArray]
    similarity: list[FloatArray]

    def metric_data(self) -> dict[str, Any]:
        """Return what TrackEval's metrics take; identities are numbered from 0."""
        return metric_data(
            [self.truth.ids[rows] for rows in self.truth_rows],
            [self.tracks.ids[rows] for rows in self.track_rows],
            self.similarity,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """Which box covers which row of the truth, a row each, by ascending frame.

    Parameters
    ----------
    frames
        (P,) frame numbers.
    truth_rows, track_rows
        (P,) rows of the two tables.
    ious
        (P,) overlaps.
    switched
        (P,) bool; True where the true identity was last covered by another track.
    """

    frames: IntArray
    truth_rows: IntArray
    track_rows: IntArray
    ious: FloatArray
    switched: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class _Rules:
    """What a protocol makes of each row of the truth (N,) and of the tracks (M,)."""

    wanted: NDArray[np.bool_]  # to be found
    seen: NDArray[np.bool_]  # takes part in the matching of the preparation
    excuses: NDArray[np.bool_]  # forgives the box that is matched to it
    regions: NDArray[np.bool_]  # forgives unmatched boxes that lie in it by half
    eligible: NDArray[np.bool_]  # (M,) boxes that are of an evaluated class
    min_height_px: float = 0.0  # unmatched boxes up to this height are forgiven


def prepare(truth: TrackTable, tracks: TrackTable, criteria: Criteria | None = None) -> Prepared:
    """Find what counts of the truth and of the tracks of one sequence.

    In every frame the boxes of the tracks are assigned to the rows of the truth at the largest sum of IoU,
    pairs below 0.5 left out. Boxes that the rules forgive are removed; then the rows of the truth that are
    not to be found are. Frames in which nothing stands are left out: no metric sees them.

    Raises
    ------
    CriteriaError
        When the protocol or the classes do not fit the truth.
    """
    criteria = criteria or Criteria()
    if criteria.renamed:
        truth, tracks = truth.renamed(criteria.renamed), tracks.renamed(criteria.renamed)
    rules = _rules(truth, tracks, criteria)
    frames = np.union1d(truth.frames, tracks.frames)
    truth_rows, track_rows, similarity = [], [], []
    for here, there in zip(
        _rows_by_frame(truth, rules.seen | rules.regions, frames),
        _rows_by_frame(tracks, rules.eligible, frames),
        strict=True,
    ):
        seen = here[rules.seen[here]]
        overlap = intersection_over_union(truth.boxes_ltwh[seen], tracks.boxes_ltwh[there])
        forgiven = _forgiven(truth, tracks, rules, here, seen, there, overlap)
        rows = rules.wanted[seen]
        truth_rows.append(seen[rows])
        track_rows.append(there[~forgiven])
        similarity.append(overlap[rows][:, ~forgiven])
    return Prepared(truth, tracks, frames, truth_rows, track_rows, similarity)


def match(prepared: Prepared, iou: float = 0.5) -> Matching:
    """Return the pairs that CLEAR counts as hits.

    In every frame, pairs that go on from the frame before come first, then the largest sum of IoU decides.

    References
    ----------
    Bernardin and Stiefelhagen, Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics, 2008.
    """
    last: dict[int, int] = {}  # track by true identity, whenever it was last covered
    previous: dict[int, int] = {}  # the same of the frame before alone
    pairs: list[tuple[int, int, int, float, bool]] = []
    for frame, here, there, overlap in zip(
        prepared.frames.tolist(), prepared.truth_rows, prepared.track_rows, prepared.similarity, strict=True
    ):
        if not overlap.size:
            continue
        truth_ids, track_ids = prepared.truth.ids[here].tolist(), prepared.tracks.ids[there].tolist()
        goes_on = np.array([[previous.get(true) == track for track in track_ids] for true in truth_ids])
        value = np.where(overlap >= iou - _EPSILON, 1000.0 * goes_on + overlap, 0.0)
        matched = [pair for pair in zip(*linear_sum_assignment(value, maximize=True), strict=True) if value[pair] > 0.0]
        previous = {truth_ids[row]: track_ids[column] for row, column in matched}
        for row, column in matched:
            true, track = truth_ids[row], track_ids[column]
            switched = last.setdefault(true, track) != track
            pairs.append((frame, int(here[row]), int(there[column]), float(overlap[row, column]), switched))
        last |= previous
    columns = list(zip(*pairs, strict=True)) or [()] * 5
    kinds = (np.int64, np.int64, np.int64, np.float64, np.bool_)
    return Matching(*(np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)))


def chosen_labels(table: TrackTable, classes: tuple[str, ...], otherwise: frozenset[int] = frozenset()) -> set[int]:
    """Return the labels of classes that are chosen by label or by name.

    Parameters
    ----------
    table
        The table whose names count.
    classes
        The choice.
    otherwise
        What a table without names has for those chosen by name.
    """
    by_name: dict[str, set[int]] = {}
    for label, name in table.class_names.items():
        by_name.setdefault(name.casefold(), set()).add(label)
    labels: set[int] = set()
    for token in classes:
        if token.isascii() and token.isdecimal():
            labels.add(int(token))
        else:
            labels |= by_name.get(token.casefold(), set()) if by_name else otherwise
    return labels


def _rules(truth: TrackTable, tracks: TrackTable, criteria: Criteria) -> _Rules:
    every, none = np.ones(len(truth), np.bool_), np.zeros(len(truth), np.bool_)
    if criteria.protocol == "kitti":
        return _kitti_rules(truth, tracks, (criteria.classes or ("car",))[0].casefold())
    if criteria.protocol in _MOT_DISTRACTORS:
        _demand_mot_classes(truth, tracks, criteria.protocol)
        wanted = truth.flags & (truth.classes == _MOT_PEDESTRIAN)
        excuses = np.isin(truth.classes, _MOT_DISTRACTORS[criteria.protocol])
        return _Rules(wanted, every, excuses, none, np.ones(len(tracks), np.bool_))

    eligible = np.ones(len(tracks), np.bool_)
    if criteria.classes is not None:
        labels = chosen_labels(truth, criteria.classes)
        eligible = np.isin(tracks.classes, [NOT_STATED, *chosen_labels(tracks, criteria.classes, frozenset(labels))])
    elif truth.class_names:
        labels = {*truth.classes.tolist()}
    else:
        labels = {*UNNAMED_CLASSES}
    wanted = truth.flags & np.isin(truth.classes, [NOT_STATED, *labels])
    return _Rules(wanted, every, ~wanted, none, eligible)


def _kitti_rules(truth: TrackTable, tracks: TrackTable, name: str) -> _Rules:
    """Return KITTI's rules for one class: its neighbour, what is hidden or cut off and small boxes are forgiven."""
    if len(truth) and not truth.class_names:
        raise CriteriaError("protocol kitti needs truth in KITTI's own labels, which name types")

    def of(table: TrackTable, wanted: str) -> NDArray[np.bool_]:
        labels = [label for label, text in table.class_names.items() if text.casefold() == wanted]
        return np.isin(table.classes, labels)

    seen = (truth.ids >= 0) & (of(truth, name) | of(truth, _KITTI_NEIGHBOURS[name]))
    clear = (truth.occlusions <= _KITTI_MAX_OCCLUSION) & (truth.truncations <= _KITTI_MAX_TRUNCATION)
    wanted = seen & of(truth, name) & clear
    eligible = of(tracks, name) if tracks.class_names else np.ones(len(tracks), np.bool_)
    regions = of(truth, DONT_CARE.casefold())
    return _Rules(wanted, seen, seen & ~wanted, regions, eligible, _KITTI_MIN_HEIGHT_PX)


def _demand_mot_classes(truth: TrackTable, tracks: TrackTable, protocol: str) -> None:
    strange = np.setdiff1d(truth.classes, _MOT_CLASSES)
    if len(strange):
        stated = "rows without a class" if strange[0] == NOT_STATED else f"class {strange[0]}"
        raise CriteriaError(f"has {stated}; protocol {protocol} knows the classes 1 to 13")
    if (tracks.classes > _MOT_PEDESTRIAN).any():
        raise CriteriaError(f"protocol {protocol} scores pedestrians alone, but the tracks state other classes")


def _forgiven(
    truth: TrackTable,
    tracks: TrackTable,
    rules: _Rules,
    here: IntArray,
    seen: IntArray,
    there: IntArray,
    overlap: FloatArray,
) -> NDArray[np.bool_]:
    """Tell which of a frame's boxes do not count."""
    forgiven = np.zeros(len(there), np.bool_)
    unmatched = np.ones(len(there), np.bool_)
    if overlap.size and (rules.min_height_px > 0.0 or rules.excuses[seen].any()):
        matchable = np.where(overlap >= PREPARATION_IOU - _EPSILON, overlap, 0.0)
        rows, columns = linear_sum_assignment(matchable, maximize=True)
        real = matchable[rows, columns] > _EPSILON
        unmatched[columns[real]] = False
        forgiven[columns[real]] = rules.excuses[seen[rows[real]]]
    if rules.min_height_px > 0.0:
        boxes = tracks.boxes_ltwh[there]
        regions = truth.boxes_ltwh[here[rules.regions[here]]]
        covered = (_share_inside(boxes, regions) > _KITTI_REGION_SHARE + _EPSILON).any(axis=1)
        forgiven |= unmatched & (covered | (boxes[:, 3] <= rules.min_height_px + _EPSILON))
    return forgiven


def _share_inside(boxes_ltwh: FloatArray, regions_ltwh: FloatArray) -> FloatArray:
    """Return the (A, B) shares of the boxes' areas that lie in the regions."""
    a, b = boxes_ltwh[:, None, :], regions_ltwh[None, :, :]
    inner = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shares: FloatArray = np.clip(inner, 0.0, None).prod(axis=-1) / a[..., 2:].prod(axis=-1)
    return shares


def _rows_by_frame(table: TrackTable, which: NDArray[np.bool_], frames: IntArray) -> list[IntArray]:
    """Return the chosen rows of each of the frames, in the table's order."""
    rows = np.flatnonzero(which)
    rows = rows[np.argsort(table.frames[rows], kind="stable")]
    return np.split(rows, np.searchsorted(table.frames[rows], frames[1:])) if len(frames) else []


def metric_data(gt_ids: list[IntArray], tracker_ids: list[IntArray], similarity: list[FloatArray]) -> dict[str, Any]:
    """Return what TrackEval's metrics take.

    Parameters
    ----------
    gt_ids, tracker_ids
        Identities frame by frame, one number or a row of several for each.
    similarity
        Frame by frame, (truth, tracks) overlaps.
    """
    gt_numbers, gt_count = _numbered(gt_ids)
    tracker_numbers, tracker_count = _numbered(tracker_ids)
    return {
        "num_timesteps": len(similarity),
        "num_gt_ids": gt_count,
        "num_tracker_ids": tracker_count,
        "num_gt_dets": sum(map(len, gt_ids)),
        "num_tracker_dets": sum(map(len, tracker_ids)),
        "gt_ids": gt_numbers,
        "tracker_ids": tracker_numbers,
        "similarity_scores": similarity,
    }


def _numbered(ids: list[IntArray]) -> tuple[list[IntArray], int]:
    """Return identities numbered from 0, frame by frame, and how many they are."""
    if not ids:
        return [], 0
    flat = np.concatenate(ids)
    labels, numbers = np.unique(flat, axis=0 if flat.ndim > 1 else None, return_inverse=True)
    return np.split(numbers.ravel(), np.cumsum([len(frame) for frame in ids])[:-1]), len(labels)
