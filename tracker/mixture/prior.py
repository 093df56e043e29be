"""What is believed of a mixture before the data: a conjugate prior, told as imaginary observations.

References
----------
Fraley and Raftery, "Bayesian regularization for normal mixture estimation and model-based clustering",
Journal of Classification 24, 2007.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from tracker.mixture.gaussian import Mixture, row_index
from tracker.structures import FloatArray, RowAligned, read_only


@dataclass(frozen=True, slots=True, eq=False)
class Prior(RowAligned):
    """What is believed of each component beforehand, told as imaginary observations; counts of 0 say nothing.

    With a = ``weight_counts``, (kappa, m) = ``mean_counts``, ``means`` and (c, C) = ``covariance_counts``,
    ``covariances``, the log density is, up to a constant,

        sum_k a_k log w_k - c_k/2 (log|Sigma_k| + tr(C_k Sigma_k^-1)) - kappa_k/2 (mu_k - m_k)' Sigma_k^-1 (mu_k - m_k)

    which is a Dirichlet distribution with alpha = a + 1 times a normal-inverse-Wishart distribution with kappa,
    nu = c - D - 2 and Psi = c C for each component. C is the covariance, and m the mean, that would be found
    without data.

    Parameters
    ----------
    means
        (K, D) m.
    covariances
        (K, D, D) C.
    mean_counts, covariance_counts, weight_counts
        (K,), or one number for all: how many observations each of them is worth, 0 or more.
    clutter_count
        The same for the background's weight.
    """

    means: FloatArray
    covariances: FloatArray
    mean_counts: FloatArray
    covariance_counts: FloatArray
    weight_counts: FloatArray
    clutter_count: float

    def __init__(
        self,
        means: ArrayLike,
        covariances: ArrayLike,
        mean_counts: ArrayLike = 0.0,
        covariance_counts: ArrayLike = 0.0,
        weight_counts: ArrayLike = 0.0,
        clutter_count: float = 0.0,
    ) -> None:
        mean = read_only(means, np.float64, (None, None), "means")
        K, D = mean.shape
        covariance = read_only(covariances, np.float64, (K, D, D), "covariances")
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise ValueError("means and covariances of a prior are finite, also where their counts are 0")
        object.__setattr__(self, "means", mean)
        object.__setattr__(self, "covariances", covariance)
        for name, value in (
            ("mean_counts", mean_counts),
            ("covariance_counts", covariance_counts),
            ("weight_counts", weight_counts),
        ):
            counts = read_only(np.full(K, value) if np.ndim(value) == 0 else value, np.float64, (K,), name)
            if not (counts >= 0).all():
                raise ValueError(f"{name} is {counts.min()} for component {int(counts.argmin())}; it is 0 or more")
            object.__setattr__(self, name, counts)
        if not clutter_count >= 0:
            raise ValueError(f"clutter_count is {clutter_count}; it is 0 or more")
        object.__setattr__(self, "clutter_count", float(clutter_count))

    def select(self, rows: ArrayLike | slice) -> Self:
        """Return the prior of the chosen components (indices, mask or slice)."""
        index = row_index(rows, len(self))
        return type(self)(
            self.means[index],
            self.covariances[index],
            self.mean_counts[index],
            self.covariance_counts[index],
            self.weight_counts[index],
            self.clutter_count,
        )


def log_prior(mixture: Mixture, prior: Prior, clutter_extent: FloatArray | None = None) -> float:
    """Return the prior's log density at a mixture, up to a constant; see :class:`Prior`."""
    log_weights, weight_counts = mixture.log_weights, prior.weight_counts
    if clutter_extent is not None:
        log_weights = np.append(log_weights, mixture.log_clutter + np.log(clutter_extent).sum())
        weight_counts = np.append(weight_counts, prior.clutter_count)
    told = weight_counts > 0
    whiten = np.linalg.inv(mixture.cholesky)
    log_determinant = 2 * np.log(np.diagonal(mixture.cholesky, axis1=1, axis2=2)).sum(axis=1)
    trace = np.einsum("kij,kjl,kil->k", whiten, prior.covariances, whiten)
    z = np.einsum("kij,kj->ki", whiten, mixture.means - prior.means)
    return float(
        weight_counts[told] @ log_weights[told]
        - 0.5 * prior.covariance_counts @ (log_determinant + trace)
        - 0.5 * prior.mean_counts @ (z**2).sum(axis=1)
    )
