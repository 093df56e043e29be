"""The mixture as an estimator: its starts, what it says and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tests.blobs import blobs
from tracker.mixture import GaussianMixture, Prior

K = 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0.0]], [[1.0]]), r"covariances has shape \(1, 1\); it must be \(1, 1, 1\)"),
        (([[0.0]], [[[1.0]]], -1.0), "mean_counts is -1.0 for component 0; it is 0 or more"),
        (([[0.0]], [[[1.0]]], [1.0, 2.0]), r"mean_counts has shape \(2,\); it must be \(1\)"),
        (([[0.0]], [[[1.0]]], 0.0, 0.0, 0.0, np.nan), "clutter_count is nan; it is 0 or more"),
        (([[np.nan]], [[[1.0]]]), "finite, also where their counts are 0"),
    ],
)
def test_what_is_no_prior_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Prior(*arguments)


def test_a_warm_start_continues_where_the_last_fit_ended() -> None:
    X = blobs(300, seed=10)
    how: dict[str, Any] = {"n_components": K, "random_state": 3, "clutter_weight": 0.05, "warm_start": True}
    fitted = GaussianMixture(**how, tol=1e-6, max_iter=500).fit(X)
    cold, last = fitted.n_iter_, fitted.mixture_
    fitted.fit(X + 0.01)
    assert fitted.n_iter_ < cold / 2
    assert_array_equal(fitted.trace_.start.means, last.means)
    assert_allclose(fitted.clutter_weight_ + fitted.weights_.sum(), 1.0)
    with pytest.raises(ValueError, match="does not fit"):
        fitted.fit(X[:, :1])


@pytest.mark.parametrize(("before", "after"), [(0.0, 0.3), (0.4, 0.0)])
def test_a_warm_start_makes_room_for_clutter_or_takes_its_room(before: float, after: float) -> None:
    X = blobs(300, seed=10)
    fitted = GaussianMixture(K, random_state=3, clutter_weight=before, warm_start=True).fit(X)
    last = fitted.weights_ / fitted.weights_.sum()
    fitted.clutter_weight = after
    fitted.fit(X)
    assert_allclose(fitted.trace_.start.weights, (1.0 - after) * last)
    assert fitted.clutter_weight_ + fitted.weights_.sum() == pytest.approx(1.0)


def test_weights_of_zero_have_no_score() -> None:
    X = blobs(50)
    with pytest.raises(ValueError, match="sample_weight sums to 0"):
        GaussianMixture(K, random_state=1).fit(X).score(X, np.zeros(len(X)))


def test_the_best_of_several_starts_is_kept() -> None:
    X = blobs(150, seed=11)
    rng = np.random.default_rng(12)
    one_by_one = [GaussianMixture(6, random_state=rng).fit(X).lower_bound_ for _ in range(4)]
    together = GaussianMixture(6, random_state=12, n_init=4).fit(X).lower_bound_
    assert len(set(one_by_one)) > 1
    assert together == max(one_by_one)


def test_stopping_early_is_said() -> None:
    with pytest.warns(RuntimeWarning, match="no convergence to 0 in 2 iterations"):
        fitted = GaussianMixture(2, tol=0.0, max_iter=2, random_state=0).fit(blobs(50))
    assert not fitted.converged_


X_GOOD = [[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]]


@pytest.mark.parametrize(
    ("parameters", "X", "weights", "message"),
    [
        ({"n_components": 0}, X_GOOD, None, "n_components is 0; it is 1 or more"),
        ({"covariance_type": "round"}, X_GOOD, None, "covariance_type is 'round'; it is one of full, tied"),
        ({"clutter_weight": 1.0}, X_GOOD, None, r"clutter_weight is 1.0; it is in \[0, 1\)"),
        ({"means_init": [[0.0]]}, X_GOOD, None, r"means_init has shape \(1, 1\); it must be \(1, 2\)"),
        ({"weights_init": [-1.0]}, X_GOOD, None, "weights_init must be finite, not negative"),
        ({"prior": Prior([[0.0]], [[[1.0]]])}, X_GOOD, None, "the prior is of"),
        ({"clutter_weight": 0.1}, [[0.0, 1.0], [1.0, 1.0]], None, "no extent in column 1; give clutter_box"),
        ({}, [0.0, 1.0], None, r"X has shape \(2,\)"),
        ({}, [[0.0, np.inf]], None, "X row 0 is infinite"),
        ({}, [[0.0, np.nan], [1.0, np.nan]], None, "column 1 of the data has no value with weight"),
        ({}, np.empty((0, 2)), None, "column 0 of the data has no value with weight"),
        ({}, X_GOOD, [1.0, 1.0], r"sample_weight has shape \(2,\); it must be \(3\)"),
        ({}, X_GOOD, [1.0, -1.0, 1.0], "sample_weight row 1 is -1.0; it is finite and not negative"),
        (
            {"reg_covar": 0.0},
            [[0.0, 1.0]],
            None,
            "not positive definite .* fewer components, a larger reg_covar or a prior",
        ),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_advice(
    parameters: dict[str, Any], X: Any, weights: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        GaussianMixture(**parameters).fit(X, weights)


def test_nothing_is_predicted_before_fitting_or_of_other_columns() -> None:
    with pytest.raises(ValueError, match="not fitted yet; call fit first"):
        GaussianMixture().predict(X_GOOD)
    with pytest.raises(ValueError, match=r"X has shape \(1, 3\); it must be \(N, 2\)"):
        GaussianMixture().fit(X_GOOD).predict([[0.0, 1.0, 2.0]])
    with pytest.raises(ValueError, match=r"X has shape \(5,\); it must be \(N, D\)"):
        GaussianMixture().fit(np.zeros(5))


def test_the_package_is_light_until_the_estimator_is_used() -> None:
    code = (
        "import sys, tracker.mixture as m; assert 'numpy' not in sys.modules; "
        "m.GaussianMixture; assert not {'sklearn', 'scipy', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
