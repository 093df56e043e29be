"""The smoother against the joint Gaussian of a whole track, built from the model's definition by dense algebra."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import block_diag
from scipy.optimize import linear_sum_assignment

from tracker.tracking.offline.linking import best_assignment
from tracker.tracking.offline.pieces import Piece
from tracker.tracking.offline.smoothing import Noise, learned_noise, smoothed

NOISE = Noise(np.array([0.05, 0.02, 0.08, 0.03]), np.array([0.03, 0.01, 0.02, 0.04]), 0.2)


def joint_posterior(frames: np.ndarray, z: np.ndarray, g: np.ndarray, r: float, q: float, v0: float):
    """Return mean and covariance of all states of one coordinate given all its measurements, in one solve."""
    count = frames[-1] - frames[0] + 1
    # x = A (x_0, w_1, w_2, ...), w_f the acceleration over the step to frame f: m += v + w / 2, v += w.
    step, kick = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[0.5], [1.0]])
    A = np.zeros((2 * count, 2 + count - 1))
    A[:2, :2] = np.eye(2)
    for f in range(1, count):
        A[2 * f : 2 * f + 2] = step @ A[2 * f - 2 : 2 * f]
        A[2 * f : 2 * f + 2, 1 + f] += kick[:, 0]
    prior = block_diag(np.diag([1e12, (v0 * g[0]) ** 2]), np.diag((q * g[1:]) ** 2))
    H = np.zeros((len(frames), 2 * count))
    H[np.arange(len(frames)), 2 * (frames - frames[0])] = 1.0
    R = np.diag((r * g[frames - frames[0]]) ** 2)
    HA = H @ A
    precision = np.linalg.inv(prior) + HA.T @ np.linalg.inv(R) @ HA
    covariance = np.linalg.inv(precision)
    return A @ covariance @ HA.T @ np.linalg.inv(R) @ z, A @ covariance @ A.T


@pytest.mark.parametrize("missing", [[], [3, 4, 5], [1, 7, 8]])
def test_smoothing_is_the_joint_gaussian(missing: list[int]) -> None:
    rng = np.random.default_rng(3)
    frames = np.setdiff1d(np.arange(10), missing) + 5
    measured = np.column_stack([rng.normal(size=(len(frames), 2)), rng.uniform(1, 2, (len(frames), 2))])
    got = smoothed(frames, measured, NOISE)
    scales = np.sqrt(measured[:, 2] * measured[:, 3])
    g = np.exp(np.interp(np.arange(frames[0], frames[-1] + 1), frames, np.log(scales)))
    for i in range(4):
        mean, covariance = joint_posterior(
            frames, measured[:, i], g, NOISE.measurement[i], NOISE.process[i], NOISE.initial_velocity
        )
        np.testing.assert_allclose(got.means[:, i].ravel(), mean, atol=1e-6)
        for f in range(len(g)):
            block = covariance[2 * f : 2 * f + 2, 2 * f : 2 * f + 2]
            np.testing.assert_allclose(got.covariances[f, i], block, atol=1e-7)


def test_the_noise_that_made_the_tracks_is_learned() -> None:
    rng = np.random.default_rng(5)
    r, q, pieces = np.array([0.02, 0.01, 0.03, 0.04]), np.array([0.03, 0.02, 0.0, 0.0]), []
    for n in range(40):
        kicks = rng.normal(size=(200, 4)) * q
        velocity = np.cumsum(kicks, axis=0)
        path = np.cumsum(velocity - kicks / 2.0, axis=0)
        # Sizes that wander would change the unit; they only jitter.
        path[:, 2:] = 0.0
        measured = 100.0 * (1.0 + path) + 100.0 * rng.normal(size=(200, 4)) * r
        pieces.append(Piece(n, np.zeros(200, int), np.arange(200), measured, np.ones(200)))
    learned = learned_noise(pieces, 1.0)
    np.testing.assert_allclose(learned.measurement, r, rtol=0.15)
    np.testing.assert_allclose(learned.process[:2], q[:2], rtol=0.15)


@pytest.mark.parametrize("seed", range(5))
def test_the_sparse_assignment_is_the_dense_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gain = np.where(rng.random((12, 12)) < 0.3, rng.uniform(0.1, 5.0, (12, 12)), 0.0)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    a, b = np.nonzero(gain)
    found = best_assignment(a, b, gain[a, b], 12)
    assert len({i for i, _ in found}) == len({j for _, j in found}) == len(found)
    assert sum(gain[i, j] for i, j in found) == pytest.approx(gain[rows, columns].sum())
