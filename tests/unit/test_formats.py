"""Formats of tracks: what each holds, how it is recognised, and what each bad element is told."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tracker.config import ScoreScale
from tracker.errors import FormatError, OutputError
from tracker.formats.catalogue import (
    FORMATS,
    format_for_output,
    lost,
    read_recorded,
    read_tables,
    recognise,
    write_table,
)
from tracker.formats.files import write_whole
from tracker.formats.kitti import CLASSES, read_kitti_detections
from tracker.formats.motchallenge import read_detections
from tracker.formats.table import RowError, TrackTable, find_rows
from tracker.geometry import xyxy_to_ltwh
from tracker.structures import Tracks

CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><name>clip</name></task></meta>
  <track id="0" label="car" source="manual">
    <box frame="0" outside="0" occluded="0" keyframe="1" xtl="10.5" ytl="20" xbr="40.5" ybr="60" z_order="0">
      <attribute name="colour">red</attribute>
    </box>
    <box frame="1" outside="0" occluded="1" keyframe="0" xtl="11" ytl="20" xbr="41" ybr="60" z_order="0"></box>
    <box frame="2" outside="1" occluded="0" keyframe="1" xtl="11" ytl="20" xbr="41" ybr="60" z_order="0"></box>
  </track>
  <track id="4" label="dog &amp; cat"><box frame="1" xtl="0" ytl="0" xbr="9" ybr="9"/></track>
</annotations>
"""
KITTI = """0 -1 DontCare -1 -1 -10.0 219.31 188.49 245.50 218.56 -1000 -1000 -1000 -10 -1 -1 -1
0 0 Van 0 2 -1.79 296.74 161.75 455.23 292.37 2.0 1.82 4.43 -4.55 1.86 13.41 -2.12
1 3 Person_sitting 1 0 0.5 10 20 40 80 1 1 1 0 0 9 0
1 4 Horse 0 3 0.5 10 20 40 80 1 1 1 0 0 9 0
"""
COCO: dict[str, Any] = {
    "videos": [{"id": 7, "name": "clip", "width": 640}],
    "images": [{"id": 3, "video_id": 7, "frame_id": 0}, {"id": 4, "video_id": 7, "frame_id": 9}],
    "categories": [{"id": 2, "name": "dog", "supercategory": "animal"}],
    "annotations": [
        {
            "id": 1,
            "image_id": 4,
            "video_id": 7,
            "instance_id": 5,
            "category_id": 2,
            "bbox": [1, 2, 3.5, 4],
            "score": 0.5,
        },
        {"id": 2, "image_id": 3, "video_id": 7, "track_id": 5, "category_id": 2, "bbox": [1, 2, 3, 4], "iscrowd": 1},
    ],
}
CSV = "frame,id,left,top,width,height,score,class,class_name,imputed\n2,1,0.5,0,9,9,,3,car,1\n1,1,0,0,9,9,0.25,,,\n"


def _file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def _full() -> TrackTable:
    """A table that states everything."""
    return TrackTable(
        [1, 1, 4, 3],
        [1, 2, 1, -1],
        [[1, 2, 3, 4.1], [0.1, 0.2, 0.3, 0.7], [-5, 2, 3, 4], [1, 2, 3, 4]],
        [0.5, np.nan, -7.25, 1],
        [1, 3, 1, 9],
        flags=[True, True, True, False],
        imputed=[False, False, True, False],
        visibility=[0.5, np.nan, 1, 0],
        occlusions=[1, 2, -1, 0],
        truncations=[0, 1, -1, 2],
        class_names={1: "Pedestrian", 3: "Car", 9: "DontCare"},
    )


# --- the table -------------------------------------------------------------------------------------------


def test_what_is_left_out_is_not_stated_and_a_single_value_stands_for_all_rows() -> None:
    table = TrackTable([1, 2], [5, 5], [[0, 0, 1, 1]] * 2, classes=3)
    assert np.isnan(table.scores).all()
    assert np.isnan(table.visibility).all()
    assert table.classes.tolist() == [3, 3]
    assert table.flags.tolist() == [True, True]
    assert table.imputed.tolist() == [False, False]
    assert table.occlusions.tolist() == table.truncations.tolist() == [-1, -1]
    assert len(TrackTable([], [], [])) == 0


def test_a_table_is_a_copy_that_cannot_be_changed() -> None:
    frames, names = np.array([1, 2]), {3: "car"}
    table = TrackTable(frames, [5, 5], [[0, 0, 1, 1]] * 2, class_names=names)
    frames[0] = 9
    names[4] = "van"
    assert table.frames.tolist() == [1, 2]
    assert table.class_names == {3: "car"}
    with pytest.raises(ValueError, match="read-only"):
        table.boxes_ltwh[0, 0] = 1


