"""Take one piece of the method away at a time and print what that costs, per set, with its standard error.

    python tools/ablation.py DATA_ROOT [--seeds N] [--only TEXT] [--json FILE]

Every figure is the change of HOTA against the default configuration on the same disturbed replicates.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

from measuring import Job, by_set, find_sequences, mean_and_error, run_all
from rich.console import Console
from rich.progress import track as progress
from rich.table import Table
from telling import one_line_errors

from tracker import load_config

PIECES = {
    "score as likelihood ratio": ["association.score_weight=0"],
    "occlusion-aware detection probability": ["association.hiding=0", "refinement.refined_hiding=false"],
    "Student tails": ["association.degrees_of_freedom=[1e6, 1e6, 1e6, 1e6]"],
    "inflation by outliers": ["adaptation.inflation=false"],
    "bottom-edge anchor": ["motion.anchor=0.5"],
    "exclusive, instead: independent": ["association.responsibilities=independent"],
    "exclusive, instead: assignment": ["association.responsibilities=assignment"],
    "direction": ["association.direction=0"],
    "second round": ["association.rounds=1"],
    "second round: common motion": ["refinement.common_motion=false"],
    "second round: refined hiding": ["refinement.refined_hiding=false"],
    "a third round (added)": ["association.rounds=3"],
    "all adaptation": [
        "adaptation.measurement_rate=0",
        "adaptation.process_rate=0",
        "adaptation.object_rate=0",
        "adaptation.persistence=false",
    ],
    "adaptation by correlation": ["adaptation.correlation=0"],
    "adaptation per object": ["adaptation.object_rate=0"],
    "adaptation of velocities": ["adaptation.persistence=false"],
    "time laws": [f"time_laws.{name}_exponent=0" for name in ("process_noise", "direction", "clutter", "learning")],
    "time laws: process noise": ["time_laws.process_noise_exponent=0"],
    "time laws: direction": ["time_laws.direction_exponent=0"],
    "time laws: clutter": ["time_laws.clutter_exponent=0"],
    "time laws: learning": ["time_laws.learning_exponent=0"],
    "learned birth threshold": ["lifecycle.learn_birth_score=false"],
    "birth veto": ["lifecycle.veto_iou=1"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, metavar="DATA_ROOT")
    parser.add_argument("--seeds", type=int, default=4, metavar="N", help="replicates (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the pieces whose name holds TEXT")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    arguments = parser.parse_args()
    sequences = find_sequences(arguments.root)
    variants = {"default": load_config()}
    for piece, keys in PIECES.items():
        if arguments.only in piece:
            variants[piece] = load_config(overrides=[f"tracking.{key}" for key in keys])

    seeds = range(1, arguments.seeds + 1)
    jobs = [Job(s, config, seed) for config in variants.values() for seed in seeds for s in sequences]
    results = dict(progress(run_all(jobs, arguments.processes), "tracking", len(jobs), console=Console(stderr=True)))
    hota = {}
    for piece, config in variants.items():
        sets = by_set({job: e for job, e in results.items() if job.config == config})
        hota[piece] = {name: {seed: e.scores.hota for seed, e in seeds.items()} for name, seeds in sets.items()}

    table = Table(title=f"Change of HOTA without one piece, {arguments.seeds} replicates")
    table.add_column("without")
    for name in hota["default"]:
        table.add_column(name, justify="right")
    for piece, sets in hota.items():
        cells = []
        for name, by_seed in sets.items():
            reference = hota["default"][name]
            is_default = piece == "default"
            mean, error = mean_and_error(
                value if is_default else value - reference[seed] for seed, value in by_seed.items()
            )
            cells.append(f"{mean:.2f}±{error:.2f}" if is_default else f"{mean:+.2f}±{error:.2f}")
        table.add_row("(nothing: HOTA)" if piece == "default" else piece, *cells)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(hota, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with one_line_errors():
        main()
