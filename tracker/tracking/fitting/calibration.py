"""What scores say: logistic regression of the shares that objects have in detections, on the scores' log odds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from tracker.mixture.logistic import logit
from tracker.structures import FloatArray
from tracker.tracking.evidence import HIGHEST_SCORE, LOWEST_SCORE
from tracker.tracking.fitting.free_parameters import SCORE_NEUTRAL, SCORE_WEIGHT

SHARE_RANGE = (0.001, 0.999)
"""Within which the share of objects among the detections is sought."""
_WEIGHT_RANGE = (0.05, 5.0)
_LARGEST_LOGIT = 30.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a score says: log odds that its detection is an object = offset + weight x log odds of the score.

    Parameters
    ----------
    offset, weight
        The coefficients.
    share
        Share of objects among the detections it was learned from.
    offset_error, weight_error
        Standard errors.
    """

    offset: float
    weight: float
    share: float
    offset_error: float
    weight_error: float

    @property
    def neutral(self) -> float:
        """Score that is as probable of an object as of clutter."""
        return self.score_at(self.share)

    def score_at(self, probability: float) -> float:
        """Return the score at which a detection is an object with this probability."""
        odds = (logit(probability) - self.offset) / self.weight
        return 1.0 / (1.0 + math.exp(min(max(-odds, -_LARGEST_LOGIT), _LARGEST_LOGIT)))


def fitted_calibration(
    logits: FloatArray, shares: FloatArray, neutral: float, weight: float, prior_weight: float
) -> Calibration:
    """Return what scores say: logistic regression of the shares that objects have in the detections.

    Parameters
    ----------
    logits
        (N,) log odds of the scores.
    shares
        (N,) share that objects have in each detection: 0 or 1 where the truth is known.
    neutral, weight
        The configuration's, which are the prior.
    prior_weight
        Observations that the prior weighs.
    """
    share = float(np.clip(shares.mean(), *SHARE_RANGE)) if len(shares) else 0.5
    centre = np.array([logit(share) - weight * logit(neutral), weight])
    precision = prior_weight / 4.0  # no observation tells more

    def loss(x: FloatArray) -> tuple[float, FloatArray]:
        odds = x[0] + x[1] * logits
        off = 1.0 / (1.0 + np.exp(-odds)) - shares
        value = np.logaddexp(0.0, odds).sum() - shares @ odds + precision / 2.0 * ((x - centre) ** 2).sum()
        return float(value), np.array([off.sum(), off @ logits]) + precision * (x - centre)

    x = minimize(loss, centre, jac=True, method="L-BFGS-B", bounds=[(None, None), _WEIGHT_RANGE]).x
    probability = 1.0 / (1.0 + np.exp(-(x[0] + x[1] * logits)))
    information = probability * (1.0 - probability)
    crossed = float(information @ logits)
    hessian = np.array([[information.sum(), crossed], [crossed, information @ logits**2]]) + precision * np.eye(2)
    errors = np.sqrt(np.diag(np.linalg.pinv(hessian)))
    return Calibration(float(x[0]), float(x[1]), share, float(errors[0]), float(errors[1]))


def score_numbers(calibration: Calibration) -> dict[str, Any]:
    """Return a calibration in the words of the configuration, by dotted key."""
    return {
        SCORE_NEUTRAL: float(np.clip(calibration.neutral, LOWEST_SCORE, HIGHEST_SCORE)),
        SCORE_WEIGHT: calibration.weight,
    }


def score_errors(calibration: Calibration) -> dict[str, Any]:
    """Return the standard errors of :func:`score_numbers`."""
    neutral = calibration.neutral
    return {
        SCORE_NEUTRAL: neutral * (1.0 - neutral) * calibration.offset_error / calibration.weight,
        SCORE_WEIGHT: calibration.weight_error,
    }