def test_rows_are_selected_from_every_field() -> None:
    table = _full()
    for rows in ([2, 0], np.array([False, True, False, True]), slice(1, None), []):
        chosen = table.select(rows)
        for field in fields(table):
            if field.name != "class_names":
                index = np.asarray(rows, np.intp) if isinstance(rows, list) else rows
                np.testing.assert_array_equal(getattr(chosen, field.name), getattr(table, field.name)[index])
        assert chosen.class_names == table.class_names
    assert table.sorted().ids.tolist() == [1, 2, -1, 1]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"frames": [1, 0]}, "row 1: frame is 0; frames are whole numbers from 1"),
        ({"ids": [1, -2]}, "row 1: id is -2; it is negative only where the flag is 0"),
        ({"frames": [1, 1]}, "row 1: id 1 in frame 1 stands twice, first in row 0"),
        ({"boxes_ltwh": [[0, 0, 1, 1], [0, 0, 1, 0]]}, "row 1: box is 0, 0, 1, 0; width and height must be positive"),
        ({"scores": [1, np.inf]}, "row 1: score is inf; it must be finite"),
        ({"classes": [1, -2]}, "row 1: class is -2; classes are whole numbers from 0, or -1 where not stated"),
        ({"visibility": [1, 1.5]}, "row 1: visibility is 1.5; it is in [0, 1]"),
        ({"occlusions": [3, 4]}, "row 1: occlusion is 4; it is a whole number from 0 to 3, or -1 where not stated"),
        ({"truncations": [2, 3]}, "row 1: truncation is 3; it is a whole number from 0 to 2, or -1 where not stated"),
    ],
)
def test_rows_that_no_table_can_hold_are_named(changed: dict[str, Any], problem: str) -> None:
    good = {"frames": [1, 2], "ids": [1, 1], "boxes_ltwh": [[0, 0, 1, 1]] * 2}
    with pytest.raises(RowError) as caught:
        TrackTable(**{**good, **changed})
    assert str(caught.value) == problem
    assert caught.value.row == 1


def test_reports_of_frames_become_one_table() -> None:
    report = Tracks(
        ids=np.array([7, 9]),
        boxes_xyxy=np.array([[1.0, 2, 4, 6], [5, 6, 6, 8]]),
        scores=np.array([0.5, 0.25]),
        classes=np.array([3, 1]),
        detection_indices=np.array([1, -1]),
        covariances=np.zeros((2, 4, 4)),
        existence=np.ones(2),
        responsibilities=np.ones(2),
        status=np.ones(2, np.int64),
        continuity=np.ones(2),
    )
    table = TrackTable.of_frames({4: report, 5: Tracks.empty(), 2: report.select([1])}, {3: "car"})
    assert table.frames.tolist() == [4, 4, 2]
    assert table.ids.tolist() == [7, 9, 9]
    np.testing.assert_array_equal(table.boxes_ltwh, [[1, 2, 3, 4], [5, 6, 1, 2], [5, 6, 1, 2]])
    assert table.scores.tolist() == [0.5, 0.25, 0.25]
    assert table.classes.tolist() == [3, 1, 1]
    assert table.class_text(3) == "car"
    assert len(TrackTable.of_frames({})) == len(TrackTable.of_frames({1: Tracks.empty()})) == 0


def test_columns_of_another_shape_or_kind_are_refused() -> None:
    with pytest.raises(ValueError, match=r"scores has shape \(3,\); it must be \(2,\)"):
        TrackTable([1, 2], [1, 1], [[0, 0, 1, 1]] * 2, [1, 2, 3])
    with pytest.raises(ValueError, match=r"boxes_ltwh has shape \(2,\)"):
        TrackTable([1, 2], [1, 1], [1, 1])
    with pytest.raises(ValueError, match="classes are float64; they must be integers"):
        TrackTable([1, 2], [1, 1], [[0, 0, 1, 1]] * 2, classes=[1.0, 2.0])


@pytest.mark.parametrize(
    ("names", "classes", "class_names"),
    [
        ({}, [1, 3, 4, -1], {1: "Person", 3: "Car"}),
        ({"car": "vehicle"}, [1, 3, 4, -1], {1: "Person", 3: "vehicle"}),
        ({"CAR": "person"}, [1, 1, 4, -1], {1: "Person"}),
        ({"3": "4"}, [1, 4, 4, -1], {1: "Person"}),
        ({"4": "Car"}, [1, 3, 3, -1], {1: "Person", 3: "Car"}),
        ({"car": "thing", "person": "thing"}, [1, 1, 4, -1], {1: "thing"}),
        ({"person": "car", "car": "person"}, [1, 3, 4, -1], {1: "car", 3: "person"}),
        ({"cow": "car"}, [1, 3, 4, -1], {1: "Person", 3: "Car"}),
    ],
)
def test_classes_are_renamed_all_at_once(
    names: dict[str, str], classes: list[int], class_names: dict[int, str]
) -> None:
    table = TrackTable(
        [1] * 4, range(4), [[0, 0, 1, 1]] * 4, classes=[1, 3, 4, -1], class_names={1: "Person", 3: "Car"}
    )
    renamed = table.renamed(names)
    assert renamed.classes.tolist() == classes
    assert renamed.class_names == class_names


