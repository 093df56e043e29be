"""`track eval` and `track convert` as people call them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tracker.cli.command import app

COLUMNS = ["HOTA", "DetA", "AssA", "LocA", "MOTA", "IDF1", "IDSW", "Frag", "FP", "FN"]
DETAILS = ["Rcl", "Prec", "MOTP", "MT", "PT", "ML", "IDR", "IDP", "DetRe", "DetPr", "AssRe", "AssPr"]


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two sequences, one found whole and one in which half is missed."""
    monkeypatch.chdir(tmp_path)
    for name, found in (("a", 10), ("b", 5)):
        (tmp_path / "truth" / name / "gt").mkdir(parents=True)
        (tmp_path / "tracks").mkdir(exist_ok=True)
        rows = [f"{frame},1,10,20,30,40" for frame in range(1, 11)]
        (tmp_path / "truth" / name / "gt" / "gt.txt").write_text("".join(f"{row},1,1,1\n" for row in rows))
        (tmp_path / "tracks" / f"{name}.txt").write_text("".join(f"{row},0.9,-1,-1,-1\n" for row in rows[:found]))
    return tmp_path


def _track(*arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments])


def _eval(*arguments: str) -> Any:
    return _track("eval", "--truth", "truth", "--tracks", "tracks", *arguments)


@pytest.mark.usefixtures("folders")
def test_scores_for_people() -> None:
    done = _eval()
    assert (done.exit_code, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines() if line.strip(" ─")]
    assert lines[0] == ["sequence", *COLUMNS]
    assert [line[0] for line in lines[1:]] == ["a", "b", "COMBINED"]
    assert lines[3][5] == "75.00"  # MOTA: 5 of 20 are missed


@pytest.mark.usefixtures("folders")
def test_all_figures_are_shown_on_request() -> None:
    lines = [line.split() for line in _eval("--all").stdout.splitlines() if line.strip(" ─")]
    assert lines[0] == ["sequence", *COLUMNS]
    assert lines[4] == ["sequence", *DETAILS]
    assert lines[7][:6] == ["COMBINED", "75.00", "100.00", "100.00", "1", "1"]  # recall, precision, MOTP, MT, PT
    cells = [cell.strip() for cell in _eval("--all", "--markdown", "-").stdout.splitlines()[0].strip("|").split("|")]
    assert cells == ["sequence", *COLUMNS, *DETAILS]


def test_what_cannot_fit_is_noticed(folders: Path) -> None:
    for name in ("a", "b"):
        truth = folders / "truth" / name / "gt" / "gt.txt"
        truth.write_text(truth.read_text().replace(",1,1,1\n", ",1,-1,-1,-1\n"))
    done = _eval("--classes", "99")
    assert done.exit_code == 0
    assert done.stderr == "truth: states no classes; whichever are chosen, all its rows are to be found\n"
    assert _eval().stderr == ""
    tracks = folders / "tracks" / "b.txt"
    tracks.write_text("".join(f"{100 + n},1,10,20,30,40,0.9\n" for n in range(5)))
    assert _eval().stderr == "tracks: has no frame in common with the truth of b; frames count from 1 in both\n"


def test_scores_for_programs(folders: Path) -> None:
    done = _eval("--json", "-", "--csv", "scores.csv", "--markdown", "scores.md", "--bootstrap", "50")
    assert (done.exit_code, done.stderr) == (0, "")
    tree = json.loads(done.stdout)
    assert tree["combined"]["MOTA"] == 75
    assert list(tree["combined"]) == [*COLUMNS, *DETAILS]
    assert tree["combined"]["Rcl"] == 75
    assert tree["intervals"]["MOTA"] == [50, 100]
    rows = list(csv.DictReader(io.StringIO((folders / "scores.csv").read_text())))
    assert [row["sequence"] for row in rows] == ["a", "b", "COMBINED", "2.5 %", "97.5 %"]
    assert [float(row["MOTA"]) for row in rows] == [100, 50, 75, 50, 100]
    assert [float(row["Rcl"]) for row in rows] == [100, 50, 75, 50, 100]
    assert (folders / "scores.md").read_text().splitlines()[2].startswith("| a | 100.00 |")
    assert sorted(path.name for path in folders.iterdir()) == ["scores.csv", "scores.md", "tracks", "truth"]


@pytest.mark.usefixtures("folders")
def test_figures_can_be_demanded() -> None:
    met = _eval("--require", "MOTA=75", "--require", "idf1=80", "--require", "FN=5")
    assert (met.exit_code, met.stderr) == (0, "")
    unmet = _eval("--require", "MOTA=75.1", "--require", "HOTA=10", "--require", "FN=4", "--require", "FP=0")
    assert unmet.exit_code == 1
    assert unmet.stderr.splitlines() == ["MOTA is 75.000; at least 75.1 is required", "FN is 5; at most 4 is required"]
    assert "COMBINED" in unmet.stdout


