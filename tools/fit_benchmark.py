"""Measure what `track fit` is worth on recordings it has not seen.

    python tools/fit_benchmark.py DATA_ROOT [--learn same|others] [--ways likelihood,checked,truth] [--frames N]

DATA_ROOT is that of benchmark.py. Learning from others: from all other sets; from the same: from every second sequence
of a set for those between, and the reverse. `likelihood` takes over all that EM finds most probable, `checked` is
the command without truth, `truth` with it.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

from measuring import Sequence, find_sequences, load, track
from rich.console import Console
from rich.table import Table

from tracker import Config, load_config
from tracker.app.fitting import Recording, Result, fit_with_truth, fit_without_truth
from tracker.evaluation.scores import Evaluation, combine, evaluate

OUTPUT = Console(width=None if sys.stdout.isatty() else 120)


def recording(sequence: Sequence, frames: int) -> Recording:
    """Return the first frames of a sequence to learn from."""
    whole = load(sequence)
    truth = whole.truth.select(whole.truth.frames <= frames)
    return Recording(sequence.name, whole.frame_rate_hz, whole.detections[:frames], truth)


def fitted(way: str, recordings: list[Recording], prior_weight: float, processes: int) -> Result:
    if way == "truth":
        return fit_with_truth(recordings, load_config(), prior_weight=prior_weight, seed=0, processes=processes)
    learn = partial(fit_without_truth, prior_weight=prior_weight, max_iterations=20, seed=0)
    return learn(recordings, load_config(), unchecked=way == "likelihood")


def scored(sequences: list[Sequence], config: Config) -> dict[str, Evaluation]:
    return {s.name: evaluate(load(s).truth, track(load(s), config)) for s in sequences}


def splits(sequences: list[Sequence], name: str, learn: str) -> list[tuple[list[Sequence], list[Sequence]]]:
    """Return what to learn from and what to test on, so that every sequence of the set is tested once."""
    own = [s for s in sequences if s.set_name == name]
    if learn == "others":
        return [([s for s in sequences if s.set_name != name], own)]
    return [(own[::2], own[1::2]), (own[1::2], own[::2])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, metavar="DATA_ROOT")
    parser.add_argument("--learn", choices=("same", "others"), default="same", help="default: %(default)s")
    parser.add_argument("--ways", default="likelihood,checked", help="separated by commas (default: %(default)s)")
    parser.add_argument("--sets", help="names of the sets, separated by commas (default: all)")
    parser.add_argument("--frames", type=int, default=10**9, metavar="N", help="learn from the first N frames of each")
    parser.add_argument("--prior-weight", type=float, default=3000.0, metavar="N", help="default: %(default)s")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), metavar="N")
    arguments = parser.parse_args()
    sequences = find_sequences(arguments.root)
    if not sequences:
        raise SystemExit(f"{arguments.root}: holds no SET/SEQUENCE with det/det.txt and gt/gt.txt")
    ways = arguments.ways.split(",")
    table = Table(title=f"learned from {'other sequences of the set' if arguments.learn == 'same' else 'other sets'}")
    for heading in ("set", "way", "HOTA", "IDF1", "log-likelihood", "taken over"):
        table.add_column(heading, justify="right" if heading in {"HOTA", "IDF1"} else "left")
    for name in dict.fromkeys(s.set_name for s in sequences):
        if arguments.sets and name not in arguments.sets.split(","):
            continue
        base = combine(scored([s for s in sequences if s.set_name == name], load_config())).scores
        table.add_row(name, "default", f"{base.hota:.2f}", f"{base.idf1:.2f}", "", "")
        for way in ways:
            tested, gains, taken = {}, [], []
            for teachers, pupils in splits(sequences, name, arguments.learn):
                recordings = [recording(s, arguments.frames) for s in teachers]
                result = fitted(way, recordings, arguments.prior_weight, arguments.processes)
                tested |= scored(pupils, result.config)
                taken.append("+".join(v.name.rpartition(".")[2] for v in result.verdicts if v.taken) or "-")
                if result.learned is not None:
                    values = result.learned.log_likelihoods
                    gains.append(f"{max(values) - values[0]:+.0f} ({result.learned.ending})")
            after = combine(tested).scores
            table.add_row(
                name,
                way,
                f"{after.hota - base.hota:+.2f}",
                f"{after.idf1 - base.idf1:+.2f}",
                ", ".join(gains),
                "all" if way == "likelihood" else "; ".join(taken),
            )
            Console(stderr=True).print(name, way, f"{after.hota - base.hota:+.2f}", "; ".join(taken))
    OUTPUT.print(table)


if __name__ == "__main__":
    main()