def test_an_error_of_a_file_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(FormatError("a: b.txt", 3, "is wrong")))
    assert (str(error), error.path, error.line) == ("a: b.txt:3: is wrong", Path("a: b.txt"), 3)


# --- what is read ----------------------------------------------------------------------------------------


def test_kitti_labels(tmp_path: Path) -> None:
    path = _file(tmp_path, "0000.txt", KITTI)
    assert recognise(path) == "kitti"
    table = read_tables(path)["0000"]
    assert table.frames.tolist() == [1, 1, 2, 2]
    assert table.ids.tolist() == [-1, 0, 3, 4]
    np.testing.assert_allclose(table.boxes_ltwh[1], [296.74, 161.75, 158.49, 130.62])
    assert table.flags.tolist() == [False, True, True, True]
    assert [table.class_text(label) for label in table.classes.tolist()] == ["DontCare", "Van", "Person", "Horse"]
    assert table.classes.tolist() == [9, 4, 2, 10]
    assert table.occlusions.tolist() == [-1, 2, 0, 3]
    assert table.truncations.tolist() == [-1, 0, 1, 0]
    assert np.isnan(table.scores).all()
    with_scores = "".join(f"{row} 0.{number}\n" for number, row in enumerate(KITTI.splitlines()))
    assert read_tables(_file(tmp_path, "r.txt", with_scores))["r"].scores.tolist() == [0.0, 0.1, 0.2, 0.3]


KITTI_DETECTIONS = """2 -1 Car -1 -1 -10 10 20 40 80 -1 -1 -1 -1000 -1000 -1000 -10 0.75
0 -1 Horse -1 -1 -10 5 6 9 8 -1 -1 -1 -1000 -1000 -1000 -10 1
0 -1 DontCare -1 -1 -10 1 1 9 9 -1 -1 -1 -1000 -1000 -1000 -10 0
2 -1 Pedestrian 0.37 -1 -10 1.5 2 3 4.5 -1 -1 -1 -1000 -1000 -1000 -10 0
"""


def test_detections_as_kitti_labels(tmp_path: Path) -> None:
    detections, names = read_kitti_detections(_file(tmp_path, "0000.txt", KITTI_DETECTIONS))
    assert list(detections) == [1, 3]
    np.testing.assert_array_equal(detections[3].boxes_xyxy, [[10, 20, 40, 80], [1.5, 2, 3, 4.5]])
    assert detections[3].scores.tolist() == [0.75, 0.0]
    assert detections[3].classes.tolist() == [CLASSES["Car"], CLASSES["Pedestrian"]]
    assert detections[1].classes.tolist() == [10]
    # The types of the format are known by name even where none of them is found.
    assert names[10] == "Horse"
    assert names[CLASSES["Cyclist"]] == "Cyclist"
    assert "DontCare" not in names.values()
    # Truth can stand for perfect detections.
    truth, _ = read_kitti_detections(_file(tmp_path, "truth.txt", KITTI))
    assert {frame: (found.scores.tolist(), found.classes.tolist()) for frame, found in truth.items()} == {
        1: ([1.0], [4]),
        2: ([1.0, 1.0], [2, 10]),
    }


def test_a_file_of_detections_is_recognised(tmp_path: Path) -> None:
    assert read_recorded(_file(tmp_path, "k.txt", KITTI_DETECTIONS))[1][10] == "Horse"  # type: ignore[index]
    for number, (row, names) in enumerate([("1,-1,0,0,9,9,0.5", None), ("1,-1,0,0,9,9,0.5,3,-1,-1", {})]):
        detections, told = read_recorded(_file(tmp_path, f"{number}.det", f"\n{row}\n"))
        assert (told, detections[1].classes.tolist()) == (names, [0 if names is None else 3])
    assert read_recorded(_file(tmp_path, "empty.txt", "")) == ({}, None)


def test_real_detections_are_the_same_as_kitti_labels(data_root: Path, tmp_path: Path) -> None:
    real = read_detections(data_root / "KITTI" / "car-0000" / "det" / "det.txt")
    rows = [
        f"{frame - 1} -1 Car -1 -1 -10 {' '.join(map(repr, box))} -1 -1 -1 -1000 -1000 -1000 -10 {score!r}\n"
        for frame, found in real.items()
        for box, score in zip(found.boxes_xyxy.tolist(), found.scores.tolist(), strict=True)
    ]
    again, _ = read_kitti_detections(_file(tmp_path, "0000.txt", "".join(rows)))
    assert list(again) == list(real)
    for frame, found in real.items():
        np.testing.assert_allclose(xyxy_to_ltwh(again[frame].boxes_xyxy), xyxy_to_ltwh(found.boxes_xyxy), atol=1e-9)
        assert again[frame].scores.tolist() == found.scores.tolist()
        assert set(again[frame].classes.tolist()) == {CLASSES["Car"]}


