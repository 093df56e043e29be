"""The numbers of a configuration that recordings teach: reading them, and a configuration with others."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from tracker.config import Config

MEASUREMENT_NOISE = "tracking.motion.measurement_noise"
PROCESS_NOISE = "tracking.motion.process_noise"
INITIAL_VELOCITY = "tracking.motion.initial_velocity"
DETECTION_PROBABILITY = "tracking.association.detection_probability"
CLUTTER_DENSITY = "tracking.association.clutter_density"
SCORE_NEUTRAL = "tracking.association.score_neutral"
SCORE_WEIGHT = "tracking.association.score_weight"
BIRTH_SCORE = "tracking.lifecycle.birth_score"
SURVIVAL = "tracking.lifecycle.survival"
FREE_PARAMETERS = (
    MEASUREMENT_NOISE,
    PROCESS_NOISE,
    INITIAL_VELOCITY,
    DETECTION_PROBABILITY,
    CLUTTER_DENSITY,
    SCORE_NEUTRAL,
    SCORE_WEIGHT,
    BIRTH_SCORE,
    SURVIVAL,
)
"""Dotted keys of all numbers that can be learned."""


def numbers_of(config: Config) -> dict[str, Any]:
    """Return what can be learned as a configuration states it, by dotted key."""
    return {key: number_of(config, key) for key in FREE_PARAMETERS}


def number_of(config: Config, key: str) -> Any:
    """Return what stands under a dotted key of three parts, such as ``tracking.motion.anchor``."""
    return attrgetter(key)(config)


def with_numbers(config: Config, numbers: Mapping[str, Any]) -> Config:
    """Return the configuration with other values under the dotted keys, all of them in ``tracking``."""
    tracking = config.tracking
    for key, value in numbers.items():
        _, *section, name = key.split(".")
        if not section:
            tracking = tracking.model_copy(update={name: value})
            continue
        changed = getattr(tracking, section[0]).model_copy(update={name: value})
        tracking = tracking.model_copy(update={section[0]: changed})
    return config.model_copy(update={"tracking": tracking})
