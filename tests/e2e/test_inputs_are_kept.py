"""No command writes over what it reads, whatever it is told, nor anything of the wrong kind."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

Track = Callable[..., "subprocess.CompletedProcess[str]"]

HEATMAP = ["heatmap", "--tracks", "tr.txt"]
ANOMALY = ["anomaly", "--tracks", "tr.txt"]
REPORT = ["report", "--truth", "gt.txt", "--tracks", "tr.txt"]
REFINE = ["refine", "--tracks", "tr.txt", "--detections", "det.txt"]
FIT = ["fit", "--detections", "det.txt"]
SAME = "the output is the input"


@pytest.fixture
def kept(cwd: Path, clip: Path, images: list[np.ndarray]) -> dict[Path, bytes]:
    """Return what the folder holds: a clip, pictures, detections, tracks, truth, diagnostics, a configuration."""
    (cwd / "v.mp4").write_bytes(clip.read_bytes())
    (cwd / "img").mkdir()
    for n, image in enumerate(images[:3], 1):
        cv2.imwrite(str(cwd / "img" / f"{n}.png"), image)
    rows = [(n, k, 2 * n, 10 * k, 14, 8) for n in range(1, 31) for k in (1, 2, 3)]
    for name, tail in (("tr.txt", "0.9,-1,-1,-1"), ("gt.txt", "1,1,1")):
        (cwd / name).write_text("".join(f"{','.join(map(str, row))},{tail}\n" for row in rows))
    (cwd / "det.txt").write_text("".join(f"{n},-1,{2 * n},20,14,30,0.9\n" for n in range(1, 31)))
    (cwd / "c.yaml").write_text("overlay: {crf: 30}\n")
    (cwd / "c.csv").write_text("{}\n")
    return {path: path.read_bytes() for path in cwd.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([*HEATMAP, "--video", "v.mp4", "--output", "v.mp4"], "v.mp4: must end in .png"),
        ([*HEATMAP, "--video", "img", "--output", "img/2.png"], f"img/2.png: {SAME} img/2.png"),
        ([*HEATMAP, "--output", "tr.txt"], "tr.txt: must end in .png"),
        ([*HEATMAP, "--csv", "tr.txt"], f"tr.txt: {SAME} tr.txt"),
        ([*HEATMAP, "--config", "c.yaml", "--csv", "./c.yaml"], f"c.yaml: {SAME} c.yaml"),
        ([*HEATMAP, "--output", "a.png", "--csv", "a.png"], "a.png: two outputs are this one file"),
        ([*HEATMAP, "--output", "a.jpg"], "a.jpg: must end in .png"),
        ([*HEATMAP, "--output", "new/"], "new: must end in .png"),
        ([*ANOMALY, "-o", "tr.txt"], "tr.txt: must end in .csv"),
        ([*ANOMALY, "--config", "c.csv", "-o", "c.csv"], f"c.csv: {SAME} c.csv"),
        ([*ANOMALY, "--video", "v.mp4", "--picture", "v.mp4"], "v.mp4: must end in .png"),
        ([*ANOMALY, "-o", "p.png"], "p.png: must end in .csv"),
        ([*REPORT, "--output", "gt.txt"], "gt.txt: must end in .html"),
        ([*REPORT, "-o", "img"], "img: is a folder"),
        ([*REFINE, "-o", "det.txt"], f"det.txt: {SAME} det.txt"),
        ([*REFINE, "-o", "tr.txt"], f"tr.txt: {SAME} tr.txt"),
        ([*REFINE, "-o", "x.png"], "x.png: its suffix names no format; use .txt, .json, .xml, .csv, .parquet"),
        ([*FIT, "-o", "det.txt"], "det.txt: must end in .yaml or .yml"),
        ([*FIT, "--config", "c.yaml", "-o", "c.yaml"], f"c.yaml: {SAME} c.yaml"),
        ([*FIT, "-o", "img"], "img: is a folder"),
        (["convert", "tr.txt", "tr.txt"], f"tr.txt: {SAME} tr.txt"),
        (["convert", "tr.txt", "./tr.txt", "--to", "csv"], f"tr.txt: {SAME} tr.txt"),
        (["eval", "--truth", "gt.txt", "--tracks", "tr.txt", "--json", "tr.txt"], f"tr.txt: {SAME} tr.txt"),
        (["--detections", "det.txt", "-o", "det.txt"], "det.txt: is a file; --output must name a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_inputs_are_kept(track: Track, cwd: Path, kept: dict[Path, bytes], arguments: list[str], problem: str) -> None:
    done = track(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {problem}")
    assert {path: path.read_bytes() for path in cwd.rglob("*") if path.is_file()} == kept


def test_results_go_into_streams_too(track: Track, kept: dict[Path, bytes]) -> None:
    done = track("heatmap", "--tracks", "tr.txt", "--fps", "10", "--csv", "/dev/stdout", "-o", "/dev/null")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("x_px,y_px,presence_s,")
    assert done.stdout.endswith("/dev/null, /dev/stdout: 3 objects, 9.0 object-seconds\n")