def test_labels_without_a_name_come_back_unless_a_name_holds_them(tmp_path: Path) -> None:
    path = tmp_path / "k.txt"
    for names, labels in (({}, [4, 7, -1]), ({7: "Van"}, [10, 4, -1])):
        table = TrackTable([1] * 3, [1, 2, 3], [[0, 0, 9, 9]] * 3, classes=[4, 7, -1], class_names=names)
        write_table(path, table, "kitti")
        again = read_tables(path)["k"]
        assert again.classes.tolist() == labels
        assert [again.class_text(label) for label in labels] == ["class_4", names.get(7, "class_7"), "object"]


def test_cvat_tracks(tmp_path: Path) -> None:
    table = read_tables(_file(tmp_path, "clip.xml", CVAT))["clip"]
    assert table.frames.tolist() == [1, 2, 2]
    assert table.ids.tolist() == [0, 0, 4]
    np.testing.assert_array_equal(table.boxes_ltwh, [[10.5, 20, 30, 40], [11, 20, 30, 40], [0, 0, 9, 9]])
    assert table.imputed.tolist() == [False, True, False]
    assert table.occlusions.tolist() == [0, 1, 0]
    assert [table.class_text(label) for label in table.classes.tolist()] == ["car", "car", "dog & cat"]


def test_cvat_is_told_where_a_track_pauses_and_ends(tmp_path: Path) -> None:
    table = TrackTable([2, 3, 6], [1, 1, 1], [[0, 0, 9, 9]] * 3)
    write_table(tmp_path / "a.xml", table)
    boxes = [line.split('"') for line in (tmp_path / "a.xml").read_text().splitlines() if "<box" in line]
    assert [(int(box[1]), box[5]) for box in boxes] == [(1, "0"), (2, "0"), (3, "1"), (5, "0"), (6, "1")]


def test_coco_videos(tmp_path: Path) -> None:
    table = read_tables(_file(tmp_path, "any.json", json.dumps(COCO)))["clip"]
    assert table.frames.tolist() == [10, 1]
    assert table.ids.tolist() == [5, 5]
    np.testing.assert_array_equal(table.boxes_ltwh, [[1, 2, 3.5, 4], [1, 2, 3, 4]])
    np.testing.assert_array_equal(table.scores, [0.5, np.nan])
    assert table.flags.tolist() == [True, False]
    assert table.class_names == {2: "dog"}
    without = {**COCO, "images": [{"id": 3, "frame_index": 0}, {"id": 4, "frame_index": 9}], "videos": []}
    assert read_tables(_file(tmp_path, "any.json", json.dumps(without)))["any"].frames.tolist() == [10, 1]


def test_csv_with_a_header(tmp_path: Path) -> None:
    for name in ("a.csv", "a.txt"):
        path = _file(tmp_path, name, CSV)
        assert recognise(path) == "csv"
        table = read_tables(path)["a"]
        assert table.frames.tolist() == [2, 1]
        np.testing.assert_array_equal(table.boxes_ltwh, [[0.5, 0, 9, 9], [0, 0, 9, 9]])
        np.testing.assert_array_equal(table.scores, [np.nan, 0.25])
        assert table.classes.tolist() == [3, -1]
        assert table.imputed.tolist() == [True, False]
        assert table.class_names == {3: "car"}


@pytest.mark.parametrize(
    ("tails", "classes"),
    [
        ([",3,-1,-1", ",0,-1,-1"], [3, 0]),
        ([",3,-1,-1", ",-1,-1,-1"], [3, -1]),
        (["", ""], [-1, -1]),
        ([",1.5,2,0", ",-7,2,0"], [-1, -1]),
        ([",nan,2,0", ",1,2,0"], [-1, -1]),
    ],
)
def test_classes_of_mot_challenge_tracks(tmp_path: Path, tails: list[str], classes: list[int]) -> None:
    path = _file(tmp_path, "a.txt", "".join(f"{n},1,0,0,9,9,1{tail}\n" for n, tail in enumerate(tails, 1)))
    assert read_tables(path, "mot")["a"].classes.tolist() == classes


@pytest.mark.parametrize(
    ("name", "text", "truth", "kind"),
    [
        ("a.txt", "1,1,0,0,9,9,1,-1,-1,-1\n", None, "mot"),
        ("a.csv", "\n1,1,0,0,9,9,1\n", None, "mot"),
        ("a.txt", "1,1,0,0,9,9,1,1,1\n", None, "mot-truth"),
        ("a.txt", "1,1,0,0,9,9,1,1,1\n", False, "mot"),
        ("gt.txt", "1,1,0,0,9,9,1\n", None, "mot-truth"),
        ("a.txt", "1,1,0,0,9,9,1,-1,-1,-1\n", True, "mot-truth"),
        ("a.txt", "", None, "mot"),
        ("a.XML", "", None, "cvat"),
    ],
)
def test_a_format_is_recognised(tmp_path: Path, name: str, text: str, truth: bool | None, kind: str) -> None:
    assert recognise(_file(tmp_path, name, text), truth) == kind


