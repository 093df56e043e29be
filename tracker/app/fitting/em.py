"""EM over recordings: run the tracker, maximise, and begin anew, until the log-likelihood rises no more."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tracker.app.checks import Progress
from tracker.app.fitting.recordings import Recording
from tracker.config import Config
from tracker.tracking.fitting.expectation import Explained, explain
from tracker.tracking.fitting.free_parameters import with_numbers
from tracker.tracking.fitting.likelihood import clutter_volume, log_likelihood
from tracker.tracking.fitting.maximisation import Fit, maximise

FALL = 1e-3
"""Fall of the log-likelihood, as a share of it, that ends EM: smaller ones come from births that come and go."""
CONVERGED = 1e-4

Ending: TypeAlias = Literal["converged", "fell", "stopped"]


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """Where EM arrived.

    Parameters
    ----------
    fit
        The numbers of the best iteration, none if no iteration was better than the start.
    log_likelihoods
        Of each iteration, the start first.
    ending
        Why it ended there: it converged, fell, or reached the greatest number of iterations.
    """

    fit: Fit
    log_likelihoods: tuple[float, ...]
    ending: Ending


def learn(
    recordings: Sequence[Recording],
    config: Config,
    *,
    prior_weight: float,
    max_iterations: int,
    on_iteration: Callable[[int, float], None] = lambda *_: None,
    progress: Progress = lambda *_: None,
) -> tuple[Learned, list[Explained]]:
    """Run EM over the recordings until the log-likelihood rises no more, and keep the best iteration.

    Parameters
    ----------
    recordings
        What to learn from.
    config
        Where to start, which the prior stands at too.
    prior_weight
        Observations that the prior weighs.
    max_iterations
        M-steps at most.
    on_iteration
        Called with the number of each iteration, 0 for the start, and its log-likelihood.
    progress
        Called as the recordings are tracked.

    Returns
    -------
    learned
        The best numbers.
    explained
        Their E-step.
    """
    fit = Fit({}, {})
    ending: Ending = "stopped"
    values: list[float] = []
    best, volume = -math.inf, 0.0
    kept = fit
    kept_explained: list[Explained] = []
    for n in range(max_iterations + 1):
        trial = with_numbers(config, fit.numbers)
        explained = []
        for done, r in enumerate(recordings):
            progress(f"iteration {n}", done, len(recordings))
            explained.append(explain(r.frames, r.frame_rate_hz, trial))
        progress(f"iteration {n}", len(recordings), len(recordings))
        volume = volume or clutter_volume(explained, config.tracking.association.clutter_density)
        value = log_likelihood(explained, trial, volume)
        values.append(value)
        on_iteration(n, value)
        if value < best - FALL * abs(best):
            ending = "fell"
            break
        gain = value - best
        if gain > 0.0:
            best, kept, kept_explained = value, fit, explained
        if gain < CONVERGED * abs(best):
            ending = "converged"
            break
        if n < max_iterations:
            fit = maximise(explained, trial, config, prior_weight, volume)
    return Learned(kept, tuple(values), ending), kept_explained
