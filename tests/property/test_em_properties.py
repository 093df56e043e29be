"""Properties of EM that hold for any data, weights, gaps, prior and background."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from tracker.mixture import GaussianMixture, Mixture, Prior
from tracker.mixture.em import (
    Trace,
    e_step,
    expectation_maximisation,
    impute,
    initialise,
    m_step,
)
from tracker.mixture.statistics import COVARIANCE_TYPES, CovarianceType
from tracker.structures import FloatArray

values = st.floats(-100, 100).map(lambda x: round(x, 3))
counts = st.sampled_from([0.0, 0.3, 1.0, 20.0])


@dataclass(frozen=True)
class Problem:
    """Everything that EM is given; ``reg_covar`` is 0 and the prior keeps covariances definite."""

    data: FloatArray
    weights: FloatArray
    start: Mixture
    prior: Prior
    covariance_type: CovarianceType
    extent: FloatArray | None

    def run(self, iterations: int = 12) -> tuple[Mixture, Trace]:
        return expectation_maximisation(
            self.start,
            self.data,
            self.weights,
            self.prior,
            self.covariance_type,
            0.0,
            tol=0.0,
            max_iter=iterations,
            clutter_extent=self.extent,
        )


@st.composite
def definite(draw: st.DrawFn, K: int, D: int) -> FloatArray:
    roots = draw(arrays(np.float64, (K, D, D), elements=st.floats(-3, 3).map(lambda x: round(x, 3))))
    return roots @ roots.transpose(0, 2, 1) + draw(st.sampled_from([0.05, 1.0, 30.0])) * np.eye(D)


@st.composite
def problems(draw: st.DrawFn, least: int = 0, clutter: bool | None = None) -> Problem:
    N, K, D = draw(st.integers(least, 12)), draw(st.integers(1, 5)), draw(st.integers(1, 3))
    data = draw(arrays(np.float64, (N, D), elements=values))
    data[draw(arrays(np.bool_, (N, D), elements=st.sampled_from([False, False, False, True])))] = np.nan
    covariance_type = draw(st.sampled_from(COVARIANCE_TYPES))
    covariances = draw(definite(K, D))
    if covariance_type == "tied":
        covariances = np.broadcast_to(covariances[0], covariances.shape)
    elif covariance_type == "diag":
        covariances = covariances * np.eye(D)
    elif covariance_type == "spherical":
        covariances = covariances[:, :1, :1] * np.eye(D)
    extent = draw(arrays(np.float64, D, elements=st.floats(0.5, 300)))
    if not (draw(st.booleans()) if clutter is None else clutter):
        extent = None
    shares = draw(arrays(np.float64, K + 1, elements=st.floats(0.01, 1)))
    if extent is None:
        shares[K] = 0.0
    shares /= shares.sum()
    log_clutter = -np.inf if extent is None else np.log(shares[K] / extent.prod())
    prior = Prior(
        draw(arrays(np.float64, (K, D), elements=values)),
        draw(definite(K, D)),
        mean_counts=draw(counts),
        covariance_counts=draw(st.sampled_from([0.5, 3.0, 40.0])),
        weight_counts=draw(counts),
        clutter_count=draw(counts),
    )
    return Problem(
        data,
        draw(arrays(np.float64, N, elements=st.sampled_from([0.0, 0.2, 1.0, 3.0]))),
        Mixture(np.log(shares[:K]), draw(arrays(np.float64, (K, D), elements=values)), covariances, log_clutter),
        prior,
        covariance_type,
        extent,
    )


def assert_same(found: Mixture, expected: Mixture, **tolerance: float) -> None:
    assert_allclose(found.weights, expected.weights, **tolerance)
    assert_allclose(found.means, expected.means, **tolerance)
    assert_allclose(found.covariances, expected.covariances, **tolerance)
    assert_allclose(np.exp(found.log_clutter), np.exp(expected.log_clutter), **tolerance)


@given(problems())
def test_responsibilities_and_clutter_sum_to_one(problem: Problem) -> None:
    for mixture in (problem.start, problem.run(3)[0]):
        log_responsibilities, log_share, log_likelihood = e_step(mixture, problem.data, problem.extent)
        assert log_responsibilities.shape == (len(problem.data), len(mixture))
        assert_allclose(np.exp(log_responsibilities).sum(axis=1) + np.exp(log_share), 1.0, rtol=1e-12)
        assert np.isfinite(log_likelihood).all()


@settings(max_examples=300)
@given(problems())
def test_the_objective_never_falls(problem: Problem) -> None:
    objective = problem.run(25)[1].objective
    assert (np.diff(objective) >= -1e-9 * (1 + np.abs(objective[1:]))).all()


@given(problems())
def test_covariances_stay_symmetric_positive_definite_and_of_their_type(problem: Problem) -> None:
    covariances = problem.run()[0].covariances
    assert_array_equal(covariances, covariances.transpose(0, 2, 1))
    assert (np.linalg.eigvalsh(covariances) > 0).all()
    eye = np.eye(covariances.shape[1])
    if problem.covariance_type == "tied":
        assert_array_equal(covariances, np.broadcast_to(covariances[0], covariances.shape))
    if problem.covariance_type in ("diag", "spherical"):
        assert_array_equal(covariances, covariances * eye)
    if problem.covariance_type == "spherical":
        assert_array_equal(covariances, covariances[:, :1, :1] * eye)


@given(problems())
def test_weights_and_clutter_sum_to_one(problem: Problem) -> None:
    mixture = problem.run(3)[0]
    clutter = 0.0 if problem.extent is None else np.exp(mixture.log_clutter) * problem.extent.prod()
    assert_allclose(mixture.weights.sum() + clutter, 1.0, rtol=1e-9)


@given(problems(), st.randoms(use_true_random=False))
def test_the_order_of_points_does_not_matter(problem: Problem, random: Any) -> None:
    order = random.sample(range(len(problem.data)), len(problem.data))
    shuffled = replace(problem, data=problem.data[order], weights=problem.weights[order])
    assert_same(shuffled.run(4)[0], problem.run(4)[0], rtol=1e-6, atol=1e-8)


@given(problems(), st.randoms(use_true_random=False))
def test_components_keep_their_names(problem: Problem, random: Any) -> None:
    order = random.sample(range(len(problem.start)), len(problem.start))
    renamed = replace(problem, start=problem.start.select(order), prior=problem.prior.select(order))
    assert_same(renamed.run(4)[0], problem.run(4)[0].select(order), rtol=1e-6, atol=1e-8)


@given(problems(), st.floats(-1e3, 1e3), st.sampled_from([0.01, 0.5, 7.0, 200.0]))
def test_translation_and_scale_carry_over(problem: Problem, shift: float, scale: float) -> None:
    D = problem.data.shape[1]
    extent = None if problem.extent is None else problem.extent * scale
    start, prior = problem.start, problem.prior
    moved = Problem(
        problem.data * scale + shift,
        problem.weights,
        Mixture(
            start.log_weights,
            start.means * scale + shift,
            start.covariances * scale**2,
            start.log_clutter - D * np.log(scale),
        ),
        Prior(
            prior.means * scale + shift,
            prior.covariances * scale**2,
            prior.mean_counts,
            prior.covariance_counts,
            prior.weight_counts,
            prior.clutter_count,
        ),
        problem.covariance_type,
        extent,
    )
    found, expected = moved.run(4)[0], problem.run(4)[0]
    assert_allclose(found.weights, expected.weights, rtol=1e-5, atol=1e-7)
    assert_allclose((found.means - shift) / scale, expected.means, rtol=1e-5, atol=1e-5)
    assert_allclose(found.covariances / scale**2, expected.covariances, rtol=1e-5, atol=1e-5)


@given(problems())
def test_nothing_given_is_changed(problem: Problem) -> None:
    before = copy.deepcopy(problem)
    problem.run(2)
    impute(problem.start, problem.data)
    m_step(problem.data, problem.weights, np.full((len(problem.data), len(problem.start)), 0.1), previous=problem.start)
    table = np.nan_to_num(problem.data) if len(problem.data) else np.zeros((1, problem.data.shape[1]))
    initialise(table, np.ones(len(table)), len(problem.start), np.random.default_rng(0), means=problem.start.means)
    for have, had in (
        (problem.data, before.data),
        (problem.weights, before.weights),
        (problem.start.means, before.start.means),
        (problem.start.covariances, before.start.covariances),
        (problem.prior.covariances, before.prior.covariances),
    ):
        assert_array_equal(have, had)


@given(problems())
def test_imputation_fills_the_gaps_and_only_them(problem: Problem) -> None:
    filled = impute(problem.start, problem.data)
    assert np.isfinite(filled).all()
    gap = np.isnan(problem.data)
    assert_array_equal(filled[~gap], problem.data[~gap])
    assert_array_equal(impute(problem.start, filled), filled)


@given(problems(), st.integers(0, 3))
def test_rows_of_no_weight_do_not_count(problem: Problem, extra: int) -> None:
    D = problem.data.shape[1]
    padded = replace(
        problem,
        data=np.vstack([problem.data, np.full((extra, D), 50.0)]),
        weights=np.append(problem.weights, np.zeros(extra)),
    )
    assert_same(padded.run(4)[0], problem.run(4)[0], rtol=1e-6, atol=1e-8)


@st.composite
def tables(draw: st.DrawFn) -> FloatArray:
    """Few points, some of them alike, some with gaps, and at least one row complete."""
    N, D = draw(st.integers(1, 8)), draw(st.integers(1, 3))
    data = draw(arrays(np.float64, (N, D), elements=st.sampled_from([-3.0, 0.0, 0.0, 1.5, 80.0, np.nan])))
    data[0] = np.nan_to_num(data[0])
    return data


@given(tables(), st.integers(1, 12), st.sampled_from(COVARIANCE_TYPES), st.integers(0, 2**32))
def test_any_number_of_components_fits_any_number_of_points(
    data: FloatArray, K: int, covariance_type: CovarianceType, seed: int
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        fitted = GaussianMixture(K, covariance_type, max_iter=20, random_state=seed).fit(data)
    assert_allclose(fitted.predict_proba(data).sum(axis=1), 1.0)
    assert np.isfinite(fitted.means_).all()
    if not np.isnan(data).any():  # what is missing may be extrapolated
        assert (fitted.means_ >= data.min(axis=0) - 1e-6).all()
        assert (fitted.means_ <= data.max(axis=0) + 1e-6).all()
    assert fitted.predict(data[:0]).shape == fitted.score_samples(data[:0]).shape == (0,)
    points, labels = fitted.sample(5)
    assert points.shape == (5, data.shape[1])
    assert ((labels >= 0) & (labels < K)).all()


@given(tables(), st.integers(1, 12), st.integers(0, 2**32))
def test_starts_are_seeds_among_the_points_for_any_unit_of_the_columns(data: FloatArray, K: int, seed: int) -> None:
    weights = np.ones(len(data))
    units = np.array([1.0, 64.0, 1 / 1024])[: data.shape[1]]  # powers of two: no rounding
    found = initialise(data, weights, K, np.random.default_rng(seed), reg_covar=1e-30)
    scaled = initialise(data * units, weights, K, np.random.default_rng(seed), reg_covar=1e-30)
    assert_allclose(scaled.means, found.means * units, rtol=1e-9, atol=1e-12)
    assert_allclose(scaled.weights, found.weights, rtol=1e-9)


@given(problems())
def test_a_frame_without_data_leaves_what_it_does_not_move(problem: Problem) -> None:
    empty = replace(problem, data=problem.data[:0], weights=problem.weights[:0])
    mixture = empty.run(2)[0]
    expected = problem.prior.means if problem.prior.mean_counts[0] > 0 else problem.start.means
    assert_allclose(mixture.means, expected)
