"""Whether a mean over recordings is more than chance, and into what they are cut where they are few."""

from __future__ import annotations

import math

from scipy.special import stdtrit

CHANCE = 0.05
"""Probability that chance alone changes anything: Student's test over recordings is made at this level."""
_LEAST_FOLDS = 4


def parts_of(recordings: int) -> int:
    """Return into how many parts recordings are cut where they are few."""
    return math.ceil(_LEAST_FOLDS / recordings)


def is_sure(gain: float, error: float, folds: int, chance: float) -> bool:
    """Tell whether a mean gain of so many folds passes Student's test."""
    return gain > float(stdtrit(folds - 1, 1.0 - chance)) * error
