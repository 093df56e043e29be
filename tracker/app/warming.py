"""Compilation before the first frame, by two processes where nothing is compiled yet.

Compiling the step of a frame takes a while, most of it in the compiler's own Python code, which threads cannot share.
So a second process compiles one part of it meanwhile, and this one finds the outcome in the cache. Where the second
cannot be started, or fails, this one compiles everything.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numba.core.event import Listener, install_listener

from tracker.config import Config
from tracker.mixture.exclusive import association_marginals, most_probable_claims
from tracker.mixture.kernels import compiling
from tracker.structures import Detections
from tracker.tracking import pixels
from tracker.tracking.evidence import Observed
from tracker.tracking.gating import grid_of
from tracker.tracking.holding import STILL
from tracker.tracking.motion import predict
from tracker.tracking.online import Tracker, advance, find, left_over
from tracker.tracking.state import initial_state, parameters, room_for_step

_PATIENCE_S = 60.0
_BOX = np.array([[0.0, 0.0, 10.0, 20.0]])


def warm_up(
    observations: Literal["boxes", "pixels"] = "boxes", on_compiling: Callable[[], None] = lambda: None
) -> None:
    """Compile what a frame needs, or load it from the cache of an earlier run.

    Parameters
    ----------
    observations
        What objects are followed by.
    on_compiling
        Called whenever something has to be compiled.
    """
    with install_listener("numba:compile", _Compilations(on_compiling)):
        if observations == "pixels":
            pixels.warm_up()
        else:
            _warm_up_boxes()


class _Compilations(Listener):
    """Tells of each function that is compiled, and not found in the cache."""

    def __init__(self, told: Callable[[], None]) -> None:
        self._told = told

    def on_start(self, _: object) -> None:
        self._told()

    def on_end(self, _: object) -> None:
        pass


def _warm_up_boxes() -> None:
    tracker = Tracker()
    with compiling():
        if not _is_compiled():
            with _second_process():
                compile_finding()
        for _ in range(2):
            tracker.update(Detections(_BOX), camera_affine=STILL)


def _is_compiled() -> bool:
    step: Any = advance  # a dispatcher, as which the compiler's decorator is not typed
    return any(Path(step.stats.cache_path).glob(f"*.{step.py_func.__name__}-*.nbi"))


@contextmanager
def _second_process() -> Iterator[None]:
    """Let another process run :func:`compile_rest` meanwhile, and wait for it at the end."""
    if (os.cpu_count() or 1) == 1 or not sys.executable or getattr(sys, "frozen", False):
        yield
        return
    nowhere = subprocess.DEVNULL
    command = [sys.executable, "-P", "-m", __name__]  # not a package of this name in the folder worked in
    with subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=nowhere) as process:
        try:
            yield
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            process.kill()


def compile_finding() -> None:
    """Compile what finds objects in a frame."""
    components, scene, _, _ = _room()
    find(components[:1], scene, scene.copy(), _observed(), None, 1.0, parameters(Config())[0])


def compile_rest() -> None:
    """Compile what of the rest takes longest, first what :func:`compile_finding` needs."""
    start, column, log_odds = np.array([0, 1]), np.array([0]), np.array([0.0])
    beta, _ = association_marginals(start, column, log_odds, 1, True)
    most_probable_claims(start, column, beta, 1)
    components, scene, counts, chains = _room()
    p = parameters(Config())[0]
    predict(components[:1], scene, STILL, 1.0, p, components[1:])
    graph, detection = (start, column, beta), np.array([0])
    left_over(components[:1], _observed(), graph, detection, counts[:0], counts, chains[:0], chains, p)


def _room() -> tuple[np.ndarray, ...]:
    """Return records as a step of one object and one detection has them, all of them blank."""
    room = room_for_step(1, 1, 0)
    for records in room:
        records[:] = 0
    room[1][:] = initial_state().scene
    room[0]["scale"] = room[0]["p00"] = room[0]["existence"] = 0.5
    return room


def _observed() -> Observed:
    one, none = np.ones(1), np.zeros(1, np.int64)
    return Observed(none, grid_of(_BOX), _BOX.copy(), one, none, one)


if __name__ == "__main__":
    with compiling():
        compile_rest()
