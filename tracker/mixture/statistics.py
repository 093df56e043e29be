"""What maximisation needs of the data: sufficient statistics under the responsibilities, in one pass.

A Gaussian's log density is linear in the products of the coordinates,

    log w N(x; mu, Sigma) = theta . t(x),    t(x) = (1, x_i, x_i x_j for i >= j)

so that all log densities are one matrix product with t of the points, and all statistics sum_n u_n r_nk t(x_n) another:
the pass costs little more than the exponentials. Products lose digits where components are narrow against the range
of the data. There the same is computed about each component's own mean, at several times the cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Self, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from tracker.mixture.gaussian import Mixture, log_densities, log_normalise, marginal, regression, row_blocks
from tracker.structures import FloatArray, IntArray

CovarianceType: TypeAlias = Literal["full", "tied", "diag", "spherical"]
COVARIANCE_TYPES: tuple[CovarianceType, ...] = get_args(CovarianceType)
_Form: TypeAlias = Literal["full", "tied", "diag"]
NOTHING = 1e-200
"""Mass at which sums of responsibilities lose their digits: a component with no more has no data."""
_CONTRAST = 1e8
"""Squared ratio of the data's range to a standard deviation up to which products are used: the precision they lose."""
_LEAST = -690.0
"""Logarithm of shares that are nothing; exponentials that underflow would take eight times as long."""


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """Sufficient statistics of weighted data for K components.

    Parameters
    ----------
    counts
        (K,) n_k = sum_n u_n r_nk.
    means
        (K, D) sum_n u_n r_nk x_n / n_k, any where n_k is nothing.
    scatter
        (K, D, D) sum_n u_n r_nk (x_n - mean_k)(x_n - mean_k)'.
    """

    counts: FloatArray
    means: FloatArray
    scatter: FloatArray

    @classmethod
    def of(cls, points: FloatArray, shares: FloatArray) -> Self:
        """Return the statistics of (D, n) points of which each component has (K, n) shares."""
        counts = shares.sum(axis=1)
        means = shares @ points.T / _divisor(counts)[:, None]
        residual = points - means[:, :, None]
        return cls(counts, means, (shares[:, None] * residual) @ residual.transpose(0, 2, 1))

    @classmethod
    def pooled(cls, parts: Iterable[Self], K: int, D: int) -> Self:
        """Return the statistics of all data from those of its parts (Chan, Golub and LeVeque 1979)."""
        found = list(parts)
        if len(found) == 1:
            return found[0]
        counts = np.array([part.counts for part in found]).reshape(len(found), K)
        means = np.array([part.means for part in found]).reshape(len(found), K, D)
        total = counts.sum(axis=0)
        mean = np.einsum("pk,pki->ki", counts, means) / _divisor(total)[:, None]
        offset = means - mean
        scatter = np.einsum("pk,pki,pkj->kij", counts, offset, offset)
        return cls(total, mean, sum((part.scatter for part in found), scatter))

    def completed(self, mixture: Mixture, observed: NDArray[np.bool_]) -> Self:
        """Return the expected statistics of all D dimensions from those of the observed ones, given the mixture.

        A value that is missing has its conditional mean, which is linear in the observed ones, and its conditional
        covariance is added to the scatter.
        """
        if observed.all():
            return self
        K, D = mixture.means.shape
        gain, covariances = regression(mixture, observed)
        lift = np.zeros((K, D, observed.sum()))
        lift[:, observed] = np.eye(observed.sum())
        lift[:, ~observed] = gain.transpose(0, 2, 1)
        means = mixture.means + np.einsum("kij,kj->ki", lift, self.means - mixture.means[:, observed])
        scatter = lift @ self.scatter @ lift.transpose(0, 2, 1)
        lost = np.flatnonzero(~observed)
        scatter[:, lost[:, None], lost] += self.counts[:, None, None] * covariances
        return type(self)(self.counts, means, scatter)


