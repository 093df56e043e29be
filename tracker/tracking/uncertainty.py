"""How far the truth may lie from what is reported, and how surely an identity is still the same object.

The filter's own covariance serves association: tight noise with heavy tails. It knows nothing of what repeats from
frame to frame, the bias of a detector and the habits of annotators, so what is reported carries laws of its own,
fitted to annotated sequences (``tools/calibration.py``). With g the root of the box's area, the standard deviation of
each coordinate of the reported box is a product of powers of what is known in the frame,

    sd = base g ((1.02 - score) / 0.12)^a object^b scene_position^c scene_size^d scene_motion^e
         (filter's own / 0.03 g)^f (1 + missed)^h.

The errors are Student's t (:mod:`tracker.confidence`), the coordinates uncorrelated.

That an identity is another object's than a second ago has odds of its *doubt* H: the surprise of its claims, -log
responsibility, summed over the last second with exponential forgetting,

    odds = scale (H + floor)^exponent.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from tracker.config import Config
from tracker.structures import FloatArray
from tracker.tracking.state import Record, Records

COVARIATES = ("score", "object", "scene_position", "scene_size", "scene_motion", "spread", "unseen")
"""What the standard deviations depend on: names of the exponents in ``tracking.uncertainty``."""
PERFECT_SCORE = 1.02
"""Just above the highest score, so that the distance to it has a logarithm."""
ORDINARY_SCORE = 0.9
ORDINARY_SPREAD = 0.03
"""Standard deviation of the filter in units of g at which the base is stated."""
LAW_ROWS = 1 + len(COVARIATES)


def laws(config: Config) -> FloatArray:
    """Return what :func:`error_variances` and :func:`continuity` need of the configuration, as one array (2 L + 1, 4).

    L rows for objects with a claimed detection, L for those without, each log base and the exponents; at the end
    scale, floor and exponent of the odds.
    """
    told = config.tracking.uncertainty
    numbers = np.zeros((2 * LAW_ROWS + 1, 4))
    claimed = told.filtered if config.tracking.smoothing == "online" else told.observed
    for start, law in ((0, claimed), (LAW_ROWS, told.coasting)):
        numbers[start] = np.log(law.base)
        for row, name in enumerate(COVARIATES, start + 1):
            numbers[row] = getattr(law, name)
    numbers[-1, :3] = told.change_scale, told.change_floor, told.change_exponent
    return numbers


@njit(cache=True, error_model="numpy", inline="always")
def scene_terms(scene: Records, numbers: FloatArray) -> FloatArray:
    """Return (2, 4) log standard deviation of an ordinary object of this scene in units of g: claimed, not claimed."""
    s = scene[0]
    position, size = math.log(s.measurement_position), math.log(s.measurement_size)
    motion = math.log(s.process_position)
    terms = np.empty((2, 4))
    for law in range(2):
        first = law * LAW_ROWS
        for i in range(4):
            terms[law, i] = (
                numbers[first, i]
                + position * numbers[first + 3, i]
                + size * numbers[first + 4, i]
                + motion * numbers[first + 5, i]
            )
    return terms


@njit(cache=True, error_model="numpy", inline="always")
def write_error_variances(
    c: Record, terms: FloatArray, numbers: FloatArray, lever: float, width: float, height: float, covariance: FloatArray
) -> None:
    """Write the diagonal of ``covariance`` (4, 4): variances of centre x, centre y, width and height in px^2.

    Parameters
    ----------
    c
        The component after the frame.
    terms
        From :func:`scene_terms`.
    numbers
        From :func:`laws`.
    lever
        Height of the tracked point above 1/2.
    width, height
        Of the reported box.
    """
    area = max(width, 1.0) * max(height, 1.0)
    law = 0 if c.detection >= 0 else 1
    first = law * LAW_ROWS
    score = math.log((PERFECT_SCORE - c.score) / (PERFECT_SCORE - ORDINARY_SCORE))
    unseen = math.log(1.0 + c.missed_tau) if law else 0.0
    for i in range(4):
        variance = c.p00[i] + lever * lever * c.p00[3] if i == 1 else c.p00[i]
        log_sd = (
            terms[law, i]
            + score * numbers[first + 1, i]
            + c.log_noise_factor * numbers[first + 2, i]
            + 0.5 * math.log(variance / (ORDINARY_SPREAD * ORDINARY_SPREAD * area)) * numbers[first + 6, i]
            + unseen * numbers[first + 7, i]
        )
        covariance[i, i] = area * math.exp(2.0 * log_sd)


@njit(cache=True, error_model="numpy", inline="always")
def continuity(doubt: float, numbers: FloatArray) -> float:
    """Return the probability that an identity is the same object as a second ago, or at its birth if that is later."""
    odds = numbers[2 * LAW_ROWS]
    return 1.0 / (1.0 + odds[0] * (doubt + odds[1]) ** odds[2])
