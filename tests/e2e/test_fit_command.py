"""`track fit`: what it writes, says and refuses."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.e2e.conftest import TRACK
from tracker import load_config

Track = Callable[..., subprocess.CompletedProcess[str]]


def write_swarm(folder: Path, seed: int, frames: int = 120) -> None:
    """Write detections and truth of small quick objects with loose boxes, which the defaults were not made for."""
    rng = np.random.default_rng(seed)
    n, size = 8, 20.0
    place = rng.uniform(200.0, 800.0, (n, 2))
    velocity = rng.normal(0.0, 3.0, (n, 2))
    detections, truth = [], []
    for frame in range(1, frames + 1):
        velocity += rng.normal(0.0, 2.0, (n, 2)) - 0.05 * velocity - 0.001 * (place - 500.0)
        place += velocity
        for k, (x, y) in enumerate(place, 1):
            truth.append(f"{frame},{k},{x:.2f},{y:.2f},{size},{size},1,1,1\n")
            if rng.random() < 0.9:
                dx, dy = rng.normal(0.0, 2.0, 2)
                detections.append(f"{frame},-1,{x + dx:.2f},{y + dy:.2f},{size},{size},{rng.uniform(0.6, 1):.3f}\n")
        for x, y in rng.uniform(0.0, 1000.0, (rng.poisson(2.0), 2)):
            detections.append(f"{frame},-1,{x:.2f},{y:.2f},{size},{size},{rng.uniform(0.2, 0.7):.3f}\n")
    for name, rows in (("det", detections), ("gt", truth)):
        (folder / name).mkdir(parents=True)
        (folder / name / f"{name}.txt").write_text("".join(rows))
    (folder / "seqinfo.ini").write_text(f"[Sequence]\nframeRate=25\nseqLength={frames}\n")


@pytest.fixture(scope="module")
def swarms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("swarms")
    for seed in (1, 2):
        write_swarm(folder / f"swarm-{seed}", seed)
    return folder


def test_a_file_of_detections_teaches_a_configuration(track: Track, cwd: Path, swarms: Path) -> None:
    detections = swarms / "swarm-1" / "det" / "det.txt"
    command = ("fit", "--detections", detections, "--unchecked", "--prior-weight", "0", "-o")
    done = track(*command, "fitted.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("iteration 0: log-likelihood -")
    assert "before" in done.stderr.splitlines()[-2]
    births = done.stderr.splitlines()[-1]
    assert births.startswith("births: ")
    assert "motion.process_noise, x" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("fitted.yaml: ")
    text = (cwd / "fitted.yaml").read_text()
    assert f"# {births}" in text.splitlines()
    assert text.startswith(f"# Learned by `track fit` from {detections}: 1 sequence, 120 frames, ")
    fitted = load_config(cwd / "fitted.yaml").tracking
    # Kicks of 2 px on objects of 20 px; heavy tails want a scale that is less than the deviation.
    assert 0.04 < fitted.motion.process_noise[0] < 0.12
    assert set(yaml.safe_load(text)) == {"tracking"}
    assert track("--detections", detections, "--config", "fitted.yaml", "--output", "run").returncode == 0

    again = track(*command, "again.yaml")
    assert again.returncode == 0
    assert (cwd / "again.yaml").read_text() == text


def test_what_is_taken_over_without_truth_tracks_better(track: Track, cwd: Path, swarms: Path) -> None:
    done = track("fit", "--detections", swarms, "-o", "fitted.yaml")
    assert done.returncode == 0, done.stderr
    assert "hidden objects found again" in done.stdout
    figures = {}
    for name in ("default.yaml", "fitted.yaml"):
        unseen = cwd / "unseen"
        if not unseen.exists():
            write_swarm(unseen, 77, frames=300)
        assert track("--detections", unseen / "det/det.txt", "--config", name, "--output", name[:3]).returncode == 0
        scored = track("eval", "--truth", unseen / "gt/gt.txt", "--tracks", f"{name[:3]}/tracks.txt", "--csv", "-")
        header, *_, last = (row.split(",") for row in scored.stdout.splitlines())
        figures[name] = float(dict(zip(header, last, strict=True))["HOTA"])
    assert figures["fitted.yaml"] >= figures["default.yaml"]


def test_truth_decides_by_what_is_held_out(track: Track, cwd: Path, swarms: Path) -> None:
    swarm = swarms / "swarm-1"
    done = track("fit", "--detections", swarm, "--truth", swarm / "gt" / "gt.txt", "-o", "fitted.yaml")
    assert done.returncode == 0, done.stderr
    assert "all together, held out" in done.stdout
    text = (cwd / "fitted.yaml").read_text()
    assert "and the truth" in text.splitlines()[0]
    load_config(cwd / "fitted.yaml")


def refusals(swarms: Path) -> list[tuple[list[str | Path], str]]:
    first = swarms / "swarm-1"
    return [
        (["--detections", "none"], "error: none: is neither a file nor a folder"),
        (["--detections", "."], "error: .: holds no detections"),
        (["--detections", "empty.txt"], "nothing to learn from fewer than 50 frames"),
        (["--detections", first, "--truth", "none"], "error: none: is neither a file nor a folder"),
        (["--detections", first, "--truth", "far.txt"], "no detection covers any row of the truth"),
        (["--detections", first, "--fps", "0"], "0 is not a positive number"),
        (["--detections", first, "--truth", first, "--unchecked"], "goes without --truth"),
        (["--detections", first, "--config", "none"], "error: none: no such file"),
        (["--detections", first, "--max-iterations", "1", "-o", "no/fitted.yaml"], "cannot be written"),
    ]


@pytest.mark.parametrize("case", range(9))
def test_bad_input_is_told_and_nothing_written(track: Track, cwd: Path, swarms: Path, case: int) -> None:
    (cwd / "empty.txt").write_text("")
    (cwd / "far.txt").write_text("".join(f"{n},1,9000,9000,20,20,1,1,1\n" for n in range(1, 121)))
    before = {path.name for path in cwd.iterdir()}
    arguments, message = refusals(swarms)[case]
    output = [] if "-o" in arguments else ["-o", "fitted.yaml"]
    done = track("fit", *arguments, *output)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert {path.name for path in cwd.iterdir()} == before


def test_an_interrupt_leaves_the_earlier_file(cwd: Path, tmp_path: Path) -> None:
    write_swarm(tmp_path / "long", 3, frames=3000)
    target = cwd / "fitted.yaml"
    target.write_text("tracking: {lag_frames: 2}\n")
    command = [TRACK, "fit", "--detections", tmp_path / "long", "-o", target]
    running = subprocess.Popen(command, cwd=cwd, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert running.stderr is not None
    first = running.stderr.readline()
    running.send_signal(signal.SIGINT)
    _, rest = running.communicate(timeout=60)
    assert first.startswith("iteration 0: log-likelihood")
    assert rest.splitlines()[-1] == "interrupted: nothing written"
    assert "Traceback" not in rest
    assert running.returncode == 130
    assert target.read_text() == "tracking: {lag_frames: 2}\n"
    assert [path.name for path in cwd.iterdir()] == ["fitted.yaml"]
