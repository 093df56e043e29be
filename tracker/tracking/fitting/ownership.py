"""Which object has which detection throughout a recording, and what can be counted once that is known.

A run of the tracker tells it by responsibilities (:mod:`tracker.tracking.fitting.expectation`), the truth by a label
for each detection (:mod:`tracker.evaluation.labelled`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.structures import FloatArray, IntArray
from tracker.tracking.motion import TAU_PER_S

NEAR_POSITION = 1.0
NEAR_SIZE = 0.5
"""Half the sides, in units of g, of the part of the box space around an object in which clutter is counted."""
SETTLED_S = 1.0
"""Who is found before this time of a recording was there when it began, and counts as no birth."""


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """Which object had which share of which detection throughout a recording: what an E-step leaves for filtering.

    Objects of a frame are a row each, in the order in which the tracker holds them: who survives keeps its
    place, who is born comes last.

    Parameters
    ----------
    tau
        (F,) length of each frame's step in 1/25 s.
    measured
        (N, 4) centre x, anchored y, width, height of all detections.
    scores
        (N,) their scores.
    row_start
        (F + 1,) first row of each frame.
    claim
        (R,) detection that the row's object claims, -1 for none.
    confidence
        (R,) responsibility of that claim.
    survives
        (R,) whether the object goes on.
    pair_start
        (R + 1,) first pair of each row.
    pair_detection, pair_share
        (E,) detection and responsibility of each pair.
    born_start
        (F + 1,) first birth of each frame.
    born
        (B,) detections that objects began with.
    """

    tau: FloatArray
    measured: FloatArray
    scores: FloatArray
    row_start: IntArray
    claim: IntArray
    confidence: FloatArray
    survives: NDArray[np.bool_]
    pair_start: IntArray
    pair_detection: IntArray
    pair_share: FloatArray
    born_start: IntArray
    born: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Owned:
    """What it tells of one recording that its detections have owners, by responsibilities or by the truth.

    Parameters
    ----------
    history
        Who had which share of what.
    logits
        (N,) log odds of the scores of the detections that count.
    shares
        (N,) share that objects have in each of them.
    detected, plainness
        (V,) by object and frame in which it was certainly there: its share of a detection, and the factor on P_D
        that cover and absence leave it.
    near_count, near_volume
        Detections around objects that are nobody's, and the volume of the box space in which they were counted.
    births, watched_s
        Objects that began after the first second, and the time from then on.
    clutter
        Detections that no object has, nor began with.
    """

    history: History
    logits: FloatArray
    shares: FloatArray
    detected: FloatArray
    plainness: FloatArray
    near_count: float
    near_volume: float
    births: int
    watched_s: float
    clutter: float

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.history.tau)


def settled_frames(tau: float) -> int:
    """Return how many frames at the beginning of a recording tell of no births; ``tau`` is the step in 1/25 s."""
    return round(SETTLED_S * TAU_PER_S / tau)


def watched_s(frames: int, tau: float) -> float:
    """Return for how long a recording of so many frames tells of births, in seconds."""
    return max(0, frames - settled_frames(tau)) * tau / TAU_PER_S


def starts_of(counts: ArrayLike) -> IntArray:
    """Return (n + 1,) where each of n runs of so many rows begins, and where the last ends."""
    return np.concatenate([[0], np.cumsum(counts)])
