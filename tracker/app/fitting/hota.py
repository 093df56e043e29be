"""HOTA of configurations on folds of recordings, each with a disturbed replicate, by several processes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from multiprocessing import get_context

import numpy as np

from tracker.app.fitting.recordings import Recording, parts_of
from tracker.app.fitting.search import Score
from tracker.config import Config
from tracker.evaluation.scores import evaluate
from tracker.evaluation.sequences import interrupts_blocked
from tracker.formats.table import TrackTable
from tracker.geometry import xyxy_to_ltwh
from tracker.structures import Detections, FloatArray, IntArray
from tracker.tracking.fitting.expectation import of_boxes_at_once
from tracker.tracking.online import Tracker

_DROPPED, _JITTER = 0.025, 0.005


def folds_of(recordings: Sequence[Recording], seed: int) -> list[tuple[Recording, ...]]:
    """Return the folds, each with a disturbed replicate; few recordings are cut into parts."""
    parts = parts_of(len(recordings))
    folds: list[tuple[Recording, ...]] = []
    for r in recordings:
        ends = np.linspace(0, len(r.frames), min(parts, len(r.frames)) + 1).astype(int).tolist()
        for first, end in pairwise(ends):
            fold = r.span(first, end)
            rng = np.random.default_rng([seed, zlib.crc32(r.name.encode()), first])  # alike, whatever stands beside it
            folds.append((fold, replace(fold, frames=tuple(_disturbed(d, rng) for d in fold.frames))))
    return folds


def _disturbed(detections: Detections, rng: np.random.Generator) -> Detections:
    """Drop some detections and move the edges of the rest a little: chance must not decide."""
    kept = detections.select(rng.random(len(detections)) >= _DROPPED)
    sizes = np.tile(kept.boxes_xyxy[:, 2:] - kept.boxes_xyxy[:, :2], 2)
    return Detections(kept.boxes_xyxy + rng.normal(0.0, _JITTER, sizes.shape) * sizes, kept.scores, kept.classes)


@contextmanager
def scorer(folds: Sequence[tuple[Recording, ...]], processes: int) -> Iterator[Score]:
    """Yield what returns HOTA, the mean over a fold's replicates; nothing is tracked twice."""
    known: dict[tuple[str, int], float] = {}

    def remembered(run: Callable[..., Iterable[float]], configs: Sequence[Config], seen: IntArray) -> FloatArray:
        names = [config.model_dump_json() for config in configs]
        keys = [[(name, int(fold)) for fold in seen] for name in names]
        new = {key: config for row, config in zip(keys, configs, strict=True) for key in row if key not in known}
        values = run(_hota, [folds[fold] for _, fold in new], new.values())
        known.update(zip(new, values, strict=True))
        return np.array([[known[key] for key in row] for row in keys])

    if processes == 1:
        yield partial(remembered, map)
        return
    with interrupts_blocked():  # the processes start as the first job is submitted
        pool = ProcessPoolExecutor(processes, get_context("spawn"))
        started = [pool.submit(int) for _ in range(processes)]
    try:
        for future in started:
            future.result()
        yield partial(remembered, pool.map)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _hota(fold: tuple[Recording, ...], config: Config) -> float:
    return float(np.mean([_hota_of(replicate, config) for replicate in fold]))


def _hota_of(recording: Recording, config: Config) -> float:
    assert recording.truth is not None
    tracker = Tracker(of_boxes_at_once(config))
    reports = [tracker.update(d, time_s=n / recording.frame_rate_hz) for n, d in enumerate(recording.frames, 1)]
    tracks = TrackTable(
        np.repeat(np.arange(1, len(reports) + 1), [len(r) for r in reports]),
        np.concatenate([r.ids for r in reports]),
        xyxy_to_ltwh(np.concatenate([r.boxes_xyxy for r in reports])),
    )
    return evaluate(recording.truth, tracks).scores.hota
