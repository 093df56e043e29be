"""Densities, moments, conditioning and sampling of mixtures against SciPy and against worked cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from tracker.mixture import Mixture
from tracker.mixture.gaussian import conditional, log_densities, log_normalise, marginal, merge, moments, sample


def _mixture(K: int, D: int, seed: int, log_clutter: float = -np.inf) -> Mixture:
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(K, D, D + 2))
    covariances = roots @ roots.transpose(0, 2, 1)
    return Mixture(np.log(rng.dirichlet(np.ones(K))), rng.normal(size=(K, D)) * 3, covariances, log_clutter)


@pytest.mark.parametrize("D", [1, 2, 5])
def test_log_densities_are_those_of_scipy(D: int) -> None:
    mixture, points = _mixture(3, D, D), np.random.default_rng(9).normal(size=(50, D)) * 4
    expected = [
        multivariate_normal(mean, covariance).logpdf(points)
        for mean, covariance in zip(mixture.means, mixture.covariances, strict=True)
    ]
    assert_allclose(log_densities(mixture, points).T, expected, rtol=1e-12)


def test_log_densities_stay_finite_where_densities_vanish() -> None:
    mixture = Mixture([0.0], [[0.0]], [[[1.0]]])
    assert_allclose(log_densities(mixture, np.array([[1e4]])), [[-0.5e8 - 0.5 * np.log(2 * np.pi)]], rtol=1e-14)


def test_a_large_table_equals_its_rows_one_by_one() -> None:
    mixture, points = _mixture(4, 3, 1), np.random.default_rng(2).normal(size=(30_000, 3))
    some = [0, 1, 21_844, 21_845, 21_846, 29_999]
    assert_allclose(log_densities(mixture, points)[some], log_densities(mixture, points[some]), rtol=1e-12)


def test_log_normalise_is_logsumexp_and_knows_nothing() -> None:
    terms = np.array([[-1e4, 3.0, -np.inf], [-1e4 + 1, -2.0, -np.inf]])
    assert_allclose(log_normalise(terms)[2][:2], logsumexp(terms[:, :2], axis=0), rtol=1e-14)
    shares, other, total = log_normalise(terms, -1e4)
    assert_allclose(total, [-1e4 + np.log(2 + np.e), np.log(np.e**3 + np.e**-2), -1e4])
    assert_allclose(np.exp(shares[:, 0]), [1 / (2 + np.e), np.e / (2 + np.e)], rtol=1e-14)
    assert_allclose(np.exp(other), [1 / (2 + np.e), 0.0, 1.0], rtol=1e-14)
    shares, other, total = log_normalise(terms[:, 2:])
    assert shares.tolist() == [[-np.inf], [-np.inf]]
    assert other.tolist() == total.tolist() == [-np.inf]
    assert log_normalise(np.empty((0, 2)), 1.5)[2].tolist() == [1.5, 1.5]


def test_the_conditional_is_the_ratio_of_joint_and_marginal() -> None:
    mixture = _mixture(2, 4, 3)
    observed = np.array([True, False, False, True])
    point = np.array([0.3, -1.0, 2.0, 0.7])
    means, covariances = conditional(mixture, observed, point[None, observed])
    for k in range(2):
        joint = multivariate_normal(mixture.means[k], mixture.covariances[k]).logpdf(point)
        given = log_densities(marginal(mixture, observed), point[None, observed])[0, k]
        assert_allclose(multivariate_normal(means[k, 0], covariances[k]).logpdf(point[~observed]), joint - given)


def test_nothing_observed_leaves_the_component_itself() -> None:
    mixture = _mixture(2, 3, 4)
    means, covariances = conditional(mixture, np.zeros(3, np.bool_), np.empty((5, 0)))
    assert_allclose(means, np.broadcast_to(mixture.means[:, None], (2, 5, 3)))
    assert_allclose(covariances, mixture.covariances)
    assert_array_equal(log_densities(marginal(mixture, np.zeros(3, np.bool_)), np.empty((5, 0))), np.zeros((5, 2)))


def test_a_background_is_thinned_by_the_sides_it_keeps() -> None:
    mixture = _mixture(1, 3, 5, log_clutter=np.log(0.2 / (2 * 5 * 7)))
    part = marginal(mixture, np.array([True, False, True]), np.array([2.0, 5.0, 7.0]))
    assert part.log_clutter == pytest.approx(np.log(0.2 / (2 * 7)))
    with pytest.raises(ValueError, match="give the extent"):
        marginal(mixture, np.array([True, False, True]))


def test_two_equal_halves_merge_by_hand() -> None:
    # Means -3 and 3, variance 1 each: the merged variance is 1 + 9.
    halves = Mixture(np.log([0.25, 0.25]), [[-3.0], [3.0]], [[[1.0]], [[1.0]]], log_clutter=-4.0)
    merged = merge(halves)
    assert_allclose(merged.log_weights, [np.log(0.5)])
    assert_allclose(merged.means, [[0.0]], atol=1e-15)
    assert_allclose(merged.covariances, [[[10.0]]])
    assert merged.log_clutter == -4.0


def test_merging_in_any_order_keeps_the_moments() -> None:
    mixture = _mixture(4, 3, 6)
    left, right = merge(mixture.select([0, 2])), merge(mixture.select([1, 3]))
    both = Mixture(
        np.append(left.log_weights, right.log_weights),
        np.concatenate([left.means, right.means]),
        np.concatenate([left.covariances, right.covariances]),
    )
    for found, expected in zip(moments(both), moments(mixture), strict=True):
        assert_allclose(found, expected, rtol=1e-12)


def test_samples_have_the_moments_and_shares_of_the_mixture() -> None:
    mixture = _mixture(3, 2, 7)
    points, labels = sample(mixture, 200_000, np.random.default_rng(8))
    mean, covariance = moments(mixture)
    assert_allclose(np.bincount(labels) / len(labels), mixture.weights, atol=5e-3)
    assert_allclose(points.mean(axis=0), mean, atol=5 * np.sqrt(np.diag(covariance) / len(points)).max())
    assert_allclose(np.cov(points.T), covariance, rtol=0.03)


def test_the_same_seed_gives_the_same_sample() -> None:
    mixture = _mixture(3, 2, 7)
    first, again = (sample(mixture, 9, np.random.default_rng(1)) for _ in range(2))
    assert_array_equal(first[0], again[0])
    assert sample(mixture, 0, np.random.default_rng(1))[0].shape == (0, 2)


@pytest.mark.parametrize(
    ("rows", "index"),
    [
        ([2, 0], [2, 0]),
        (slice(1, None), [1, 2]),
        ([True, False, True], [0, 2]),
        ([], []),
        (np.empty(0), []),
        (np.zeros(3, np.bool_), []),
    ],
)
def test_select_chooses_rows_of_every_field_and_keeps_the_background(rows: Any, index: list[int]) -> None:
    mixture = _mixture(3, 2, 10, log_clutter=-7.0)
    chosen = mixture.select(rows)
    assert len(chosen) == len(index)
    for row, k in enumerate(index):
        assert chosen.log_weights[row] == mixture.log_weights[k]
        assert_array_equal(chosen.means[row], mixture.means[k])
        assert_array_equal(chosen.covariances[row], mixture.covariances[k])
        assert_array_equal(chosen.cholesky[row], mixture.cholesky[k])
    assert chosen.log_clutter == -7.0


def test_a_mixture_cannot_be_changed_and_does_not_freeze_its_input() -> None:
    means = np.zeros((1, 2))
    mixture = Mixture([0.0], means, np.eye(2)[None])
    with pytest.raises(ValueError, match="read-only"):
        mixture.means[0, 0] = 1.0
    means[0, 0] = 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.0], [[0.0, 0.0]], [np.eye(3)]), r"covariances has shape \(1, 3, 3\); it must be \(1, 2, 2\)"),
        (([0.0, 0.0], [[0.0]], [[[1.0]]]), r"means has shape \(1, 1\)"),
        (([0.0], [[np.nan]], [[[1.0]]]), "means of component 0 is not finite"),
        (([0.0, np.nan], [[0.0]] * 2, [[[1.0]]] * 2), "log_weights of component 1 is not finite"),
        (([0.0, 0.0], [[0.0]] * 2, [[[1.0]], [[0.0]]]), "covariance of component 1 is not positive definite"),
        (([0.0], [[0.0, 0.0]], [[[1.0, 0.5], [0.4, 1.0]]]), "covariance of component 0 is not symmetric"),
        (([0.0], [[0.0]], [[[1.0]]], np.nan), "log_clutter is nan"),
    ],
)
def test_what_is_no_mixture_is_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mixture(*arguments)  # type: ignore[arg-type]
