"""MOTChallenge text: what is read, what is written, and what each bad row is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tracker.errors import FormatError
from tracker.formats.motchallenge import (
    SequenceInfo,
    find_sequence_info,
    format_rows,
    read_camera_motion,
    read_detections,
    read_sequence_info,
    read_tracks,
    read_truth,
)
from tracker.structures import Tracks

GOOD = "1,-1,10,20,30,40,0.5\n"


def _file(folder: Path, text: str, name: str = "rows.txt") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def _tracks(ids: list[int], boxes_xyxy: list[list[float]], scores: list[float]) -> Tracks:
    n = len(ids)
    labels = np.zeros(n, np.int64)
    return Tracks(
        ids=np.array(ids, np.int64),
        boxes_xyxy=np.array(boxes_xyxy, np.float64).reshape(n, 4),
        scores=np.array(scores, np.float64),
        classes=labels,
        detection_indices=labels,
        covariances=np.zeros((n, 4, 4)),
        existence=np.ones(n),
        responsibilities=np.ones(n),
        status=labels,
        continuity=np.ones(n),
    )


# --- detections ------------------------------------------------------------------------------------------


def test_detections_keep_the_order_of_rows_within_each_frame(tmp_path: Path) -> None:
    text = "3,-1,1,2,3,4,0.9\n1,-1,5,6,7,8,0.2\n3,-1,9,10,11,12,0.1\n"
    read = read_detections(_file(tmp_path, text))
    assert list(read) == [1, 3]
    np.testing.assert_array_equal(read[1].boxes_xyxy, [[5, 6, 12, 14]])
    np.testing.assert_array_equal(read[3].boxes_xyxy, [[1, 2, 4, 6], [9, 10, 20, 22]])
    np.testing.assert_array_equal(read[3].scores, [0.9, 0.1])
    np.testing.assert_array_equal(read[3].classes, [0, 0])


def test_the_order_is_kept_in_long_files_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames, scores = rng.integers(1, 4, 500), np.arange(500) / 1000
    text = "".join(f"{frame},-1,1,2,3,4,{score}\n" for frame, score in zip(frames, scores, strict=True))
    for frame, detections in read_detections(_file(tmp_path, text)).items():
        np.testing.assert_array_equal(detections.scores, scores[frames == frame])


@pytest.mark.parametrize(
    "text",
    [
        "1 , -1, 10,\t20 , 30,40 ,0.5",
        "\n \n1,-1,10,20,30,40,0.5\n\n",
        "\ufeff1,-1,10,20,30,40,0.5\r\n",
        "1.0,-1,1e1,+20,30.,40.00,.5",
        "1,-1,10,20,30,40,0.5,-1,-1,-1",
    ],
    ids=["blanks", "empty lines", "byte order mark and CRLF", "spellings", "ten columns"],
)
def test_the_same_row_in_many_spellings(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.txt"
    path.write_bytes(text.encode())
    read = read_detections(path)
    assert list(read) == [1]
    np.testing.assert_array_equal(read[1].boxes_xyxy, [[10, 20, 40, 60]])
    np.testing.assert_array_equal(read[1].scores, [0.5])


def test_an_empty_file_holds_no_detections(tmp_path: Path) -> None:
    assert read_detections(_file(tmp_path, "")) == {}
    assert read_detections(_file(tmp_path, "\n\n")) == {}


@pytest.mark.parametrize(
    ("tails", "classes"),
    [
        (["", ""], [0, 0]),
        ([",-1,-1,-1", ",-1,-1,-1"], [0, 0]),
        ([",3,-1", ",0,-1"], [3, 0]),
        ([",4.0,-1,-1", ",2.0,-1,-1"], [4, 2]),
        ([",3,1.5,0", ",-2.25,0.5,0"], [0, 0]),
        ([",-1,1.5,0", ",-2.25,0.5,0"], [0, 0]),
    ],
    ids=["no column", "-1", "classes", "classes in ten columns", "world", "world beginning with -1"],
)
def test_the_eighth_column_is_the_class_where_it_holds_classes(
    tmp_path: Path, tails: list[str], classes: list[int]
) -> None:
    text = "".join(f"1,-1,10,20,30,40,0.5{tail}\n" for tail in tails)
    np.testing.assert_array_equal(read_detections(_file(tmp_path, text))[1].classes, classes)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("1,-1,10,20,30,40", "has 6 columns; line 1 has 7"),
        ("1,-1,10,20,30,40,0.5,-1", "has 8 columns; line 1 has 7"),
        ("1,-1,10,20,30,forty,0.5", "column 6 is 'forty'; it must be a number"),
        ("1,-1,10,20,30,,0.5", "column 6 is ''; it must be a number"),
        ("1,-1,10,20,3_0,40,0.5", "column 5 is '3_0'; it must be a number"),
        ("1,-1,10,20,\u0663,40,0.5", "column 5 is '\u0663'; it must be a number"),
        ("1 -1 10 20 30 40 0.5", "column 1 is '1 -1 10 20 30 40 0.5'; it must be a number"),
        ("0,-1,10,20,30,40,0.5", "frame is 0; frames are whole numbers from 1"),
        ("-3,-1,10,20,30,40,0.5", "frame is -3; frames are whole numbers from 1"),
        ("1.5,-1,10,20,30,40,0.5", "frame is 1.5; frames are whole numbers from 1"),
        ("nan,-1,10,20,30,40,0.5", "frame is nan; frames are whole numbers from 1"),
        ("inf,-1,10,20,30,40,0.5", "frame is inf; frames are whole numbers from 1"),
        ("1e300,-1,10,20,30,40,0.5", "frame is 1e+300; frames are whole numbers from 1"),
        (
            "1,-1,nan,20,30,40,0.5",
            "box is nan, 20, 30, 40; left, top, width and height must be finite, at most 1e+09 px",
        ),
        (
            "1,-1,10,20,inf,40,0.5",
            "box is 10, 20, inf, 40; left, top, width and height must be finite, at most 1e+09 px",
        ),
        ("1,-1,10,20,0,40,0.5", "box is 10, 20, 0, 40; width and height must be positive"),
        ("1,-1,10,20,30,-4,0.5", "box is 10, 20, 30, -4; width and height must be positive"),
        ("1,-1,1e9,20,1e-9,40,0.5", "box is 1e+09, 20, 1e-09, 40; width and height must be positive"),
        (
            "1,-1,10,20,30,40,1.01",
            "score is 1.01; a score is in [0, 1]; detection.recorded.score_scale=percent or logit reads others",
        ),
        (
            "1,-1,10,20,30,40,-1",
            "score is -1; a score is in [0, 1]; detection.recorded.score_scale=logit reads others",
        ),
        ("1,-1,10,20,30,40,nan", "score is nan; it must be finite"),
    ],
)
def test_a_bad_row_is_named_with_its_line(tmp_path: Path, row: str, problem: str) -> None:
    path = _file(tmp_path, f"{GOOD}\n{row}\n{GOOD}")  # the empty line counts
    with pytest.raises(FormatError) as caught:
        read_detections(path)
    assert str(caught.value) == f"{path}:3: {problem}"
    assert caught.value.line == 3


def test_a_file_of_too_few_columns_says_what_they_should_be(tmp_path: Path) -> None:
    path = _file(tmp_path, "1,-1,10,20,30,40\n")
    with pytest.raises(FormatError, match=r":1: has 6 columns; .* frame,id,left,top,width,height,score$"):
        read_detections(path)


def test_a_class_that_is_no_class_among_classes_is_refused(tmp_path: Path) -> None:
    rows = "1,-1,10,20,30,40,0.5,{},-1\n"
    for bad in ("-1", "1.5", "nan"):
        path = _file(tmp_path, rows.format(3) + rows.format(bad))
        with pytest.raises(FormatError, match=f":2: class is {bad}; classes are whole numbers"):
            read_detections(path)


READERS: list[Callable[[Path], object]] = [
    read_detections,
    read_tracks,
    read_truth,
    read_camera_motion,
    read_sequence_info,
]


@pytest.mark.parametrize("reader", READERS)
def test_files_that_are_no_text_or_not_there_are_named(tmp_path: Path, reader: Callable[[Path], object]) -> None:
    binary = tmp_path / "binary.txt"
    binary.write_bytes(bytes(range(256)))
    with pytest.raises(FormatError, match=r"binary.txt: is not a text file"):
        reader(binary)
    with pytest.raises(FormatError, match=r"none.txt: cannot be read: no such file or directory$"):
        reader(tmp_path / "none.txt")
    with pytest.raises(FormatError, match=r"cannot be read: is a directory$"):
        reader(tmp_path)


# --- tracks ----------------------------------------------------------------------------------------------


def test_rows_are_written_as_mot_challenge_wants_them() -> None:
    tracks = _tracks([7, 12], [[1.234, -0.001, 11.23, 20.5], [100, 200, 150.006, 260]], [0.98765, 1])
    assert format_rows(41, tracks) == (
        "41,7,1.23,0.00,10.00,20.50,0.9877,-1,-1,-1\n41,12,100.00,200.00,50.01,60.00,1.0000,-1,-1,-1\n"
    )
    assert format_rows(41, Tracks.empty()) == ""


def test_rows_may_have_the_class_where_detections_have_it(tmp_path: Path) -> None:
    tracks = _tracks([7, 12], [[0, 0, 10, 20], [100, 200, 150, 260]], [0.5, 1])
    tracks = replace(tracks, classes=np.array([2, 0]))
    rows = format_rows(41, tracks, classes=True)
    assert rows == "41,7,0.00,0.00,10.00,20.00,0.5000,2,-1,-1\n41,12,100.00,200.00,50.00,60.00,1.0000,0,-1,-1\n"
    path = tmp_path / "t.txt"
    path.write_text(rows)
    assert read_detections(path)[41].classes.tolist() == [2, 0]
    assert read_tracks(path).ids.tolist() == [7, 12]


def test_a_box_too_small_for_two_decimals_is_still_a_box(tmp_path: Path) -> None:
    rows = format_rows(1, _tracks([1], [[5, 5, 5.001, 5.001]], [0.5]))
    np.testing.assert_array_equal(read_tracks(_file(tmp_path, rows)).boxes_ltwh, [[5.0, 5.0, 0.01, 0.01]])


def test_tracks_are_read_in_the_order_of_the_file_and_keep_any_score(tmp_path: Path) -> None:
    text = "2,7,1,2,3,4,-1,-1,-1,-1\n1,0,5,6,7,8,57.3,-1,-1,-1\n1,7,5,6,7,8,1,-1,-1,-1\n"
    table = read_tracks(_file(tmp_path, text))
    np.testing.assert_array_equal(table.frames, [2, 1, 1])
    np.testing.assert_array_equal(table.ids, [7, 0, 7])
    np.testing.assert_array_equal(table.boxes_ltwh, [[1, 2, 3, 4], [5, 6, 7, 8], [5, 6, 7, 8]])
    np.testing.assert_array_equal(table.scores, [-1, 57.3, 1])


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("1,7,5,5,5,5,1", "id 7 in frame 1 stands twice, first in line 2"),
        ("1,-1,5,5,5,5,1", "id is -1; ids of tracks are whole numbers from 0"),
        ("1,1.5,5,5,5,5,1", "id is 1.5; it must be a whole number"),
        ("1,9,5,5,5,5,inf", "score is inf; it must be finite"),
        ("1,9,5,5,0,5,1", "box is 5, 5, 0, 5; width and height must be positive"),
    ],
)
def test_bad_rows_of_tracks(tmp_path: Path, row: str, problem: str) -> None:
    path = _file(tmp_path, f"2,7,1,2,3,4,1\n1,7,1,2,3,4,1\n1,8,1,2,3,4,1\n{row}\n")
    with pytest.raises(FormatError) as caught:
        read_tracks(path)
    assert str(caught.value) == f"{path}:4: {problem}"


def test_of_several_repeated_ids_the_first_to_repeat_is_named(tmp_path: Path) -> None:
    rows = [(1, 9), (1, 2), (2, 2), (1, 9), (1, 2), (1, 9)]
    path = _file(tmp_path, "".join(f"{frame},{id_},1,2,3,4,1\n" for frame, id_ in rows))
    with pytest.raises(FormatError, match=r":4: id 9 in frame 1 stands twice, first in line 1$"):
        read_tracks(path)


# --- truth -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tails", "flags", "classes"),
    [
        (["1,1,0.8", "0,7,0.0"], [True, False], [1, 7]),
        (["1,1,1", "1,1,1"], [True, True], [1, 1]),
        (["1", "0"], [True, False], [-1, -1]),
        (["1,-1,-1,-1", "0,-1,-1,-1"], [True, False], [-1, -1]),
        (["1,-4.15,-7.35,0", "1,3,5.59,0"], [True, True], [-1, -1]),
        (["1,4,0,1", "0,0,0,0"], [True, False], [4, 0]),
        (["0.5,2,1", "0,2,1"], [True, False], [2, 2]),
    ],
    ids=["MOT17", "DanceTrack", "seven columns", "MOT15", "MOT15 world", "VisDrone", "any flag but 0"],
)
def test_truth_is_read_whatever_stands_after_the_flag(
    tmp_path: Path, tails: list[str], flags: list[bool], classes: list[int]
) -> None:
    path = _file(tmp_path, "".join(f"{n},5,1,2,3,4,{tail}\n" for n, tail in enumerate(tails, 1)))
    table = read_truth(path)
    np.testing.assert_array_equal(table.frames, [1, 2])
    np.testing.assert_array_equal(table.ids, [5, 5])
    np.testing.assert_array_equal(table.boxes_ltwh, [[1, 2, 3, 4]] * 2)
    np.testing.assert_array_equal(table.flags, flags)
    np.testing.assert_array_equal(table.classes, classes)


def test_ids_of_rows_to_be_ignored_do_not_count(tmp_path: Path) -> None:
    ignored = "1,-1,1,2,3,4,0,9,-1\n"
    assert len(read_truth(_file(tmp_path, ignored * 3)).ids) == 3


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("1,7,5,5,5,5,1,3,1", "id 7 in frame 1 stands twice, first in line 1"),
        ("1,-1,5,5,5,5,1,1,1", "id is -1; it is negative only where the flag is 0"),
        ("1,8,5,5,5,5,nan,1,1", "flag is nan; it must be finite"),
        ("1,8,5,5,5,5,1,-1,1", "class is -1; classes are whole numbers from 0, or -1 in all rows"),
        ("1,8,5,5,5,5,1,1.5,1", "class is 1.5; classes are whole numbers from 0, or -1 in all rows"),
        ("1,8,5,5,5,-5,0,1,1", "box is 5, 5, 5, -5; width and height must be positive"),
    ],
)
def test_bad_rows_of_truth(tmp_path: Path, row: str, problem: str) -> None:
    path = _file(tmp_path, f"1,7,1,2,3,4,1,1,1\n{row}\n")
    with pytest.raises(FormatError) as caught:
        read_truth(path)
    assert str(caught.value) == f"{path}:2: {problem}"


# --- sequence information --------------------------------------------------------------------------------


def test_sequence_information(tmp_path: Path) -> None:
    text = "[Sequence]\nname=A-%1\nimDir=img1\nframeRate=29.97\nseqLength=600\nimWidth=1920\nimHeight=1080\n"
    whole = SequenceInfo(frame_rate_hz=29.97, frame_count=600, width_px=1920, height_px=1080, name="A-%1")
    assert read_sequence_info(_file(tmp_path, text)) == whole
    without_rate = text.replace("frameRate=29.97\n", "")
    assert read_sequence_info(_file(tmp_path, without_rate)) == replace(whole, frame_rate_hz=None)
    assert read_sequence_info(_file(tmp_path, "[Sequence]\n")) == SequenceInfo(None, None, None, None, None)


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("[Sequence]\nframeRate=0\n", "", "frameRate is '0'; it must be a positive float"),
        ("[Sequence]\nframeRate=nan\n", "", "frameRate is 'nan'; it must be a positive float"),
        ("[Sequence]\nframeRate=inf\n", "", "frameRate is 'inf'; it must be a positive float"),
        ("[Sequence]\nseqLength=many\n", "", "seqLength is 'many'; it must be a positive int"),
        ("[Sequence]\nimWidth=19.5\n", "", "imWidth is '19.5'; it must be a positive int"),
        ("[Other]\nframeRate=30\n", "", "has no section [Sequence]"),
        ("", "", "has no section [Sequence]"),
        ("frameRate=30\n", ":1", "not the form of an ini file: [Sequence], then key=value"),
        ("[Sequence]\nframeRate\n", ":2", "not the form of an ini file: [Sequence], then key=value"),
        ("[Sequence]\nname=a\nname=b\n", ":3", "not the form of an ini file: [Sequence], then key=value"),
    ],
)
def test_bad_sequence_information(tmp_path: Path, text: str, place: str, problem: str) -> None:
    path = _file(tmp_path, text, "seqinfo.ini")
    with pytest.raises(FormatError) as caught:
        read_sequence_info(path)
    assert str(caught.value) == f"{path}{place}: {problem}"


def test_sequence_information_is_looked_for_beside_the_file_and_one_folder_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sequence" / "det"
    folder.mkdir(parents=True)
    assert find_sequence_info(folder / "det.txt") is None
    far = _file(tmp_path, "", "seqinfo.ini")
    assert find_sequence_info(folder / "det.txt") is None
    above = _file(folder.parent, "", "seqinfo.ini")
    assert find_sequence_info(folder / "det.txt") == above
    beside = _file(folder, "", "seqinfo.ini")
    assert find_sequence_info(folder / "det.txt") == beside
    monkeypatch.chdir(folder.parent)
    above.unlink()
    assert find_sequence_info("det.txt") == far


# --- camera motion ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [" ", ",", ", ", "\t"])
def test_camera_motion(tmp_path: Path, separator: str) -> None:
    rows = [["2", "1.5", "0.1", "-3", "-0.1", "1.5", "4"], ["1", "1", "0", "0", "0", "1", "0"]]
    read = read_camera_motion(_file(tmp_path, "\n".join(separator.join(row) for row in rows)))
    assert set(read) == {1, 2}
    np.testing.assert_array_equal(read[1], [[1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(read[2], [[1.5, 0.1, -3], [-0.1, 1.5, 4]])
    assert read[2].dtype == np.float64


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("2 1 0 0 0 1", "has 6 columns; line 1 has 7"),
        ("2 1 0 0 0 1 zero", "column 7 is 'zero'; it must be a number"),
        ("2 1 0 nan 0 1 0", "affine is 1, 0, nan, 0, 1, 0; its six entries must be finite, at most 1e+09"),
        ("2 1 0 0 0 -1 0", "the affine's determinant is -1; a camera's motion has it above 0"),
        ("0 1 0 0 0 1 0", "frame is 0; frames are whole numbers from 1"),
        ("1 1 0 0 0 1 0", "frame 1 stands twice, first in line 1"),
    ],
)
def test_bad_camera_motion(tmp_path: Path, row: str, problem: str) -> None:
    path = _file(tmp_path, f"1 1 0 0 0 1 0\n{row}\n")
    with pytest.raises(FormatError) as caught:
        read_camera_motion(path)
    assert str(caught.value) == f"{path}:2: {problem}"


def test_camera_motion_of_other_than_seven_columns_says_what_they_should_be(tmp_path: Path) -> None:
    path = _file(tmp_path, "1 1 0 0 0 1 0 0 0 1\n")
    with pytest.raises(FormatError, match=r":1: has 10 columns; it must have 7: frame and the six entries"):
        read_camera_motion(path)


# --- real files ------------------------------------------------------------------------------------------


def test_all_real_files_are_read(data_root: Path) -> None:
    files = sorted(data_root.glob("*/*/det/det.txt"))
    assert files
    for path in files:
        detections = read_detections(path)
        assert sum(map(len, detections.values())) == path.read_text().count("\n")
        truth = read_truth(path.parents[1] / "gt" / "gt.txt")
        assert truth.flags.any()
        info_path = find_sequence_info(path)
        assert info_path is not None
        info = read_sequence_info(info_path)
        assert info.frame_rate_hz is not None
        assert info.frame_count is not None
        assert max(detections) <= info.frame_count
    for path in sorted(data_root.glob("*/*/gmc.txt")):
        motion = read_camera_motion(path)
        assert all(abs(np.linalg.det(affine[:, :2]) - 1) < 0.2 for affine in motion.values())
