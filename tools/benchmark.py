"""Measure the tracker: accuracy against ground truth, speed against other trackers.

    python tools/benchmark.py accuracy DATA_ROOT [--seeds N] [--every N] [--lost SHARE] [--camera] [--json FILE]
    python tools/benchmark.py speed [--video FILE [--detections FILE]] [--only core|start|drawing|pipeline]
    python tools/benchmark.py memory --video FILE [--detections FILE]
    python tools/benchmark.py profile [--objects K | --video FILE [--detections FILE]]

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
from contextlib import ExitStack
from pathlib import Path

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

import numpy as np
from measuring import (
    Job,
    by_set,
    find_sequences,
    loop_rows,
    loop_video,
    mean_and_error,
    run_all,
    walkers,
)
from peers import PEERS, installed, is_installed
from profiling import step_parts, whole_run
from rich.console import Console
from rich.progress import track as progress
from rich.table import Table
from telling import one_line_errors

from tracker import Detections, Frame, load_config
from tracker.app.warming import warm_up
from tracker.evaluation.scores import Scores

OUTPUT = Console(width=None if sys.stdout.isatty() else 120)
SIZES = (10, 50, 100, 500, 1000, 2000)
FIRST_FRAME = "from tracker.app.warming import warm_up; warm_up()"
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
    seeds = range(1, arguments.seeds + 1) if arguments.seeds else (0,)
    jobs = [
        Job(sequence, config, seed, arguments.every, arguments.camera, arguments.tracker, arguments.lost)
        for seed in seeds
        for sequence in sequences
    ]
    console = Console(stderr=True)
    results = dict(progress(run_all(jobs, arguments.processes), "tracking", len(jobs), console=console))
    thinned = f", every {arguments.every}. frame" if arguments.every > 1 else ""
    thinned += f", {arguments.lost:.0%} of the frames lost" if arguments.lost else ""
    table = Table(title=arguments.tracker + thinned)
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
    if arguments.only == "pipeline" and not arguments.video:
        raise SystemExit("error: --only pipeline needs --video")
    parts = {"core": core, "start": start_up, "drawing": drawing, "pipeline": pipeline}
    for name, part in parts.items():
        if arguments.only in (None, name) and (name != "pipeline" or arguments.video):
            part(arguments)


def core(arguments: argparse.Namespace) -> None:
    """Race the trackers in turns, a process each, so that what else the machine does hits all of them alike."""
    spent_ms: dict[str, dict[int, list[float]]] = {name: {k: [] for k in SIZES} for name in installed()}
    turns = [(k, name) for k in SIZES for _ in range(arguments.repeats) for name in spent_ms]
    with ExitStack() as stack:
        spawn = multiprocessing.get_context("spawn")
        pools = {name: stack.enter_context(ProcessPoolExecutor(1, mp_context=spawn)) for name in spent_ms}
        for k, name in progress(turns, "racing", console=Console(stderr=True)):
            spent_ms[name][k].append(pools[name].submit(_race, name, k).result())
    table = Table(title="processor ms per frame, K objects at constant density")
    for heading in ("tracker", *(f"K={k}" for k in SIZES), "time(2000) / time(100)"):
        table.add_column(heading, justify="left" if heading == "tracker" else "right")
    for name, by_size in spent_ms.items():
        row = [statistics.median(by_size[k]) for k in SIZES]
        table.add_row(name, *(f"{ms:.3f}" for ms in row), f"{row[-1] / row[2]:.0f}")
    OUTPUT.print(table)


def start_up(_: argparse.Namespace) -> None:
    for what, command in {
        "import tracker": [sys.executable, "-c", "import tracker"],
        "track --help": [str(Path(sys.executable).with_name("track")), "--help"],
    }.items():
        spent = []
        for _repeat in range(5):
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            spent.append(time.perf_counter() - start)
        OUTPUT.print(f"{what}: {statistics.median(spent):.2f} s (median of 5, with the interpreter's own start)")
    with tempfile.TemporaryDirectory() as empty:
        fresh = {**os.environ, "NUMBA_CACHE_DIR": empty}
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", FIRST_FRAME], check=True, env=fresh)
        OUTPUT.print(f"first frame of a fresh install, compiled once: {time.perf_counter() - start:.1f} s")


def drawing(_: argparse.Namespace) -> None:
    """Time the painter by itself: full HD, 30 tracks, trails as long as they get."""
    from tracker.config import OverlayConfig
    from tracker.media.overlay import OverlayPainter

    film = walkers()
    image = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
    parts = {name: name in ("boxes", "ellipses", "labels") for name in ("boxes", "ellipses", "labels", "trails")}
    nothing = {"boxes": False, "ellipses": False, "labels": False, "trail_s": 0.0}
    looks = {"all": OverlayConfig(), "copy of the picture": OverlayConfig(**nothing)}
    for name, is_switch in parts.items():
        looks[name] = OverlayConfig(**nothing | ({name: True} if is_switch else {"trail_s": 2.0}))
    spent = {}
    for name, config in looks.items():
        painter, times_ms = OverlayPainter(config), []
        for index, tracks in enumerate(film, 1):
            frame = Frame(index, index / 25, image)
            start = time.thread_time()
            painter.paint(frame, tracks)
            times_ms.append(1e3 * (time.thread_time() - start))
        spent[name] = statistics.median(times_ms[len(times_ms) // 2 :])
    base = spent["copy of the picture"]
    shares = ", ".join(f"{name} {spent[name] - base:.2f}" for name in parts)
    OUTPUT.print(
        f"drawing {len(film[0])} tracks on 1920x1080: {spent['all']:.2f} processor ms per frame ({shares}, "
        f"copy of the picture {base:.2f})"
    )


def pipeline(arguments: argparse.Namespace) -> None:
    """Run the whole job and compare it with what its stages cost by themselves."""
    from tracker.app.inputs import Job as Run
    from tracker.app.pipeline import run

    detections = [arguments.detections, None] if arguments.detections else [None]
    for given in detections:
        summaries = []
        for _ in range(arguments.repeats):
            with tempfile.TemporaryDirectory() as folder:
                job = Run(config=load_config(), video=arguments.video, detections=given)
                summaries.append(run(job, Path(folder) / "tracks"))
        summary = min(summaries, key=lambda s: s.wall_s)
        slowest_s = max(stage.processor_s for stage in summary.stages.values())
        bound_s = max(slowest_s, summary.processor_s / 2)
        source = "recorded detections" if given else "background detector"
        table = Table(title=f"{arguments.video.name}, {source}: {summary.frames} frames in {summary.wall_s:.2f} s")
        for heading in ("stage", "busy s", "processor s"):
            table.add_column(heading, justify="left" if heading == "stage" else "right")
        for name, stage in summary.stages.items():
            table.add_row(name, f"{stage.busy_s:.2f}", f"{stage.processor_s:.2f}")
        OUTPUT.print(table)
        OUTPUT.print(
            f"fastest of {len(summaries)} runs {summary.wall_s:.2f} s; half of its processor time "
            f"{summary.processor_s / 2:.2f} s, slowest stage {slowest_s:.2f} s: "
            f"{summary.wall_s / bound_s:.2f} times the larger (load of the machine {os.getloadavg()[0]:.1f})"
        )


def memory(arguments: argparse.Namespace) -> None:
    """Compare the peak memory of a minute with that of ten: the same ten seconds over and over."""
    track_command = str(Path(sys.executable).with_name("track"))
    peaks_mb = []
    warm_up()
    with tempfile.TemporaryDirectory() as folder:
        for minutes in (1, 10):
            video, detections = Path(folder) / f"{minutes}.mp4", Path(folder) / f"{minutes}.txt"
            frames = loop_video(arguments.video, video, times=6 * minutes)
            command = [track_command, "--quiet", "--video", str(video), "--output", str(Path(folder) / "out")]
            if arguments.detections:
                loop_rows(arguments.detections, detections, frames // (6 * minutes), times=6 * minutes)
                command += ["--detections", str(detections)]
            process = subprocess.Popen(command)
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                raise SystemExit(f"{' '.join(command)}: failed")
            peaks_mb.append(usage.ru_maxrss / 1024)
            OUTPUT.print(f"{60 * minutes} s of video, {frames} frames: peak memory {peaks_mb[-1]:.0f} MB")
    OUTPUT.print(f"{peaks_mb[1] / peaks_mb[0] - 1:+.1%}")


def profile(arguments: argparse.Namespace) -> None:
    """Name the ten hottest places: of the tracker's update, or of a whole run."""
    warm_up()
    if arguments.video:
        whole_run(arguments.video, arguments.detections, frames=400).sort_stats("tottime").print_stats(10)
        return
    parts = step_parts([Detections(rows[:, :4], rows[:, 4]) for rows in crowd(arguments.objects)])
    total_us = sum(us for _, us in parts)
    table = Table(title=f"update of {arguments.objects} objects: its dearest parts, each called by itself")
    for heading in ("part", "us per frame", "share"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    for name, us in parts[:10]:
        table.add_row(name, f"{us:.0f}", f"{us / total_us:.0%}")
    OUTPUT.print(table)


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
    command.add_argument(
        "--lost", type=float, default=0.0, metavar="SHARE", help="lose this share of the frames, chosen at random"
    )
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
    command.add_argument("--detections", type=Path, metavar="FILE", help="with these detections too, not the detector")
    command.add_argument("--only", choices=("core", "start", "drawing", "pipeline"), help="this part alone")
    command = commands.add_parser("memory", help="peak memory of one and of ten minutes of a looped video")
    command.set_defaults(run=memory)
    command.add_argument("--video", type=Path, required=True, metavar="FILE", help="whose first 10 s are looped")
    command.add_argument("--detections", type=Path, metavar="FILE", help="with these detections, not the detector")
    command = commands.add_parser("profile", help="the ten hottest places of the tracker's update or of a whole run")
    command.set_defaults(run=profile)
    command.add_argument("--objects", type=int, default=1000, metavar="K", help="default: %(default)s")
    command.add_argument("--video", type=Path, metavar="FILE", help="a whole run on this video's first 400 frames")
    command.add_argument("--detections", type=Path, metavar="FILE", help="with these detections, not the detector")
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    with one_line_errors():
        main()
