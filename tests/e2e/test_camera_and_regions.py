"""Camera motion and regions from the command line."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

Track = Callable[..., "subprocess.CompletedProcess[str]"]


def stages(folder: Path) -> set[str]:
    return set(yaml.safe_load((folder / "run.yaml").read_text())["time"]["stages"])


@pytest.mark.parametrize(
    ("option", "is_estimated"), [([], True), (["--camera-motion", "auto"], True), (["--camera-motion", "none"], False)]
)
def test_the_camera_is_watched_where_detections_are_recorded(
    option: list[str], is_estimated: bool, track: Track, cwd: Path, clip: Path, recorded: Path
) -> None:
    done = track("--video", clip, "--detections", recorded, "--output", "out", "--no-video", *option)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("camera" in stages(cwd / "out")) == is_estimated


def test_a_file_of_camera_motion_wins(track: Track, cwd: Path, clip: Path, recorded: Path, tmp_path: Path) -> None:
    motion = tmp_path / "motion.txt"
    motion.write_text("2 1 0 0 0 1 0\n")
    track("--video", clip, "--detections", recorded, "--output", "out", "--no-video", "--camera-motion", motion)
    assert "camera" not in stages(cwd / "out")


@pytest.mark.parametrize(
    ("with_video", "more", "words"),
    [
        (True, [], "needs --detections or --model"),
        (True, ["--set", "tracking.observations=pixels"], "the camera must stand still"),
        (False, [], "needs the pictures"),
    ],
)
def test_motion_that_cannot_be_found_is_refused(
    with_video: bool, more: list[str], words: str, track: Track, cwd: Path, clip: Path, recorded: Path
) -> None:
    given = ["--video", clip] if with_video else ["--detections", recorded]
    done = track(*given, "--camera-motion", "auto", *more)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
    assert not list(cwd.iterdir())


def test_events_are_written_and_drawn(track: Track, cwd: Path, clip: Path, recorded: Path, tmp_path: Path) -> None:
    regions = tmp_path / "regions.yaml"
    regions.write_text("regions: {areas: {floor: [[0, 0], [1, 0], [1, 1], [0, 1]]}}\n")
    done = track("--video", clip, "--detections", recorded, "--config", regions, "--output", "out")
    assert (done.returncode, done.stderr) == (0, "")
    rows = list(csv.DictReader((cwd / "out" / "events.csv").read_text().splitlines()))
    assert [(row["event"], row["region"], row["id"]) for row in rows] == [
        ("enter", "floor", "1"),
        ("end", "floor", "1"),
    ]
    assert {path.name for path in (cwd / "out").iterdir()} == {"events.csv", "overlay.mp4", "run.yaml", "tracks.txt"}
