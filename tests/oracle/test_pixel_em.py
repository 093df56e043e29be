"""One round of EM on pixels against the general mixture's E-step and M-step."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from tracker.mixture import Prior
from tracker.mixture.em import e_step, m_step
from tracker.mixture.gaussian import Mixture
from tracker.structures import Foreground
from tracker.tracking.pixel_em import BlobPrior, Shares, near, share_out

CLUTTER = 0.1


@pytest.fixture
def scene() -> tuple[Foreground, BlobPrior]:
    rng = np.random.default_rng(3)
    points = np.vstack([rng.normal((40, 50), (4, 9), (300, 2)), rng.normal((52, 55), (5, 10), (250, 2))])
    prior = BlobPrior(
        means=np.array([[38.0, 52.0], [55.0, 53.0]]),
        covariances=np.array([[[20.0, 3.0], [3.0, 90.0]], [[30.0, -5.0], [-5.0, 80.0]]]),
        mean_counts=np.array([120.0, 60.0]),
        covariance_counts=np.array([200.0, 90.0]),
        masses=np.array([280.0, 200.0]),
        whole_masses=np.array([300.0, 300.0]),
        spreads=np.full((2, 2), 1e4),  # an open gate
    )
    return Foreground(points, rng.uniform(0.5, 4.0, len(points))), prior


def divide(foreground: Foreground, prior: BlobPrior, visible: NDArray[np.bool_], rounds: int) -> Shares:
    return share_out(foreground, prior, near(foreground, prior), visible, CLUTTER, rounds)


def test_one_round_is_the_general_mixtures(scene: tuple[Foreground, BlobPrior]) -> None:
    foreground, prior = scene
    shares = divide(foreground, prior, np.ones(2, np.bool_), 1)

    start = Mixture(np.log(prior.masses), prior.means, prior.covariances, np.log(CLUTTER))
    log_responsibilities, _, log_likelihood = e_step(start, foreground.points_px)
    niw = Prior(prior.means, prior.covariances, prior.mean_counts, prior.covariance_counts)
    want = m_step(foreground.points_px, foreground.weights, np.exp(log_responsibilities), niw, reg_covar=0.0)
    np.testing.assert_allclose(shares.means, want.means, rtol=1e-10)
    np.testing.assert_allclose(shares.covariances, want.covariances, rtol=1e-9)
    counts = foreground.weights @ np.exp(log_responsibilities)
    np.testing.assert_allclose(shares.masses, (counts + prior.masses) / 2.0, rtol=1e-10)
    # At the prior's mode the objective is the likelihood of the Poisson process alone.
    np.testing.assert_allclose(shares.objective[0], foreground.weights @ log_likelihood - prior.masses.sum())


def test_shares_are_those_of_the_mixture_at_the_maximum(scene: tuple[Foreground, BlobPrior]) -> None:
    foreground, prior = scene
    shares = divide(foreground, prior, np.ones(2, np.bool_), 40)
    end = Mixture(np.log(shares.masses), shares.means, shares.covariances, np.log(CLUTTER))
    log_responsibilities, log_clutter, _ = e_step(end, foreground.points_px)
    np.testing.assert_allclose(shares.responsibilities.reshape(-1, 2), np.exp(log_responsibilities), atol=1e-9)
    np.testing.assert_allclose(shares.clutter, np.exp(log_clutter), atol=1e-9)
    assert abs(shares.objective[-1] - shares.objective[-2]) < 1e-6 * abs(shares.objective[-1])


def test_who_takes_no_part_changes_nothing(scene: tuple[Foreground, BlobPrior]) -> None:
    foreground, prior = scene
    without = divide(foreground, prior, np.array([True, False]), 5)
    alone = divide(foreground, prior.select([0]), np.ones(1, np.bool_), 5)
    np.testing.assert_array_equal(without.objective, alone.objective)
    np.testing.assert_array_equal(without.means[0], alone.means[0])
    np.testing.assert_array_equal(without.means[1], prior.means[1])


def test_colours_multiply_the_densities(scene: tuple[Foreground, BlobPrior]) -> None:
    foreground, prior = scene
    around = near(foreground, prior)
    ratios = np.random.default_rng(5).uniform(0.05, 8.0, len(around.member))
    shares = share_out(foreground, prior, around._replace(ratios=ratios), np.ones(2, np.bool_), CLUTTER, 0)
    densities = np.column_stack(
        [stats.multivariate_normal(prior.means[k], prior.covariances[k]).pdf(foreground.points_px) for k in range(2)]
    )
    joint = prior.masses * ratios.reshape(-1, 2) * densities
    total = joint.sum(axis=1) + CLUTTER
    np.testing.assert_allclose(shares.responsibilities.reshape(-1, 2), joint / total[:, None])
    np.testing.assert_allclose(shares.clutter, CLUTTER / total)
    np.testing.assert_allclose(shares.objective[0], foreground.weights @ np.log(total) - prior.masses.sum())
