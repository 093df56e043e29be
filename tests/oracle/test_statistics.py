"""Sufficient statistics in one pass against those of the responsibilities, and where digits would be lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tracker.mixture import GaussianMixture, Mixture
from tracker.mixture.em import e_step, expectation_maximisation
from tracker.mixture.statistics import (
    COVARIANCE_TYPES,
    CovarianceType,
    Observations,
    Statistics,
    expected_statistics,
    statistics,
)
from tracker.structures import FloatArray

K, D, N = 4, 3, 15_000  # more rows than go into one block


def _mixture(covariance_type: CovarianceType, log_clutter: float) -> Mixture:
    rng = np.random.default_rng(3)
    roots = rng.normal(size=(K, D, D)) + np.eye(D)
    covariances = roots @ roots.transpose(0, 2, 1) + 0.1 * np.eye(D)
    if covariance_type == "tied":
        covariances = np.broadcast_to(covariances[0], covariances.shape)
    elif covariance_type == "diag":
        covariances = covariances * np.eye(D)
    elif covariance_type == "spherical":
        covariances = covariances[:, :1, :1] * np.eye(D)
    units = np.array([1.0, 50.0, 1e-3])
    return Mixture(
        np.log([0.2, 0.1, 0.4, 0.25]),
        rng.normal(size=(K, D)) * 3 * units,
        covariances * units[:, None] * units,
        log_clutter,
    )


def _points(n: int) -> FloatArray:
    return np.random.default_rng(4).normal(size=(n, D)) * np.array([4.0, 200.0, 4e-3]) + np.array([1.0, -30.0, 0.0])


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("case", ["plain", "weighted", "clutter", "missing", "missing and clutter", "another type"])
def test_one_pass_sums_what_the_responsibilities_tell(covariance_type: CovarianceType, case: str) -> None:
    X, u, rng = _points(N), np.ones(N), np.random.default_rng(5)
    extent = np.array([30.0, 1500.0, 0.03]) if "clutter" in case else None
    log_clutter = -np.inf if extent is None else float(np.log(0.05 / extent.prod()))
    mixture = _mixture("full" if case == "another type" else covariance_type, log_clutter)
    if case == "weighted":
        u = rng.integers(0, 3, size=N) * 0.7
    if "missing" in case:
        X = np.where(rng.random(X.shape) < 0.2, np.nan, X)
    log_shares, _, log_likelihood = e_step(mixture, X, extent)
    expected = statistics(X, np.exp(log_shares) * u[:, None], mixture)
    found, log_sum = expected_statistics(mixture, Observations.of(X, u), covariance_type, extent)
    assert log_sum == pytest.approx(u @ log_likelihood, rel=1e-12)
    assert_allclose(found.counts, expected.counts, rtol=1e-11)
    assert_allclose(found.means, expected.means, rtol=1e-9)
    size = np.sqrt(np.einsum("kii,kjj->kij", expected.scatter, expected.scatter))
    relative, wanted = found.scatter / size, expected.scatter / size
    if covariance_type == "tied":
        relative, wanted = found.scatter.sum(axis=0) / size[0], expected.scatter.sum(axis=0) / size[0]
    elif covariance_type != "full":
        relative, wanted = np.diagonal(relative, axis1=1, axis2=2), np.diagonal(wanted, axis1=1, axis2=2)
    assert_allclose(relative, wanted, atol=1e-9)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("start", [1.0, 1e4], ids=["narrow", "becomes narrow"])
def test_narrow_components_far_apart_keep_their_digits(covariance_type: CovarianceType, start: float) -> None:
    # Standard deviations of 1e-6 at a distance of 1: squares would keep 4 of 16 digits.
    rng = np.random.default_rng(6)
    noise, places = rng.normal(size=(2, 200, 2)) * 1e-6, np.array([[0.0, 0.0], [1.0, 1.0]])
    X = (noise + places[:, None]).reshape(400, 2)
    given = Mixture(np.log([0.5, 0.5]), places, np.array([np.eye(2)] * 2) * (start * 1e-6) ** 2)
    found, _ = expectation_maximisation(given, X, np.ones(400), None, covariance_type, 0.0, tol=0.0, max_iter=2)
    rows = X.reshape(2, 200, 2)
    scatter = np.array([np.cov(own.T, bias=True) for own in rows])
    expected = {
        "full": scatter,
        "tied": np.array([scatter.mean(axis=0)] * 2),
        "diag": scatter * np.eye(2),
        "spherical": np.trace(scatter, axis1=1, axis2=2)[:, None, None] / 2 * np.eye(2),
    }
    assert_allclose(found.covariances / 1e-12, expected[covariance_type] / 1e-12, atol=1e-7)


def test_points_that_coincide_need_only_the_regularisation() -> None:
    X = np.repeat([[0.0, 1e6], [3e6, 0.0]], 50, axis=0)
    start: dict[str, Any] = {"means_init": X[[0, 99]] + 1e4, "precisions_init": [np.eye(2) / 1e8] * 2}
    fitted = GaussianMixture(2, **start).fit(X)
    assert_allclose(fitted.covariances_, [1e-6 * np.eye(2)] * 2)
    assert_allclose(fitted.means_, X[[0, 99]])


def test_a_component_without_weight_does_not_come_back() -> None:
    X = np.append(np.random.default_rng(7).normal(size=(300, 1)), [[90.0]], axis=0)
    start = Mixture([0.0, -np.inf], [[0.0], [90.0]], [[[1.0]], [[0.25]]])
    found, trace = expectation_maximisation(start, X, np.ones(301), tol=0.0, max_iter=20)
    assert_array_equal(found.weights, [1.0, 0.0])
    assert (found.means[1, 0], found.covariances[1, 0, 0]) == (90.0, 0.25)
    assert np.isfinite(trace.objective).all()


def test_points_that_nothing_explains_have_no_likelihood() -> None:
    nobody = Mixture([-np.inf], [[0.0]], [[[1.0]]])
    with np.errstate(invalid="raise"):
        found, log_likelihood = expected_statistics(nobody, Observations.of(np.ones((3, 1)), np.ones(3)))
    assert log_likelihood == -np.inf
    assert_array_equal(found.counts, [0.0])


def test_parts_make_up_the_whole() -> None:
    X, shares = _points(90), np.random.default_rng(8).random((K, 90))
    parts = [Statistics.of(X[rows].T, shares[:, rows]) for rows in (slice(0, 20), slice(20, 21), slice(21, 90))]
    found, expected = Statistics.pooled(parts, K, D), Statistics.of(X.T, shares)
    assert_allclose(found.counts, expected.counts)
    assert_allclose(found.means, expected.means)
    assert_allclose(found.scatter, expected.scatter)


def test_a_table_is_not_changed_by_laying_it_out() -> None:
    for X in (np.array([[1.0], [5.0]]), np.asfortranarray(_points(5))):
        before = X.copy()
        Observations.of(X, np.ones(len(X)))
        assert_array_equal(X, before)
