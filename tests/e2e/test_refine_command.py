"""`track refine`, and runs whose tracks are refined at their end."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import pytest
import yaml

from tracker import load_config
from tracker.app.pipeline import track_video

Track = Callable[..., subprocess.CompletedProcess[str]]
FRAMES = 30
GAP = range(14, 17)


@pytest.fixture
def holes(recorded: Path, tmp_path: Path) -> Path:
    """Return detections of the block that lack some frames."""
    path = tmp_path / "holes.txt"
    rows = recorded.read_text().splitlines(keepends=True)
    path.write_text("".join(row for row in rows if int(row.split(",")[0]) not in GAP))
    return path


def rows_of(path: Path) -> list[list[float]]:
    return [[float(value) for value in row.split(",")] for row in path.read_text().splitlines()]


def test_a_file_is_refined(track: Track, cwd: Path, holes: Path) -> None:
    assert track("--detections", holes, "--fps", "10", "--output", "run").returncode == 0
    tracks = cwd / "run" / "tracks.txt"
    assert [row[0] for row in rows_of(tracks)] == [f for f in range(1, FRAMES + 1) if f not in GAP]
    done = track("refine", "--tracks", tracks, "--detections", holes, "--fps", "10", "-o", "better.csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "better.csv: 1 track, 30 boxes, 3 of them filled in (before: 1 track, 27 boxes)\n"
    head, *lines = (cwd / "better.csv").read_text().splitlines()
    columns = head.split(",")
    cells = [dict(zip(columns, line.split(","), strict=True)) for line in lines]
    assert [int(cell["frame"]) for cell in cells] == list(range(1, FRAMES + 1))
    assert [int(cell["frame"]) for cell in cells if cell["imputed"] == "1"] == list(GAP)
    assert all(float(cell["left"]) == pytest.approx(2 * n, abs=0.1) for n, cell in enumerate(cells))
    assert all(float(cell["score"]) < 0.9 for cell in cells if cell["imputed"] == "1")


def test_the_output_lies_beside_the_tracks_and_what_is_lost_is_said(track: Track, cwd: Path, holes: Path) -> None:
    assert track("--detections", holes, "--fps", "10", "--output", "run").returncode == 0
    (cwd / "run" / "run.yaml").unlink()
    done = track("refine", "--tracks", "run/tracks.txt", "--set", "tracking.frame_rate_hz=10")
    assert done.returncode == 0
    assert "frame rate: not known; 10 Hz" in done.stderr
    assert "cannot hold imputed marks (3 rows)" in done.stderr
    assert [row[0] for row in rows_of(cwd / "run" / "tracks-refined.txt")] == list(range(1, FRAMES + 1))


def test_a_run_is_refined_at_its_end(track: Track, cwd: Path, clip: Path, holes: Path) -> None:
    done = track("--video", clip, "--detections", holes, "--set", "tracking.smoothing=offline")
    assert (done.returncode, done.stderr) == (0, "")
    folder = cwd / "block-tracks"
    rows = rows_of(folder / "tracks.txt")
    assert [row[0] for row in rows] == list(range(1, FRAMES + 1))
    with av.open(str(folder / "overlay.mp4")) as overlay:
        assert sum(1 for _ in overlay.decode(video=0)) == FRAMES
    counts = yaml.safe_load((folder / "run.yaml").read_text())["counts"]
    assert (counts["frames"], counts["boxes"], counts["tracks"]) == (FRAMES, FRAMES, 1)

    config = load_config(overrides=["tracking.smoothing=offline"])
    film = list(track_video(clip, config, detections=holes))
    assert all(frame.image is not None for frame, _ in film)
    assert [(frame.index, tracks.ids.tolist()) for frame, tracks in film] == [(n, [1]) for n in range(1, FRAMES + 1)]


def test_a_frame_far_away_and_motion_of_few_frames_are_told(track: Track, cwd: Path) -> None:
    rows = "".join(f"{n},1,{n},10,20,40,0.9\n" for n in range(1, 21))
    (cwd / "far.txt").write_text(rows + "1000000000000000,1,5,10,20,40,0.9\n")
    done = track("refine", "--tracks", "far.txt", "--fps", "10")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert done.stderr.startswith("error: far.txt: row 21: frame 1000000000000000 lies far beyond frame 20")
    (cwd / "near.txt").write_text(rows)
    (cwd / "motion.txt").write_text("7 1 0 0 0 1 0\n")
    done = track("refine", "--tracks", "near.txt", "--fps", "10", "--camera-motion", "motion.txt")
    assert done.returncode == 0
    assert done.stderr.splitlines()[0] == (
        "camera motion: motion.txt tells of 1 of 20 frames; in the others the camera is taken to stand still"
    )


def test_bad_input_is_one_line(track: Track, cwd: Path) -> None:
    (cwd / "bad.txt").write_text("1,1,10,10,20,40,0.9\n1,1,12,10,20,40,0.9\n")
    done = track("refine", "--tracks", "bad.txt")
    assert done.returncode == 2
    assert done.stderr.startswith("error: bad.txt:2: id 1 in frame 1 stands twice")
    assert len(done.stderr.splitlines()) == 1
    assert {path.name for path in cwd.iterdir()} == {"bad.txt"}