@pytest.mark.usefixtures("folders")
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--require", "HOTA"], "is not of the form HOTA=60"),
        (["--require", "SPEED=3"], "SPEED is none of HOTA, DetA"),
        (["--require", "HOTA=high"], "'high' is not a number"),
        (["--require", "HOTA=nan"], "'nan' is not a number"),
        (["--map", "car"], "is not of the form car=vehicle"),
        (["--classes", "1,,3"], "is not a list such as 1,3"),
        (["--iou", "0"], "it must be above 0 and at most 1"),
        (["--protocol", "mot17", "--classes", "3"], "scores pedestrians alone"),
        (["--protocol", "kitti"], "needs truth in KITTI's own labels"),
        (["--protocol", "coco"], "is not one of"),
        (["--bootstrap", "0"], "error: --bootstrap: must be greater than or equal to 1"),
        (["--json", "-", "--csv", "-"], "one of them can be printed"),
        (["--json", "none/scores.json"], "none/scores.json: cannot be written: there is no folder none"),
        (["--json", "tracks"], "error: tracks: is a folder; the output must be a file"),
        (["--csv", "truth/a/gt/gt.txt"], "the output is the input truth/a/gt/gt.txt; choose another name"),
        (["--json", "./tracks/b.txt"], "tracks/b.txt: the output is the input tracks/b.txt"),
        (["--json", "new", "--markdown", "new"], "new: two outputs are this one file"),
        (["--classes", "1,car"], "error: truth: has no class car; its classes have no names; use numbers (in MOTCh"),
        (["--classes", "8"], "truth: no row has a flag other than 0 and one of the classes 8"),
    ],
)
def test_bad_demands_exit_with_two(arguments: list[str], problem: str) -> None:
    done = _eval(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert problem in line


def test_tracks_numbered_as_a_model_numbers_are_told_and_can_be_renumbered(folders: Path) -> None:
    for path in (folders / "tracks").iterdir():
        path.write_text(path.read_text().replace(",-1,-1,-1", ",0,-1,-1"))
    assert _eval().exit_code == 0
    done = _eval("--classes", "1")
    assert done.exit_code == 2
    assert done.stderr == (
        "error: tracks: states the classes 0, but 1 are to be found; models count a person as 0, MOTChallenge as 1: "
        "track convert --map 0=1 renumbers\n"
    )
    (folders / "renumbered").mkdir()
    for name in ("a", "b"):
        assert _track("convert", f"tracks/{name}.txt", f"renumbered/{name}.txt", "--map", "0=1").exit_code == 0
    renumbered = _track("eval", "--truth", "truth", "--tracks", "renumbered", "--classes", "1", "--csv", "-")
    whole = _eval("--csv", "-")
    assert (renumbered.exit_code, renumbered.stdout) == (0, whole.stdout)


def test_bad_files_are_named_and_nothing_is_written(folders: Path) -> None:
    (folders / "tracks" / "b.txt").write_text("1,1,1,1,1,1,x\n")
    done = _eval("--json", "scores.json")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "error: tracks/b.txt:1: column 7 is 'x'; it must be a number\n"
    assert not (folders / "scores.json").exists()
    single = _track("eval", "--truth", "truth/a/gt/gt.txt", "--tracks", "tracks/a.txt", "--bootstrap", "9")
    assert single.exit_code == 2
    assert single.stderr == "error: --bootstrap: there is one sequence; a bootstrap needs at least 2\n"


def test_tracks_are_converted_and_losses_told_in_one_line(folders: Path) -> None:
    done = _track("convert", "tracks/a.txt", "a.xml")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "note: a.xml: CVAT for video cannot hold scores (10 rows)\n"
    assert _track("convert", "truth/a/gt/gt.txt", "gt.json").stderr == ""
    assert _track("convert", "gt.json", "labels.txt", "--to", "kitti", "--map", "1=Pedestrian").exit_code == 0
    assert (
        (folders / "labels.txt").read_text().splitlines()[0].startswith("0 1 Pedestrian -1 -1 -10 10.0 20.0 40.0 60.0")
    )
    back = _track("convert", "labels.txt", "gt.txt")
    assert back.exit_code == 0
    assert back.stderr == "note: gt.txt: MOTChallenge truth cannot hold names of classes (1 is Pedestrian)\n"
    assert (folders / "gt.txt").read_text().splitlines()[0] == "1,1,10.0,20.0,30.0,40.0,1,1,-1.0"


def test_a_sequence_of_several_is_chosen(folders: Path) -> None:
    videos = [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}]
    images = [{"id": n, "video_id": n, "frame_id": 0} for n in (1, 2)]
    boxes = [{"image_id": n, "track_id": n, "bbox": [0, 0, 9, 9]} for n in (1, 2)]
    (folders / "two.json").write_text(json.dumps({"videos": videos, "images": images, "annotations": boxes}))
    done = _track("convert", "two.json", "y.csv")
    assert done.exit_code == 2
    assert done.stderr == "error: two.json: holds 2 sequences; choose one with --sequence: x, y\n"
    assert not (folders / "y.csv").exists()
    assert _track("convert", "two.json", "y.csv", "--sequence", "z").stderr.endswith(
        "holds no sequence z; it has x, y\n"
    )
    assert _track("convert", "two.json", "y.csv", "--sequence", "y").exit_code == 0
    assert (folders / "y.csv").read_text() == "frame,id,left,top,width,height\n1,2,0.0,0.0,9.0,9.0\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["none.txt", "a.csv"], "error: none.txt: cannot be read: no such file or directory"),
        (["tracks/a.txt", "a.yaml"], "error: a.yaml: its suffix names no format"),
        (["tracks/a.txt", "a.csv", "--from", "kitti"], "error: tracks/a.txt:1: has 1 columns; it must have 17 or 18"),
        (["tracks/a.txt", "none/a.csv"], "error: none/a.csv: cannot be written: there is no folder none"),
        (["tracks/a.txt", "tracks/a.txt"], "error: tracks/a.txt: the output is the input tracks/a.txt; choose another"),
        (["tracks/a.txt", "link.txt", "--to", "csv"], "error: link.txt: the output is the input tracks/a.txt"),
    ],
)
def test_conversions_that_fail_say_why(folders: Path, arguments: list[str], problem: str) -> None:
    (folders / "link.txt").symlink_to("tracks/a.txt")
    before = (folders / "tracks" / "a.txt").read_bytes()
    done = _track("convert", *arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith(problem)
    assert len(done.stderr.splitlines()) == 1
    assert (folders / "tracks" / "a.txt").read_bytes() == before


def test_what_no_format_holds_is_told(folders: Path) -> None:
    rows = [f"{frame},1,10,20,30,40,1,{0.5 * frame},2.25,0" for frame in range(1, 4)]
    (folders / "world.txt").write_text("\n".join([*rows, "4,1,10,20,30,40,1,-1,-1,-1\n"]))
    done = _track("convert", "world.txt", "world.csv", "--from", "mot-truth")
    assert (done.exit_code, done.stderr) == (0, "note: world.csv: CSV cannot hold world coordinates (3 rows)\n")
    assert _track("convert", "truth/a/gt/gt.txt", "whole.csv").stderr == ""
    assert _track("convert", "tracks/a.txt", "whole.csv").stderr == ""
    kitti = (
        "1 3 Car 0 0 -10 10 20 40 80 {} 1 1 0 0 9 0\n0 -1 DontCare -1 -1 -10 1 2 3 4 -1000 -1000 -1000 -10 -1 -1 -1\n"
    )
    (folders / "k.txt").write_text(kitti.format(1))
    assert "sizes, places and angles in three dimensions (1 row)" in _track("convert", "k.txt", "k.csv").stderr


def test_sizes_have_no_more_digits_than_they_were_given(folders: Path) -> None:
    rows = [(1, 10.12, 20.3, 44.42, 7.7), (2, 1.1, 2.2, 3.3, 4.4), (3, 1 / 3, 0.1, 2 / 3, 1e-3)]
    text = "frame,id,left,top,width,height\n" + "".join(f"{n},1,{','.join(map(str, box))}\n" for n, *box in rows)
    (folders / "short.csv").write_text(text)
    for name, kind in (("short.xml", "cvat"), ("labels.txt", "kitti")):
        assert _track("convert", "short.csv", name, "--to", kind).exit_code == 0
        assert _track("convert", name, "again.csv").exit_code == 0
        again = list(csv.DictReader(io.StringIO((folders / "again.csv").read_text())))
        assert [(row["width"], row["height"]) for row in again[:2]] == [("44.42", "7.7"), ("3.3", "4.4")]
        assert float(again[2]["width"]) == pytest.approx(2 / 3, abs=1e-15)


def test_renaming_what_is_not_there_is_told(folders: Path) -> None:
    done = _track("convert", "truth/a/gt/gt.txt", "gt.txt", "--map", "1=2")
    assert (done.exit_code, done.stderr) == (0, "")
    done = _track("convert", "truth/a/gt/gt.txt", "gt.txt", "--map", "1=2", "--map", "car=3")
    assert (done.exit_code, done.stderr) == (0, "note: truth/a/gt/gt.txt: --map finds no class car; stated are 1\n")
    assert (folders / "gt.txt").read_text().startswith("1,1,10.0,20.0,30.0,40.0,1,2,")
    done = _track("convert", "tracks/a.txt", "renamed.txt", "--map", "1=2")
    assert done.stderr == "note: tracks/a.txt: --map finds no class 1; stated are none\n"
