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

from typing import NamedTuple

import numpy as np

from tracker.config import Config
from tracker.structures import FloatArray
from tracker.tracking.state import Records

COVARIATES = ("score", "object", "scene_position", "scene_size", "scene_motion", "spread", "unseen")
"""What the standard deviations depend on: names of the exponents in ``tracking.uncertainty``."""
PERFECT_SCORE = 1.02
"""Just above the highest score, so that the distance to it has a logarithm."""
ORDINARY_SCORE = 0.9
ORDINARY_SPREAD = 0.03
"""Standard deviation of the filter in units of g at which the base is stated."""


class ErrorLaws(NamedTuple):
    """``tracking.uncertainty`` as arrays.

    Parameters
    ----------
    log_base
        (2, 4) log of the base, of objects with a claimed detection and of those without.
    exponents
        (2, 7, 4) of :data:`COVARIATES`.
    change_scale, change_floor, change_exponent
        Of the odds that an identity is another object's.
    lever
        Height of the tracked point above the centre, in heights.
    """

    log_base: FloatArray
    exponents: FloatArray
    change_scale: float
    change_floor: float
    change_exponent: float
    lever: float


def error_laws(config: Config) -> ErrorLaws:
    """Return what :func:`error_covariances` and :func:`continuity` need of the configuration."""
    told = config.tracking.uncertainty
    both = (told.filtered if config.tracking.smoothing == "online" else told.observed, told.coasting)
    return ErrorLaws(
        np.log([law.base for law in both]),
        np.array([[getattr(law, name) for name in COVARIATES] for law in both]),
        told.change_scale,
        told.change_floor,
        told.change_exponent,
        config.tracking.motion.anchor - 0.5,
    )


def error_covariances(components: Records, scene: Records, boxes_xyxy: FloatArray, laws: ErrorLaws) -> FloatArray:
    """Return (n, 4, 4) covariances of the error of the reported centre x, centre y, width and height, in px^2.

    Parameters
    ----------
    components, scene
        (n,) and (1,) after the frame.
    boxes_xyxy
        (n, 4) as reported.
    laws
        From :func:`error_laws`.
    """
    n, law = len(components), np.where(components["detection"] >= 0, 0, 1)
    area = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 1.0).prod(axis=1)
    # centre y = anchored y - lever height
    variance = components["p00"].copy()
    variance[:, 1] += laws.lever**2 * components["p00"][:, 3]
    covariates = np.empty((n, len(COVARIATES), 4))
    covariates[:, 0] = np.log((PERFECT_SCORE - components["score"]) / (PERFECT_SCORE - ORDINARY_SCORE))[:, None]
    covariates[:, 1] = components["log_noise_factor"][:, None]
    covariates[:, 2] = np.log(scene["measurement_position"])
    covariates[:, 3] = np.log(scene["measurement_size"])
    covariates[:, 4] = np.log(scene["process_position"])
    covariates[:, 5] = 0.5 * np.log(variance / (ORDINARY_SPREAD**2 * area[:, None]))
    covariates[:, 6] = np.log1p(components["missed_tau"])[:, None]
    log_deviation = laws.log_base[law] + np.einsum("kci,kci->ki", covariates, laws.exponents[law])
    covariances = np.zeros((n, 4, 4))
    covariances[:, range(4), range(4)] = area[:, None] * np.exp(2.0 * log_deviation)
    return covariances


def continuity(components: Records, laws: ErrorLaws) -> FloatArray:
    """Return (n,) the probability that an identity is the same object as a second ago, or at its birth if later."""
    odds = laws.change_scale * (components["doubt"] + laws.change_floor) ** laws.change_exponent
    return 1.0 / (1.0 + odds)
