"""What every tracker holds between two frames, whatever it observes: the state, and the reports that wait."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import ArrayLike

from tracker.config import Config
from tracker.structures import FloatArray, Tracks
from tracker.tracking.lookahead import Held, Window, hold
from tracker.tracking.motion import TAU_PER_S
from tracker.tracking.state import StepInfo, TrackerState, cut

LEAST_DETERMINANT = 1e-6
STILL = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
"""The affine of a camera that stood still."""


def checked_affine(camera_affine: ArrayLike) -> FloatArray:
    """Return the map as an array; raise ValueError when it is not 2 x 3, finite and invertible."""
    affine = np.array(camera_affine, dtype=np.float64, order="C")
    if affine.shape != (2, 3) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:, :2])) < LEAST_DETERMINANT:
        raise ValueError(f"camera_affine is {affine.tolist()}; it must be 2 x 3, finite and invertible")
    return affine


def elapsed_tau(state: TrackerState, time_s: float) -> tuple[float, float]:
    """Return the time since the state's frame in 1/25 s, and that of the new frame as a plain float.

    Raises
    ------
    ValueError
        When time is not finite or does not increase.
    """
    # A plain float whatever was given: other types of scalar would compile the step again.
    time_s = float(time_s)
    if not math.isfinite(time_s):
        raise ValueError(f"time_s is {time_s}; it must be finite")
    elapsed_s = time_s - state.time_s if state.frame_index else 1.0 / TAU_PER_S
    if not elapsed_s > 0.0:
        raise ValueError(f"time_s is {time_s}; it must be later than the last frame's {state.time_s}")
    return elapsed_s * TAU_PER_S, time_s


class Holder(ABC):
    """A tracker without its step: it holds the state from frame to frame, and reports back where they are to wait.

    Parameters
    ----------
    config
        See :func:`tracker.load_config`; the defaults when left out.
    first
        The state before the first frame.

    Raises
    ------
    TypeError
        When the configuration is none.
    """

    __slots__ = ("_config", "_first", "_info", "_lag_frames", "_period_s", "_state", "_window")

    def __init__(self, config: Config | None, first: TrackerState) -> None:
        self._config = Config() if config is None else config
        if not isinstance(self._config, Config):
            raise TypeError(f"config is a {type(config).__name__}; it must be a Config, as load_config returns it")
        self._period_s = 1.0 / self._config.tracking.frame_rate_hz
        self._lag_frames = self._config.tracking.lag_frames
        self._first = self._state = first
        self._info: StepInfo | None = None
        self._window: Window = ()

    @abstractmethod
    def tracks(self, coasting: bool = False) -> Tracks:
        """Return the objects of the newest frame; ``coasting`` adds those not seen in it and the tentative."""

    def _due_s(self) -> float:
        """Return the time of the next frame where nobody tells it."""
        return self._state.time_s + self._period_s if self._state.frame_index else 0.0

    def _hold_back(self, tracks: Tracks, camera_affine: ArrayLike | None) -> Tracks:
        """Let the newest frame's report wait, and return that of the frame ``tracking.lag_frames`` before."""
        everybody = self.tracks(coasting=True)
        affine = STILL if camera_affine is None else checked_affine(camera_affine)
        newest = Held(self._state.time_s, affine, everybody, np.isin(everybody.ids, tracks.ids))
        self._window = hold(self._window, newest, self._lag_frames)
        return self._window[0].report if len(self._window) > self._lag_frames else type(tracks).empty()

    def flush(self) -> list[Tracks]:
        """Return the reports that still wait, oldest first, and hold none any more.

        There are as many as frames were taken in since the start or the last flush, but at most
        ``tracking.lag_frames``. The mixture goes on; what comes later adds nothing to these reports.
        """
        waiting = [held.report for held in self._window[-self._lag_frames :]]
        self._window = ()
        return waiting

    def cut(self) -> None:
        """End all objects before the next frame, which shows another scene; their identities never come back.

        Reports that wait still come; what was learned of the scores and noise stays.
        """
        self._state = cut(self._state)

    def reset(self) -> None:
        """Forget everything, waiting reports too; identities begin at 1 again."""
        self._state, self._info, self._window = self._first, None, ()

    @property
    def state(self) -> TrackerState:
        """All of the mixture that is carried from frame to frame; assign an earlier one to go back to it.

        Waiting reports are not part of it. They speak of the frames that are left when a state is assigned, and
        are dropped then: :meth:`flush` before, to have them.
        """
        return self._state

    @state.setter
    def state(self, state: TrackerState) -> None:
        self._state = state
        self._window = ()

    @property
    def info(self) -> StepInfo | None:
        """What the last step learned; None before the first."""
        return self._info
