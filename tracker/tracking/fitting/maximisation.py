"""The M-step: noise, detection probability, clutter and what scores say, most probable given who owns what.

Each part has a prior that stands at the configuration one started from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from tracker.config import Config
from tracker.structures import FloatArray
from tracker.tracking.evidence import HIGHEST_DETECTION_PROBABILITY, LOWEST_DETECTION_PROBABILITY
from tracker.tracking.fitting.calibration import Calibration, fitted_calibration, score_errors, score_numbers
from tracker.tracking.fitting.expectation import Explained
from tracker.tracking.fitting.filtering import filtered_log_likelihood
from tracker.tracking.fitting.free_parameters import (
    BIRTH_SCORE,
    CLUTTER_DENSITY,
    DETECTION_PROBABILITY,
    INITIAL_VELOCITY,
    MEASUREMENT_NOISE,
    PROCESS_NOISE,
    SURVIVAL,
    with_numbers,
)
from tracker.tracking.fitting.ownership import History, Owned
from tracker.tracking.lifecycle import HIGHEST_BIRTH_SCORE, LOWEST_BIRTH_SCORE

_FIRST_STEP, _LAST_STEP, _GROWTH, _SHRINKAGE = 0.4, 0.02, 1.4, 0.5
_NOISE_RANGE = (math.log(1e-4), math.log(2.0))
_VISIBLE_RANGE = (LOWEST_DETECTION_PROBABILITY, HIGHEST_DETECTION_PROBABILITY)


@dataclass(frozen=True, slots=True)
class Fit:
    """Numbers and how sure they are.

    Parameters
    ----------
    numbers
        By dotted key.
    errors
        By dotted key, standard errors, nan where a single value tells none; those of noise as shares of the number.
    """

    numbers: Mapping[str, Any]
    errors: Mapping[str, Any]


def maximise(explained: Sequence[Explained], config: Config, prior: Config, prior_weight: float, volume: float) -> Fit:
    """Return the numbers that the E-step's responsibilities make most probable: the M-step.

    Parameters
    ----------
    explained
        The E-step, one for each recording.
    config
        The configuration it was run with.
    prior
        The configuration that the prior stands at.
    prior_weight
        Observations that the prior weighs.
    volume
        From :func:`tracker.tracking.fitting.likelihood.clutter_volume`.
    """
    unexplained = sum(float((1.0 - e.shares).sum()) for e in explained)
    room = volume * sum(e.frames for e in explained)
    return fitted_numbers(explained, unexplained, room, config, prior, prior_weight)[0]


def fitted_numbers(
    owned: Sequence[Owned], unowned: float, room: float, config: Config, prior: Config, prior_weight: float
) -> tuple[Fit, Calibration]:
    """Return noise, P_D, clutter and what scores say, most probable where it is known whose each detection is.

    Parameters
    ----------
    owned
        The recordings.
    unowned, room
        Detections that are nobody's, and the volume of the box space over which they were counted.
    config, prior, prior_weight
        See :func:`maximise`.

    Returns
    -------
    fit
        The numbers.
    calibration
        What scores say, in its own words.
    """
    before = prior.tracking.association
    numbers, errors = fitted_noise([one.history for one in owned], config, prior, prior_weight)
    detection = fitted_detection_probability(
        np.concatenate([one.detected for one in owned]),
        np.concatenate([one.plainness for one in owned]),
        before.detection_probability,
        prior_weight,
    )
    clutter = (unowned + prior_weight) / (room + prior_weight / before.clutter_density)
    calibration = fitted_calibration(
        np.concatenate([one.logits for one in owned]),
        np.concatenate([one.shares for one in owned]),
        before.score_neutral,
        before.score_weight,
        prior_weight,
    )
    numbers |= score_numbers(calibration) | {DETECTION_PROBABILITY: detection[0], CLUTTER_DENSITY: clutter}
    errors |= score_errors(calibration) | {
        DETECTION_PROBABILITY: detection[1],
        CLUTTER_DENSITY: clutter / math.sqrt(unowned + prior_weight + 1.0),
    }
    return Fit(numbers, errors), calibration


def fitted_noise(
    histories: Sequence[History], config: Config, prior: Config, prior_weight: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the noise under which the given responsibilities are most probable, and the errors of it.

    Each of the nine standard deviations in its turn is searched on a logarithmic scale, with steps that grow while
    they help and shrink when none does.

    Returns
    -------
    numbers
        By dotted key.
    errors
        By dotted key, relative standard errors, from the curvature at the maximum.
    """
    centre = _log_noise(prior)

    def objective(x: FloatArray) -> float:
        fit = filtered_log_likelihood(histories, with_numbers(config, _noise_numbers(np.exp(x))))
        # n observations tell the log of a standard deviation with the variance 1 / 2n.
        return fit - prior_weight * float(((x - centre) ** 2).sum())

    x = _log_noise(config)
    best = objective(x)
    step = np.full(len(x), _FIRST_STEP)
    while (step > _LAST_STEP).any():
        for i in range(len(x)):
            for sign in (1.0, -1.0):
                trial = x.copy()
                trial[i] = np.clip(trial[i] + sign * step[i], *_NOISE_RANGE)
                value = objective(trial)
                if value > best:
                    x, best = trial, value
                    step[i] *= _GROWTH
                    break
            else:
                step[i] *= _SHRINKAGE
    return _noise_numbers(np.exp(x)), _noise_numbers(_curvature_errors(objective, x, best))


