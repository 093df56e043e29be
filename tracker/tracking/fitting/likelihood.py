"""The log-likelihood of recordings, by which EM over them is judged."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from scipy.optimize import minimize_scalar

from tracker.config import Config
from tracker.mixture.logistic import logit
from tracker.tracking.fitting.calibration import SHARE_RANGE
from tracker.tracking.fitting.expectation import Explained


def clutter_volume(explained: Iterable[Explained], clutter_density: float) -> float:
    """Return the volume per frame, in units of g, over which unexplained detections are as dense as near objects.

    Where no object was followed long enough to look around it, the configured density is believed.
    """
    everything = list(explained)
    count, volume = sum(e.near_count for e in everything), sum(e.near_volume for e in everything)
    unexplained = sum(float((1.0 - e.shares).sum()) for e in everything)
    density = (count + 1.0) / (volume + 1.0 / clutter_density)
    return max(unexplained, 1.0) / density / max(sum(e.frames for e in everything), 1)


def log_likelihood(explained: Iterable[Explained], config: Config, volume: float) -> float:
    """Return the approximate log-likelihood of all detections, in nats, but for what no number can change.

    The tracker's evidence is a ratio against clutter alone. What clutter alone would be worth is added, for it
    moves with the numbers too: with c the clutter density, V the volume, F frames and N detections,

        sum of [log c - 4 log g + log p0(score)] - c V F.

    The share of objects among the detections, which p0 depends on, is chosen to fit best. Where the power of the
    odds is not yet a ratio of two densities, as before the first M-step, its constant counts as one of c.
    """
    everything = list(explained)
    association = config.tracking.association
    logits = np.concatenate([e.logits for e in everything])
    room = volume * sum(e.frames for e in everything)
    neutral = logit(association.score_neutral)
    ratio = np.exp(association.score_weight * (logits - neutral))

    def loss(share: float) -> float:
        clutter = 1.0 / (1.0 - share + share * ratio)
        density = association.clutter_density * clutter.sum() / (ratio @ clutter)
        return float(density * room - len(ratio) * math.log(density / clutter.sum()) - np.log(clutter).sum())

    alone = 0.0
    if len(logits):
        alone = -float(minimize_scalar(loss, bounds=SHARE_RANGE, method="bounded").fun)
    return sum(e.evidence - 4.0 * e.log_scales for e in everything) + alone
