"""EM over the pixels of a frame: how they are divided among the blobs, and which blobs they need.

Neighbouring pixels say the same, so that all the pixels of a whole object count as one observation: the prior's
counts, and what an object costs, are in units of an object's mass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracker.config import PixelsConfig
from tracker.geometry import areas, cxywh_to_xyxy, intersections
from tracker.mixture.kernels import kernel
from tracker.structures import FloatArray, Foreground, IntArray, RowAligned
from tracker.tracking.blobs import measurement_variances
from tracker.tracking.state import Records

_GATE = 12.0  # squared Mahalanobis distance; beyond, a body's density is far below clutter
_HIDDEN = 0.9  # share of the covered pixels that is not expected
_SIZE_COUNT = 3.0  # times as firmly as the filter holds a size, EM holds it: shares are less certain than outlines
_OVERLAP = 0.7  # share of a box within another from which an object may be needless


@dataclass(frozen=True, slots=True, eq=False)
class BlobPrior(RowAligned):
    """What is believed of each blob before the frame's pixels are seen, in the sense of :class:`tracker.mixture.Prior`.

    With mu_0, C the mean and covariance, kappa and c their counts and m_0 the expected mass, the log density is

        -kappa/2 (mu - mu_0)' Sigma^-1 (mu - mu_0) - c/2 (log|Sigma|/|C| + tr(C Sigma^-1) - 2)
        + m_0 log(m/m_0) - m + m_0

    which is normal-inverse-Wishart in shape and place, gamma in mass, and 0 at its mode.

    Parameters
    ----------
    means
        (K, 2).
    covariances
        (K, 2, 2).
    mean_counts, covariance_counts
        (K,) how many pixels each is worth.
    masses
        (K,) how many pixels are expected to show.
    whole_masses
        (K,) how many would show if nothing hid any.
    spreads
        (K, 2) variance of the mean by the motion, for gating.
    """

    means: FloatArray
    covariances: FloatArray
    mean_counts: FloatArray
    covariance_counts: FloatArray
    masses: FloatArray
    whole_masses: FloatArray
    spreads: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """How the pixels are divided among the blobs after EM, and where those have come to.

    Parameters
    ----------
    visible
        (K,) which blobs took part.
    start, member
        See :class:`Near`.
    responsibilities
        (E,) of those blobs.
    clutter
        (M,) what no blob explains of each point.
    means, covariances, masses
        (K, 2), (K, 2, 2), (K,) the blobs at the maximum.
    counts, centres, scatters
        (K,), (K, 2), (K, 2, 2) number, mean and covariance of a blob's own pixels, without the prior.
    objective
        (rounds + 1,) the log posterior density before each round and after the last; it never falls.
    """

    visible: NDArray[np.bool_]
    start: IntArray
    member: IntArray
    responsibilities: FloatArray
    clutter: FloatArray
    means: FloatArray
    covariances: FloatArray
    masses: FloatArray
    counts: FloatArray
    centres: FloatArray
    scatters: FloatArray
    objective: FloatArray

    @property
    def points(self) -> IntArray:
        """(E,) the point that each responsibility is for."""
        return np.repeat(np.arange(len(self.clutter)), np.diff(self.start))

    def own_weights(self, foreground: Foreground) -> FloatArray:
        """Return (E,) how many of the point's pixels are the blob's, of each responsibility."""
        return np.asarray(foreground.weights[self.points] * self.responsibilities)

    def table(self) -> FloatArray:
        """Return (K, M) the responsibility of each blob for each point."""
        table = np.zeros((len(self.visible), len(self.clutter)))
        table[self.member, self.points] = self.responsibilities
        return table


def blob_prior(predicted: Records, hidden: FloatArray, scene: Records, parameter: Records) -> BlobPrior:
    """Return what the prediction says of each blob.

    The counts are those with which a whole object's pixels move mean and size as far as the Kalman filter does:
    mass R / P, of the geometric means over both axes.

    Parameters
    ----------
    predicted
        (K,) records of :data:`BLOB`.
    hidden
        (K,) share of each that something hides.
    scene, parameter
        See :mod:`tracker.tracking.state`.
    """
    K = len(predicted)
    centre, size = predicted["mean"][:, :2], np.maximum(predicted["mean"][:, 2:], 1.0)
    deviation = size / predicted["extent"]
    covariances = np.empty((K, 2, 2))
    covariances[:, 0, 0], covariances[:, 1, 1] = (deviation**2).T
    covariances[:, 0, 1] = covariances[:, 1, 0] = predicted["correlation"] * deviation.prod(axis=1)
    whole = predicted["fill"] * size.prod(axis=1)
    stiffness = np.sqrt(measurement_variances(predicted, scene, parameter) / predicted["p00"])
    return BlobPrior(
        means=centre + predicted["skew"] * size,
        covariances=covariances,
        mean_counts=whole * stiffness[:, 0] * stiffness[:, 1],
        covariance_counts=_SIZE_COUNT * whole * stiffness[:, 2] * stiffness[:, 3],
        masses=whole * (1.0 - _HIDDEN * hidden),
        whole_masses=whole,
        spreads=predicted["p00"][:, :2].copy(),
    )


class Near(NamedTuple):
    """Which blobs each point may be of: no blob has a density beyond a gate about its prediction.

    Parameters
    ----------
    start, member
        Point n is near to the blobs ``member[start[n]:start[n + 1]]``.
    ratios
        (E,) how much likelier the point's colours are as that blob's than as clutter's.
    """

    start: IntArray
    member: IntArray
    ratios: FloatArray


def near(foreground: Foreground, prior: BlobPrior) -> Near:
    """Return which blobs the points are near to, colours left aside."""
    start, member = _near(foreground.points_px, prior.means, prior.covariances, prior.spreads)
    return Near(start, member, np.ones(len(member)))


def share_out(
    foreground: Foreground,
    prior: BlobPrior,
    around: Near,
    visible: NDArray[np.bool_],
    clutter_density: float,
    rounds: int,
) -> Shares:
    """Divide the pixels among the blobs by expectation-maximisation, from the mode of the prior.

    ::

        r_nk    = m_k q_nk N(x_n; mu_k, Sigma_k) / lambda(x_n),      n_k = sum_n u_n r_nk
        m_k     = (n_k + m_0k) / 2
        mu_k    = (kappa_k mu_0k + sum_n u_n r_nk x_n) / (kappa_k + n_k)
        Sigma_k = (c_k C_k + kappa_k (mu_0k - mu_k)(..)' + sum_n u_n r_nk (x_n - mu_k)(..)') / (c_k + n_k)

    as in :func:`tracker.mixture.em.m_step`, with masses in place of weights, and with the ratios q of colours.

    Parameters
    ----------
    foreground
        The pixels.
    prior
        Of the blobs.
    around
        Which blobs each point may be of.
    visible
        (K,) which blobs take part.
    clutter_density
        Foreground pixels per pixel that belong to no object.
    rounds
        Of EM.
    """
    outcome = _em(
        foreground.points_px,
        foreground.weights,
        *around,
        visible,
        clutter_density,
        rounds,
        prior.means,
        prior.covariances,
        prior.mean_counts,
        prior.covariance_counts,
        prior.masses,
    )
    return Shares(visible, around.start, around.member, *outcome)


@kernel()
def _near(
    points: FloatArray, means: FloatArray, covariances: FloatArray, spreads: FloatArray
) -> tuple[IntArray, IntArray]:
    """Return start, member as in :class:`Near`."""
    K = len(means)
    start = np.zeros(len(points) + 1, np.int64)
    member = np.empty(len(points) * K, np.int64)
    count = 0
    for n in range(len(points)):
        for k in range(K):
            a, b, d = covariances[k, 0, 0] + spreads[k, 0], covariances[k, 0, 1], covariances[k, 1, 1] + spreads[k, 1]
            x, y = points[n, 0] - means[k, 0], points[n, 1] - means[k, 1]
            if d * x * x - 2.0 * b * x * y + a * y * y < _GATE * (a * d - b * b):
                member[count] = k
                count += 1
        start[n + 1] = count
    return start, member[:count].copy()


@kernel()
def _em(
    points: FloatArray,
    weights: FloatArray,
    start: IntArray,
    member: IntArray,
    ratios: FloatArray,
    visible: NDArray[np.bool_],
    clutter: float,
    rounds: int,
    prior_means: FloatArray,
    prior_covariances: FloatArray,
    mean_counts: FloatArray,
    covariance_counts: FloatArray,
    prior_masses: FloatArray,
) -> tuple[FloatArray, ...]:
    """Return the fields of :class:`Shares` from ``responsibilities`` on; see :func:`share_out`."""
    K = len(visible)
    means, covariances, masses = prior_means.copy(), prior_covariances.copy(), prior_masses.copy()
    responsibilities, unexplained = np.empty(len(member)), np.empty(len(points))
    counts, centres, scatters = np.zeros(K), np.zeros((K, 2)), np.zeros((K, 2, 2))
    objective = np.empty(rounds + 1)
    density = np.zeros((K, 4))  # the inverse's xx, xy, yy; mass over the Gaussian's normaliser
    for n in range(rounds + 1):
        # Expectation
        value = 0.0
        for k in range(K):
            counts[k], centres[k], scatters[k] = 0.0, 0.0, 0.0
            if visible[k]:
                a, b, d = covariances[k, 0, 0], covariances[k, 0, 1], covariances[k, 1, 1]
                determinant = a * d - b * b
                density[k, 0], density[k, 1], density[k, 2] = d / determinant, -b / determinant, a / determinant
                density[k, 3] = masses[k] / (2.0 * math.pi * math.sqrt(determinant))
                value += _log_prior(
                    density[k],
                    means[k] - prior_means[k],
                    prior_covariances[k],
                    mean_counts[k],
                    covariance_counts[k],
                    masses[k] / prior_masses[k],
                    prior_masses[k],
                )
                value -= masses[k]
        for i in range(len(points)):
            total = clutter
            for e in range(start[i], start[i + 1]):
                q = density[member[e]]
                x, y = points[i, 0] - means[member[e], 0], points[i, 1] - means[member[e], 1]
                responsibilities[e] = (
                    ratios[e] * q[3] * math.exp(-0.5 * (q[0] * x * x + 2.0 * q[1] * x * y + q[2] * y * y))
                )
                total += responsibilities[e]
            value += weights[i] * math.log(total)
            unexplained[i] = clutter / total
            for e in range(start[i], start[i + 1]):
                k = member[e]
                responsibilities[e] /= total
                share = weights[i] * responsibilities[e]
                x, y = points[i, 0] - prior_means[k, 0], points[i, 1] - prior_means[k, 1]
                counts[k] += share
                centres[k, 0] += share * x
                centres[k, 1] += share * y
                scatters[k, 0, 0] += share * x * x
                scatters[k, 0, 1] += share * x * y
                scatters[k, 1, 1] += share * y * y
        objective[n] = value
        # Maximisation
        for k in range(K):
            if counts[k] > 0.0:
                for i in range(2):
                    centres[k, i] /= counts[k]
                for i in range(2):
                    for j in range(i, 2):
                        scatters[k, i, j] = scatters[k, i, j] / counts[k] - centres[k, i] * centres[k, j]
                scatters[k, 1, 0] = scatters[k, 0, 1]
            if n < rounds and visible[k]:
                masses[k] = (counts[k] + prior_masses[k]) / 2.0
                kept = mean_counts[k] / (mean_counts[k] + counts[k])
                for i in range(2):
                    means[k, i] = prior_means[k, i] + (1.0 - kept) * centres[k, i]
                    for j in range(2):
                        pull = kept * centres[k, i] * centres[k, j]
                        own = covariance_counts[k] * prior_covariances[k, i, j] + counts[k] * (scatters[k, i, j] + pull)
                        covariances[k, i, j] = own / (covariance_counts[k] + counts[k])
            for i in range(2):
                centres[k, i] += prior_means[k, i]
    return responsibilities, unexplained, means, covariances, masses, counts, centres, scatters, objective


@kernel()
def _log_prior(
    inverse: FloatArray, offset: FloatArray, C: FloatArray, kappa: float, c: float, ratio: float, mass: float
) -> float:
    """Return the log density of :class:`BlobPrior` for one blob; ``ratio`` is its mass over the expected."""
    x, y = offset
    distance = inverse[0] * x * x + 2.0 * inverse[1] * x * y + inverse[2] * y * y
    trace = inverse[0] * C[0, 0] + 2.0 * inverse[1] * C[0, 1] + inverse[2] * C[1, 1]
    log_ratio = -math.log((C[0, 0] * C[1, 1] - C[0, 1] ** 2) * (inverse[0] * inverse[2] - inverse[1] ** 2))
    return -0.5 * kappa * distance - 0.5 * c * (log_ratio + trace - 2.0) + mass * (math.log(ratio) - ratio + 1.0)


def seen_shares(
    foreground: Foreground, prior: BlobPrior, around: Near, extents: FloatArray, settings: PixelsConfig
) -> tuple[Shares, FloatArray]:
    """Divide the pixels among the objects that are needed to explain them.

    An object's gain is what the likelihood and the prior of its place lose without it, per pixel of its whole mass,
    the others left as they are; how its size and mass suit their priors does not count. While somebody's gain is
    below 0, who gains least is taken out, and EM begins anew. Who overlaps another
    by more than 70 % must gain ``object_cost`` over the best that the others can do without it: two blobs on one
    body explain it hardly better than one.

    Parameters
    ----------
    foreground, prior, around
        As for :func:`share_out`.
    extents
        (K, 2) width and height in standard deviations.
    settings
        The configuration.

    Returns
    -------
    shares
        Of the objects that are needed.
    gains
        (K,) of those; 0 for others.
    """
    K = len(prior)

    def divide(visible: NDArray[np.bool_]) -> tuple[Shares, FloatArray]:
        shares = share_out(foreground, prior, around, visible, settings.clutter_density, settings.rounds)
        return shares, _gains(foreground, prior, shares)

    shares, gains = divide(np.ones(K, np.bool_))
    while K and gains.min() < 0.0:
        shares, gains = divide(shares.visible & (np.arange(K) != gains.argmin()))
    tried = np.zeros(K, np.bool_)
    while True:
        suspects = shares.visible & ~tried & (_largest_cover(shares, extents) > _OVERLAP)
        if not suspects.any():
            return shares, np.where(shares.visible, gains, 0.0)
        k = int(np.where(suspects, gains, np.inf).argmin())
        tried[k] = True
        without, gains_without = divide(shares.visible & (np.arange(K) != k))
        if shares.objective[-1] - without.objective[-1] < settings.object_cost * prior.whole_masses[k]:
            shares, gains = without, gains_without


def _gains(foreground: Foreground, prior: BlobPrior, shares: Shares) -> FloatArray:
    """Return (K,) the gain of each object, see :func:`seen_shares`; infinite for those that took no part."""
    loss = -foreground.weights[shares.points] * np.log(np.maximum(1.0 - shares.responsibilities, 1e-3))
    gains = np.bincount(shares.member, loss, len(prior)) - shares.masses
    offset = shares.means - prior.means
    distance = np.einsum("ki,kij,kj->k", offset, np.linalg.inv(shares.covariances), offset)
    return np.where(shares.visible, (gains - 0.5 * prior.mean_counts * distance) / prior.whole_masses, np.inf)


def _largest_cover(shares: Shares, extents: FloatArray) -> FloatArray:
    """Return (K,) the largest share of each blob's box that another one's covers, both taking part."""
    if not len(extents):
        return np.zeros(0)
    sizes = np.sqrt(np.diagonal(shares.covariances, axis1=1, axis2=2)) * extents
    boxes = cxywh_to_xyxy(np.hstack([shares.means, sizes]))
    cover = intersections(boxes, boxes) / areas(boxes)[:, None]
    np.fill_diagonal(cover, 0.0)
    return np.asarray((cover * shares.visible).max(axis=1))
