"""Recorded detections are looked up by frame."""

from __future__ import annotations

from tracker.detection.recorded import RecordedDetector
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
