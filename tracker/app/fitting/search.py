"""A search for a better configuration that must prove itself on folds which it does not see."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from tracker.app.checks import Progress
from tracker.app.fitting.results import CHANCE, Verdict, is_sure
from tracker.config import Config
from tracker.structures import FloatArray, IntArray
from tracker.tracking.fitting.free_parameters import with_numbers

SURE = 2.0
"""Standard errors by which a change must raise HOTA to be chosen."""
ALL = "all together, held out"
"""Name of the verdict on a search as a whole."""
_QUARTERS = 4

Score: TypeAlias = Callable[[Sequence[Config], IntArray], FloatArray]
Trial: TypeAlias = Callable[[Config], list[dict[str, Any]]]


def proven_search(
    score: Score, folds: int, config: Config, trials: Mapping[str, Trial], progress: Progress = lambda *_: None
) -> tuple[Config, list[Verdict]]:
    """Search for a better configuration, and return it if searching as such gains on folds that it does not see.

    The search is repeated for each quarter of the folds on the other three, and what it finds there is scored on the
    quarter. These gains, a fold each, must pass Student's test: one for the whole, however many options were tried.

    Parameters
    ----------
    score
        Returns HOTA (configurations, folds) of configurations on the folds with these numbers.
    folds
        How many folds there are.
    config
        Where to start.
    trials
        By name, what gives the options for a configuration that is reached.
    progress
        Called as they are tried.

    Returns
    -------
    config
        The one found, or where it started.
    verdicts
        On each trial, with its gain where it was chosen, and on all together, with the gain where it was not.
    """
    everything = np.arange(folds)
    quarters = [everything[n::_QUARTERS] for n in range(min(_QUARTERS, folds))]
    steps = (len(quarters) + 1) * len(trials)

    def search(seen: IntArray, done: int) -> tuple[Config, list[Verdict]]:
        after, current = config, score([config], seen)[0]
        verdicts = []
        for n, (name, options) in enumerate(trials.items(), done):
            progress("searching", n, steps)
            candidates = [with_numbers(after, numbers) for numbers in options(after)]
            if not candidates:
                continue
            values = score(candidates, seen)
            best = int(values.mean(axis=1).argmax())
            gain, error = _mean_and_error(values[best] - current)
            verdicts.append(Verdict(name, gain, error, gain > SURE * error))
            if verdicts[-1].taken:
                after, current = candidates[best], values[best]
        return after, verdicts

    gains = np.zeros(folds)
    for n, quarter in enumerate(quarters):
        found, _ = search(np.setdiff1d(everything, quarter), n * len(trials))
        before, after = score([config, found], quarter)
        gains[quarter] = after - before
    found, verdicts = search(everything, len(quarters) * len(trials))
    gain, error = _mean_and_error(gains)
    taken = found != config and is_sure(gain, error, folds, CHANCE)
    verdicts = [replace(v, taken=v.taken and taken) for v in verdicts]
    return found if taken else config, [*verdicts, Verdict(ALL, gain, error, taken)]


def _mean_and_error(values: FloatArray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))
