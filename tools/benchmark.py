"""Measure the tracker: accuracy against ground truth, speed against other trackers.

    python tools/benchmark.py accuracy DATA_ROOT [--seeds N] [--every N] [--camera] [--json FILE]

DATA_ROOT holds SET/SEQUENCE with det/det.txt, gt/gt.txt and seqinfo.ini in MOTChallenge form.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from pathlib import Path

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

from measuring import Job, by_set, find_sequences, mean_and_error, run_all
from rich.console import Console
from rich.progress import track as progress
from rich.table import Table

from tracker import load_config
from tracker.evaluation.scores import Scores

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
    config = load_config(arguments.config, arguments.set or ())
    sequences = find_sequences(arguments.root)
    if not sequences:
        raise SystemExit(f"{arguments.root}: holds no SET/SEQUENCE with det/det.txt and gt/gt.txt")
    seeds = range(1, arguments.seeds + 1) if arguments.seeds else (0,)
    jobs = [Job(sequence, config, seed, arguments.every, arguments.camera) for seed in seeds for sequence in sequences]
    console = Console(stderr=True)
    results = dict(progress(run_all(jobs, arguments.processes), "tracking", len(jobs), console=console))
    table = Table(title=f"{arguments.config}, every {arguments.every}. frame" if arguments.every > 1 else None)
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
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _cell(scores: list[Scores], field: str) -> str:
    mean, error = mean_and_error(getattr(s, field) for s in scores)
    if len(scores) > 1:
        return f"{mean:.2f} ± {error:.2f}"
    return f"{mean:.0f}" if mean.is_integer() else f"{mean:.2f}"


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
    command.add_argument("--processes", type=int, default=os.cpu_count(), metavar="N")
    command.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
