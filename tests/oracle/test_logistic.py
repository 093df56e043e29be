"""Log odds against SciPy's, in inner loops and of arrays alike."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose
from scipy import special

from tracker.mixture.logistic import logit, logits
from tracker.tracking.evidence import score_logits


def test_log_odds_are_those_of_scipy() -> None:
    probabilities = np.random.default_rng(0).uniform(1e-6, 1.0 - 1e-6, 200)
    assert_allclose(logits(probabilities), special.logit(probabilities), atol=1e-12)
    assert_allclose([logit(p) for p in probabilities], special.logit(probabilities), atol=1e-12)


def test_scores_count_as_no_surer_than_a_hundredth_from_certain() -> None:
    assert_allclose(score_logits(np.array([0.0, 0.001, 0.3, 1.0])), special.logit([0.01, 0.01, 0.3, 0.99]))
