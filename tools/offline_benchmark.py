"""Measure what looking ahead is worth: the online result, then each piece of offline tracking on top of the last.

    python tools/offline_benchmark.py DATA_ROOT [--seeds N] [--camera] [--set KEY=VALUE] [--sets NAME,...]

DATA_ROOT is that of benchmark.py. `linked` is the whole but for pruning, `pruned` the whole.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

import numpy as np
from measuring import Recording, Sequence, find_sequences, load, mean_and_error, replicate, stream
from rich.console import Console
from rich.progress import track as progress
from rich.table import Table
from telling import one_line_errors

from tracker import Config, Tracker, load_config
from tracker.app.refining import Report, table_of, waiting_for_births
from tracker.app.warming import warm_up
from tracker.evaluation.scores import Evaluation, combine, evaluate
from tracker.formats.table import TrackTable
from tracker.tracking.offline.refinement import refine

STAGES: dict[str, dict[str, object] | None] = {
    "online": None,
    "smoothed": {"fill": False, "link": False, "prune": 0.0},
    "filled": {"link": False, "prune": 0.0},
    "linked": {"prune": 0.0},
    "pruned": {},
}
COLUMNS = {"HOTA": "hota", "DetA": "det_a", "AssA": "ass_a", "IDF1": "idf1"}


def staged(config: Config, changes: Mapping[str, object]) -> Config:
    """Return the configuration with other values in ``tracking.offline``."""
    offline = config.tracking.offline.model_copy(update=dict(changes))
    return config.model_copy(update={"tracking": config.tracking.model_copy(update={"offline": offline})})


def reports(recording: Recording, config: Config, camera: bool) -> list[Report]:
    """Return what the tracker reports, frame by frame."""
    tracker = Tracker(config)
    motion = [recording.camera.get(frame) if camera else None for frame in range(1, len(recording.detections) + 1)]
    tracks = [
        tracker.update(detections, time_s=time_s, camera_affine=affine)
        for detections, time_s, affine in zip(recording.detections, recording.times_s, motion, strict=True)
    ]
    tracks = tracks[config.tracking.lag_frames :] + tracker.flush()
    return [Report(n, t, affine, False) for n, (t, affine) in enumerate(zip(tracks, motion, strict=True), 1)]


def run(
    sequence: Sequence, config: Config, seed: int = 0, camera: bool = False, stages: Iterable[str] = tuple(STAGES)
) -> dict[str, Evaluation]:
    """Score stages on one sequence."""
    recording = replicate(load(sequence), seed, stream(sequence.label, seed))
    born = reports(recording, waiting_for_births(config), camera)
    motion = {r.index: r.camera_affine for r in born if r.camera_affine is not None} or None
    evaluations = {}
    for stage in stages:
        changes = STAGES[stage]
        if changes is None:
            table = table_of(reports(recording, config, camera))
        else:
            table = refine(
                table_of(born), staged(config, changes), frame_rate_hz=recording.frame_rate_hz, camera_motion=motion
            )
        rounded = TrackTable(table.frames, table.ids, np.round(table.boxes_ltwh, 2), table.scores)
        evaluations[stage] = evaluate(recording.truth, rounded)
    return evaluations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, metavar="DATA_ROOT")
    parser.add_argument("--config", default="default.yaml", help="file or preset (default: %(default)s)")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="override a key of the configuration")
    parser.add_argument("--sets", help="names of the sets, separated by commas (default: all)")
    parser.add_argument("--seeds", type=int, default=0, metavar="N", help="mean and error over N disturbed replicates")
    parser.add_argument("--camera", action="store_true", help="use the camera motion in gmc.txt where there is one")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), metavar="N")
    arguments = parser.parse_args()
    config = load_config(arguments.config, arguments.set or ())
    sequences = find_sequences(arguments.root, arguments.sets)
    seeds = range(1, arguments.seeds + 1) if arguments.seeds else (0,)
    jobs = [(sequence, seed) for sequence in sequences for seed in seeds]
    warm_up()
    with ProcessPoolExecutor(arguments.processes) as pool:
        done = pool.map(
            run,
            [sequence for sequence, _ in jobs],
            [config] * len(jobs),
            [seed for _, seed in jobs],
            [arguments.camera] * len(jobs),
        )
        results = dict(zip(jobs, progress(done, "tracking", len(jobs), console=Console(stderr=True)), strict=True))
    table = Table(title="differences to online; worst: the least change of HOTA on one sequence")
    for heading in ("set", "stage", *COLUMNS, "worst"):
        table.add_column(heading, justify="left" if heading in {"set", "stage"} else "right")
    for name in dict.fromkeys(s.set_name for s in sequences):
        members = [s for s in sequences if s.set_name == name]
        for stage in STAGES:
            cells = [_cell(results, members, seeds, stage, field) for field in COLUMNS.values()]
            changes = {
                s.name: np.mean(
                    [results[s, seed][stage].scores.hota - results[s, seed]["online"].scores.hota for seed in seeds]
                )
                for s in members
            }
            worst = min(changes, key=lambda n: changes[n])
            table.add_row(name, stage, *cells, "" if stage == "online" else f"{changes[worst]:+.2f} {worst}")
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _cell(
    results: Mapping[tuple[Sequence, int], Mapping[str, Evaluation]],
    members: list[Sequence],
    seeds: object,
    stage: str,
    field: str,
) -> str:
    def combined(seed: int, which: str) -> float:
        return getattr(combine({s.name: results[s, seed][which] for s in members}).scores, field)

    base = [combined(seed, "online") for seed in seeds]
    if stage == "online":
        return f"{np.mean(base):.2f}"
    mean, error = mean_and_error(combined(seed, stage) - before for seed, before in zip(seeds, base, strict=True))
    return f"{mean:+.2f}" + (f"±{error:.2f}" if len(base) > 1 else "")


if __name__ == "__main__":
    with one_line_errors():
        main()
