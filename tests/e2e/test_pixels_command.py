"""`track` on the clip in ``videos/`` where objects are followed by their pixels."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import yaml

Track = Callable[..., "subprocess.CompletedProcess[str]"]
PLAZA = Path(__file__).parents[2] / "videos"
PIXELS = ("--set", "tracking.observations=pixels")


def test_pixels_give_the_same_files_as_boxes(track: Track, cwd: Path) -> None:
    done = track("--video", PLAZA / "plaza.mp4", *PIXELS, "--frames", 60, "--diagnostics", "--output", "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in (cwd / "out").iterdir()} == {
        "overlay.mp4",
        "tracks.txt",
        "run.yaml",
        "diagnostics.csv",
        "detections.txt",
    }
    rows = np.loadtxt(cwd / "out" / "tracks.txt", delimiter=",")
    assert len(np.unique(rows[:, 1])) >= 5
    assert len(np.unique(rows[:, :2], axis=0)) == len(rows)
    record = yaml.safe_load((cwd / "out" / "run.yaml").read_text())
    assert record["counts"]["frames"] == 60
    assert record["configuration"]["tracking"]["observations"] == "pixels"
    with av.open(str(cwd / "out" / "overlay.mp4")) as overlay:
        assert sum(1 for _ in overlay.decode(video=0)) == 60


def test_recorded_detections_are_no_pixels(track: Track, cwd: Path) -> None:
    done = track("--detections", PLAZA / "plaza-detections.txt", *PIXELS, "--output", "out")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "tracking.observations is pixels: recorded detections are boxes" in line
    assert not (cwd / "out").exists()


def test_keys_without_effect_are_told(track: Track, cwd: Path) -> None:
    keys = ("--set", "tracking.association.rounds=3", "--set", "tracking.refinement.common_motion=false")
    arguments = ("--video", PLAZA / "plaza.mp4", "--frames", 5, "--no-video", "--set", "tracking.pixels.rounds=3")
    done = track(*arguments, *keys, *PIXELS, "--output", "pixels")
    named = "tracking.association.rounds, tracking.refinement.common_motion have no effect"
    assert (done.returncode, done.stderr) == (0, f"tracking.observations is pixels: {named}\n")
    again = track(*arguments, "--config", "pixels/run.yaml", "--set", "tracking.observations=boxes")
    assert again.returncode == 0
    assert again.stderr == "tracking.observations is boxes: tracking.pixels.rounds has no effect\n"


def test_a_live_run_tells_keys_without_effect(track: Track, cwd: Path, clip: Path) -> None:
    done = track("live", "--camera", clip, "--set", "tracking.pixels.rounds=3", "--record", "out")
    assert done.returncode == 0
    assert "tracking.observations is boxes: tracking.pixels.rounds has no effect\n" in done.stderr
