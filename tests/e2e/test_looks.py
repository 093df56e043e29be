"""Looks from the command line and through the pipeline."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from onnx import TensorProto, helper

from tests.onnx_models import save_model
from tracker import Config, Detections, track_video
from tracker.app.live import track_live
from tracker.config import check_config
from tracker.errors import ConfigurationError
from tracker.formats.motchallenge import read_detections
from tracker.structures import Tracks

Track = Callable[..., "subprocess.CompletedProcess[str]"]
PLAZA = Path(__file__).parents[2] / "videos" / "plaza.mp4"
DETECTIONS = PLAZA.with_name("plaza-detections.txt")
FRAMES = 120


def settings(**tracking: object) -> Config:
    return check_config({"tracking": tracking}, "test")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a graph that gives the colours of a picture's eight parts."""
    nodes = [
        helper.make_node("AveragePool", ["images"], ["parts"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["parts"], ["vectors"]),
    ]
    inputs = {"images": (TensorProto.FLOAT, ("batch", 3, 32, 16))}
    outputs = {"vectors": (TensorProto.FLOAT, ("batch", 24))}
    return save_model(tmp_path_factory.mktemp("network") / "parts.onnx", nodes, inputs, outputs, {})


@pytest.mark.parametrize("kind", ["histogram", "network"])
def test_the_command_tells_looks(kind: str, network: Path, track: Track, cwd: Path) -> None:
    appearance = str(network) if kind == "network" else kind
    common = ("--video", PLAZA, "--detections", DETECTIONS, "--frames", FRAMES, "--no-video")
    done = track(*common, "--appearance", appearance, "--output", "told", "--diagnostics")
    announced = "appearance: parts.onnx: vectors of 24, input 16x32 rgb " if kind == "network" else ""
    assert (done.returncode, done.stderr[: len(announced)]) == (0, announced)
    assert done.stderr.count("\n") == (kind == "network")
    record = yaml.safe_load((cwd / "told" / "run.yaml").read_text())
    assert record["configuration"]["tracking"]["appearance"] == ("onnx" if kind == "network" else kind)
    assert record["counts"]["frames"] == FRAMES
    # The same as through the library, whose detections carry their features.
    config = check_config(record["configuration"], "run.yaml")
    rows = [
        f"{frame.index},{i}"
        for frame, tracks in track_video(PLAZA, config, detections=DETECTIONS, frames=FRAMES)
        for i in tracks.ids
    ]
    written = (cwd / "told" / "tracks.txt").read_text().splitlines()
    assert [",".join(row.split(",")[:2]) for row in written] == rows
    assert len(rows) > 5 * FRAMES


def test_looks_change_what_is_told_and_none_is_as_ever() -> None:
    def found(**tracking: object) -> list[list[int]]:
        config = settings(**tracking)
        film = track_video(PLAZA, config, detections=DETECTIONS, frames=FRAMES)
        return [tracks.responsibilities.tolist() for _, tracks in film]

    assert found() == found(appearance="none")
    assert found() != found(appearance="histogram")


@pytest.mark.parametrize("tracking", [{"lag_frames": 5}, {"smoothing": "offline"}])
def test_looks_go_with_reports_that_wait(tracking: dict[str, object]) -> None:
    film = track_video(PLAZA, settings(appearance="histogram", **tracking), detections=DETECTIONS, frames=40)
    reports = [(frame.index, len(tracks)) for frame, tracks in film]
    assert [index for index, _ in reports] == list(range(1, 41))
    assert min(count for _, count in reports[2:]) > 3


def test_looks_are_told_live() -> None:
    recorded = read_detections(DETECTIONS)
    shown: list[np.ndarray] = []

    def detector(image: np.ndarray) -> Detections:
        shown.append(image)
        return recorded[1]

    film = track_live(PLAZA, settings(appearance="histogram"), detector=detector)
    found: list[Tracks] = []
    for _, tracks in film:
        found.append(tracks)
        if len(found) == 3:
            break
    film.close()
    assert len(found[-1]) > 3


def test_without_pictures_looks_are_refused(track: Track, cwd: Path) -> None:
    done = track("--detections", DETECTIONS, "--appearance", "histogram")
    assert done.returncode == 2
    assert done.stderr == "error: tracking.appearance is histogram: it needs the pictures, --video\n"
    assert not list(cwd.iterdir())


def test_a_network_that_is_not_named_is_told(track: Track, cwd: Path) -> None:
    done = track("--video", PLAZA, "--detections", DETECTIONS, "--set", "tracking.appearance=onnx")
    assert done.returncode == 2
    assert done.stderr == "error: tracking.appearance is onnx: detection.embedding.model must name the file\n"
    assert not list(cwd.iterdir())


def test_the_library_tells_the_same() -> None:
    with pytest.raises(ConfigurationError, match=r"detection.embedding.model must name the file"):
        next(track_video(PLAZA, settings(appearance="onnx"), detections=DETECTIONS))


def test_an_appearance_that_is_none_of_them_is_refused(track: Track, cwd: Path) -> None:
    done = track("--video", PLAZA, "--appearance", "colour")
    assert done.returncode == 2
    assert done.stderr == "error: --appearance: colour is neither none, histogram nor an ONNX file\n"
    assert not list(cwd.iterdir())
