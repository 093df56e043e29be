"""Whether pixels are one object's or two's, against densities that are written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from tracker.tracking.division import halves, sizes_for_two, sizes_of

COLD = np.zeros(2)


def discs(*centres: tuple[float, float], radius: float = 20.0) -> np.ndarray:
    y, x = np.mgrid[:200, :200] + 0.5
    inside = np.any([(x - a) ** 2 + (y - b) ** 2 < radius**2 for a, b in centres], axis=0)
    return np.column_stack([x[inside], y[inside]])


@pytest.mark.parametrize("weighted", [False, True])
def test_the_gain_is_that_of_the_densities(weighted: bool) -> None:
    points = discs((70.0, 90.0), (115.0, 120.0))
    weights = np.random.default_rng(1).uniform(0.5, 4.0, len(points)) if weighted else np.ones(len(points))
    found = halves(points, weights, COLD)
    mean, covariance = np.average(points, axis=0, weights=weights), np.cov(points.T, aweights=weights, bias=True)
    one = multivariate_normal.logpdf(points, mean, covariance)
    densities = [multivariate_normal.pdf(points, m, found.covariance) for m in found.means]
    np.testing.assert_allclose(found.whole_covariance, covariance, rtol=1e-9)
    np.testing.assert_allclose(found.shares @ found.means, mean, rtol=1e-9)
    want = np.average(np.log(found.shares @ densities) - one, weights=weights)
    assert found.gain == pytest.approx(want, abs=1e-9)


@pytest.mark.parametrize(("apart", "nats"), [(0.0, 0.09), (2.0, 0.28), (2.5, 0.59), (3.0, 0.91)])
def test_discs_yield_what_the_module_says(apart: float, nats: float) -> None:
    points = discs((100.0 - 10.0 * apart, 100.0), (100.0 + 10.0 * apart, 100.0))
    assert 2.0 * halves(points, np.ones(len(points)), COLD).gain == pytest.approx(nats, abs=0.01)


def test_the_two_are_found_across_the_longer_axis_and_from_a_former_fit() -> None:
    """Two tall shapes side by side, of which each is longer than both are wide."""
    y, x = np.mgrid[:120, :60] + 0.5
    inside = (x < 20) | (x > 40)
    points = np.column_stack([x[inside], y[inside]])
    cold = halves(points, np.ones(len(points)), COLD)
    np.testing.assert_allclose(sorted(cold.means[:, 0]), [10.0, 50.0], atol=0.5)
    warm = halves(points, np.ones(len(points)), cold.means[0] - cold.shares @ cold.means)
    assert warm.gain >= cold.gain - 1e-9


@pytest.mark.parametrize("points", [np.empty((0, 2)), np.ones((5, 2)), np.column_stack([np.arange(9.0), np.zeros(9)])])
def test_what_has_no_extent_is_not_two(points: np.ndarray) -> None:
    assert halves(points, np.ones(len(points)), COLD) is None


def test_sizes_speak_for_what_is_usual() -> None:
    points = discs((70.0, 100.0), (130.0, 100.0))
    found, extent = halves(points, np.ones(len(points)), COLD), np.full(2, 4.0)
    two, _, one = sizes_of(found, extent)
    for usual, sign in ((two, 1.0), (one, -1.0)):
        assert sign * sizes_for_two(found, extent, np.tile(usual, (3, 1)), (0.3, 0.3)) > 1.0
