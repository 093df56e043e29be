"""`track --model` as people use it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from onnx_models import colour_model, constant_model

Track = Callable[..., "subprocess.CompletedProcess[str]"]

SETTINGS = ("layout=yolox_raw", "colour_order=rgb", "input_scale=unit")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a detector of colours for the clip's size; its name would mean something to YAML."""
    return colour_model(tmp_path_factory.mktemp("models") / "red: # green.onnx", (96, 64))


def settings() -> list[str]:
    return [word for setting in SETTINGS for word in ("--set", f"detection.onnx.{setting}")]


def test_a_model_finds_and_the_tracker_follows(track: Track, cwd: Path, clip: Path, model: Path) -> None:
    done = track("--video", clip, "--model", model, "--classes", "red, green", "--no-video", *settings())
    assert done.returncode == 0
    assert done.stderr.startswith("detector: red: # green.onnx: layout yolox_raw, 3 classes, input 96x64 rgb unit")
    assert done.stderr.count("\n") == 1
    rows = [row.split(",") for row in (cwd / "block-tracks" / "tracks.txt").read_text().splitlines()]
    assert len(rows) > 20
    assert {row[7] for row in rows} <= {"0", "1"}
    assert {tuple(row[8:]) for row in rows} == {("-1", "-1")}
    record = yaml.safe_load((cwd / "block-tracks" / "run.yaml").read_text())
    assert record["configuration"]["detection"]["kind"] == "onnx"
    assert record["configuration"]["detection"]["onnx"]["model"] == str(model)
    assert record["configuration"]["detection"]["onnx"]["classes"] == ["red", "green"]


def test_of_a_class_that_is_not_there_nothing_is_found(track: Track, cwd: Path, clip: Path, model: Path) -> None:
    done = track("--video", clip, "--model", model, "--classes", "blue", "--no-video", "--quiet", *settings())
    assert (done.returncode, done.stderr) == (0, "")
    assert (cwd / "block-tracks" / "tracks.txt").read_text() == ""


def test_mistakes_are_told_in_one_line(track: Track, cwd: Path, clip: Path, model: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("no model")
    ambiguous = constant_model(tmp_path / "two.onnx", {"output": np.full((1, 84, 9), 20.0, np.float32)})
    for arguments, problem in [
        (("--model", tmp_path / "none.onnx"), "none.onnx: cannot be read: no such file or directory"),
        (("--model", text), "text.onnx: is not an ONNX model"),
        (("--model", ambiguous), "output (1, 84, 9) may be yolox or yolov8; state detection.onnx.layout"),
        (("--model", model, "--classes", "redd", *settings()), "has no class redd; did you mean red?"),
        (("--set", "detection.kind=onnx"), "--model (detection.onnx.model) must name the file"),
        (("--model", model, "--set", "detection.onnx.layot=yolox"), "did you mean detection.onnx.layout?"),
    ]:
        done = track("--video", clip, *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: ")
        assert problem in done.stderr
        assert done.stderr.count("\n") == 1
    assert list(cwd.iterdir()) == []


def test_options_that_exclude_each_other(track: Track, clip: Path, recorded: Path, model: Path) -> None:
    both = track("--video", clip, "--model", model, "--detections", recorded)
    assert both.returncode == 2
    assert both.stderr == "error: --model: detections are given already: --detections or --model, not both\n"
    alone = track("--video", clip, "--classes", "person")
    assert alone.returncode == 2
    assert alone.stderr == "error: --classes: are those of a model or of detections: --model, --detections\n"
