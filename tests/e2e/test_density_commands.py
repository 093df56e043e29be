"""`track heatmap`, `track anomaly` and `track --forecast` from end to end."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

Track = Callable[..., subprocess.CompletedProcess[str]]
VIDEOS = Path(__file__).parents[2] / "videos"
TRACK = Path(sys.executable).with_name("track")
WIDTH_PX = 96


@pytest.fixture(scope="module")
def plaza(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the sample clip and the tracks of its truth, in a folder without a seqinfo.ini."""
    truth = tmp_path_factory.mktemp("plaza") / "tracks.txt"
    rows = [row.split(",") for row in (VIDEOS / "plaza-truth.txt").read_text().splitlines()]
    truth.write_text("".join(",".join([*row[:6], "1", "-1", "-1", "-1"]) + "\n" for row in rows))
    return VIDEOS / "plaza.mp4", truth


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def size_of(path: Path) -> tuple[int, int]:
    image = cv2.imread(str(path))
    return image.shape[1], image.shape[0]


@pytest.mark.parametrize("what", ["presence", "entries"])
def test_a_map_lies_over_the_video(track: Track, cwd: Path, plaza: tuple[Path, Path], what: str) -> None:
    video, tracks = plaza
    done = track("heatmap", "--tracks", tracks, "--video", video, "--what", what, "-o", "map.png", "--csv", "grid.csv")
    assert (done.returncode, done.stderr) == (0, "")
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        width, height, rate = stream.width, stream.height, float(stream.average_rate or 0)
    assert size_of(cwd / "map.png")[0] == max(width, 640)
    assert size_of(cwd / "map.png")[1] > height
    boxes = len(tracks.read_text().splitlines())
    cells = rows_of(cwd / "grid.csv")
    assert sum(float(cell["presence_s"]) for cell in cells) == pytest.approx(boxes / rate, rel=1e-3)
    assert f"{boxes / rate:.1f} object-seconds" in done.stdout
    assert all(0 <= float(cell["x_px"]) <= width and 0 <= float(cell["y_px"]) <= height + 10 for cell in cells)


def test_a_map_needs_no_video(track: Track, cwd: Path, recorded: Path) -> None:
    assert track("--detections", recorded, "--fps", "10", "--output", "run", "--diagnostics").returncode == 0
    done = track("heatmap", "--tracks", "run/tracks.txt", "--what", "speed")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "run/tracks-speed.png: 1 object, 3.0 object-seconds\n"  # at the run's own rate
    assert size_of(cwd / "run" / "tracks-speed.png")[0] > 640


def test_one_rule_says_whose_rate_counts(track: Track, cwd: Path, clip: Path, recorded: Path) -> None:
    assert track("--detections", recorded, "--fps", "5", "--output", "run").returncode == 0
    tracks, record = cwd / "run" / "tracks.txt", cwd / "run" / "run.yaml"
    (cwd / "seqinfo.ini").write_text("[Sequence]\nframeRate=4\n")
    conflicts = [
        f"frame rate: run/run.yaml says 5 Hz, {cwd}/seqinfo.ini 4 Hz; 5 Hz is used",
        f"frame rate: run/run.yaml says 5 Hz, {clip} 10 Hz; 5 Hz is used",
    ]
    for command in ("heatmap", "refine"):
        done = track(command, "--tracks", "run/tracks.txt", *(["--video", clip] if command == "heatmap" else []))
        assert done.stderr.splitlines()[: len(conflicts)] == conflicts[: 2 if command == "heatmap" else 1]
    again = track("--video", clip, "--detections", "run/tracks.txt", "-o", "again", "--no-video")
    assert again.stderr.splitlines() == conflicts
    record.unlink()
    done = track("heatmap", "--tracks", "run/tracks.txt", "--video", clip)
    assert done.stderr == f"frame rate: {cwd}/seqinfo.ini says 4 Hz, {clip} 10 Hz; 4 Hz is used\n"
    (cwd / "seqinfo.ini").unlink()
    assert "6.0 object-seconds" in track("heatmap", "--tracks", tracks, "--fps", "5").stdout
    assert track("heatmap", "--tracks", tracks).stderr.startswith("frame rate: not known; 30 Hz")


