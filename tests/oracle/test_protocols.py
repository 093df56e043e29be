"""The benchmarks' rules for what is ignored, against TrackEval's own data sets on generated folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trackeval import datasets, metrics

from tracker.errors import FormatError
from tracker.evaluation.preparation import Criteria, CriteriaError, Protocol, match, prepare
from tracker.evaluation.scores import Evaluation, combine, evaluate
from tracker.evaluation.sequences import evaluate_paths
from tracker.formats.catalogue import read_tables, write_table
from tracker.formats.table import TrackTable

FRAMES = 15
KITTI_NAMES = {1: "Pedestrian", 2: "Person", 3: "Car", 4: "Van", 5: "Truck", 6: "Cyclist", 9: "DontCare"}


def _walks(rng: np.random.Generator, objects: int, size_px: tuple[float, float]) -> np.ndarray:
    """Boxes (objects, FRAMES, 4) that drift through a narrow scene, so that many overlap."""
    start, speed = rng.uniform(0, 200, (objects, 1, 2)), rng.normal(0, 4, (objects, 1, 2))
    corner = start + speed * np.arange(FRAMES)[:, None] + rng.normal(0, 1, (objects, FRAMES, 2))
    size = rng.uniform(*size_px, (objects, 1, 2)) * rng.uniform(0.95, 1.05, (objects, FRAMES, 2))
    return np.concatenate([corner, size], axis=2)


def _table(boxes: np.ndarray, kept: np.ndarray, ids: np.ndarray, **columns: np.ndarray) -> TrackTable:
    """Flatten (objects, FRAMES, ...) arrays to the rows that are kept."""
    frames = np.broadcast_to(np.arange(1, FRAMES + 1), kept.shape)
    names = columns.pop("class_names", None)
    flat = {name: np.broadcast_to(column, kept.shape)[kept] for name, column in columns.items()}
    return TrackTable(frames[kept], np.broadcast_to(ids, kept.shape)[kept], boxes[kept], **flat, class_names=names)


def _tracks(rng: np.random.Generator, boxes: np.ndarray, **columns: np.ndarray) -> TrackTable:
    """Boxes that follow the truth with jitter, misses and exchanged identities, and some that follow nothing."""
    objects = len(boxes)
    strays = _walks(rng, 6, (8, 60))
    followed = boxes + rng.normal(0, 0.08, boxes.shape) * np.tile(boxes[..., 2:], 2)
    every = np.maximum(np.concatenate([followed, strays]), [-1e4, -1e4, 1, 1])
    ids = np.tile(np.arange(len(every))[:, None], FRAMES)
    for _ in range(4):
        one, two = rng.choice(objects, 2, replace=False)
        since = rng.integers(1, FRAMES)
        ids[[one, two], since:] = ids[[two, one], since:]
    return _table(every, rng.random(ids.shape) < 0.85, ids, **columns)


def _mot_scene(seed: int) -> tuple[TrackTable, TrackTable]:
    rng = np.random.default_rng(seed)
    objects = 24
    boxes = _walks(rng, objects, (20, 60))
    labels = np.r_[np.ones(10, int), 2, 6, 6, 7, 8, 8, 12, rng.integers(1, 14, objects - 17)]
    truth = _table(
        boxes,
        rng.random((objects, FRAMES)) < 0.95,
        np.arange(objects)[:, None],
        classes=labels[:, None],
        flags=rng.random((objects, FRAMES)) < 0.8,
        visibility=rng.random((objects, FRAMES)),
    )
    return truth, _tracks(rng, boxes)


def _kitti_scene(seed: int) -> tuple[TrackTable, TrackTable]:
    rng = np.random.default_rng(seed)
    objects = 24
    boxes = _walks(rng, objects, (15, 70))
    labels = np.r_[np.full(8, 3), np.full(3, 4), np.full(6, 1), np.full(2, 2), 5, 6, 9, 9, 9]
    ids = np.where(labels == 9, -1, np.arange(objects))
    boxes[labels == 9, :, 2:] *= 3
    kept = rng.random((objects, FRAMES)) < 0.95
    truth = _table(
        boxes,
        kept,
        ids[:, None],
        classes=labels[:, None],
        flags=labels[:, None] != 9,
        occlusions=rng.choice(4, (objects, FRAMES), p=[0.6, 0.15, 0.15, 0.1]),
        truncations=rng.choice(3, (objects, FRAMES), p=[0.8, 0.1, 0.1]),
        class_names=KITTI_NAMES,  # type: ignore[arg-type]
    )
    guesses = np.r_[labels, rng.choice([1, 3], 6)]
    guesses = np.where(np.isin(guesses, [1, 3]), guesses, rng.choice([1, 3], len(guesses)))
    tracks = _tracks(rng, boxes, classes=guesses[:, None], class_names=KITTI_NAMES)  # type: ignore[arg-type]
    return truth, tracks


def _official(dataset: Any, sequences: list[str], name: str) -> dict[str, Evaluation]:
    settings = {"THRESHOLD": 0.5, "PRINT_CONFIG": False}
    measures = metrics.HOTA(), metrics.CLEAR(settings), metrics.Identity(settings)
    evaluations = {}
    for sequence in sequences:
        data = dataset.get_preprocessed_seq_data(dataset.get_raw_seq_data("ours", sequence), name)
        evaluations[sequence] = Evaluation(*(measure.eval_sequence(data) for measure in measures))
    return evaluations


def _assert_equal(ours: Mapping[str, Evaluation], theirs: Mapping[str, Evaluation]) -> None:
    assert ours.keys() == theirs.keys()
    pairs = [(name, ours[name], theirs[name]) for name in ours] + [("combined", combine(ours), combine(theirs))]
    for name, one, two in pairs:
        for part in ("hota", "clear", "identity"):
            mine, other = getattr(one, part), getattr(two, part)
            for field in other.keys() - {"CLR_Frames", "FP_per_frame"}:  # these count empty frames, too
                np.testing.assert_allclose(mine[field], other[field], rtol=1e-9, err_msg=f"{name} {field}")


@pytest.mark.parametrize("protocol", ["mot17", "mot20"])
def test_mot_challenge(tmp_path: Path, protocol: Protocol) -> None:
    names = [f"{protocol.upper()}-0{seed}" for seed in range(1, 4)]
    for seed, name in enumerate(names):
        truth, tracks = _mot_scene(seed)
        (tmp_path / "truth" / name / "gt").mkdir(parents=True)
        (tmp_path / "tracks" / "ours" / "data").mkdir(parents=True, exist_ok=True)
        write_table(tmp_path / "truth" / name / "gt" / "gt.txt", truth)
        write_table(tmp_path / "tracks" / "ours" / "data" / f"{name}.txt", tracks)
    dataset = datasets.MotChallenge2DBox(
        {
            "GT_FOLDER": str(tmp_path / "truth"),
            "TRACKERS_FOLDER": str(tmp_path / "tracks"),
            "BENCHMARK": protocol.upper(),
            "SEQ_INFO": dict.fromkeys(names, FRAMES),
            "SKIP_SPLIT_FOL": True,
            "PRINT_CONFIG": False,
        }
    )
    ours = evaluate_paths(tmp_path / "truth", tmp_path / "tracks" / "ours", Criteria(protocol=protocol))
    _assert_equal(ours, _official(dataset, names, "pedestrian"))

    # Each rule does something here: other rules give other scores.
    for other in {"open", "mot17", "mot20"} - {protocol}:
        differently = evaluate_paths(tmp_path / "truth", tmp_path / "tracks" / "ours", Criteria(protocol=other))
        assert combine(differently).scores.false_positives != combine(ours).scores.false_positives


@pytest.mark.parametrize("name", ["car", "pedestrian"])
def test_kitti(tmp_path: Path, name: str) -> None:
    names = ["0000", "0001", "0002"]
    labels, results = tmp_path / "training" / "label_02", tmp_path / "trackers" / "ours" / "data"
    labels.mkdir(parents=True)
    results.mkdir(parents=True)
    for seed, sequence in enumerate(names):
        truth, tracks = _kitti_scene(seed)
        write_table(labels / f"{sequence}.txt", truth, "kitti")
        with (labels / f"{sequence}.txt").open("a") as file:  # nobody's, so not to be found
            file.write(f"3 -1 {name.title()} 0 0 -10 500 500 540 560 -1 -1 -1 -1000 -1000 -1000 -10\n")
        write_table(results / f"{sequence}.txt", tracks, "kitti")
    (tmp_path / "training" / "evaluate_tracking.seqmap.training").write_text(
        "".join(f"{sequence} empty 000000 {FRAMES:06d}\n" for sequence in names)
    )
    dataset = datasets.Kitti2DBox(
        {
            "GT_FOLDER": str(tmp_path / "training"),
            "TRACKERS_FOLDER": str(tmp_path / "trackers"),
            "PRINT_CONFIG": False,
        }
    )
    criteria = Criteria((name,), protocol="kitti")
    ours = evaluate_paths(tmp_path, results.parent, criteria)
    _assert_equal(ours, _official(dataset, names, name))

    # Each rule does something here: without it the boxes that count are others.
    for seed in range(3):
        truth, tracks = _kitti_scene(seed)
        counted = evaluate(truth, tracks, criteria).clear
        far = TrackTable(
            truth.frames,
            truth.ids,
            np.where((truth.classes == 9)[:, None], [9e3, 9e3, 5, 5], truth.boxes_ltwh),
            classes=truth.classes,
            flags=truth.flags,
            occlusions=truth.occlusions,
            truncations=truth.truncations,
            class_names=truth.class_names,
        )
        assert evaluate(far, tracks, criteria).clear["CLR_FP"] > counted["CLR_FP"]  # regions
        rows = np.concatenate(prepare(truth, tracks, criteria).track_rows)
        assert (tracks.boxes_ltwh[np.setdiff1d(np.arange(len(tracks)), rows), 3] <= 25).any()  # small boxes
        assert truth.occlusions[np.concatenate(prepare(truth, tracks, criteria).truth_rows)].max() == 2


def test_protocols_refuse_what_they_do_not_score(tmp_path: Path) -> None:
    truth, tracks = _mot_scene(0)
    for protocol in ("mot17", "mot20"):
        with pytest.raises(CriteriaError, match="scores pedestrians alone"):
            Criteria(("3",), protocol=protocol)  # type: ignore[arg-type]
        with pytest.raises(CriteriaError, match=r"^has class 14; protocol mot.. knows the classes 1 to 13$"):
            evaluate(TrackTable([1], [1], [[0, 0, 9, 9]], classes=14), tracks, Criteria(protocol=protocol))  # type: ignore[arg-type]
        with pytest.raises(CriteriaError, match="has rows without a class"):
            evaluate(TrackTable([1], [1], [[0, 0, 9, 9]]), tracks, Criteria(protocol=protocol))  # type: ignore[arg-type]
        with pytest.raises(CriteriaError, match="tracks state other classes"):
            evaluate(truth, TrackTable([1], [1], [[0, 0, 9, 9]], classes=3), Criteria(protocol=protocol))  # type: ignore[arg-type]
    for classes in (("car", "pedestrian"), ("van",), ("3",)):
        with pytest.raises(CriteriaError, match="one class at a time: car or pedestrian"):
            Criteria(classes, protocol="kitti")
    with pytest.raises(CriteriaError, match="needs truth in KITTI's own labels"):
        evaluate(truth, tracks, Criteria(protocol="kitti"))
    for iou in (0.0, -1.0, 1.5, float("nan")):
        with pytest.raises(CriteriaError, match=r"IoU threshold is .*; it must be above 0 and at most 1"):
            Criteria(iou=iou)
    write_table(tmp_path / "gt.txt", truth)
    write_table(tmp_path / "tracks.txt", tracks)
    with pytest.raises(FormatError, match=r"gt.txt: protocol kitti needs truth"):
        evaluate_paths(tmp_path / "gt.txt", tmp_path / "tracks.txt", Criteria(protocol="kitti"))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("iou", [0.3, 0.5, 0.75])
def test_the_matching_is_that_of_clear(seed: int, iou: float) -> None:
    truth, tracks = _mot_scene(seed)
    criteria = Criteria(protocol="mot17", iou=iou)
    prepared = prepare(truth, tracks, criteria)
    pairs = match(prepared, iou)
    clear = evaluate(truth, tracks, criteria).clear
    assert len(pairs.frames) == clear["CLR_TP"]
    assert pairs.switched.sum() == clear["IDSW"] > 0
    assert pairs.ious.sum() == pytest.approx(clear["MOTP_sum"])
    np.testing.assert_array_equal(truth.frames[pairs.truth_rows], pairs.frames)
    np.testing.assert_array_equal(tracks.frames[pairs.track_rows], pairs.frames)
    counted_truth, counted_tracks = np.concatenate(prepared.truth_rows), np.concatenate(prepared.track_rows)
    assert len(np.setdiff1d(counted_truth, pairs.truth_rows)) == clear["CLR_FN"]
    assert len(np.setdiff1d(counted_tracks, pairs.track_rows)) == clear["CLR_FP"]


def test_the_matching_of_nothing_is_empty() -> None:
    nothing = TrackTable([], [], [])
    pairs = match(prepare(nothing, nothing))
    assert len(pairs.frames) == len(pairs.switched) == 0
    assert pairs.switched.dtype == np.bool_


def test_tables_come_back_from_the_folders(tmp_path: Path) -> None:
    truth, _ = _kitti_scene(0)
    write_table(tmp_path / "0000.txt", truth, "kitti")
    (again,) = read_tables(tmp_path / "0000.txt", truth=True).values()
    np.testing.assert_array_equal(again.occlusions, truth.occlusions)
