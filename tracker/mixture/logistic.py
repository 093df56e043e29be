"""Log odds of probabilities."""

from __future__ import annotations

import math

import numpy as np

from tracker.mixture.kernels import kernel
from tracker.structures import FloatArray


@kernel()
def logit(probability: float) -> float:
    """Return the log odds of a probability between 0 and 1, for inner loops."""
    return math.log(probability / (1.0 - probability))


def logits(probabilities: FloatArray) -> FloatArray:
    """Return the log odds of probabilities between 0 and 1."""
    return np.log(probabilities / (1.0 - probabilities))
