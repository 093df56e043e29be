"""Fans for the overlay: what the forecaster tells of each frame, as far ahead as the configuration says."""

from __future__ import annotations

import numpy as np

from tracker.config import Config
from tracker.structures import FloatArray
from tracker.tracking.forecast import Fans, Forecaster
from tracker.tracking.state import TrackerState

_STEPS = 6
_SHARES = (0.5,)


class FanMaker:
    """Makes the fans of successive frames, up to ``overlay.forecast_s`` ahead."""

    def __init__(self, config: Config) -> None:
        self._forecaster = Forecaster(config)
        self._times_s = config.overlay.forecast_s * np.arange(1, _STEPS + 1) / _STEPS

    def __call__(self, state: TrackerState, camera_affine: FloatArray | None) -> Fans:
        """Return the fans of the state after a frame whose update was given this map."""
        self._forecaster.observe(state, camera_affine)
        return self._forecaster.fans(state, self._times_s, _SHARES)

    def cut(self) -> None:
        """Forget the frames before a cut."""
        self._forecaster.cut()


def fan_maker(config: Config) -> FanMaker | None:
    """Return what makes the fans that are to be drawn, None where none are."""
    return FanMaker(config) if config.overlay.forecast_s else None
