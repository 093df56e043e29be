"""Where the time goes: the parts of the compiled step by themselves, and the threads of a whole run in one."""

from __future__ import annotations

import cProfile
import pstats
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numba.core.registry import CPUDispatcher

from tracker import Detections, Tracker, load_config
from tracker.tracking import online
from tracker.tracking.state import Records, room_for_step

STORY = ("advance", "find", "left_over", "e_step")
"""Functions that only say what follows what: they run as Python, so that their parts are called one by one."""
SETTLED_FRAMES = 5


def step_parts(film: Iterable[Detections]) -> list[tuple[str, float]]:
    """Return what each part of a frame costs, us, the dearest first.

    Every part is compiled by itself and called from Python, which adds some microseconds to each call: with many
    objects that is little.
    """
    spent: Counter[str] = Counter()
    nested_s = [0.0]

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nested_s.append(0.0)
            start = time.perf_counter()
            result = function(*arguments)
            whole_s = time.perf_counter() - start
            spent[name] += whole_s - nested_s.pop()
            nested_s[-1] += whole_s
            return result

        return call

    called = {name for story in STORY for name in getattr(online, story).py_func.__code__.co_names}
    parts: dict[str, Callable[..., Any]] = {
        name: timed(name, function.py_func if name in STORY else function)
        for name, function in vars(online).items()
        if isinstance(function, CPUDispatcher) and name in {*called, *STORY, "_report"}
    }
    parts["room_for_step"] = lambda *sizes: tuple(map(_with_attributes, room_for_step(*sizes)))
    with mock.patch.multiple(online, **parts):
        tracker = Tracker()
        tracker._parameter = _with_attributes(tracker._parameter)
        state = tracker.state
        records = ("components", "scene", "score_counts", "chains")
        tracker.state = state._replace(**{name: _with_attributes(getattr(state, name)) for name in records})
        frames = 0
        for frame, detections in enumerate(film, 1):
            if frame == SETTLED_FRAMES:
                spent.clear()
                frames = 0
            tracker.update(detections)
            frames += 1
    for story in STORY:
        del spent[story]  # Python where a run has compiled code
    return [(name, 1e6 * seconds / frames) for name, seconds in spent.most_common()]


def _with_attributes(records: Records) -> np.recarray:
    """Return records whose fields are attributes in Python too, as they are in compiled code."""
    return records.view(np.recarray)


def whole_run(video: Path, detections: Path | None, frames: int) -> pstats.Stats:
    """Profile a run with its stages in one thread, so that the profiler sees them all."""
    from tracker.app import pipeline
    from tracker.app.inputs import Job

    profiler = cProfile.Profile()
    job = Job(config=load_config(), video=video, detections=detections, frames=frames)
    with mock.patch.object(pipeline, "ahead", lambda items: items), tempfile.TemporaryDirectory() as folder:
        profiler.runcall(pipeline.run, job, Path(folder) / "tracks")
    return pstats.Stats(profiler)
