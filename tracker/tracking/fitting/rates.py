"""How often objects are born and how much clutter there is, which have one density in the configuration."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tracker.tracking.fitting.ownership import Owned


@dataclass(frozen=True, slots=True)
class Rates:
    """What comes from nowhere, taken apart: the clutter density of the configuration is that of both.

    Parameters
    ----------
    births_per_s, births_error
        New objects per second, and the standard error.
    clutter_per_frame, clutter_error
        Detections per frame that belong to no object, old or new, and the standard error.
    """

    births_per_s: float
    births_error: float
    clutter_per_frame: float
    clutter_error: float


def rates(births: int, watched_s: float, clutter: float, frames: int) -> Rates:
    """Return the rates of two Poisson processes from what was counted, and in how many seconds and frames it was."""
    return Rates(
        births / watched_s if watched_s > 0.0 else 0.0,
        math.sqrt(max(births, 1)) / watched_s if watched_s > 0.0 else math.inf,
        clutter / frames,
        math.sqrt(max(clutter, 1.0)) / frames,
    )


def rates_of(owned: Iterable[Owned]) -> Rates:
    """Return the rates over several recordings."""
    counts = [(one.births, one.watched_s, one.clutter, one.frames) for one in owned]
    return rates(*map(sum, zip(*counts, strict=True)))
