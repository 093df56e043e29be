"""What holds for every foreground: EM never lowers its objective, shares sum to one, blobs stay bounded."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.config import Config
from tracker.structures import Detections, Foreground
from tracker.tracking.blobs import EXTENT, FREE_BOUND, LARGEST_CORRELATION, STRETCH
from tracker.tracking.pixel_em import BlobPrior, near, share_out
from tracker.tracking.pixels import PixelTracker

seeds = st.integers(0, 2**32 - 1)


def random_foreground(rng: np.random.Generator) -> Foreground:
    points = rng.uniform(0.0, 100.0, (rng.integers(0, 200), 2)) ** rng.choice([0.5, 1.0])
    return Foreground(points, rng.uniform(0.1, 9.0, len(points)))


def random_prior(rng: np.random.Generator, K: int) -> BlobPrior:
    roots = rng.normal(size=(K, 2, 2)) * rng.uniform(1.0, 20.0, (K, 1, 1))
    masses = rng.uniform(0.1, 500.0, K)
    return BlobPrior(
        means=rng.uniform(-20.0, 120.0, (K, 2)),
        covariances=roots @ roots.transpose(0, 2, 1) + 0.5 * np.eye(2),
        mean_counts=rng.uniform(0.01, 500.0, K),
        covariance_counts=rng.uniform(0.01, 500.0, K),
        masses=masses,
        whole_masses=masses * rng.uniform(1.0, 3.0, K),
        spreads=rng.uniform(0.0, 100.0, (K, 2)),
    )


@settings(max_examples=200, deadline=None)
@given(seeds, st.integers(0, 6), st.integers(1, 12))
def test_em_never_lowers_its_objective(seed: int, K: int, rounds: int) -> None:
    rng = np.random.default_rng(seed)
    foreground, prior = random_foreground(rng), random_prior(rng, K)
    visible = rng.random(K) < 0.8
    around = near(foreground, prior)
    around = around._replace(ratios=np.exp(rng.normal(0.0, rng.choice([0.0, 2.0]), len(around.member))))
    shares = share_out(foreground, prior, around, visible, rng.uniform(1e-3, 1.0), rounds)
    assert np.isfinite(shares.objective).all()
    assert (np.diff(shares.objective) >= -1e-9 * (1.0 + np.abs(shares.objective[:-1]))).all()
    owned = np.bincount(
        np.repeat(np.arange(len(foreground)), np.diff(shares.start)), shares.responsibilities, len(foreground)
    )
    np.testing.assert_allclose(owned + shares.clutter, 1.0)
    np.testing.assert_allclose(shares.counts.sum(), foreground.weights @ owned, atol=1e-6)
    assert (np.linalg.eigvalsh(shares.covariances) > 0.0).all()
    assert not shares.responsibilities[~visible[shares.member]].any()


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_blobs_stay_within_the_bounds_of_their_prior(seed: int) -> None:
    """Whatever is seen, no blob collapses or spreads, and what is reported is a box with a positive covariance."""
    rng = np.random.default_rng(seed)
    tracker = PixelTracker(Config())
    body = np.array([40.0, 30.0, 60.0, 80.0])
    size = body[2:] - body[:2]
    for _ in range(25):
        low, high = np.sort(rng.uniform(0.0, 120.0, (2, 2)), axis=0)
        points = rng.uniform(low, np.maximum(high, low + 1.0), (rng.integers(1, 400), 2))
        points[: len(points) // 2] = rng.uniform(body[:2], body[2:], (len(points) // 2, 2))
        tracker.update(Foreground(points, np.full(len(points), 4.0), silhouettes=Detections([body], [0.9])))
        c = tracker.state.components
        tracks = tracker.tracks(coasting=True)
        assert (tracks.boxes_xyxy[:, 2:] > tracks.boxes_xyxy[:, :2]).all()
        assert (np.linalg.eigvalsh(tracks.covariances) > 0.0).all()
        shares = tracker.shares
        eigenvalues = np.linalg.eigvalsh(tracks.blob_covariances)
        slack = 2.0 * np.exp(FREE_BOUND)  # one frame's update comes on top of the prior's bound
        deviation = size.max() / np.divide(min(EXTENT), STRETCH)
        assert (eigenvalues <= 2.0 * (slack * deviation) ** 2).all()
        assert (eigenvalues > 0.0).all()
        assert (np.abs(c["correlation"]) <= LARGEST_CORRELATION).all()
        assert (np.diff(shares.objective) >= -1e-9 * (1.0 + np.abs(shares.objective[:-1]))).all()
        assert len(np.unique(tracks.ids)) == len(tracks.ids)


@settings(max_examples=10, deadline=None)
@given(seeds, st.floats(-500.0, 500.0), st.floats(-500.0, 500.0))
def test_the_place_of_the_origin_does_not_matter(seed: int, x: float, y: float) -> None:
    rng, shift = np.random.default_rng(seed), np.array([x, y])
    here, there = PixelTracker(), PixelTracker()
    for n in range(6):
        points = rng.uniform((10.0 + 2 * n, 10.0), (30.0 + 2 * n, 60.0), (300, 2))
        box = np.array([10.0 + 2 * n, 10.0, 30.0 + 2 * n, 60.0])
        weights = np.full(300, 3.0)
        a = here.update(Foreground(points, weights, silhouettes=Detections([box], [0.9])))
        b = there.update(Foreground(points + shift, weights, silhouettes=Detections([box + np.tile(shift, 2)], [0.9])))
        np.testing.assert_array_equal(a.ids, b.ids)
        np.testing.assert_allclose(a.boxes_xyxy + np.tile(shift, 2), b.boxes_xyxy, atol=1e-5)