def test_pictures_of_another_size_or_length_are_noticed(track: Track, cwd: Path, clip: Path) -> None:
    rows = [f"{n},{k},{40 + 9 * n},{30 * k},20,20,0.9\n" for n in range(1, 60) for k in (1, 2, 3, 4)]
    (cwd / "t.txt").write_text("".join(rows))
    done = track("heatmap", "--tracks", "t.txt", "--video", clip)
    assert done.returncode == 0
    outside, beyond = done.stderr.splitlines()
    assert outside.startswith("t.txt: ")
    assert outside.endswith(f"% of the boxes lie outside the 96x64 px of {clip}; are these its tracks?")
    assert beyond == f"t.txt: goes to frame 59, but {clip} ends with frame 30; are these its tracks?"


def test_a_stray_box_and_a_tiny_cell_are_told(track: Track, cwd: Path) -> None:
    rows = "".join(f"{n},1,{n},10,20,40,0.9\n" for n in range(1, 30))
    (cwd / "good.txt").write_text(rows)
    (cwd / "stray.txt").write_text(rows + "700,9999,30000,30000,30,40,1\n")
    done = track("heatmap", "--tracks", "stray.txt", "--fps", "10")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert done.stderr.startswith(
        "error: stray.txt: id 9999 in frame 700 reaches to 30030, 30040 px, beyond any picture"
    )
    done = track("heatmap", "--tracks", "good.txt", "--fps", "10", "--cell", "0.001")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert done.stderr.startswith("error: --cell 0.001 makes 2.45e+09 cells of 49x50 px")
    assert done.stderr.endswith("at most: 0.03 px or more\n")
    assert track("heatmap", "--tracks", "good.txt", "--fps", "10", "--spread", "1e6").returncode == 0


@pytest.mark.parametrize("command", ["heatmap", "anomaly", "refine"])
def test_long_work_shows_a_bar(command: str, cwd: Path, plaza: tuple[Path, Path]) -> None:
    words = {"heatmap": b"drawing", "anomaly": b"drawing", "refine": b"refining"}
    output = {"heatmap": "a.png", "anomaly": "a.csv", "refine": "a.csv"}
    ours, its = os.openpty()
    arguments = [TRACK, command, "--tracks", plaza[1], "--fps", "25", "-o", output[command]]
    shown = b""
    with subprocess.Popen(arguments, cwd=cwd, stdout=subprocess.DEVNULL, stderr=its) as process:
        os.close(its)
        with suppress(OSError):  # as which Linux reports that the other side was closed
            while part := os.read(ours, 4096):
                shown += part
    os.close(ours)
    assert process.returncode == 0
    assert words[command] in shown