def test_unknown_formats_and_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"a.yaml: is of no known format; known are mot, mot-truth, kitti, coco"):
        recognise(_file(tmp_path, "a.yaml", "x: 1"))
    with pytest.raises(FormatError, match=r"none.txt: cannot be read: no such file or directory$"):
        recognise(tmp_path / "none.txt")
    with pytest.raises(OutputError, match=r"a.yaml: its suffix names no format; use .txt, .json, .xml, .csv, .parq"):
        format_for_output(tmp_path / "a.yaml")
    for kind in FORMATS:
        with pytest.raises(FormatError, match=r"none: cannot be read: no such file or directory$"):
            read_tables(tmp_path / "none", kind)
        with pytest.raises(FormatError, match=r"cannot be read: is a directory$"):
            read_tables(tmp_path, kind)


# --- what is lost ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "phrases"),
    [
        (
            "mot",
            "imputed marks (1 row); visible shares (3 rows); occlusion levels (2 rows); truncation levels (2 rows); "
            "missing scores (1 row, written as -1); rows to be ignored (1, left out); "
            "names of classes (1 is Pedestrian, 3 is Car, 9 is DontCare)",
        ),
        (
            "mot-truth",
            "scores (3 rows); imputed marks (1 row); occlusion levels (2 rows); truncation levels (2 rows); "
            "names of classes (1 is Pedestrian, 3 is Car, 9 is DontCare)",
        ),
        ("kitti", "imputed marks (1 row); visible shares (3 rows); missing scores (1 row, written as -1)"),
        (
            "cvat",
            "scores (3 rows); visible shares (3 rows); truncation levels (2 rows); rows to be ignored (1, left out); "
            "occlusion levels above 1 (1 row)",
        ),
        ("coco", ""),
        ("csv", ""),
        ("parquet", ""),
    ],
)
def test_what_a_format_cannot_hold_is_told(tmp_path: Path, kind: str, phrases: str) -> None:
    assert "; ".join(lost(_full(), kind)) == phrases
    assert write_table(tmp_path / "file", _full(), kind) == lost(_full(), kind)
    bare = TrackTable([1], [1], [[0, 0, 9, 9]], [0.5] if kind == "mot" else None)
    assert lost(bare, kind) == []


def test_cvat_and_kitti_tell_what_classes_they_lose() -> None:
    mixed = TrackTable([1, 2, 1], [1, 1, 2], [[0, 0, 9, 9]] * 3, classes=[1, 2, 2])
    assert lost(mixed, "cvat") == ["changes of class along a track (1 track, the first class stands)"]
    ignored = TrackTable([1], [1], [[0, 0, 9, 9]], classes=4, flags=False, class_names={4: "Van"})
    assert lost(ignored, "kitti") == ["classes of rows to be ignored (1, written as DontCare)"]


def test_tables_that_a_format_cannot_hold_at_all_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    blank = TrackTable([1], [1], [[0, 0, 9, 9]], classes=1, class_names={1: "traffic light"})
    with pytest.raises(OutputError, match=r"k.txt: class 1 is called 'traffic light'; KITTI separates columns by"):
        write_table(tmp_path / "k.txt", blank, "kitti")
    partly = TrackTable([1, 2], [1, 1], [[0, 0, 9, 9]] * 2, classes=[1, -1])
    with pytest.raises(
        OutputError, match=r"gt.txt: MOTChallenge truth states a class in all rows.* id 1 in frame 2 has"
    ):
        write_table(tmp_path / "gt.txt", partly)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"none/a.csv: cannot be written: no such file or directory$"):
        write_whole(tmp_path / "none" / "a.csv", b"")
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(OutputError, match=r"a.csv: cannot be written: is a directory$"):
        write_table(tmp_path / "a.csv", _full())
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert list((tmp_path / "a.csv").iterdir()) == []


# --- bad files -------------------------------------------------------------------------------------------


