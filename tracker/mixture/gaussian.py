"""Gaussian mixtures as values: densities, moments, merging, conditioning and sampling.

::

    p(x) = sum_k w_k N(x; mu_k, Sigma_k) + clutter

Everything is carried as logarithms, and every density goes through the Cholesky factor of its covariance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.structures import FloatArray, IntArray, RowAligned, read_only

_BLOCK = 1 << 18
"""Numbers worked on at a time: few enough to stay in the processor's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Mixture(RowAligned):
    """A mixture of K Gaussians in D dimensions over a uniform background.

    Parameters
    ----------
    log_weights
        (K,) logarithms of the weights.
    means
        (K, D).
    covariances
        (K, D, D) symmetric positive definite.
    log_clutter
        log(weight x density) of the background; -inf for none.

    Attributes
    ----------
    cholesky
        (K, D, D) lower factors, Sigma = L L'.

    Raises
    ------
    ValueError
        For a wrong shape, a value that is not finite (log weights may be -inf) or a covariance that is not
        positive definite; the message names the component.
    """

    log_weights: FloatArray
    means: FloatArray
    covariances: FloatArray
    log_clutter: float
    cholesky: FloatArray = field(init=False)

    def __init__(
        self, log_weights: ArrayLike, means: ArrayLike, covariances: ArrayLike, log_clutter: float = -np.inf
    ) -> None:
        log_weight = read_only(log_weights, np.float64, (None,), "log_weights")
        K = len(log_weight)
        mean = read_only(means, np.float64, (K, None), "means")
        D = mean.shape[1]
        covariance = read_only(covariances, np.float64, (K, D, D), "covariances")
        for name, good in (
            ("log_weights", log_weight < np.inf),
            ("means", np.isfinite(mean).all(axis=1)),
            ("covariances", np.isfinite(covariance).all(axis=(1, 2))),
        ):
            if not good.all():
                raise ValueError(f"{name} of component {int(np.argmin(good))} is not finite")
        if not log_clutter < np.inf:
            raise ValueError(f"log_clutter is {log_clutter}; it is finite, or -inf for none")
        object.__setattr__(self, "log_weights", log_weight)
        object.__setattr__(self, "means", mean)
        object.__setattr__(self, "covariances", covariance)
        object.__setattr__(self, "log_clutter", float(log_clutter))
        object.__setattr__(self, "cholesky", _cholesky(covariance))

    @property
    def weights(self) -> FloatArray:
        """(K,) weights; together with the background's they sum to one, unless rows were selected."""
        return np.exp(self.log_weights)

    def select(self, rows: ArrayLike | slice) -> Self:
        """Return the mixture of the chosen components (indices, mask or slice) over the same background."""
        index = row_index(rows, len(self))
        return type(self)(self.log_weights[index], self.means[index], self.covariances[index], self.log_clutter)


def row_index(rows: ArrayLike | slice, n: int) -> IntArray:
    """Return indices, mask or slice of ``n`` rows as indices; an empty list chooses none."""
    if isinstance(rows, slice):
        return np.arange(n)[rows]
    chosen = np.asarray(rows)
    return np.arange(n)[chosen if chosen.dtype == np.bool_ or chosen.size else chosen.astype(np.intp)]


def _cholesky(covariances: FloatArray) -> FloatArray:
    size = np.sqrt(np.abs(np.diagonal(covariances, axis1=1, axis2=2)))
    skew = np.abs(covariances - covariances.transpose(0, 2, 1)) > 1e-8 * size[:, :, None] * size[:, None, :]
    if skew.any():
        raise ValueError(f"covariance of component {int(skew.any(axis=(1, 2)).argmax())} is not symmetric")
    try:
        factors = np.asarray(np.linalg.cholesky(covariances), np.float64)
    except np.linalg.LinAlgError:
        smallest = np.linalg.eigvalsh(covariances)[:, 0]
        worst = int(smallest.argmin())
        raise ValueError(
            f"covariance of component {worst} is not positive definite (smallest eigenvalue {smallest[worst]:.3g}); "
            "use fewer components, a larger reg_covar or a prior"
        ) from None
    factors.flags.writeable = False
    return factors


