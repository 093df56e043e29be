"""Measure what `track fit` is worth on recordings it has not seen.

    python tools/fit_benchmark.py DATA_ROOT [--learn same|others] [--ways likelihood,checked,truth] [--frames N]
    python tools/fit_benchmark.py --learn simulated

DATA_ROOT is that of benchmark.py. Learning from others: from all other sets; from the same: from every second sequence
of a set for those between, and the reverse. `likelihood` takes over all that EM finds most probable, `checked` is
the command without truth, `truth` with it. Simulated are small things that turn at random, found with loose boxes:
nothing that the defaults were made for.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

import measuring
import numpy as np
from measuring import Sequence, find_sequences, load, track
from rich.console import Console
from rich.table import Table

from tracker import Config, Detections, load_config
from tracker.app.fitting import Recording, Result, fit_with_truth, fit_without_truth
from tracker.evaluation.scores import Evaluation, combine, evaluate
from tracker.formats.table import TrackTable

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


def swarm(seed: int, frames: int = 300, count: int = 12, size: float = 20.0, noise: float = 0.1) -> Recording:
    """Simulate things with random kicks and errors of their boxes, both of deviation ``noise`` x their size."""
    rng = np.random.default_rng(seed)
    g = size * np.exp(rng.normal(0.0, 0.2, (count, 1)))
    place, velocity = rng.uniform(120.0, 480.0, (count, 2)), rng.normal(0.0, 2.0 * noise, (count, 2)) * g
    film, rows = [], []
    for frame in range(1, frames + 1):
        kick = rng.normal(0.0, noise, (count, 2)) * g - 0.02 * velocity - 0.0005 * (place - 300.0)
        place, velocity = place + velocity + kick / 2.0, velocity + kick
        rows.append(np.column_stack([np.full(count, frame), np.arange(1, count + 1), place - g / 2.0, g, g]))
        seen = rng.random(count) < 0.9
        centres = np.concatenate([(place + rng.normal(0.0, noise, (count, 2)) * g)[seen], rng.uniform(0, 600, (3, 2))])
        sides = np.concatenate([(g * np.exp(rng.normal(0.0, 0.05, (count, 2))))[seen], np.full((3, 2), size)])
        scores = np.concatenate([rng.beta(8, 2, seen.sum()), rng.beta(2, 4, 3)])
        film.append(Detections(np.column_stack([centres - sides / 2.0, centres + sides / 2.0]), scores))
    table = np.concatenate(rows)
    truth = TrackTable(table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2:])
    return Recording(f"{seed}", 25.0, tuple(film), truth)


def simulated(ways: list[str], prior_weight: float, processes: int) -> None:
    teachers, pupils = [swarm(seed) for seed in range(4)], [swarm(seed) for seed in range(10, 14)]
    table = Table("way", "HOTA", "IDF1", "taken over", title="simulated")
    for way in ("default", *ways):
        result = None if way == "default" else fitted(way, teachers, prior_weight, processes)
        config = load_config() if result is None else result.config
        evaluations = {}
        for r in pupils:
            assert r.truth is not None
            tracks = track(
                measuring.Recording(
                    r.frame_rate_hz, r.frames, np.arange(1, len(r.frames) + 1) / r.frame_rate_hz, r.truth, {}
                ),
                config,
            )
            evaluations[r.name] = evaluate(r.truth, tracks)
        scores = combine(evaluations).scores
        taken = "" if result is None else ", ".join(v.name for v in result.verdicts if v.taken)
        table.add_row(way, f"{scores.hota:.2f}", f"{scores.idf1:.2f}", taken)
    OUTPUT.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, metavar="DATA_ROOT", nargs="?", default=Path())
    parser.add_argument("--learn", choices=("same", "others", "simulated"), default="same", help="default: %(default)s")
    parser.add_argument("--ways", default="likelihood,checked", help="separated by commas (default: %(default)s)")
    parser.add_argument("--sets", help="names of the sets, separated by commas (default: all)")
    parser.add_argument("--frames", type=int, default=10**9, metavar="N", help="learn from the first N frames of each")
    parser.add_argument("--prior-weight", type=float, default=3000.0, metavar="N", help="default: %(default)s")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), metavar="N")
    arguments = parser.parse_args()
    ways = arguments.ways.split(",")
    if arguments.learn == "simulated":
        simulated(ways, arguments.prior_weight, arguments.processes)
        return
    sequences = find_sequences(arguments.root)
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