def _problem(path: Path, kind: str | None = None) -> str:
    with pytest.raises(FormatError) as caught:
        read_tables(path, kind)
    return str(caught.value).removeprefix(str(path))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("0 1 Car 0 0 0 1 2 3", "has 9 columns; it must have 17 or 18: frame id type truncated"),
        ("0 1 Car 0 0 0 1 2 3 4 0 0 0 0 0 0 0 1", "has 18 columns; line 1 has 17"),
        ("0 1 Car 0 0 0 1 2 x 4 0 0 0 0 0 0 0", "column 9 is 'x'; it must be a number"),
        ("-1 1 Car 0 0 0 1 2 3 4 0 0 0 0 0 0 0", "frame is -1; frames are whole numbers from 0"),
        ("0.5 1 Car 0 0 0 1 2 3 4 0 0 0 0 0 0 0", "frame is 0.5; frames are whole numbers from 0"),
        ("0 1.5 Car 0 0 0 1 2 3 4 0 0 0 0 0 0 0", "id is 1.5; it must be a whole number"),
        ("0 1 Car 0.3 0 0 1 2 3 4 0 0 0 0 0 0 0", "truncated is 0.3; it must be a whole number"),
        ("0 1 Car 0 nan 0 1 2 3 4 0 0 0 0 0 0 0", "occluded is nan; it must be a whole number"),
        ("0 1 Car 0 7 0 1 2 3 4 0 0 0 0 0 0 0", "occlusion is 7; it is a whole number from 0 to 3"),
        ("0 1 Car 0 0 0 3 2 1 4 0 0 0 0 0 0 0", "box is 3, 2, -2, 2; width and height must be positive"),
        ("0 0 Car 0 0 0 1 2 3 4 0 0 0 0 0 0 0", "id 0 in frame 1 stands twice, first in line 2"),
    ],
)
def test_bad_rows_of_kitti(tmp_path: Path, row: str, problem: str) -> None:
    path = _file(tmp_path, "a.txt", KITTI + "\n" + row + "\n")
    assert _problem(path).startswith(f":6: {problem}")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("0 1 Car 0 0 0 3 2 1 4 0 0 0 0 0 0 0 0.5", "box is 3, 2, -2, 2; width and height must be positive"),
        (
            "0 1 Car 0 0 0 1 2 3 4 0 0 0 0 0 0 0 1.5",
            "score is 1.5; a score is in [0, 1]; detection.recorded.score_scale=percent or logit reads others",
        ),
        ("-1 1 Car 0 0 0 1 2 3 4 0 0 0 0 0 0 0 1", "frame is -1; frames are whole numbers from 0"),
        ("0 1 Car 0 0 0 1 2 3 4 0 0 0 0 0 0 0", "has 17 columns; line 1 has 18"),
    ],
)
def test_bad_rows_of_detections_as_kitti_labels(tmp_path: Path, row: str, problem: str) -> None:
    path = _file(tmp_path, "a.txt", KITTI_DETECTIONS + row + "\n")
    with pytest.raises(FormatError) as caught:
        read_recorded(path)
    assert str(caught.value) == f"{path}:5: {problem}"


MOT_ROW = "1,-1,1,2,3,4,{}\n"
KITTI_ROW = "0 1 Car 0 0 0 1 2 3 4 0 0 0 0 0 0 0 {}\n"


