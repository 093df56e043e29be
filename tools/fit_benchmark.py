"""Measure what `track fit` is worth on recordings it has not seen.

    python tools/fit_benchmark.py DATA_ROOT [--learn before|same|others] [--ways likelihood,checked,truth] [--frames N]
    python tools/fit_benchmark.py --learn simulated

DATA_ROOT is that of benchmark.py. Learning from others: from all other sets; from the same: from every second sequence
of a set for those between, and the reverse; from before: from the first half of each sequence for its second half.
With --frames, learned from is the middle of each, tested the whole.
`likelihood` takes over all that EM finds most probable, `checked` is the command without truth, `truth` with it,
`direct` takes over all that the truth says of noise, detection, clutter and scores. Simulated are small things that
turn at random, found with loose boxes: nothing that the defaults were made for.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

import measuring
import numpy as np
from measuring import Sequence, even_times_s, find_sequences, load, track
from rich.console import Console
from rich.table import Table
from telling import one_line_errors

from tracker import Config, Detections, load_config
from tracker.app.fitting.fitted_file import overrides
from tracker.app.fitting.recordings import Recording
from tracker.app.fitting.search import ALL
from tracker.app.fitting.with_truth import fit_with_truth
from tracker.app.fitting.without_truth import fit_without_truth
from tracker.config import check_config
from tracker.evaluation.scores import Evaluation, Scores, combine, evaluate
from tracker.formats.table import TrackTable
from tracker.tracking.fitting.free_parameters import with_numbers

OUTPUT = Console(width=None if sys.stdout.isatty() else 120)
FIT_OF_WAY = {"likelihood": "detections", "checked": "detections", "direct": "truth", "truth": "truth"}


@dataclass(frozen=True, slots=True)
class Part:
    """What stands between two shares of a sequence, or the swarm with this seed."""

    sequence: Sequence | int
    begin: float = 0.0
    end: float = 1.0

    def load(self) -> Recording:
        """Read it."""
        if isinstance(self.sequence, int):
            return swarm(self.sequence)
        whole = load(self.sequence)
        count = len(whole.detections)
        one = Recording(self.sequence.name, whole.frame_rate_hz, whole.detections, whole.truth)
        return one.span(round(self.begin * count), round(self.end * count))


@dataclass(frozen=True, slots=True)
class Split:
    """What to learn from and what to test on."""

    set_name: str
    name: str
    teachers: tuple[Part, ...]
    pupils: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """One run of the command: what it learns from, and of what kind it is."""

    name: str
    kind: str
    teachers: tuple[Part, ...]
    frames: int
    prior_weight: float


def middle(recording: Recording, count: int) -> Recording:
    """Return so many frames."""
    first = max(0, (len(recording.frames) - count) // 2)
    return recording.span(first, min(first + count, len(recording.frames)))


def fitted(fit: Fit, keep: Path | None) -> dict[str, Any]:
    """Run the command, or return what is kept of an earlier run."""
    path = None if keep is None else keep / f"{fit.name}-{fit.kind}-{fit.frames}-{fit.prior_weight:g}.json"
    if path is not None and path.is_file():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    recordings, start = [middle(part.load(), fit.frames) for part in fit.teachers], load_config()
    if fit.kind == "truth":
        result = fit_with_truth(recordings, start, prior_weight=fit.prior_weight, seed=0, processes=1)
    else:
        result = fit_without_truth(recordings, start, prior_weight=fit.prior_weight, max_iterations=20, seed=0)
    everything = with_numbers(start, {c.key: c.learned for c in result.changes if c.learned is not None})
    found = {
        "proven": differences(result.config),
        "everything": differences(everything),
        "taken": [v.name.rpartition(".")[2] for v in result.verdicts if v.taken and v.name != ALL],
        "verdicts": [(v.name, v.gain, v.error, v.taken) for v in result.verdicts],
        "log_likelihoods": result.learned and result.learned.log_likelihoods,
    }
    if path is not None:
        path.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def differences(config: Config) -> dict[str, Any]:
    return overrides(load_config().model_dump(mode="json"), config.model_dump(mode="json"))


def scored(part: Part, config: Config) -> Evaluation:
    """Track and score what was not learned from."""
    r = part.load()
    assert r.truth is not None
    times_s = even_times_s(len(r.frames), r.frame_rate_hz)
    return evaluate(r.truth, track(measuring.Recording(r.frame_rate_hz, r.frames, times_s, r.truth, {}), config))


def splits(sequences: list[Sequence], learn: str) -> Iterator[Split]:
    """Yield what to learn from and what to test on, so that everything is tested once."""
    if learn == "simulated":
        yield Split("simulated", "swarm", tuple(map(Part, range(4))), tuple(map(Part, range(10, 14))))
    for name in dict.fromkeys(s.set_name for s in sequences):
        own = tuple(Part(s) for s in sequences if s.set_name == name)
        if learn == "others":
            yield Split(name, name, tuple(Part(s) for s in sequences if s.set_name != name), own)
        elif learn == "same":
            yield Split(name, f"{name}-even", own[::2], own[1::2])
            yield Split(name, f"{name}-odd", own[1::2], own[::2])
        else:
            for s in (s for s in sequences if s.set_name == name):
                yield Split(name, f"{name}-{s.name}", (Part(s, 0.0, 0.5),), (Part(s, 0.5, 1.0),))


@lru_cache
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


@contextmanager
def mapping(processes: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """Yield map, over parallel processes where there is more than one."""
    if processes == 1:
        yield map
        return
    with ProcessPoolExecutor(processes) as pool:
        yield pool.map


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, metavar="DATA_ROOT", nargs="?", default=Path())
    parser.add_argument(
        "--learn", choices=("before", "same", "others", "simulated"), default="same", help="default: %(default)s"
    )
    parser.add_argument("--ways", default="likelihood,checked", help="separated by commas (default: %(default)s)")
    parser.add_argument("--sets", help="names of the sets to test on, separated by commas (default: all)")
    parser.add_argument("--frames", type=int, default=10**9, metavar="N", help="learn from N frames of each sequence")
    parser.add_argument("--prior-weight", type=float, default=3000.0, metavar="N", help="default: %(default)s")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), metavar="N")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep every fit there, and run none twice")
    arguments = parser.parse_args()
    sequences = [] if arguments.learn == "simulated" else find_sequences(arguments.root)
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    ways = arguments.ways.split(",")
    pieces = [
        piece
        for piece in splits(sequences, arguments.learn)
        if not arguments.sets or piece.set_name in arguments.sets.split(",")
    ]
    fits = {
        (piece, kind): Fit(
            f"{arguments.learn}-{piece.name}", kind, piece.teachers, arguments.frames, arguments.prior_weight
        )
        for piece in pieces
        for kind in dict.fromkeys(FIT_OF_WAY[way] for way in ways)
    }
    titles = {
        "before": "learned from the first halves of the sequences",
        "same": "learned from other sequences of the set",
        "others": "learned from other sets",
    }
    table = Table(title=titles.get(arguments.learn))
    for heading in ("set", "way", "HOTA", "IDF1", "log-likelihood", "taken over"):
        table.add_column(heading, justify="right" if heading in {"HOTA", "IDF1"} else "left")
    with mapping(arguments.processes) as run:
        found = dict(zip(fits, run(fitted, fits.values(), [arguments.keep] * len(fits)), strict=True))
        for name in dict.fromkeys(piece.set_name for piece in pieces):
            own = [piece for piece in pieces if piece.set_name == name]
            pupils = [part for piece in own for part in piece.pupils]
            base = scores_of(run, pupils, [load_config()] * len(pupils))
            table.add_row(name, "default", f"{base.hota:.2f}", f"{base.idf1:.2f}", "", "")
            for way in ways:
                results = [found[piece, FIT_OF_WAY[way]] for piece in own]
                proven = way in {"checked", "truth"}
                trees = [result["proven" if proven else "everything"] for result in results]
                configs = [
                    check_config(tree, way) for piece, tree in zip(own, trees, strict=True) for _ in piece.pupils
                ]
                after = scores_of(run, pupils, configs)
                table.add_row(
                    name,
                    way,
                    f"{after.hota - base.hota:+.2f}",
                    f"{after.idf1 - base.idf1:+.2f}",
                    ", ".join(f"{max(v) - v[0]:+.0f}" for v in (r["log_likelihoods"] for r in results) if v),
                    taken_over([r["taken"] for r in results]) if proven else "all",
                )
    OUTPUT.print(table)


def taken_over(taken: list[list[str]]) -> str:
    """Return what was taken over, and by how many of the fits."""
    counts = Counter(name for names in taken for name in names)
    return (
        ", ".join(f"{name} ({count} of {len(taken)})" if len(taken) > 1 else name for name, count in counts.items())
        or "nothing"
    )


def scores_of(run: Callable[..., Iterable[Any]], parts: list[Part], configs: list[Config]) -> Scores:
    """Return the scores of all together, each tracked with its own configuration."""
    return combine({str(n): e for n, e in enumerate(run(scored, parts, configs))}).scores


if __name__ == "__main__":
    with one_line_errors():
        main()
