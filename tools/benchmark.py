"""Measure the tracker: accuracy against ground truth, speed against other trackers.

    python tools/benchmark.py accuracy DATA_ROOT [--seeds N] [--every N] [--camera] [--json FILE]
    python tools/benchmark.py speed [--video FILE [--detections FILE]]
    python tools/benchmark.py profile [--objects K]

DATA_ROOT holds SET/SEQUENCE with det/det.txt, gt/gt.txt and seqinfo.ini in MOTChallenge form.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

import numpy as np
from measuring import Job, by_set, find_sequences, mean_and_error, run_all
from peers import PEERS, installed, is_installed
from rich.console import Console
from rich.progress import track as progress
from rich.table import Table

from tracker import Detections, Tracker, load_config
from tracker.evaluation.scores import Scores
from tracker.tracking.online import warm_up

OUTPUT = Console(width=None if sys.stdout.isatty() else 120)
SIZES = (10, 50, 100, 500, 1000, 2000)
COLUMNS = {
    "HOTA": "hota",
    "DetA": "det_a",
    "AssA": "ass_a",
    "MOTA": "mota",
    "IDF1": "idf1",
    "IDSW": "id_switches",
    "Frag": "fragmentations",
}


def accuracy(arguments: argparse.Namespace) -> None:
    if not is_installed(arguments.tracker):
        raise SystemExit(f"{arguments.tracker}: not installed; at hand: {', '.join(installed())}")
    config = load_config(arguments.config, arguments.set or ())
    sequences = find_sequences(arguments.root)
    if not sequences:
        raise SystemExit(f"{arguments.root}: holds no SET/SEQUENCE with det/det.txt and gt/gt.txt")
    seeds = range(1, arguments.seeds + 1) if arguments.seeds else (0,)
    jobs = [
        Job(sequence, config, seed, arguments.every, arguments.camera, arguments.tracker)
        for seed in seeds
        for sequence in sequences
    ]
    console = Console(stderr=True)
    results = dict(progress(run_all(jobs, arguments.processes), "tracking", len(jobs), console=console))
    table = Table(title=arguments.tracker + (f", every {arguments.every}. frame" if arguments.every > 1 else ""))
    for heading in ("set", *COLUMNS):
        table.add_column(heading, justify="left" if heading == "set" else "right")
    figures = {}
    for name, evaluations in by_set(results).items():
        scores = [evaluation.scores for evaluation in evaluations.values()]
        table.add_row(name, *(_cell(scores, field) for field in COLUMNS.values()))
        figures[name] = {str(seed): dataclasses.asdict(e.scores) for seed, e in evaluations.items()}
        if not arguments.seeds:
            figures[name]["sequences"] = {
                job.sequence.name: dataclasses.asdict(e.scores)
                for job, e in results.items()
                if job.sequence.set_name == name
            }
    OUTPUT.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _cell(scores: list[Scores], field: str) -> str:
    mean, error = mean_and_error(getattr(s, field) for s in scores)
    if len(scores) > 1:
        return f"{mean:.2f}±{error:.2f}"
    return f"{mean:.0f}" if mean.is_integer() else f"{mean:.2f}"


def crowd(objects: int, frames: int = 60, seed: int = 0) -> list[np.ndarray]:
    """Return frames of (N, 5) boxes and scores: walkers of 40 x 80 px at constant density, 5 % unseen."""
    rng = np.random.default_rng(seed)
    side = np.sqrt(objects * 40 * 80 / 0.1)
    centre, velocity = rng.uniform(0, side, (objects, 2)), rng.normal(0, 3, (objects, 2))
    film = []
    for _ in range(frames):
        centre = centre + velocity
        velocity[(centre < 0) | (centre > side)] *= -1
        seen = rng.random(objects) > 0.05
        middle = centre[seen] + rng.normal(0, 1, (seen.sum(), 2))
        size = np.array([40.0, 80.0]) + rng.normal(0, 1, (seen.sum(), 2))
        film.append(np.column_stack([middle - size / 2, middle + size / 2, np.full(seen.sum(), 0.9)]))
    return film


def _race(name: str, objects: int) -> float:
    """Return the processor time of one update in ms, once imported, compiled and five frames under way."""
    film = [Detections(rows[:, :4], rows[:, 4]) for rows in crowd(objects)]
    for run in (film[:5], film):
        peer, spent = PEERS[name](30.0), []
        for frame, detections in enumerate(run, 1):
            given = peer.prepare(detections)
            start = time.process_time()
            peer.update(given, frame / 30.0)
            spent.append(time.process_time() - start)
    return 1e3 * statistics.fmean(spent[5:])


def speed(arguments: argparse.Namespace) -> None:
    table = Table(title="processor ms per frame, K objects at constant density")
    for heading in ("tracker", *(f"K={k}" for k in SIZES), "time(2000) / time(100)"):
        table.add_column(heading, justify="left" if heading == "tracker" else "right")
    for name in installed():
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            row = [
                statistics.median(pool.submit(_race, name, k).result() for _ in range(arguments.repeats)) for k in SIZES
            ]
        table.add_row(name, *(f"{ms:.3f}" for ms in row), f"{row[-1] / row[2]:.0f}")
    OUTPUT.print(table)
    for what, command in {
        "import tracker": [sys.executable, "-c", "import tracker"],
        "track --help": [str(Path(sys.executable).with_name("track")), "--help"],
    }.items():
        spent = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            spent.append(time.perf_counter() - start)
        OUTPUT.print(f"{what}: {statistics.median(spent):.2f} s (median of 5, with the interpreter's own start)")
    if arguments.video:
        pipeline(arguments)


def pipeline(arguments: argparse.Namespace) -> None:
    """Run the whole job and compare it with what its stages cost by themselves."""
    from tracker.app.inputs import Job as Run
    from tracker.app.pipeline import run

    with tempfile.TemporaryDirectory() as folder:
        job = Run(config=load_config(), video=arguments.video, detections=arguments.detections)
        summary = run(job, Path(folder) / "tracks")
    slowest = max(summary.stages.values(), key=lambda stage: stage.processor_s)
    bound = max(slowest.processor_s, summary.processor_s / 2)
    table = Table(title=f"{arguments.video.name}: {summary.frames} frames in {summary.wall_s:.2f} s")
    for heading in ("stage", "busy s", "processor s"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for name, stage in summary.stages.items():
        table.add_row(name, f"{stage.busy_s:.2f}", f"{stage.processor_s:.2f}")
    OUTPUT.print(table)
    OUTPUT.print(
        f"whole run {summary.wall_s:.2f} s; half of its processor time {summary.processor_s / 2:.2f} s, "
        f"slowest stage {slowest.processor_s:.2f} s: {summary.wall_s / bound:.2f} times the larger"
    )


def profile(arguments: argparse.Namespace) -> None:
    import cProfile
    import pstats

    warm_up()
    tracker, film = Tracker(), [Detections(rows[:, :4], rows[:, 4]) for rows in crowd(arguments.objects, 300)]
    profiler = cProfile.Profile()
    profiler.enable()
    for detections in film:
        tracker.update(detections)
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("accuracy", help="HOTA, IDF1 and others for each set below DATA_ROOT")
    command.set_defaults(run=accuracy)
    command.add_argument("root", type=Path, metavar="DATA_ROOT")
    command.add_argument("--config", default="default.yaml", help="file or preset (default: %(default)s)")
    command.add_argument("--set", action="append", metavar="KEY=VALUE", help="override a key of the configuration")
    command.add_argument("--seeds", type=int, default=0, metavar="N", help="mean and error over N disturbed replicates")
    command.add_argument("--every", type=int, default=1, metavar="N", help="use every N-th frame only")
    command.add_argument("--camera", action="store_true", help="use the camera motion in gmc.txt where there is one")
    command.add_argument("--tracker", default="ours", metavar="NAME", help="one of the peers that are installed")
    command.add_argument("--processes", type=int, default=os.cpu_count(), metavar="N")
    command.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    command = commands.add_parser(
        "speed", help="time per frame beside the peers that are installed, start-up, pipeline"
    )
    command.set_defaults(run=speed)
    command.add_argument("--repeats", type=int, default=3, metavar="N", help="median of N runs (default: %(default)s)")
    command.add_argument("--video", type=Path, metavar="FILE", help="time the whole pipeline on this video too")
    command.add_argument("--detections", type=Path, metavar="FILE", help="with these detections, not the detector")
    command = commands.add_parser("profile", help="the ten hottest places of the tracker's update")
    command.set_defaults(run=profile)
    command.add_argument("--objects", type=int, default=100, metavar="K", help="default: %(default)s")
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