@pytest.mark.parametrize("row", [MOT_ROW, KITTI_ROW])
@pytest.mark.parametrize(
    ("scale", "stated", "scores"),
    [
        ("unit", ["0", "0.87", "1"], [0.0, 0.87, 1.0]),
        ("percent", ["0", "87", "100"], [0.0, 0.87, 1.0]),
        # Log odds of log 3 are 3 to 1; those of 1000 are as sure as can be, and overflow nowhere.
        ("logit", ["0", str(np.log(3.0)), str(-np.log(3.0)), "1000", "-1000"], [0.5, 0.75, 0.25, 1.0, 0.0]),
    ],
)
def test_scores_of_detections_are_brought_to_0_to_1(
    tmp_path: Path, row: str, scale: ScoreScale, stated: list[str], scores: list[float]
) -> None:
    path = _file(tmp_path, "a.txt", "".join(map(row.format, stated)))
    with np.errstate(all="raise"):
        found = read_recorded(path, scale)[0][1]
    np.testing.assert_allclose(found.scores, scores, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("row", [MOT_ROW, KITTI_ROW])
@pytest.mark.parametrize(
    ("scale", "score", "problem"),
    [
        (
            "unit",
            "87",
            "score is 87; a score is in [0, 1]; detection.recorded.score_scale=percent or logit reads others",
        ),
        (
            "percent",
            "100.5",
            "score is 100.5; a score in percent is in [0, 100]; detection.recorded.score_scale=logit reads others",
        ),
        (
            "percent",
            "-1",
            "score is -1; a score in percent is in [0, 100]; detection.recorded.score_scale=logit reads others",
        ),
        ("percent", "inf", "score is inf; it must be finite"),
        ("logit", "nan", "score is nan; it must be finite"),
        ("logit", "-inf", "score is -inf; it must be finite"),
    ],
)
def test_scores_that_are_not_of_the_scale(
    tmp_path: Path, row: str, scale: ScoreScale, score: str, problem: str
) -> None:
    path = _file(tmp_path, "a.txt", row.format(1) + row.format(score))
    with pytest.raises(FormatError) as caught:
        read_recorded(path, scale)
    assert str(caught.value) == f"{path}:2: {problem}"


@pytest.mark.parametrize("row", [MOT_ROW, KITTI_ROW])
def test_shares_of_1_are_not_percent(tmp_path: Path, row: str) -> None:
    path = _file(tmp_path, "a.txt", row.format(0.9) + row.format(1))
    with pytest.raises(FormatError) as caught:
        read_recorded(path, "percent")
    problem = "score is 0.9, and none exceeds 1: these are not percent; detection.recorded.score_scale=unit reads them"
    assert str(caught.value) == f"{path}:1: {problem}"


@pytest.mark.parametrize(
    ("old", "new", "line", "problem"),
    [
        ("</annotations>", "", 14, "is not XML: no element found"),
        ("<annotations>", "<dataset>", 2, "the top element is 'dataset'; CVAT for video begins with annotations"),
        ("<track id", "<image/><track id", 5, "element image belongs to CVAT for images; export the task as"),
        ('<track id="0"', "<track", 5, "track has no attribute id"),
        ('id="4"', 'id="0"', 12, "track 0 stands twice, first in line 5"),
        ('id="4"', 'id="-4"', 12, "id is -4; it must be a whole number from 0"),
        (' label="car"', "", 5, "track has no attribute label"),
        ('frame="0"', 'frame="first"', 6, "frame is 'first'; it must be a number"),
        ('frame="0"', 'frame="1"', 9, "id 0 in frame 2 stands twice, first in line 6"),
        (
            'xtl="10.5"',
            'xtl="nan"',
            6,
            "box is nan, 20, nan, 40; left, top, width and height must be finite, at most 1e+09 px",
        ),
        ('xtl="10.5"', "", 6, "box has no attribute xtl"),
        ('xtl="10.5"', 'xtl="40.5"', 6, "box is 40.5, 20, 0, 40; width and height must be positive"),
        ('outside="0"', 'outside="maybe"', 6, "outside is 'maybe'; it must be 0 or 1"),
        ("</track>", "<polygon/></track>", 11, "track 0 has a polygon; only boxes can be read"),
    ],
)
def test_bad_elements_of_cvat(tmp_path: Path, old: str, new: str, line: int, problem: str) -> None:
    path = _file(tmp_path, "a.xml", CVAT.replace(old, new, 1))
    assert _problem(path).startswith(f":{line}: {problem}")


def test_cvat_declares_no_entities(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]><annotations>&y;</annotations>'
    assert _problem(_file(tmp_path, "a.xml", bomb)) == ":1: declares an entity; CVAT writes none"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda tree: tree.pop("images"), "is not COCO for video; the top is an object with images and annotations"),
        (lambda tree: tree.update(videos=3), "videos: must be a list"),
        (lambda tree: tree["videos"].append({"id": 8, "name": "clip"}), "videos: two have the same name"),
        (lambda tree: tree["images"].append(3), "images[2]: is 3; it must be an object"),
        (lambda tree: tree["images"][1].pop("frame_id"), "images[1]: has no frame_id or frame_index"),
        (lambda tree: tree["images"][1].update(frame_id=-1), "annotations[0]: frame is 0; frames are whole numbers"),
        (lambda tree: tree["images"][1].update(video_id=1), "images[1]: video_id is 1; no video has that id"),
        (lambda tree: tree["images"][1].update(id=3), "images[1]: id 3 stands twice"),
        (lambda tree: tree["annotations"][0].pop("instance_id"), "annotations[0]: has no track_id or instance_id"),
        (lambda tree: tree["annotations"][0].update(image_id=1), "annotations[0]: image_id is 1; no image has that"),
        (lambda tree: tree["annotations"][0].update(category_id=1), "annotations[0]: category_id is 1; no category"),
        (
            lambda tree: tree["annotations"][0].update(track_id=1.5),
            "annotations[0]: track_id is 1.5; it must be a whole",
        ),
        (lambda tree: tree["annotations"][0].update(track_id=True), "annotations[0]: track_id is True; it must be a"),
        (
            lambda tree: tree["annotations"][0].update(bbox=[1, 2, 3]),
            "annotations[0]: bbox is [1, 2, 3]; it must be the",
        ),
        (lambda tree: tree["annotations"][0].update(bbox=[1, 2, 3, 0]), "annotations[0]: box is 1, 2, 3, 0; width and"),
        (lambda tree: tree["annotations"][0].update(score="high"), "annotations[0]: score is 'high'; it must be a num"),
        (lambda tree: tree["annotations"][0].update(score=float("nan")), "annotations[0]: score is nan; it must be"),
        (lambda tree: tree["annotations"][1].update(iscrowd=2), "annotations[1]: iscrowd is 2; it must be 0 or 1"),
        (
            lambda tree: tree["annotations"].append(tree["annotations"][0]),
            "annotations[2]: id 5 in frame 10 stands twice, first in annotations[0]",
        ),
        (lambda tree: tree["categories"][0].update(name=None), "categories[0]: name is None; it must be text"),
    ],
)
def test_bad_elements_of_coco(tmp_path: Path, change: Any, problem: str) -> None:
    tree = json.loads(json.dumps(COCO))
    change(tree)
    assert _problem(_file(tmp_path, "a.json", json.dumps(tree))).startswith(f": {problem}")


