"""Learning from detections and truth: direct fits, made once from all recordings, then a search on HOTA."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from tracker.app.checks import Progress
from tracker.app.fitting.hota import folds_of, scorer
from tracker.app.fitting.proposals import GROUPS, POLICY, policy_proposals, proposals_of_group
from tracker.app.fitting.recordings import Recording
from tracker.app.fitting.results import Result, result_of
from tracker.app.fitting.search import Trial, proven_search
from tracker.config import Config
from tracker.errors import FormatError
from tracker.evaluation.labelled import Labelled, label
from tracker.evaluation.preparation import CriteriaError
from tracker.tracking.fitting.free_parameters import BIRTH_SCORE
from tracker.tracking.fitting.maximisation import Fit, fitted_numbers
from tracker.tracking.fitting.rates import rates_of
from tracker.tracking.lifecycle import BIRTH_POSTERIOR, HIGHEST_BIRTH_SCORE, LOWEST_BIRTH_SCORE

_MATCHABLE = 20


def fit_with_truth(
    recordings: Sequence[Recording],
    config: Config,
    *,
    prior_weight: float,
    seed: int,
    processes: int,
    progress: Progress = lambda *_: None,
) -> Result:
    """Learn from detections and truth: direct fits, made once from all recordings, then a search on HOTA.

    Parameters
    ----------
    recordings
        What to learn from.
    config
        Where to start.
    prior_weight
        Observations that the prior weighs.
    seed
        Of the disturbance of the recordings that are searched on besides the undisturbed.
    processes
        How many may work at a time.
    progress
        Called as configurations are tried.

    Raises
    ------
    FormatError
        Where truth and detections do not belong together.
    """
    labelled = [_labelled(r, config) for r in recordings]
    fit = label_fit(labelled, config, prior_weight)
    folds = folds_of(recordings, seed)
    trials: dict[str, Trial] = {name: partial(proposals_of_group, fit, config, name) for name in GROUPS}
    trials |= {key: partial(policy_proposals, key) for key in POLICY}
    with scorer(folds, processes) as score:
        after, verdicts = proven_search(score, len(folds), config, trials, progress)
    return result_of(config, after, fit, verdicts, rates_of(labelled), None)


def label_fit(labelled: Sequence[Labelled], config: Config, prior_weight: float) -> Fit:
    """Return what detections whose truth is known say: the M-step without an E-step."""
    near, room = sum(one.near_count for one in labelled), sum(one.near_volume for one in labelled)
    fit, calibration = fitted_numbers(labelled, near, room, config, config, prior_weight)
    threshold = float(np.clip(calibration.score_at(BIRTH_POSTERIOR), LOWEST_BIRTH_SCORE, HIGHEST_BIRTH_SCORE))
    error = threshold * (1.0 - threshold) * calibration.offset_error / calibration.weight
    return Fit({**fit.numbers, BIRTH_SCORE: threshold}, {**fit.errors, BIRTH_SCORE: error})


def _labelled(recording: Recording, config: Config) -> Labelled:
    assert recording.truth is not None
    try:
        labelled = label(recording.frames, recording.truth, recording.frame_rate_hz, config)
    except CriteriaError as error:
        raise FormatError(recording.name, None, f"truth {error}") from None
    # A recording in which hardly anything happens has nothing to match.
    if min(len(labelled.is_object), len(labelled.detected)) >= _MATCHABLE and not labelled.is_object.any():
        raise FormatError(
            recording.name, None, "no detection covers any row of the truth; are these truth and detections of one?"
        )
    return labelled