def _log_noise(config: Config) -> FloatArray:
    motion = config.tracking.motion
    return np.log([*motion.measurement_noise, *motion.process_noise, motion.initial_velocity])


def _noise_numbers(values: FloatArray) -> dict[str, Any]:
    v = values.tolist()
    return {MEASUREMENT_NOISE: tuple(v[:4]), PROCESS_NOISE: tuple(v[4:8]), INITIAL_VELOCITY: v[8]}


def _curvature_errors(objective: Callable[[FloatArray], float], x: FloatArray, at_x: float) -> FloatArray:
    h = 0.1
    errors = np.empty(len(x))
    for i in range(len(x)):
        d = np.zeros(len(x))
        d[i] = h
        second = (objective(x + d) - 2.0 * at_x + objective(x - d)) / h**2
        errors[i] = 1.0 / math.sqrt(-second) if second < 0.0 else math.inf
    return errors


def fitted_detection_probability(
    detected: FloatArray, plainness: FloatArray, prior: float, prior_weight: float
) -> tuple[float, float]:
    """Return P_D of an object in plain view and its standard error.

    Parameters
    ----------
    detected
        (V,) share of a detection that each visible object had.
    plainness
        (V,) factor on P_D that cover left it.
    prior, prior_weight
        What counts as so many objects more, in plain view, of which this share was detected.
    """

    def loss(probability: float) -> float:
        visible = np.clip(probability * plainness, *_VISIBLE_RANGE)
        here = detected @ np.log(visible) + (1.0 - detected) @ np.log1p(-visible)
        return -float(here + prior_weight * (prior * math.log(probability) + (1.0 - prior) * math.log1p(-probability)))

    value = float(minimize_scalar(loss, bounds=_VISIBLE_RANGE, method="bounded", options={"xatol": 1e-5}).x)
    return value, math.sqrt(value * (1.0 - value) / max(len(detected) + prior_weight, 1.0))


def lifecycle(explained: Sequence[Explained], prior: Config, prior_weight: float) -> Fit:
    """Return what the likelihood of detections does not tell: the birth threshold and the rate of deaths.

    The threshold is where the tracker's own learning arrived, the mean over recordings and classes.
    """
    before = prior.tracking.lifecycle
    learned = np.concatenate([e.birth_scores for e in explained])
    weight = sum(len(e.shares) for e in explained) / max(len(learned), 1)
    birth = (weight * learned.sum() + prior_weight * before.birth_score) / (weight * len(learned) + prior_weight)
    deaths, lifetime = sum(e.deaths for e in explained), sum(e.lifetime_tau for e in explained)
    # The prior weighs one death: how long objects stay is a matter of the place, and the default knows nothing of it.
    rate = (deaths + 1.0) / (lifetime + 1.0 / (1.0 - before.survival))
    return Fit(
        {BIRTH_SCORE: float(np.clip(birth, LOWEST_BIRTH_SCORE, HIGHEST_BIRTH_SCORE)), SURVIVAL: 1.0 - rate},
        {
            BIRTH_SCORE: float(learned.std(ddof=1)) / math.sqrt(len(learned)) if len(learned) > 1 else math.nan,
            SURVIVAL: rate / math.sqrt(deaths + 1.0),
        },
    )
