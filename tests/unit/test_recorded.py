"""Recorded detections are looked up by frame."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracker.config import RecordedConfig
from tracker.detection.recorded import RecordedDetector
from tracker.errors import ConfigurationError
from tracker.structures import Detections


def test_lookup_by_frame_index() -> None:
    first, third = Detections([[0, 0, 1, 1]]), Detections([[0, 0, 2, 2], [3, 3, 4, 4]])
    detector = RecordedDetector({1: first, 3: third})
    assert detector.at(1) is first
    assert detector.at(3) is third


def test_frames_without_detections_are_empty() -> None:
    detector = RecordedDetector({1: Detections([[0, 0, 1, 1]])})
    assert [len(detector.at(index)) for index in (0, 2, 1_000_000)] == [0, 0, 0]


def test_later_changes_of_the_mapping_do_not_reach_the_detector() -> None:
    table = {1: Detections([[0, 0, 1, 1]])}
    detector = RecordedDetector(table)
    table.clear()
    assert len(detector.at(1)) == 1


MIXED = {2: Detections([[0, 0, 1, 1], [3, 3, 4, 4], [5, 5, 6, 6]], [0.1, 0.2, 0.3], [0, 2, 0])}


def choosing(*classes: str, names: dict[int, str] | None = None) -> RecordedConfig:
    return RecordedConfig(classes=classes, class_names=names or {})


@pytest.mark.parametrize(
    ("config", "scores"),
    [
        (choosing(), [0.1, 0.2, 0.3]),
        (choosing("0"), [0.1, 0.3]),
        (choosing("car", names={0: "person", 2: "car"}), [0.2]),
        (choosing("7"), []),
    ],
)
def test_classes_are_chosen(config: RecordedConfig, scores: list[float]) -> None:
    assert RecordedDetector(MIXED, config).at(2).scores.tolist() == scores


def test_all_frames_at_once_are_those_of_the_classes_chosen() -> None:
    every = RecordedDetector(MIXED | {5: Detections([[0, 0, 1, 1]], [0.4], [2])}, choosing("0")).every()
    assert {frame: rows.scores.tolist() for frame, rows in every.items()} == {2: [0.1, 0.3], 5: []}


def test_scores_of_a_file_are_of_the_scale_that_is_stated(tmp_path: Path) -> None:
    path = tmp_path / "det.txt"
    path.write_text("1,-1,0,0,1,1,87\n")
    assert RecordedDetector(path, RecordedConfig(score_scale="percent")).at(1).scores.tolist() == [0.87]
    given = RecordedDetector(MIXED, RecordedConfig(score_scale="percent"))  # never out of [0, 1] in the first place
    assert given.at(2) is MIXED[2]


def test_names_are_those_of_the_file_unless_stated(tmp_path: Path) -> None:
    kitti = tmp_path / "kitti.txt"
    kitti.write_text("1 -1 Car -1 -1 -10 0 0 1 1 -1 -1 -1 -1000 -1000 -1000 -10 1\n")
    named = RecordedDetector(kitti, choosing("CAR"))
    assert (named.class_names, named.last_frame, len(named.at(2))) == ({3: "Car"}, 2, 1)
    assert RecordedDetector(kitti, choosing(names={3: "auto"})).class_names == {3: "auto"}
    assert RecordedDetector(MIXED).class_names == {}
    assert RecordedDetector({1: Detections([[0, 0, 1, 1]])}).class_names is None
    assert RecordedDetector({}).last_frame == 0


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (
            choosing("car"),
            "classes: detections does not name its classes; give numbers, or detection.recorded.class",
        ),
        (
            choosing("cat", names={2: "car"}),
            "classes: detections has no class cat; did you mean car?",
        ),
    ],
)
def test_classes_that_are_not_there_are_told(config: RecordedConfig, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RecordedDetector(MIXED, config)
    assert str(caught.value).startswith(f"detection.recorded.{problem}")
