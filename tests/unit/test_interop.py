"""Detections and tracks as other libraries know them, and back."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
import supervision as sv

from tracker.formats.interop import (
    detections_from_pandas,
    detections_from_supervision,
    table_from_pandas,
    to_pandas,
    to_supervision,
    tracks_from_pandas,
    tracks_from_supervision,
)
from tracker.formats.table import TrackTable
from tracker.structures import Detections, Status, Tracks

BOXES = [[1.25, 2, 11, 22], [5, 6, 7.5, 8]]


def _detections() -> Detections:
    return Detections(BOXES, [0.5, 0.25], [3, 1])


def _tracks() -> Tracks:
    rng = np.random.default_rng(0)
    return Tracks(
        ids=np.array([7, 9]),
        boxes_xyxy=np.array(BOXES),
        scores=np.array([0.5, 0.25]),
        classes=np.array([3, 1]),
        detection_indices=np.array([1, -1]),
        covariances=rng.random((2, 4, 4)),
        existence=np.array([0.9, 0.8]),
        responsibilities=np.array([0.7, 0.0]),
        status=np.array([Status.CONFIRMED, Status.COASTING], np.int64),
        continuity=np.array([0.9, 0.8]),
    )


def _table() -> TrackTable:
    return TrackTable(
        [1, 3],
        [7, 7],
        [[1, 2, 3.5, 4], [5, 6, 7, 8]],
        [0.5, np.nan],
        [3, -1],
        flags=[True, False],
        imputed=[False, True],
        visibility=[0.5, np.nan],
        occlusions=[2, -1],
        truncations=[0, -1],
        class_names={3: "car"},
    )


def _assert_equal(one: object, two: object) -> None:
    assert type(one) is type(two)
    for field in fields(one):  # type: ignore[arg-type]
        np.testing.assert_array_equal(getattr(one, field.name), getattr(two, field.name), field.name)


def test_detections_go_to_supervision_and_come_back() -> None:
    there = to_supervision(_detections())
    assert isinstance(there, sv.Detections)
    np.testing.assert_array_equal(there.xyxy, BOXES)
    np.testing.assert_array_equal(there.confidence, [0.5, 0.25])
    np.testing.assert_array_equal(there.class_id, [3, 1])
    assert there.tracker_id is None
    _assert_equal(detections_from_supervision(there), _detections())
    _assert_equal(detections_from_supervision(to_supervision(Detections.empty())), Detections.empty())
    _assert_equal(detections_from_supervision(sv.Detections.empty()), Detections.empty())


def test_tracks_go_to_supervision_and_come_back_whole() -> None:
    there = to_supervision(_tracks())
    np.testing.assert_array_equal(there.tracker_id, [7, 9])
    _assert_equal(tracks_from_supervision(there), _tracks())
    _assert_equal(tracks_from_supervision(there[[1]]), _tracks().select([1]))  # supervision selects rows of data too
    _assert_equal(tracks_from_supervision(to_supervision(Tracks.empty())), Tracks.empty())
    assert len(tracks_from_supervision(sv.Detections.empty())) == 0


def test_boxes_of_others_become_sure_tracks_of_which_little_is_known() -> None:
    foreign = sv.Detections(np.array(BOXES, np.float32), tracker_id=np.array([4, 2]))
    tracks = tracks_from_supervision(foreign)
    assert tracks.ids.tolist() == [4, 2]
    assert tracks.scores.tolist() == tracks.existence.tolist() == [1, 1]
    assert tracks.status.tolist() == [Status.CONFIRMED] * 2
    assert tracks.detection_indices.tolist() == [-1, -1]
    with pytest.raises(ValueError, match="the boxes have no tracker_id"):
        tracks_from_supervision(sv.Detections(np.array(BOXES)))
    with pytest.raises(ValueError, match="boxes_xyxy row 0"):
        detections_from_supervision(sv.Detections(np.zeros((1, 4))))


def test_what_others_change_does_not_reach_ours() -> None:
    detections = _detections()
    to_supervision(detections).xyxy[0, 0] = 99
    frame = to_pandas(detections)
    frame.loc[0, "left"] = 99
    assert detections.boxes_xyxy[0, 0] == 1.25


def test_detections_go_to_pandas_and_come_back() -> None:
    frame = to_pandas(_detections())
    assert list(frame.columns[:6]) == ["left", "top", "right", "bottom", "scores", "classes"]
    _assert_equal(detections_from_pandas(frame), _detections())
    plain = detections_from_pandas(frame[["left", "top", "right", "bottom"]])
    assert plain.scores.tolist() == [1, 1]
    with pytest.raises(ValueError, match="the data frame has no column left, bottom"):
        detections_from_pandas(frame.drop(columns=["left", "bottom"]))


def test_tracks_go_to_pandas_and_come_back_without_their_covariances() -> None:
    frame = to_pandas(_tracks())
    assert frame.loc[1, ["ids", "left", "detection_indices"]].tolist() == [9, 5, -1]
    assert "covariances" not in frame
    _assert_equal(tracks_from_pandas(frame), replace(_tracks(), covariances=np.zeros((2, 4, 4))))
    plain = tracks_from_pandas(frame[["ids", "left", "top", "right", "bottom"]])
    assert plain.existence.tolist() == [1, 1]
    _assert_equal(tracks_from_pandas(to_pandas(Tracks.empty())), Tracks.empty())
    with pytest.raises(ValueError, match="the data frame has no column ids"):
        tracks_from_pandas(frame.drop(columns="ids"))


def test_tables_go_to_pandas_and_come_back() -> None:
    frame = to_pandas(_table())
    assert frame["class_name"].tolist()[0] == "car"
    assert pd.isna(frame["class_name"].tolist()[1])
    _assert_equal(table_from_pandas(frame), _table())
    few = table_from_pandas(frame[["frames", "ids", "left", "top", "width", "height"]])
    assert np.isnan(few.scores).all()
    _assert_equal(table_from_pandas(to_pandas(TrackTable([], [], []))), TrackTable([], [], []))
    with pytest.raises(ValueError, match="the data frame has no column ids"):
        table_from_pandas(frame.drop(columns="ids"))