def test_images_have_the_rate_that_stands_beside_them(track: Track, cwd: Path, images: list[np.ndarray]) -> None:
    (cwd / "img").mkdir()
    for n, image in enumerate(images[:4], 1):
        cv2.imwrite(str(cwd / "img" / f"{n:06d}.png"), image)
    (cwd / "seqinfo.ini").write_text("[Sequence]\nframeRate=4\n")
    (cwd / "results").mkdir()
    rows = "".join(f"{n},1,{10 * n},10,20,40,0.9,-1,-1,-1\n" for n in range(1, 5))
    (cwd / "results" / "one.txt").write_text(rows)
    done = track("heatmap", "--tracks", "results/one.txt", "--video", "img", "-o", "map.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1.0 object-seconds" in done.stdout


def test_the_runs_own_variances_are_used(track: Track, cwd: Path, recorded: Path) -> None:
    assert track("--detections", recorded, "--fps", "10", "--output", "run", "--diagnostics").returncode == 0
    path = cwd / "run" / "diagnostics.csv"
    assert track("heatmap", "--tracks", "run/tracks.txt", "--fps", "10", "--csv", "own.csv").returncode == 0
    head, *rows = path.read_text().splitlines()
    vague = [",".join([*row.split(",")[:10], "900", "900", *row.split(",")[12:]]) for row in rows]
    (cwd / "vague.csv").write_text("\n".join([head, *vague]) + "\n")
    done = track(
        "heatmap", "--tracks", "run/tracks.txt", "--fps", "10", "--csv", "vague-grid.csv", "--diagnostics", "vague.csv"
    )
    assert done.returncode == 0
    own, vague_grid = (
        max(float(cell["presence_s"]) for cell in rows_of(cwd / n)) for n in ("own.csv", "vague-grid.csv")
    )
    assert vague_grid < 0.5 * own


def test_unusual_tracks_are_listed_drawn_and_written(track: Track, cwd: Path, plaza: tuple[Path, Path]) -> None:
    video, tracks = plaza
    detections = VIDEOS / "plaza-detections.txt"
    done = track(
        "anomaly", "--tracks", tracks, "--video", video, "--detections", detections, "-o", "odd.csv", "--top", "3"
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = rows_of(cwd / "odd.csv")
    tracked = [row for row in rows if row["id"] != "-1"]
    assert len(tracked) == len(tracks.read_text().splitlines())
    assert 0 < len(rows) - len(tracked) < len(detections.read_text().splitlines())
    assert all(0 < float(row["p"]) <= 1 for row in rows)
    assert np.mean([float(row["p"]) for row in tracked]) == pytest.approx(0.5, abs=0.1)
    assert len([line for line in done.stdout.splitlines() if "-" in line and line.split()[0].isdecimal()]) == 3
    assert "odd.csv, odd.png: " in done.stdout
    assert size_of(cwd / "odd.png")[0] >= 640


def test_fans_are_drawn_on_the_overlay(track: Track, cwd: Path, clip: Path, recorded: Path) -> None:
    quiet = ["--set", "overlay.trail_s=0", "--set", "overlay.crf=10", "--quiet"]
    for folder, more in (("plain", []), ("fans", ["--forecast", "1"])):
        done = track("--video", clip, "--detections", recorded, "--output", folder, *quiet, *more)
        assert (done.returncode, done.stderr) == (0, "")
    plain, fans = (
        [f.to_ndarray(format="rgb24").astype(int) for f in av.open(str(cwd / n / "overlay.mp4")).decode(video=0)]
        for n in ("plain", "fans")
    )
    assert (cwd / "plain" / "tracks.txt").read_text() == (cwd / "fans" / "tracks.txt").read_text()
    differs = np.abs(fans[20] - plain[20]).max(axis=2) > 25
    # The block of frame 21 has its feet at x 47, y 50 and goes to the right by 20 px/s.
    y, x = np.nonzero(differs)
    assert len(x) > 30
    assert 45 < np.median(x) < 80
    assert 40 < np.median(y) < 60
    assert differs[:25, :20].sum() == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["heatmap", "--tracks", "none.txt"], "none.txt"),
        (["heatmap", "--tracks", "empty.txt"], "holds no row"),
        (["heatmap", "--tracks", "one.txt", "--fps", "0"], "--fps"),
        (["heatmap", "--tracks", "one.txt", "--frame", "3"], "--frame"),
        (["heatmap", "--tracks", "one.txt", "-o", "no/folder.png"], "no/folder.png: cannot be written"),
        (["heatmap", "--tracks", "one.txt", "--diagnostics", "one.txt"], "has not the header"),
        (["anomaly", "--tracks", "one.txt", "--fps", "7"], "one.txt: holds 1 track of several rows; what is"),
        (["anomaly", "--tracks", "single.txt", "--fps", "7"], "single.txt: holds 0 tracks of several rows; what is"),
        (["--detections", "one.txt", "--forecast", "1"], "--forecast"),
        (["--detections", "one.txt", "--video", "x.mp4", "--forecast", "-1"], "--forecast"),
    ],
)
def test_what_cannot_be_used_is_told_and_leaves_nothing(
    track: Track, cwd: Path, arguments: list[str], problem: str
) -> None:
    (cwd / "empty.txt").write_text("")
    (cwd / "one.txt").write_text("1,1,10,10,20,40,0.9,-1,-1,-1\n2,1,12,10,20,40,0.9,-1,-1,-1\n")
    (cwd / "single.txt").write_text("".join(f"{n},{n},{10 * n},10,20,40,0.9,-1,-1,-1\n" for n in range(1, 8)))
    done = track(*arguments)
    assert done.returncode == 2
    assert problem in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in cwd.iterdir()} == {"empty.txt", "one.txt", "single.txt"}


def test_fans_of_a_known_future_are_refused(track: Track, cwd: Path, clip: Path, recorded: Path) -> None:
    done = track("--video", clip, "--detections", recorded, "--forecast", "1", "--set", "tracking.smoothing=offline")
    assert done.returncode == 2
    assert done.stderr == (
        "error: overlay.forecast_s is 1; with tracking.smoothing: offline it must be 0: the future is known by then\n"
    )
    assert not list(cwd.iterdir())
