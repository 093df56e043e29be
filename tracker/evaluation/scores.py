"""Scores of tracks against ground truth: HOTA, CLEAR and identity metrics, computed by TrackEval.

What is ours is the preparation, as MOTChallenge does it: a result box that is matched to a row of the truth
which is there to be ignored is removed, so that tracking a reflection or a parked van is no fault.

References
----------
- Luiten et al., HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking, IJCV 2021.
- Bernardin and Stiefelhagen, Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics, 2008.
- Ristani et al., Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking, 2016.
- Milan et al., MOT16: A Benchmark for Multi-Object Tracking, arXiv:1603.00831 (the preparation).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from trackeval import metrics

from tracker.errors import FormatError
from tracker.formats.motchallenge import read_tracks, read_truth
from tracker.formats.table import NOT_STATED, TrackTable
from tracker.geometry import intersection_over_union

EVALUATED_CLASSES = (1, 3)
"""Pedestrian in MOTChallenge, and car."""

_MATCH_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Scores:
    """The usual figures: shares in percent (HOTA and its parts: means over 19 IoU thresholds) and counts."""

    hota: float
    det_a: float
    ass_a: float
    loc_a: float
    mota: float
    idf1: float
    id_switches: int
    fragmentations: int
    false_positives: int
    false_negatives: int


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """TrackEval's results for one sequence or several, from which more can be combined.

    Parameters
    ----------
    hota, clear, identity
        Fields of ``trackeval.metrics.HOTA``, ``CLEAR`` and ``Identity`` by name.
    """

    hota: Mapping[str, Any]
    clear: Mapping[str, Any]
    identity: Mapping[str, Any]

    @property
    def scores(self) -> Scores:
        """The figures that people compare."""
        return Scores(
            hota=100 * float(np.mean(self.hota["HOTA"])),
            det_a=100 * float(np.mean(self.hota["DetA"])),
            ass_a=100 * float(np.mean(self.hota["AssA"])),
            loc_a=100 * float(np.mean(self.hota["LocA"])),
            mota=100 * float(self.clear["MOTA"]),
            idf1=100 * float(self.identity["IDF1"]),
            id_switches=int(self.clear["IDSW"]),
            fragmentations=int(self.clear["Frag"]),
            false_positives=int(self.clear["CLR_FP"]),
            false_negatives=int(self.clear["CLR_FN"]),
        )

    @property
    def truth_count(self) -> int:
        """Number of evaluated rows of the truth."""
        return int(self.clear["CLR_TP"]) + int(self.clear["CLR_FN"])


def prepare(truth: TrackTable, tracks: TrackTable, classes: Collection[int] = EVALUATED_CLASSES) -> dict[str, Any]:
    """Bring one sequence into the form that TrackEval's metrics take.

    In every frame the result boxes are assigned to the rows of the truth at the largest sum of IoU, pairs
    below 0.5 left out. Result boxes assigned to a row with flag 0 or of another class than ``classes`` are
    removed; then these rows are. Frames in which nothing stands are left out: no metric sees them.

    Returns
    -------
    dict
        By frame, ``gt_ids`` and ``tracker_ids`` (identities numbered from 0) and ``similarity_scores``
        (their table of IoU); and the counts ``num_timesteps``, ``num_gt_ids``, ``num_tracker_ids``,
        ``num_gt_dets`` and ``num_tracker_dets``.
    """
    truth_order = np.argsort(truth.frames, kind="stable")
    track_order = np.argsort(tracks.frames, kind="stable")
    truth_frames, track_frames = truth.frames[truth_order], tracks.frames[track_order]
    truth_boxes, track_boxes = truth.boxes_ltwh[truth_order], tracks.boxes_ltwh[track_order]
    wanted = (truth.flags & np.isin(truth.classes, [NOT_STATED, *classes]))[truth_order]
    kept = np.ones(len(track_order), np.bool_)

    frames = np.union1d(truth_frames, track_frames)
    truth_ends = np.searchsorted(truth_frames, frames, side="right")
    track_ends = np.searchsorted(track_frames, frames, side="right")
    similarity, truth_start, track_start = [], 0, 0
    for truth_end, track_end in zip(truth_ends.tolist(), track_ends.tolist(), strict=True):
        here, there = slice(truth_start, truth_end), slice(track_start, track_end)
        overlap = intersection_over_union(truth_boxes[here], track_boxes[there])
        rows = wanted[here]
        if overlap.size and not rows.all():
            matchable = np.where(overlap >= _MATCH_IOU - 1e-9, overlap, 0.0)
            matched = linear_sum_assignment(matchable, maximize=True)
            to_ignored = (matchable[matched] > 0.0) & ~rows[matched[0]]
            kept[track_start + matched[1][to_ignored]] = False
        similarity.append(overlap[rows][:, kept[there]])
        truth_start, track_start = truth_end, track_end

    truth_labels, truth_ids = np.unique(truth.ids[truth_order][wanted], return_inverse=True)
    track_labels, track_ids = np.unique(tracks.ids[track_order][kept], return_inverse=True)
    sizes = np.array([table.shape for table in similarity], dtype=np.intp).reshape(-1, 2)
    splits = np.cumsum(sizes, axis=0)[:-1]
    return {
        "num_timesteps": len(frames),
        "num_gt_ids": len(truth_labels),
        "num_tracker_ids": len(track_labels),
        "num_gt_dets": len(truth_ids),
        "num_tracker_dets": len(track_ids),
        "gt_ids": np.split(truth_ids, splits[:, 0]),
        "tracker_ids": np.split(track_ids, splits[:, 1]),
        "similarity_scores": similarity,
    }


def evaluate(truth: TrackTable, tracks: TrackTable, classes: Collection[int] = EVALUATED_CLASSES) -> Evaluation:
    """Score the tracks of one sequence."""
    data = prepare(truth, tracks, classes)
    hota, clear, identity = _metrics()
    return Evaluation(hota.eval_sequence(data), clear.eval_sequence(data), identity.eval_sequence(data))


def combine(evaluations: Mapping[str, Evaluation]) -> Evaluation:
    """Score several sequences as one body: detections and identities are counted together, not averaged."""
    hota, clear, identity = _metrics()
    return Evaluation(
        hota.combine_sequences({name: e.hota for name, e in evaluations.items()}),
        clear.combine_sequences({name: e.clear for name, e in evaluations.items()}),
        identity.combine_sequences({name: e.identity for name, e in evaluations.items()}),
    )


def evaluate_sequence(
    truth_path: Path | str, tracks_path: Path | str, classes: Collection[int] = EVALUATED_CLASSES
) -> Evaluation:
    """Score a result file against a truth file.

    Raises
    ------
    FormatError
        For a file that cannot be read or breaks its format, or a truth without any row to be found.
    """
    evaluation = evaluate(read_truth(truth_path), read_tracks(tracks_path), classes)
    _demand_truth(Path(truth_path), evaluation, classes)
    return evaluation


def evaluate_folders(
    truth_dir: Path | str,
    tracks_dir: Path | str,
    classes: Collection[int] = EVALUATED_CLASSES,
    on_sequence: Callable[[str], None] | None = None,
) -> dict[str, Evaluation]:
    """Score a folder of results, sequence by sequence, ordered by name.

    Parameters
    ----------
    truth_dir
        Holds ``SEQUENCE/gt/gt.txt`` or ``SEQUENCE.txt``.
    tracks_dir
        Holds ``SEQUENCE.txt`` or ``SEQUENCE/tracks.txt`` for the same sequences.
    classes
        The classes to be found.
    on_sequence
        Called with each sequence's name when its turn comes.

    Raises
    ------
    FormatError
        As :func:`evaluate_sequence`; also when a sequence has no results, results have no truth, or a
        sequence has two files. All names are compared before the first file is read.
    """
    truths = _sequences(Path(truth_dir), ("*/gt/gt.txt", "*.txt"))
    results = _sequences(Path(tracks_dir), ("*.txt", "*/tracks.txt"))
    if without := sorted(truths.keys() - results.keys()):
        raise FormatError(
            tracks_dir, None, f"has no results for {', '.join(without)}: neither NAME.txt nor NAME/tracks.txt"
        )
    if without := sorted(results.keys() - truths.keys()):
        raise FormatError(
            truth_dir, None, f"has no truth for {', '.join(without)}: neither NAME/gt/gt.txt nor NAME.txt"
        )
    evaluations = {}
    for name in sorted(truths):
        if on_sequence is not None:
            on_sequence(name)
        evaluations[name] = evaluate(read_truth(truths[name]), read_tracks(results[name]), classes)
    _demand_truth(Path(truth_dir), combine(evaluations), classes)
    return evaluations


def _metrics() -> tuple[Any, Any, Any]:
    settings = {"THRESHOLD": _MATCH_IOU, "PRINT_CONFIG": False}
    return metrics.HOTA(), metrics.CLEAR(settings), metrics.Identity(settings)


def _demand_truth(path: Path, evaluation: Evaluation, classes: Collection[int]) -> None:
    if evaluation.truth_count == 0:
        wanted = ", ".join(map(str, classes))
        raise FormatError(path, None, f"no row has a flag other than 0 and one of the classes {wanted}")


def _sequences(folder: Path, patterns: tuple[str, str]) -> dict[str, Path]:
    """Find the file of each sequence, named by the first part of its path."""
    if not folder.is_dir():
        raise FormatError(folder, None, "is not a folder")
    found: dict[str, Path] = {}
    for path in sorted(path for pattern in patterns for path in folder.glob(pattern) if path.is_file()):
        name = path.relative_to(folder).parts[0].removesuffix(".txt")
        if name in found:
            raise FormatError(path, None, f"and {found[name]} are both sequence {name}; keep one")
        found[name] = path
    if not found:
        raise FormatError(folder, None, f"holds no sequence: neither {' nor '.join(patterns)}")
    return found