def test_json_that_is_none(tmp_path: Path) -> None:
    assert _problem(_file(tmp_path, "a.json", '{"images": [\n}')) == ":2: is not JSON: Expecting value in column 1"
    deep = "[" * 200_000
    assert _problem(_file(tmp_path, "a.json", deep)).startswith(": is not JSON that can be read: ")
    assert _problem(_file(tmp_path, "a.json", "9" * 5000)).startswith(": is not JSON that can be read: ")


@pytest.mark.parametrize(
    ("old", "new", "place", "problem"),
    [
        ("imputed", "imputet", ":1", "column 'imputet' is unknown; did you mean imputed?"),
        ("imputed", "colour", ":1", "column 'colour' is unknown; known are frame, id, left, top"),
        ("imputed", "score", ":1", "column score stands twice"),
        ("frame,id", "id,flag", ":1", "has no column frame; needed are frame, id, left, top, width, height"),
        (",,3,car,1", ",,3,car", ":2", "has 9 columns; the header has 10"),
        ("2,1,0.5", "two,1,0.5", ":2", "frame is 'two'; it must be a number"),
        ("2,1,0.5", "2.5,1,0.5", ":2", "frame is 2.5; it must be a whole number"),
        ("2,1,0.5", ",1,0.5", ":2", "frame is empty; it must be a number"),
        ("2,1,0.5", "0,1,0.5", ":2", "frame is 0; frames are whole numbers from 1"),
        ("2,1,0.5", "1,1,0.5", ":3", "id 1 in frame 1 stands twice, first in line 2"),
        (",3,car,1", ",3,car,2", ":2", "imputed is 2; it must be 0 or 1"),
        (",3,car,1", ",,car,1", ":2", "class_name is 'car', but class is not stated"),
        ("0.25,,,", "0.25,3,cat,", ":3", "class 3 is called 'cat', earlier 'car'"),
        ("car", '"car', ":3", "is not CSV: unexpected end of data"),
        (CSV, "", "", "is empty; its first line must name columns: frame,id,left,top,width,height"),
    ],
)
def test_bad_rows_of_csv(tmp_path: Path, old: str, new: str, place: str, problem: str) -> None:
    path = _file(tmp_path, "a.csv", CSV.replace(old, new, 1))
    assert _problem(path, "csv").startswith(f"{place}: {problem}")


def test_bad_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    path.write_bytes(b"not at all")
    assert _problem(path) == ": is not a Parquet file, or a damaged one"
    columns: dict[str, Any] = {name: [1.0, 2.0] for name in ("frame", "id", "left", "top", "width", "height")}
    pq.write_table(pa.table(columns), path)
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\xff" * 40 + content[44:])
    assert _problem(path) == ": cannot be read: it is damaged"
    pq.write_table(pa.table({**columns, "height": ["tall", "short"]}), path)
    assert _problem(path) == ": row 1: height is 'tall'; it must be a number"
    pq.write_table(pa.table({**columns, "width": [1, None]}), path)
    assert _problem(path) == ": row 2: width is empty; it must be a number"
    pq.write_table(pa.table({**columns, "hight": [1, 1]}), path)
    assert _problem(path) == ": column 'hight' is unknown; did you mean height?"
    pq.write_table(pa.table({**columns, "frame": [1, 1], "id": [1, 1]}), path)
    assert _problem(path) == ": row 2: id 1 in frame 1 stands twice, first in row 1"


def test_parquet_without_pyarrow_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    needs = "Parquet needs pyarrow, which is not installed: pip install pyarrow"
    with pytest.raises(FormatError, match=needs):
        write_table(tmp_path / "a.parquet", _full())
    assert list(tmp_path.iterdir()) == []
    path = _file(tmp_path, "a.parquet", "")
    with pytest.raises(FormatError, match=needs):
        read_tables(path)


def test_other_libraries_are_loaded_when_asked_for() -> None:
    code = (
        "import sys, tracker.formats.catalogue, tracker.formats.interop\n"
        "print({'pyarrow', 'pandas', 'supervision', 'scipy', 'cv2'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_rows_are_found_by_frame_and_identity() -> None:
    frames, ids = np.array([1, 2, 2, 7]), np.array([5, 5, 6, 5])
    rows = find_rows(frames, ids, np.array([2, 1, 2, 2]), np.array([6, 5, 7, 6]))
    np.testing.assert_array_equal(rows, [1, -1, 3, -1])
    none = np.zeros(0, np.int64)
    np.testing.assert_array_equal(find_rows(frames, ids, none, none), [-1] * 4)
    assert find_rows(none, none, frames, ids).shape == (0,)
