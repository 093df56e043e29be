"""Whether the pixels are one object's or two's: the likelihood test by which blobs split and merge.

One Gaussian is held against a mixture of two with a common covariance. All of an object's pixels count as one
observation, since neighbouring pixels say the same, so that for N pixels, which would be two objects,

    evidence = (log L_2 - log L_1) / (N / 2) + log p(sizes of the two) - log p(size of the one) - cost,

p being a normal density of log width and log height about what is usual, without its constant. The likelihoods of a
single disc yield .09 nats, of two that touch .28, of two that are half a radius apart .59.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tracker.mixture.kernels import kernel
from tracker.mixture.logistic import logit
from tracker.structures import FloatArray

HELD = 1.0
"""Nats of evidence, summed over frames, from which a test is decided."""
LARGEST_STEP = 0.25
"""Nats that one frame can add or take, so that what is decided has held for several frames."""

_ROUNDS = 8  # of EM
_START = 0.8  # offset of a cold start, in standard deviations along an axis of the one Gaussian


class Halves(NamedTuple):
    """The two Gaussians that explain the pixels best.

    Parameters
    ----------
    gain
        log L_2 - log L_1, nats per pixel.
    shares
        (2,) of the pixels.
    means
        (2, 2).
    covariance
        (2, 2) of both.
    whole_covariance
        (2, 2) of the one Gaussian.
    """

    gain: float
    shares: FloatArray
    means: FloatArray
    covariance: FloatArray
    whole_covariance: FloatArray


def halves(points: FloatArray, weights: FloatArray, offset: FloatArray) -> Halves | None:
    """Fit two Gaussians by EM, from the offset of a former fit and along both axes of the pixels' covariance.

    Parameters
    ----------
    points
        (M, 2) pixels.
    weights
        (M,) how many pixels each point is.
    offset
        (2,) from the pixels' mean to the first Gaussian's, 0 when nothing is known.

    Returns
    -------
    The best of the fits; None where the pixels have no extent.
    """
    total = weights.sum()
    if not total > 0.0:
        return None
    mean = weights @ points / total
    centred = points - mean
    whole = (centred * weights[:, None]).T @ centred / total
    values, vectors = np.linalg.eigh(whole)
    if values[0] <= 1e-9 * values[1]:
        return None
    starts = _START * (vectors * np.sqrt(values)).T
    if offset @ np.linalg.solve(whole, offset) < 1.0 and offset.any():
        starts = np.vstack([starts[1], offset])
    gain, share, distance = -math.inf, 0.5, starts[0]
    for start in starts:
        outcome = _fit(centred, weights, whole, start)
        if outcome[0] > gain:
            gain, share, distance = outcome
    means = mean + np.array([1.0 - share, -share])[:, None] * distance
    covariance = whole - share * (1.0 - share) * np.outer(distance, distance)
    return Halves(gain, np.array([share, 1.0 - share]), means, covariance, whole)


@kernel()
def _fit(
    points: FloatArray, weights: FloatArray, whole: FloatArray, start: FloatArray
) -> tuple[float, float, FloatArray]:
    """Return the gain per pixel, the first Gaussian's share and the distance of the means; points are about their mean.

    The scatter is S = W + pi_1 pi_2 d d' at every round, so that W need not be summed up, and by Sherman and Morrison

        W^-1 d = S^-1 d / (1 - q),      |W| = |S| (1 - q),      q = pi_1 pi_2 d' S^-1 d.
    """
    a, b, c = whole[0, 0], whole[0, 1], whole[1, 1]
    determinant = a * c - b * b
    total = weights.sum()
    share, distance = 0.5, 2.0 * start
    gain = -math.inf
    for n in range(_ROUNDS + 1):
        solved = np.array(
            [(c * distance[0] - b * distance[1]) / determinant, (a * distance[1] - b * distance[0]) / determinant]
        )
        spread = distance @ solved
        q = share * (1.0 - share) * spread
        if not q < 1.0 - 1e-9 or not 1e-6 < share < 1.0 - 1e-6:
            return gain, share, distance
        direction = solved / (1.0 - q)
        middle = 0.5 * (1.0 - 2.0 * share) * (distance @ direction)
        log_odds = logit(share)
        last = n == _ROUNDS
        first, x, y, log_likelihood = 0.0, 0.0, 0.0, 0.0
        for i in range(len(points)):
            projected = points[i, 0] * direction[0] + points[i, 1] * direction[1]
            odds = log_odds + projected - middle
            ratio = math.exp(-abs(odds))
            r = 1.0 / (1.0 + ratio) if odds > 0.0 else ratio / (1.0 + ratio)
            first += weights[i] * r
            x += weights[i] * r * points[i, 0]
            y += weights[i] * r * points[i, 1]
            if last:
                # log N(x; mu_2, W), up to what the one Gaussian has too and what is below
                log_likelihood += weights[i] * (max(odds, 0.0) + math.log1p(ratio) - share * projected)
        if last:
            # E x' W^-1 x is 2 + q / (1 - q) for two Gaussians, 2 for the one
            own = 0.5 * share * share * (distance @ direction) + 0.5 * q / (1.0 - q)
            gain = log_likelihood / total + math.log(1.0 - share) - own - 0.5 * math.log(1.0 - q)
            return gain, share, distance
        if not 1e-6 * total < first < (1.0 - 1e-6) * total:
            return gain, share, distance
        share = first / total
        distance = np.array([x, y]) / (first * (1.0 - share))
    return gain, share, distance


def sizes_for_two(found: Halves, extent: FloatArray, usual: FloatArray, spread: ArrayLike) -> float:
    """Return what the sizes say for two objects, in nats.

    Parameters
    ----------
    found
        The two.
    extent
        (2,) width and height in standard deviations.
    usual
        (3, 2) width and height that are usual where the two and the one stand.
    spread
        (2,) standard deviation of log width and log height about these.
    """
    surprise = 0.5 * ((np.log(sizes_of(found, extent) / usual) / spread) ** 2).sum(axis=1)
    return float(surprise[2] - surprise[0] - surprise[1])


def sizes_of(found: Halves, extent: FloatArray) -> FloatArray:
    """Return (3, 2) width and height of the two and of the one."""
    covariances = [found.covariance, found.covariance, found.whole_covariance]
    return np.asarray(extent * np.sqrt(np.diagonal(covariances, axis1=1, axis2=2)))
