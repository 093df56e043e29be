"""What learning arrived at: the new configuration, what became of each number, and what trying them gave."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from scipy.special import stdtrit

from tracker.app.fitting.em import Learned
from tracker.app.fitting.proposals import POLICY
from tracker.config import Config
from tracker.tracking.fitting.free_parameters import number_of, numbers_of
from tracker.tracking.fitting.maximisation import Fit
from tracker.tracking.fitting.rates import Rates

CHANCE = 0.05
"""Probability that chance alone changes anything: Student's test over folds is made at this level."""


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a number.

    Parameters
    ----------
    key
        Dotted key.
    before, learned
        What the configuration says, what the data say.
    error
        Standard error of the latter; nan where it is chosen, not estimated.
    after
        What the new configuration says.
    """

    key: str
    before: Any
    learned: Any
    error: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Verdict:
    """What trying some numbers gave.

    Parameters
    ----------
    name
        What was tried.
    gain, error
        Objects that came back as themselves, more than before, in percent; or HOTA, and the standard error of it.
    taken
        Whether it was taken over.
    """

    name: str
    gain: float
    error: float
    taken: bool


def is_sure(gain: float, error: float, folds: int, chance: float) -> bool:
    """Tell whether a mean gain of so many folds is more than chance: whether it passes Student's test."""
    return gain > float(stdtrit(folds - 1, 1.0 - chance)) * error


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What was learned, what was made of it, and the new configuration.

    Parameters
    ----------
    config
        The new configuration.
    changes
        What became of each number.
    verdicts
        What trying them gave.
    rates
        How many detections are new objects and how many are clutter, which have one density in the configuration.
    learned
        Where EM arrived; None where the truth made it needless.
    """

    config: Config
    changes: tuple[Change, ...]
    verdicts: tuple[Verdict, ...]
    rates: Rates
    learned: Learned | None


def result_of(
    before: Config, after: Config, fit: Fit, verdicts: Iterable[Verdict], found: Rates, learned: Learned | None
) -> Result:
    """Return the result, with what became of each number that was learned or changed."""
    old, new = _tried(before), _tried(after)
    changes = [
        Change(key, old[key], fit.numbers.get(key), fit.errors.get(key, math.nan), new[key])
        for key in old
        if key in fit.numbers or new[key] != old[key]
    ]
    return Result(after, tuple(changes), tuple(verdicts), found, learned)


def _tried(config: Config) -> dict[str, Any]:
    """Return all numbers that can change, by dotted key."""
    return numbers_of(config) | {key: number_of(config, key) for key in POLICY}
