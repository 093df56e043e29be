"""EM against scikit-learn, against repeated rows, and against estimates worked by hand."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import multivariate_normal
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as Reference

from tests.blobs import blobs
from tracker.mixture import GaussianMixture, Mixture, Prior
from tracker.mixture.em import e_step, initialise, m_step, step_gain
from tracker.mixture.prior import log_prior
from tracker.mixture.statistics import COVARIANCE_TYPES, CovarianceType
from tracker.structures import FloatArray

K, D = 3, 2
covariance_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)


def _start(covariance_type: CovarianceType) -> dict[str, Any]:
    precisions = {
        "full": np.array([np.eye(2), [[2.0, 0.5], [0.5, 1.0]], np.eye(2) / 2]),
        "tied": np.array([[2.0, 0.5], [0.5, 1.0]]),
        "diag": np.array([[1.0, 2.0], [0.5, 1.0], [1.0, 1.0]]),
        "spherical": np.array([1.0, 0.5, 2.0]),
    }
    return {
        "n_components": K,
        "covariance_type": covariance_type,
        "weights_init": np.array([0.2, 0.5, 0.3]),
        "means_init": np.array([[0.5, 1.0], [4.0, 0.0], [3.0, 3.0]]),
        "precisions_init": precisions[covariance_type],
    }


def _pair(covariance_type: CovarianceType, X: FloatArray, **how: Any) -> tuple[GaussianMixture, Reference]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        ours = GaussianMixture(**_start(covariance_type), **how).fit(X)
        theirs = Reference(**_start(covariance_type), **how).fit(X)
    return ours, theirs


def _assert_same(ours: GaussianMixture, theirs: Reference, X: FloatArray) -> None:
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.converged_ == theirs.converged_
    for name in ("weights_", "means_", "covariances_", "precisions_", "lower_bound_"):
        assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-6, atol=1e-9, err_msg=name)
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-6, atol=1e-9)
    assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-6)
    assert_array_equal(ours.predict(X), theirs.predict(X))
    for name in ("score", "bic", "aic"):
        assert getattr(ours, name)(X) == pytest.approx(getattr(theirs, name)(X), rel=1e-6)


@covariance_types
@pytest.mark.parametrize("iterations", [1, 2, 7])
def test_steps_are_those_of_scikit_learn(covariance_type: CovarianceType, iterations: int) -> None:
    X = blobs(200)
    _assert_same(*_pair(covariance_type, X, max_iter=iterations, tol=0.0), X)


@covariance_types
@pytest.mark.parametrize("reg_covar", [0.0, 1e-6, 0.5])
def test_whole_fits_are_those_of_scikit_learn(covariance_type: CovarianceType, reg_covar: float) -> None:
    X = blobs(300, seed=1)
    ours, theirs = _pair(covariance_type, X, tol=1e-6, max_iter=500, reg_covar=reg_covar)
    assert ours.converged_
    _assert_same(ours, theirs, X)


def test_a_single_column_and_a_single_component_are_those_of_scikit_learn() -> None:
    X = blobs(50)[:, :1]
    ours, theirs = GaussianMixture().fit(X), Reference().fit(X)
    assert_allclose(ours.covariances_, theirs.covariances_, rtol=1e-9)
    assert ours.bic(X) == pytest.approx(theirs.bic(X), rel=1e-9)


def test_own_starts_find_what_scikit_learn_finds_from_its_own() -> None:
    X = blobs(500, seed=2)
    ours = GaussianMixture(K, random_state=0, tol=1e-8, max_iter=1000, n_init=3).fit(X)
    theirs = Reference(K, random_state=0, tol=1e-8, max_iter=1000, n_init=3).fit(X)
    assert ours.score(X) == pytest.approx(theirs.score(X), abs=1e-4)
    assert_allclose(np.sort(ours.weights_), np.sort(theirs.weights_), atol=1e-2)


@covariance_types
def test_integer_weights_equal_repeated_rows(covariance_type: CovarianceType) -> None:
    X = blobs(120, seed=3)
    X[::5, 0] = np.nan
    times = np.random.default_rng(4).integers(0, 4, size=len(X))
    how: dict[str, Any] = {"clutter_weight": 0.1, "clutter_box": [[-5, -5], [9, 9]], "tol": 1e-7, "max_iter": 1000}
    prior = Prior(np.ones((K, D)), np.array([np.eye(D)] * K), 0.5, 3.0, 1.0, 2.0)
    weighted = GaussianMixture(**_start(covariance_type), **how, prior=prior).fit(X, sample_weight=times)
    repeated = GaussianMixture(**_start(covariance_type), **how, prior=prior).fit(np.repeat(X, times, axis=0))
    assert weighted.n_iter_ == repeated.n_iter_
    for name in ("weights_", "means_", "covariances_", "clutter_weight_", "lower_bound_"):
        assert_allclose(getattr(weighted, name), getattr(repeated, name), rtol=1e-9, err_msg=name)
    score = repeated.score(np.repeat(X, times, axis=0))
    assert weighted.score(X, times) == pytest.approx(score, rel=1e-9)
    assert weighted.bic(X, times) == pytest.approx(repeated.bic(np.repeat(X, times, axis=0)), rel=1e-9)


def test_a_monotone_gap_is_estimated_as_by_hand() -> None:
    # Anderson (1957): x is complete, y is regressed on x where both are known.
    # x: mean 3, variance 5. y = 1/2 + 3/4 x with residual variance 1/2 from (0, 0), (2, 3), (4, 3).
    X = np.array([[0.0, 0.0], [2.0, 3.0], [4.0, 3.0], [6.0, np.nan]])
    fitted = GaussianMixture(1, reg_covar=0.0, tol=1e-15, max_iter=10_000).fit(X)
    assert_allclose(fitted.means_, [[3.0, 2.75]], atol=1e-6)
    assert_allclose(fitted.covariances_, [[[5.0, 3.75], [3.75, 0.5 + 0.75**2 * 5.0]]], atol=1e-6)
    assert_allclose(fitted.impute(X)[3], [6.0, 5.0], atol=1e-6)
    assert_array_equal(fitted.impute(X)[:3], X[:3])


def test_one_m_step_with_a_gap_is_the_expected_complete_data_step() -> None:
    # Under N(0, [[1, .5], [.5, 1]]) the missing y of x = 2 has mean 1 and variance .75.
    previous = Mixture([0.0], [[0.0, 0.0]], [[[1.0, 0.5], [0.5, 1.0]]])
    X = np.array([[2.0, np.nan], [0.0, 3.0]])
    found = m_step(X, np.ones(2), np.ones((2, 1)), None, "full", 0.0, previous=previous)
    assert_allclose(found.means, [[1.0, 2.0]])
    assert_allclose(found.covariances, [[[1.0, -1.0], [-1.0, 1.0 + 0.75 / 2]]])


def test_rows_without_any_value_are_shared_by_weight_and_move_nothing() -> None:
    X = blobs(80)
    start = initialise(X, np.ones(80), K, np.random.default_rng(0))
    padded = np.vstack([X, np.full((7, D), np.nan)])
    responsibilities, _, log_likelihood = e_step(start, padded)
    assert_allclose(np.exp(responsibilities[80:]), np.broadcast_to(start.weights, (7, K)))
    assert_allclose(log_likelihood[80:], 0.0, atol=1e-12)
    # One component: an empty row is the mean itself, so that a fixed point stays one.
    single = GaussianMixture(1, reg_covar=0.0).fit(X)
    moved = m_step(padded, np.ones(87), np.ones((87, 1)), None, "full", 0.0, previous=single.mixture_)
    assert_allclose(moved.means, single.means_, atol=1e-12)
    assert_allclose(moved.covariances, single.covariances_, rtol=1e-12)


@covariance_types
def test_few_gaps_change_little(covariance_type: CovarianceType) -> None:
    X = blobs(2000, seed=5)
    gappy = X.copy()
    gappy[::100, 1] = np.nan
    complete = GaussianMixture(**_start(covariance_type), tol=1e-6, max_iter=500).fit(X)
    fitted = GaussianMixture(**_start(covariance_type), tol=1e-6, max_iter=500).fit(gappy)
    assert_allclose(fitted.means_, complete.means_, atol=0.05)
    assert not np.array_equal(fitted.means_, complete.means_)


def test_imputation_is_the_conditional_mean() -> None:
    mixture = Mixture(
        np.log([0.3, 0.6]), [[0.0, 0.0], [3.0, 1.0]], [[[1.0, 0.6], [0.6, 2.0]], [[2.0, -0.5], [-0.5, 1.0]]], -3.0
    )
    fitted = GaussianMixture(2)
    fitted.mixture_, fitted.clutter_box_ = mixture, np.array([[-5.0, -5.0], [5.0, 5.0]])
    found = fitted.impute([[1.2, np.nan], [np.nan, np.nan], [0.5, 0.25]])
    # E[y | x] by quadrature over y.
    y = np.linspace(-15, 15, 20_001)
    joint = sum(
        w * multivariate_normal(m, c).pdf(np.column_stack([np.full_like(y, 1.2), y]))
        for w, m, c in zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
    )
    assert found[0, 1] == pytest.approx((y @ joint) / joint.sum(), rel=1e-9)
    assert_allclose(found[1], [2.0, 2 / 3])
    assert_array_equal(found[2], [0.5, 0.25])


def test_the_map_of_one_gaussian_is_the_conjugate_posterior_mode() -> None:
    # Mode of the normal-inverse-Wishart posterior (Murphy 2007, "Conjugate Bayesian analysis", section 9).
    rng = np.random.default_rng(6)
    X, n = rng.normal(size=(9, 2)) + 1.0, 9
    m0, kappa, nu, psi = np.array([0.5, -1.0]), 2.0, 5.0, np.array([[2.0, 0.3], [0.3, 1.0]])
    count = nu + D + 2
    prior = Prior(m0[None], psi[None] / count, mean_counts=kappa, covariance_counts=count)
    fitted = GaussianMixture(1, prior=prior, reg_covar=0.0).fit(X)
    mean = X.mean(axis=0)
    scatter = (X - mean).T @ (X - mean)
    shrunk = kappa * n / (kappa + n) * np.outer(mean - m0, mean - m0)
    assert_allclose(fitted.means_[0], (kappa * m0 + n * mean) / (kappa + n))
    assert_allclose(fitted.covariances_[0], (psi + scatter + shrunk) / (nu + n + D + 2))


def test_imaginary_observations_count_like_real_ones() -> None:
    # A prior of c = kappa = 4 with the moments of four points is those four points, when all else is fixed.
    four, X = blobs(4, seed=7), blobs(30, seed=8)
    prior = Prior(four.mean(axis=0)[None], np.cov(four.T, bias=True)[None], 4.0, 4.0, 4.0)
    found = m_step(X, np.ones(30), np.ones((30, 1)), prior, "full", 0.0)
    real = m_step(np.vstack([X, four]), np.ones(34), np.ones((34, 1)), None, "full", 0.0)
    assert_allclose(found.means, real.means)
    assert_allclose(found.covariances, real.covariances)


@covariance_types
def test_no_data_leaves_the_prior(covariance_type: CovarianceType) -> None:
    centres = np.array([[0.0, 1.0], [2.0, 3.0]])
    prior = Prior(centres, np.array([np.eye(2) * 3, np.eye(2) * 3]), 2.0, 2.0, [1.0, 3.0])
    found = m_step(np.empty((0, 2)), np.empty(0), np.empty((0, 2)), prior, covariance_type, 0.0)
    assert_allclose(found.means, centres)
    assert_allclose(found.covariances, [np.eye(2) * 3] * 2)
    assert_allclose(found.weights, [0.25, 0.75])


def test_a_component_without_data_stays_where_it_was() -> None:
    previous = Mixture(np.log([0.5, 0.5]), [[0.0], [100.0]], [[[1.0]], [[7.0]]])
    X = np.array([[-1.0], [0.0], [1.0]])
    owned = np.array([[1.0, 0.0]] * 3)
    found = m_step(X, np.ones(3), owned, None, "full", 0.0, previous=previous)
    assert found.means[1, 0] == 100.0
    assert found.covariances[1, 0, 0] == 7.0
    assert found.log_weights.tolist() == [0.0, -np.inf]
    with pytest.raises(ValueError, match="component 1 has neither data nor prior"):
        m_step(X, np.ones(3), owned, None, "full", 0.0)


def test_the_background_takes_what_fits_nobody() -> None:
    rng = np.random.default_rng(9)
    blob, noise = rng.normal(size=(800, 2)), rng.uniform(-20, 20, size=(200, 2))
    X = np.vstack([blob, noise])
    fitted = GaussianMixture(1, clutter_weight=0.5, clutter_box=[[-20, -20], [20, 20]], tol=1e-8).fit(X)
    assert fitted.clutter_weight_ == pytest.approx(0.2, abs=0.03)
    assert fitted.weights_.sum() + fitted.clutter_weight_ == pytest.approx(1.0, abs=1e-12)
    assert_allclose(fitted.covariances_[0], np.eye(2), atol=0.15)
    assert fitted.predict([[0.0, 0.0], [15.0, -15.0]]).tolist() == [0, -1]
    parameters = (fitted.bic(X) - fitted.aic(X)) / (np.log(1000) - 2)
    assert parameters == pytest.approx(2 + 3 + 1)  # mean, covariance, weight of the background
    points, labels = fitted.sample(5000)
    assert (labels == -1).mean() == pytest.approx(fitted.clutter_weight_, abs=0.03)
    assert np.abs(points[labels == -1]).max() > 19


def test_clutter_and_gap_by_hand() -> None:
    # One standard normal of weight .8, clutter of weight .2 in a box of sides 4 x 10, x = 0 seen, y missing.
    mixture = Mixture(np.log([0.8]), [[0.0, 0.0]], [np.eye(2)], np.log(0.2 / 40))
    X = np.array([[0.0, np.nan]])
    log_responsibilities, log_share, log_likelihood = e_step(mixture, X, np.array([4.0, 10.0]))
    gaussian, clutter = 0.8 / np.sqrt(2 * np.pi), 0.2 / 4
    assert_allclose(np.exp(log_likelihood), [gaussian + clutter])
    assert_allclose(np.exp(log_share), [clutter / (gaussian + clutter)])
    assert_allclose(np.exp(log_responsibilities), [[gaussian / (gaussian + clutter)]])


def test_given_seeds_take_the_nearest_points_in_units_of_the_spread() -> None:
    rng = np.random.default_rng(13)
    X, seeds, u = (
        rng.normal(size=(60, 2)) * [1.0, 1000.0],
        rng.normal(size=(4, 2)) * [1.0, 1000.0],
        rng.random(60),
    )
    spread = np.sqrt(np.diag(np.cov(X.T, aweights=u, ddof=0)))
    nearest = np.linalg.norm((X[:, None] - seeds) / spread, axis=2).argmin(axis=1)
    mass = np.array([u[nearest == k].sum() for k in range(4)])
    sums = np.array([u[nearest == k] @ X[nearest == k] for k in range(4)])
    found = initialise(X, u, 4, rng, means=seeds)
    assert len(set(nearest)) == 4
    assert_allclose(found.means, (seeds + sums) / (1 + mass)[:, None])
    assert_allclose(found.weights, (1 + mass) / (4 + u.sum()))


def test_seeds_find_every_one_of_separateblobs() -> None:
    blobs = np.repeat(np.arange(8.0)[:, None] * 100, 30, axis=0) + np.random.default_rng(14).normal(size=(240, 2))
    for seed in range(20):
        found = initialise(blobs, np.ones(240), 8, np.random.default_rng(seed))
        assert_allclose(np.sort(found.means[:, 0]), np.arange(8) * 100, atol=2)


def test_a_start_without_weights_is_even() -> None:
    start = {name: value for name, value in _start("full").items() if name != "weights_init"}
    assert_allclose(GaussianMixture(**start).fit(blobs(60)).trace_.start.weights, 1 / 3)


def test_only_a_background_explains_everything() -> None:
    nobody = Mixture(np.empty(0), np.empty((0, 2)), np.empty((0, 2, 2)), np.log(1 / 40))
    X, extent = np.array([[0.0, 1.0], [2.0, np.nan]]), np.array([4.0, 10.0])
    log_responsibilities, log_share, log_likelihood = e_step(nobody, X, extent)
    assert log_responsibilities.shape == (2, 0)
    assert_array_equal(log_share, [0.0, 0.0])
    assert_allclose(log_likelihood, np.log([1 / 40, 1 / 4]))
    found = m_step(X, np.ones(2), np.exp(log_responsibilities), previous=nobody, clutter_extent=extent)
    assert len(found) == 0
    assert found.log_clutter == pytest.approx(np.log(1 / 40))


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
@pytest.mark.parametrize("case", ["plain", "weighted", "prior", "clutter", "missing"])
def test_a_step_tells_what_it_gained(kind: Any, case: str) -> None:
    X = blobs(400, seed=4)
    rng = np.random.default_rng(1)
    weights = rng.uniform(0.5, 2.0, len(X)) if case == "weighted" else np.ones(len(X))
    box = np.array([X.min(axis=0) - 1.0, X.max(axis=0) + 1.0])
    how: dict[str, Any] = {"reg_covar": 0.0, "tol": 0.0, "max_iter": 25, "random_state": 5}
    prior, extent = None, None
    if case == "prior":
        prior = Prior(np.zeros((K, D)), np.array([np.eye(D)] * K), 3.0, 5.0, 2.0)
    if case == "clutter":
        how |= {"clutter_weight": 0.1, "clutter_box": box}
        extent = box[1] - box[0]
    if case == "missing":
        X = np.where(rng.random(X.shape) < 0.1, np.nan, X)
    with pytest.warns(RuntimeWarning, match="no convergence"):
        near = GaussianMixture(K, kind, prior=prior, **how).fit(X, weights).mixture_
    moved = Mixture(near.log_weights, near.means + 0.01, 1.01 * near.covariances, near.log_clutter)
    for before in (near, moved):
        log_responsibilities, _, log_likelihood = e_step(before, X, extent)
        responsibilities = np.exp(log_responsibilities)
        after = m_step(X, weights, responsibilities, prior, kind, 0.0, previous=before, clutter_extent=extent)
        counts = weights @ responsibilities
        clutter_count = 0.0 if extent is None else weights.sum() - counts.sum()
        told = step_gain(before, after, counts, clutter_count, prior, extent)

        def objective(mixture: Mixture, found: FloatArray) -> float:
            return float(weights @ found) + (0.0 if prior is None else log_prior(mixture, prior, extent))

        gained = objective(after, e_step(after, X, extent)[2]) - objective(before, log_likelihood)
        assert -1e-9 <= told <= gained + 1e-9
        # Twice as much holds to second order: the steps are small, not infinitely so.
        assert gained <= 2.1 * told + 1e-9


def test_a_refit_of_what_has_hardly_changed_takes_one_step() -> None:
    X = blobs(2000, seed=6)
    fitted = GaussianMixture(K, random_state=3, warm_start=True, tol=1e-4).fit(X)
    for drift in (0.0, 0.003):
        fitted.fit(X + drift)
        assert (fitted.n_iter_, fitted.converged_) == (1, True)
        # No iteration more would have gained as much as the tolerance.
        more = GaussianMixture(
            K, weights_init=fitted.weights_, means_init=fitted.means_, precisions_init=fitted.precisions_, tol=1e-4
        ).fit(X + drift)
        assert more.lower_bound_ == pytest.approx(fitted.score(X + drift), abs=1e-4)
    fitted.fit(X + 1.0)
    assert fitted.n_iter_ > 1


def test_the_trace_tells_the_phases() -> None:
    X = blobs(100)
    prior = Prior(np.zeros((K, D)), np.array([np.eye(D)] * K), covariance_counts=2.0)
    fitted = GaussianMixture(**_start("full"), prior=prior, reg_covar=0.0).fit(X)
    trace = fitted.trace_
    assert_array_equal(trace.start.means, _start("full")["means_init"])
    assert trace.log_likelihood[0] == pytest.approx(e_step(trace.start, X)[2].mean())
    assert_array_equal(trace.objective, trace.log_likelihood + trace.log_prior)
    changes = np.abs(np.diff(trace.objective))
    assert trace.converged
    assert changes[-1] < fitted.tol
    assert (changes[:-1] >= fitted.tol).all()
