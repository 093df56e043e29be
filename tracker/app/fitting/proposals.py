"""What is proposed for the configuration: numbers that were learned, by groups, and other values of some keys."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from tracker.config import Config
from tracker.tracking.fitting.free_parameters import (
    BIRTH_SCORE,
    CLUTTER_DENSITY,
    DETECTION_PROBABILITY,
    INITIAL_VELOCITY,
    MEASUREMENT_NOISE,
    PROCESS_NOISE,
    SCORE_NEUTRAL,
    SCORE_WEIGHT,
    SURVIVAL,
    number_of,
    numbers_of,
)
from tracker.tracking.fitting.maximisation import Fit

GROUPS = {
    "noise": (MEASUREMENT_NOISE, PROCESS_NOISE, INITIAL_VELOCITY),
    "detection": (DETECTION_PROBABILITY, CLUTTER_DENSITY),
    "scores": (SCORE_NEUTRAL, SCORE_WEIGHT),
    "life": (BIRTH_SCORE, SURVIVAL),
}
"""Numbers that are taken over together or not at all."""

POLICY: Mapping[str, tuple[tuple[Literal["times", "value"], float], ...]] = {
    MEASUREMENT_NOISE: (("times", 0.7), ("times", 1.4)),
    PROCESS_NOISE: (("times", 0.5), ("times", 2.0)),
    CLUTTER_DENSITY: (("times", 0.25), ("times", 4.0)),
    "tracking.association.claim": (("value", 0.03), ("value", 0.3)),
    "tracking.association.gate_iou": (("value", 0.0), ("value", 0.1)),
    "tracking.association.direction": (("value", 0.0), ("value", 1.0)),
    BIRTH_SCORE: (("value", 0.5), ("value", 0.6), ("value", 0.8)),
    "tracking.lifecycle.max_misses_frames": (("times", 0.5), ("times", 2.0)),
}
"""What the search with truth tries for each key, after the fits."""

_HALFWAY = ", halfway"
"""Follows the name of a group of which half the way is proposed."""
_DIGITS = 3


def learned_proposals(fit: Fit, config: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each group of numbers, as learned and halfway there."""
    before = numbers_of(config)
    for name, keys in GROUPS.items():
        numbers = {key: fit.numbers[key] for key in keys if key in fit.numbers}
        if numbers:
            yield name, rounded(numbers)
            yield name + _HALFWAY, rounded({key: _halfway(before[key], value) for key, value in numbers.items()})


def _halfway(a: Any, b: Any) -> Any:
    if isinstance(a, tuple):
        return tuple(_halfway(*pair) for pair in zip(a, b, strict=True))
    return math.sqrt(a * b)


def group_of(name: str) -> str:
    """Return the group that a proposal of this name is of."""
    return name.removesuffix(_HALFWAY)


def proposals_of_group(fit: Fit, start: Config, group: str, _: Config) -> list[dict[str, Any]]:
    """Return what was learned of a group, whole and halfway, whatever configuration the search has reached."""
    return [numbers for name, numbers in learned_proposals(fit, start) if group_of(name) == group]


def policy_proposals(key: str, config: Config) -> list[dict[str, Any]]:
    """Return the values that the policy has for a key, but for the one that the configuration has."""
    now, options = number_of(config, key), []
    for kind, number in POLICY[key]:
        if kind == "value":
            value: Any = number
        elif isinstance(now, tuple):
            value = tuple(number * v for v in now)
        else:
            value = max(1, round(number * now)) if isinstance(now, int) else number * now
        if value != now:
            options.append(rounded({key: value}))
    return options


def rounded(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return numbers with as many digits as mean anything; of what is close to 1, the distance from it counts."""

    def of(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(of, value))
        if isinstance(value, int):
            return value
        if 0.9 < value < 1.0:
            return round(1.0 - float(f"{1.0 - value:.{_DIGITS}g}"), 12)
        return float(f"{value:.{_DIGITS}g}")

    return {key: of(value) for key, value in numbers.items()}