def statistics(data: FloatArray, shares: FloatArray, previous: Mixture | None) -> Statistics:
    """Return the statistics of (N, D) data with (N, K) shares; ``previous`` fills what is missing."""
    K, D = shares.shape[1], data.shape[1]

    def parts() -> Iterator[Statistics]:
        for rows, observed in patterns(data, K * D):
            part = Statistics.of(data[rows][:, observed].T, shares[rows].T)
            if previous is None:
                if not observed.all():
                    raise ValueError("data with missing values needs the previous mixture, whose Gaussians fill them")
                yield part
            else:
                yield part.completed(previous, observed)

    return Statistics.pooled(parts(), K, D)


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """Weighted data laid out for many passes: standardised, coordinates first, rows with the same gaps together.

    Parameters
    ----------
    centre, scale
        (D,) the values that were standardised to 0 and, at most, 1. Scales are powers of two, which round nothing.
    groups
        (D,) mask of what is observed, (D', n) points and (n,) weights.
    """

    centre: FloatArray
    scale: FloatArray
    groups: tuple[tuple[NDArray[np.bool_], FloatArray, FloatArray], ...]

    @classmethod
    def of(cls, data: FloatArray, weights: FloatArray) -> Self:
        """Lay out (N, D) data, NaN where missing, with (N,) weights; rows without weight are left out."""
        counted = weights > 0
        if not counted.all():
            data, weights = data[counted], weights[counted]
        columns = np.array(data.T, order="C")
        low = np.fmin.reduce(columns, axis=1, initial=np.inf)
        high = np.fmax.reduce(columns, axis=1, initial=-np.inf)
        some = low <= high
        centre = np.where(some, low + (np.where(some, high, 0.0) - np.where(some, low, 0.0)) / 2, 0.0)
        reach = np.where(some, np.maximum(high - centre, centre - low), 0.0)
        scale = np.ldexp(1.0, np.maximum(np.frexp(reach)[1], -400))
        columns -= centre[:, None]
        columns /= scale[:, None]
        groups = tuple(
            (observed, columns[:, rows] if observed.all() else columns[observed][:, rows], weights[rows])
            for rows, observed in patterns(data, 1)
        )
        return cls(centre, scale, groups)


def expected_statistics(
    mixture: Mixture,
    observations: Observations,
    covariance_type: CovarianceType = "full",
    clutter_extent: FloatArray | None = None,
) -> tuple[Statistics, float]:
    """Divide the data among the components and the background, and sum up what each has.

    Parameters
    ----------
    mixture
        K components in D dimensions.
    observations
        The data.
    covariance_type
        What the scatter is for: for "tied" only its sum over the components need be right, for "diag" and
        "spherical" only its diagonal.
    clutter_extent
        (D,) sides of the box that the background fills; needed where clutter meets missing values.

    Returns
    -------
    The expected statistics, and the log-likelihood of all data.
    """
    K, D = mixture.means.shape
    centre, scale = observations.centre, observations.scale
    square = scale[:, None] * scale
    form: _Form = "full"
    if covariance_type == "tied" and (mixture.covariances == mixture.covariances[:1]).all():
        form = "tied"
    elif covariance_type in ("diag", "spherical") and not (mixture.covariances * (1.0 - np.eye(D))).any():
        form = "diag"
    standard = Mixture(
        mixture.log_weights,
        (mixture.means - centre) / scale,
        mixture.covariances / square,
        mixture.log_clutter + np.log(scale).sum(),
    )
    extent = None if clutter_extent is None else clutter_extent / scale
    parts, log_likelihood = [], 0.0
    for observed, points, weights in observations.groups:
        part = marginal(standard, observed, extent)
        found = _by_products(part, points, weights, form) or _by_residuals(part, points, weights)
        parts.append(found[0].completed(standard, observed))
        log_likelihood += found[1] - weights.sum() * np.log(scale[observed]).sum()
    total = Statistics.pooled(parts, K, D)
    return Statistics(total.counts, centre + scale * total.means, square * total.scatter), float(log_likelihood)