def row_blocks(rows: int, width: int) -> Iterator[slice]:
    """Yield slices that cover ``rows`` rows of ``width`` numbers in pieces that fit the processor's cache."""
    size = max(256, _BLOCK // max(1, width))
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def log_normalise(terms: FloatArray, other: FloatArray | float = -np.inf) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Divide exp(terms) and exp(other) by their sum, in log space.

    The sum is taken relative to the largest term, so that shares keep their digits however small all terms are.

    Parameters
    ----------
    terms
        (K, ...).
    other
        (...) one more term.

    Returns
    -------
    log_shares
        (K, ...).
    log_other_share
        (...).
    log_sum
        (...) log(sum_k exp(terms_k) + exp(other)); -inf, as all shares, where nothing has mass.
    """
    peak = np.maximum(terms.max(axis=0, initial=-np.inf), other)
    peak = np.where(peak == -np.inf, 0.0, peak)
    relative, other_relative = terms - peak, other - peak
    with np.errstate(divide="ignore"):
        log_sum = np.log(np.exp(relative).sum(axis=0) + np.exp(other_relative))
    divisor = np.where(log_sum == -np.inf, 0.0, log_sum)
    return relative - divisor, other_relative - divisor, peak + log_sum


def log_weights_of(shares: ArrayLike) -> Any:
    """Return the logarithms of weights, -inf of 0 without a warning."""
    with np.errstate(divide="ignore"):
        return np.log(shares)


def log_densities(mixture: Mixture, points: FloatArray) -> FloatArray:
    """Return the (N, K) log densities of (N, D) points under each component, without its weight.

    ::

        log N(x; mu, L L') = -1/2 |L^-1 (x - mu)|^2 - log|L| - D/2 log(2 pi)
    """
    K, D = mixture.means.shape
    whiten = np.linalg.inv(mixture.cholesky)
    log_determinant = np.log(np.diagonal(mixture.cholesky, axis1=1, axis2=2)).sum(axis=1)
    log_density = np.empty((K, len(points)))
    for rows in row_blocks(len(points), K * D):
        z = whiten @ (points[rows].T - mixture.means[:, :, None])  # (K, D, n): coordinates first, points contiguous
        log_density[:, rows] = -0.5 * np.einsum("kdn,kdn->kn", z, z)
    log_density -= (log_determinant + 0.5 * D * np.log(2 * np.pi))[:, None]
    return log_density.T


def marginal(mixture: Mixture, dimensions: NDArray[np.bool_], extent: FloatArray | None = None) -> Mixture:
    """Return the mixture of the chosen dimensions.

    Parameters
    ----------
    mixture
        In D dimensions.
    dimensions
        (D,) mask of those to keep.
    extent
        (D,) sides of the box that the background fills: its density grows by the sides left out.

    Raises
    ------
    ValueError
        For a mixture with a background of unknown extent.
    """
    if dimensions.all():
        return mixture
    log_clutter = mixture.log_clutter
    if log_clutter > -np.inf:
        if extent is None:
            raise ValueError("the background's density in fewer dimensions depends on its extent; give the extent")
        log_clutter += np.log(extent[~dimensions]).sum()
    covariances = mixture.covariances[:, dimensions][:, :, dimensions]
    return Mixture(mixture.log_weights, mixture.means[:, dimensions], covariances, log_clutter)


def conditional(mixture: Mixture, observed: NDArray[np.bool_], values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return each component's Gaussian of the unobserved dimensions (m), given the observed ones (o).

    ::

        mu_m|o = mu_m + Sigma_mo Sigma_oo^-1 (x_o - mu_o),    Sigma_m|o = Sigma_mm - Sigma_mo Sigma_oo^-1 Sigma_om

    Parameters
    ----------
    mixture
        K components in D dimensions.
    observed
        (D,) mask of the observed dimensions; M are not.
    values
        (n, D - M) observed values.

    Returns
    -------
    means
        (K, n, M).
    covariances
        (K, M, M), the same for all rows.
    """
    gain, covariances = regression(mixture, observed)
    means = mixture.means[:, None, ~observed] + (values - mixture.means[:, None, observed]) @ gain
    return means, covariances


def regression(mixture: Mixture, observed: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Return what :func:`conditional` needs: (K, D - M, M) gains Sigma_oo^-1 Sigma_om and (K, M, M) covariances."""
    sigma = mixture.covariances
    sigma_oo, sigma_om = sigma[:, observed][:, :, observed], sigma[:, observed][:, :, ~observed]
    gain = np.asarray(np.linalg.solve(sigma_oo, sigma_om), np.float64)
    covariances = sigma[:, ~observed][:, :, ~observed] - sigma_om.transpose(0, 2, 1) @ gain
    return gain, (covariances + covariances.transpose(0, 2, 1)) / 2


def moments(mixture: Mixture) -> tuple[FloatArray, FloatArray]:
    """Return the (D,) mean and (D, D) covariance of the mixture without its background.

    ::

        mu = sum_k w_k mu_k,    Sigma = sum_k w_k (Sigma_k + (mu_k - mu)(mu_k - mu)'),    weights scaled to sum 1

    Raises
    ------
    ValueError
        For a mixture without weight.
    """
    log_share, _, total = log_normalise(mixture.log_weights)
    if total == -np.inf:
        raise ValueError("a mixture without weight has no moments")
    share = np.exp(log_share)
    mean = share @ mixture.means
    offset = mixture.means - mean
    covariance = np.einsum("k,kij->ij", share, mixture.covariances) + (share * offset.T) @ offset
    return mean, (covariance + covariance.T) / 2


def merge(mixture: Mixture) -> Mixture:
    """Return the one component with the mixture's total weight, mean and covariance, over the same background."""
    mean, covariance = moments(mixture)
    _, _, log_weight = log_normalise(mixture.log_weights)
    return Mixture(log_weight[None], mean[None], covariance[None], mixture.log_clutter)


def sample(mixture: Mixture, n: int, rng: np.random.Generator) -> tuple[FloatArray, IntArray]:
    """Draw ``n`` points from the components (not from the background).

    Returns
    -------
    points
        (n, D).
    labels
        (n,) component of each.
    """
    share = np.exp(log_normalise(mixture.log_weights)[0])
    labels = rng.choice(len(share), size=n, p=share)
    z = rng.standard_normal((n, mixture.means.shape[1]))
    return mixture.means[labels] + np.einsum("nij,nj->ni", mixture.cholesky[labels], z), labels
