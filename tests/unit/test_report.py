"""`track report` and `track --diagnostics`: what the page holds, what it needs, and that it is whole or not there."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from tracker.app.reporting import write_report
from tracker.cli.command import app
from tracker.errors import FormatError, OutputError, VideoError
from tracker.formats.diagnostics import read_diagnostics

WIDTH_PX, HEIGHT_PX, FRAMES = 320, 240, 24


def box(identity: int, frame: int) -> tuple[int, int, int, int]:
    """Two people who walk towards each other."""
    return (40 + 8 * frame if identity == 1 else 230 - 8 * frame, 80 + 4 * identity, 24, 60)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Truth, two results (one changes tracks in the middle and misses), detections, and the frames as images."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "SEQ" / "gt").mkdir(parents=True)
    (tmp_path / "images").mkdir()
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
    truth, good, bad, seen = [], [], [], []
    for frame in range(1, FRAMES + 1):
        image = np.full((HEIGHT_PX, WIDTH_PX, 3), 90, np.uint8)
        for identity in (1, 2):
            left, top, width, height = box(identity, frame)
            image[top : top + height, left : left + width] = (40, 200 * (identity == 1), 220)
            row = f"{left},{top},{width},{height}"
            truth.append(f"{frame},{identity},{row},1,1,1\n")
            good.append(f"{frame},{identity},{row},.9,-1,-1,-1\n")
            seen.append(f"{frame},-1,{row},.9\n")
            if identity == 2 or not 10 <= frame <= 14:
                bad.append(f"{frame},{identity + 10 * (frame > 12)},{row},.9,-1,-1,-1\n")
        cv2.imwrite(str(tmp_path / "images" / f"{frame:03d}.png"), image)
    (tmp_path / "SEQ" / "gt" / "gt.txt").write_text("".join(truth))
    (tmp_path / "good" / "tracks.txt").write_text("".join(good))
    (tmp_path / "bad" / "tracks.txt").write_text("".join(bad))
    (tmp_path / "det.txt").write_text("".join(seen))
    return tmp_path


def track(*arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments])


def report(*arguments: str) -> Any:
    return track("report", "--truth", "SEQ/gt/gt.txt", "--tracks", *arguments)


class Page(HTMLParser):
    """Tags that are open, ids, links, and the text of a page."""

    VOID = frozenset({"meta", "img", "link", "input", "path", "rect", "use"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.tags.append((tag, found))
        if found.get("id"):
            self.ids.append(found["id"] or "")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def of(self, tag: str, name: str) -> list[str]:
        return [found[name] or "" for kind, found in self.tags if kind == tag and name in found]


def test_the_page_stands_alone(folder: Path) -> None:
    done = report("bad/tracks.txt", "good/tracks.txt", "--video", "images")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("report.html: ")
    html = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.of("img", "src"))
    links = page.of("a", "href") + page.of("use", "xlink:href")
    assert {link[1:] for link in links} <= set(page.ids)
    assert all(link.startswith("#") for link in links)
    assert page.of("link", "href") == page.of("script", "src") == []
    assert re.findall(r"https?:|@import|url\((?!#)", html) == []
    assert all(page.of("img", "alt"))
    assert names(folder) == {"SEQ", "images", "good", "bad", "det.txt", "report.html"}


def test_the_verdict_names_the_worst_fault_and_identity(folder: Path) -> None:
    assert report("bad/tracks.txt", "--detections", "det.txt").exit_code == 0
    text = Page((folder / "report.html").read_text()).text
    assert "Identity errors cost most: if every identity had kept one track, HOTA would be" in text
    assert (
        "Identity 1 is there for 24 frames. Its main track 11 covers 10 of them (42%); 9 are under 1 other track"
        in text
    )
    assert "Identity 1: track 1 becomes 11 in frame 15" in text
    assert "Identity 2: track 2 becomes 12 in frame 13" in text
    assert "the detector saw it in 5 of 5 frames with a mean score of 0.90" in text
    assert "SEQ 2 identities, frames 1 to 24" in text
    assert "bad: no diagnostics.csv beside the tracks" in text


def test_pictures_show_what_they_say(folder: Path) -> None:
    assert report("bad/tracks.txt", "--video", "images").exit_code == 0
    page = Page((folder / "report.html").read_text())
    first = page.of("img", "src")[0].partition(",")[2]
    image = cv2.imdecode(np.frombuffer(base64.b64decode(first), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    # Identity 1 is yellow, and in the middle of its picture.
    assert image[image.shape[0] // 2, image.shape[1] // 2].tolist() == pytest.approx([40, 200, 220], abs=12)
    assert "identity 1 is marked" in page.of("img", "alt")[0]
    drawn = [found for kind, found in page.tags if kind == "rect" and "subject" in (found.get("class") or "")]
    width, height = {(found["width"], found["height"]) for found in drawn}.pop()
    assert (float(width or 0), float(height or 0)) == (24, 60)


def test_results_stand_side_by_side(folder: Path) -> None:
    assert report("bad/tracks.txt", "good/tracks.txt", "--names", "a <u>&, c").exit_code == 0
    page = Page((folder / "report.html").read_text())
    assert "a <u>& against SEQ/gt/gt.txt" not in page.text
    assert "a <u>&, c against SEQ/gt/gt.txt" in page.text
    assert "u" not in {tag for tag, _ in page.tags}
    assert "Where the results differ most" in page.text
    lanes = page.of("div", "data-result")
    assert lanes == ["a <u>&", "c"] * 2


def test_several_sequences_are_told_apart_and_combined(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / "truth" / name / "gt").mkdir(parents=True)
        (folder / "truth" / name / "gt" / "gt.txt").write_bytes((folder / "SEQ" / "gt" / "gt.txt").read_bytes())
        (folder / "results" / name).mkdir(parents=True)
        (folder / "videos" / name / "img1").mkdir(parents=True)
        for image in (folder / "images").iterdir():
            (folder / "videos" / name / "img1" / image.name).write_bytes(image.read_bytes())
    (folder / "results" / "one" / "tracks.txt").write_bytes((folder / "good" / "tracks.txt").read_bytes())
    (folder / "results" / "two" / "tracks.txt").write_bytes((folder / "bad" / "tracks.txt").read_bytes())
    done = track("report", "--truth", "truth", "--tracks", "results", "--video", "videos")
    assert (done.exit_code, done.stderr) == (0, "")
    page = Page((folder / "report.html").read_text())
    assert "Identity 1 of two is there for 24 frames" in page.text
    assert "all sequences" in page.text
    assert page.of("img", "src")


def test_what_a_run_was_sure_of_is_made_use_of(folder: Path) -> None:
    run = track("--detections", "det.txt", "--fps", "25", "--output", "run", "--diagnostics", "--quiet")
    assert (run.exit_code, run.output) == (0, "")
    assert names(folder / "run") == {"tracks.txt", "run.yaml", "diagnostics.csv", "detections.txt"}
    told = read_diagnostics(folder / "run" / "diagnostics.csv")
    tracks = np.loadtxt(folder / "run" / "tracks.txt", delimiter=",")
    reported = {(int(frame), int(identity)) for frame, identity in tracks[:, :2]}
    keys = set(zip(told.frames.tolist(), told.ids.tolist(), strict=True))
    assert keys <= reported
    assert len(keys) == len(told) > FRAMES
    # They tell of the box that is reported, and of its error.
    rows = {(int(row[0]), int(row[1])): row for row in tracks}
    for frame, identity, mean in zip(told.frames.tolist(), told.ids.tolist(), told.means.tolist(), strict=True):
        _, _, left, top, width, height = rows[frame, identity][:6]
        assert mean == pytest.approx([left + width / 2, top + height / 2, width, height], abs=0.02)
    given = np.loadtxt(folder / "run" / "detections.txt", delimiter=",")
    assert given[:, [0, *range(2, 7)]] == pytest.approx(np.loadtxt("det.txt", delimiter=",")[:, [0, *range(2, 7)]])

    assert report("run/tracks.txt").exit_code == 0
    text = Page((folder / "report.html").read_text()).text
    assert "no diagnostics.csv" not in text
    assert f"run {len(told)} " in text
    assert "Same object as a second ago" in text
    assert "Brier score Calibration error" in text
    assert "The line across a bar is what the detector found" in text

    # A later run that is not asked for them does not leave them to lie.
    assert track("--detections", "det.txt", "--fps", "25", "--output", "run", "--quiet").exit_code == 0
    assert names(folder / "run") == {"tracks.txt", "run.yaml"}
    assert set(yaml.safe_load((folder / "run" / "run.yaml").read_text())["files"]) == {"tracks.txt"}


def test_files_of_these_names_that_are_not_a_runs_are_left_alone(folder: Path) -> None:
    (folder / "run").mkdir()
    mine = folder / "run" / "detections.txt"
    mine.write_bytes((folder / "det.txt").read_bytes())
    run = ("--detections", str(mine), "--fps", "25", "--output", "run", "--quiet")
    refused = track(*run, "--diagnostics")
    assert refused.exit_code == 2
    assert "run/detections.txt: is not, or no longer, what a run of track wrote" in refused.stderr
    assert names(folder / "run") == {"detections.txt"}
    assert track(*run).exit_code == 0
    assert names(folder / "run") == {"detections.txt", "tracks.txt", "run.yaml"}
    assert mine.read_bytes() == (folder / "det.txt").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("nowhere.txt",), "nowhere.txt: is neither a file nor a folder"),
        (("bad/tracks.txt", "--video", "nowhere.mp4"), "nowhere.mp4: no such video file or folder of images"),
        (("bad/tracks.txt", "--detections", "nowhere"), "nowhere: has no detections for gt"),
        (("bad/tracks.txt", "--output", "nowhere/report.html"), "nowhere/report.html: cannot be written"),
        (("bad/tracks.txt", "--output", "SEQ/gt/gt.txt"), "SEQ/gt/gt.txt: must end in .html or .htm"),
        (("bad/tracks.txt", "bad/tracks.txt"), "two results are called bad; give --names"),
        (("bad/tracks.txt", "good/tracks.txt", "--names", "a"), "'a' is not a list of 2 names"),
        (("bad/tracks.txt", "good/tracks.txt", "--names", "a,a"), "two results are called a; each needs its own"),
        (("bad/tracks.txt", "--iou", "2"), "IoU threshold is 2"),
        (("bad/tracks.txt", "--classes", "1,,2"), "'1,,2' is not a list"),
        (("bad/tracks.txt", *["good/tracks.txt"] * 6, "--names", "a,b,c,d,e,f,g"), "a page takes 6 at most"),
    ],
)
def test_bad_input_is_one_line_and_leaves_the_earlier_page(
    folder: Path, arguments: tuple[str, ...], problem: str
) -> None:
    (folder / "report.html").write_text("earlier")
    done = report(*arguments)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert problem in line
    assert (folder / "report.html").read_text() == "earlier"
    assert names(folder) == {"SEQ", "images", "good", "bad", "det.txt", "report.html"}


def test_broken_diagnostics_are_told_with_their_line(folder: Path) -> None:
    (folder / "bad" / "diagnostics.csv").write_text("frame\n")
    with pytest.raises(FormatError, match=r"bad/diagnostics.csv:1: has not the header"):
        write_report(Path("SEQ/gt/gt.txt"), {"bad": Path("bad/tracks.txt")}, Path("report.html"))
    assert not (folder / "report.html").exists()


def test_progress_is_told(folder: Path) -> None:
    said: list[tuple[str, int, int]] = []
    written = write_report(
        Path("SEQ/gt/gt.txt"),
        {"bad": Path("bad/tracks.txt")},
        Path("page.html"),
        video=Path("images"),
        progress=lambda *told: said.append(told),
    )
    assert (written.sequences, written.size_bytes) == (1, (folder / "page.html").stat().st_size)
    assert written.pictures > 0
    assert {activity.split()[0] for activity, _, _ in said} == {"scoring", "looking", "pictures", "drawing"}
    assert all(0 <= done <= total for _, done, total in said)


def test_pictures_of_another_film_are_noticed(folder: Path) -> None:
    def said(truth: Path) -> list[str]:
        lines: list[str] = []
        results = {"bad": Path("bad/tracks.txt"), "good": Path("good/tracks.txt")}
        write_report(truth, results, Path("page.html"), video=Path("images"), notice=lines.append)
        return lines

    truth = Path("SEQ/gt/gt.txt")
    assert said(truth) == []
    moved = folder / "moved" / "gt.txt"
    moved.parent.mkdir()
    rows = [row.split(",") for row in truth.read_text().splitlines()]
    moved.write_text("".join(",".join([*row[:2], "9000", *row[3:]]) + "\n" for row in rows))
    (line,) = said(moved)
    assert line.startswith(f"{moved}: 100% of the boxes lie outside the ")
    assert line.endswith(" px of images; are these its tracks?")


def test_a_folder_without_videos_of_the_sequences_is_refused(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / "truth" / name / "gt").mkdir(parents=True)
        (folder / "truth" / name / "gt" / "gt.txt").write_bytes((folder / "SEQ" / "gt" / "gt.txt").read_bytes())
    with pytest.raises(VideoError, match="images: holds no video of one, two"):
        write_report(Path("truth"), {"x": Path("bad")}, Path("page.html"), video=Path("images"))
    with pytest.raises(FormatError, match=r"det.txt: is one file for 2 sequences"):
        write_report(Path("truth"), {"x": Path("bad")}, Path("page.html"), detections=Path("det.txt"))


def test_output_that_cannot_be_written_leaves_nothing(folder: Path) -> None:
    (folder / "page.html").mkdir()
    with pytest.raises(OutputError, match=r"page.html: cannot be written"):
        write_report(Path("SEQ/gt/gt.txt"), {"bad": Path("bad/tracks.txt")}, Path("page.html"))
    assert names(folder) == {"SEQ", "images", "good", "bad", "det.txt", "page.html"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