def _by_products(
    mixture: Mixture, points: FloatArray, weights: FloatArray, form: _Form
) -> tuple[Statistics, float] | None:
    """Return statistics and log-likelihood of (D, n) points in [-1, 1] as sums of products; None where too inexact."""
    K, D = mixture.means.shape
    whiten = np.linalg.inv(mixture.cholesky)
    offset = np.einsum("kij,kj->ki", whiten, mixture.means)
    contrast = ((np.abs(whiten).sum(axis=2) + np.abs(offset)) ** 2).sum(axis=1)
    if (
        not (contrast < _CONTRAST).all()
        or max(mixture.log_weights.max(initial=-np.inf), mixture.log_clutter) == -np.inf
    ):
        return None

    i, j = np.tril_indices(D)
    if form != "full":
        # Of one covariance for all, the quadratic part is common to all components.
        i = j = np.arange(D if form == "diag" else 0)
    precision = whiten.transpose(0, 2, 1) @ whiten
    log_determinant = np.log(np.diagonal(mixture.cholesky, axis1=1, axis2=2)).sum(axis=1)
    theta = np.empty((K, 1 + D + len(i)))
    theta[:, 0] = mixture.log_weights - log_determinant - 0.5 * (D * np.log(2 * np.pi) + (offset**2).sum(axis=1))
    theta[:, 1 : 1 + D] = np.einsum("kij,ki->kj", whiten, offset)
    theta[:, 1 + D :] = np.where(i == j, -0.5, -1.0) * precision[:, i, j]

    sums, common, log_likelihood = np.zeros(theta.shape), np.zeros((D, D)), 0.0
    for block in row_blocks(len(weights), theta.size):
        x, u = points[:, block], weights[block]
        products = np.empty((theta.shape[1], len(u)))
        products[0] = 1.0
        products[1 : 1 + D] = x
        np.multiply(x[i], x[j], out=products[1 + D :])
        joint = theta @ products
        # What the log densities have in common divides nothing: it is taken off the background's instead.
        shared = 0.5 * ((whiten[:1] @ x) ** 2).sum(axis=(0, 1)) if form == "tied" else 0.0
        log_clutter = mixture.log_clutter + shared
        peak = np.maximum(joint.max(axis=0, initial=-np.inf), log_clutter)
        joint -= peak
        if joint.min(initial=0.0) < _LEAST:
            np.maximum(joint, _LEAST, out=joint)
        np.exp(joint, out=joint)
        explained = joint.sum(axis=0)
        total = explained + np.exp(log_clutter - peak)
        log_likelihood += u @ (peak + np.log(total) - shared)
        products *= u / total
        sums += joint @ products.T
        if form == "tied":
            common += (products[1 : 1 + D] * explained) @ x.T

    sums[sums[:, 0] <= NOTHING] = 0.0
    counts = sums[:, 0].copy()
    means = sums[:, 1 : 1 + D] / _divisor(counts)[:, None]
    square = counts[:, None, None] * means[:, :, None] * means[:, None, :]
    if form == "tied":
        share = counts / _divisor(counts.sum())
        scatter = share[:, None, None] * (common - square.sum(axis=0))
    else:
        scatter = np.zeros((K, D, D))
        scatter[:, i, j] = scatter[:, j, i] = sums[:, 1 + D :] - square[:, i, j]
    narrowest = np.linalg.eigvalsh(scatter).min(axis=1, initial=np.inf)
    if (narrowest < counts / _CONTRAST)[counts > NOTHING].any():
        return None
    return Statistics(counts, means, scatter), float(log_likelihood)


def _by_residuals(mixture: Mixture, points: FloatArray, weights: FloatArray) -> tuple[Statistics, float]:
    """Return statistics and log-likelihood of (D, n) points from their distances to the components' own means."""
    K, D = mixture.means.shape
    parts, log_likelihood = [], 0.0
    for block in row_blocks(len(weights), K * D):
        log_joint = mixture.log_weights[:, None] + log_densities(mixture, points[:, block].T).T
        log_shares, _, log_sum = log_normalise(log_joint, mixture.log_clutter)
        log_likelihood += float(weights[block] @ log_sum)
        parts.append(Statistics.of(points[:, block], np.exp(log_shares) * weights[block]))
    return Statistics.pooled(parts, K, D), log_likelihood


def patterns(data: FloatArray, width: int) -> Iterator[tuple[slice | IntArray, NDArray[np.bool_]]]:
    """Yield rows that miss the same values and the (D,) mask of what they have, in blocks for rows of ``width``."""
    N, D = data.shape
    missing = np.isnan(data)
    if not missing.any():
        for block in row_blocks(N, width):
            yield block, np.ones(D, np.bool_)
        return
    packed = np.packbits(missing, axis=1)
    order = np.lexsort(packed.T)
    borders = np.flatnonzero((packed[order[1:]] != packed[order[:-1]]).any(axis=1)) + 1
    for alike in np.split(order, borders):
        for block in row_blocks(len(alike), width):
            yield alike[block], ~missing[alike[0]]


def _divisor(counts: FloatArray) -> FloatArray:
    """Return counts to divide by, 1 where there is nothing."""
    return np.where(counts > NOTHING, counts, 1.0)
