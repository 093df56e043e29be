"""Expectation-maximisation for Gaussian mixtures of weighted, incomplete data.

The mixture has K Gaussians and, if wanted, a uniform background ("clutter") that fills a box. Four phases, each
a pure function or a line of :func:`expectation_maximisation`: initialise, expectation, maximisation, convergence.
Between expectation and maximisation stand the sufficient statistics (:mod:`tracker.mixture.statistics`).
What is maximised is the penalised log-likelihood

    sum_n u_n log p(x_n,observed) + log prior

with u the weights of the data: a row of weight 2 counts as two rows. Values that are NaN are missing (at random)
and integrated out. The M-step is exact, so that no iteration lowers the objective, as long as ``reg_covar`` is 0.
With ``reg_covar``, which is added to the diagonal after the maximum is found, it can fall by what that costs;
a :class:`Prior` guards covariances within the objective.

References
----------
Dempster, Laird and Rubin, "Maximum likelihood from incomplete data via the EM algorithm", JRSS B 39, 1977.
Ghahramani and Jordan, "Supervised learning from incomplete data via an EM approach", NIPS 6, 1994.
Fraley and Raftery, "Bayesian regularization for normal mixture estimation and model-based clustering",
Journal of Classification 24, 2007 (the prior).
Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.mixture.gaussian import (
    Mixture,
    conditional,
    log_densities,
    log_normalise,
    marginal,
    row_index,
    sample,
)
from tracker.mixture.statistics import (
    NOTHING,
    CovarianceType,
    Observations,
    Statistics,
    expected_statistics,
    patterns,
    statistics,
)
from tracker.structures import FloatArray, IntArray, _read_only, _Rows

COVARIANCE_TYPES: tuple[CovarianceType, ...] = ("full", "tied", "diag", "spherical")


@dataclass(frozen=True, slots=True, eq=False)
class Prior(_Rows):
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
        mean = _read_only(means, np.float64, (None, None), "means")
        K, D = mean.shape
        covariance = _read_only(covariances, np.float64, (K, D, D), "covariances")
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise ValueError("means and covariances of a prior are finite, also where their counts are 0")
        object.__setattr__(self, "means", mean)
        object.__setattr__(self, "covariances", covariance)
        for name, value in (
            ("mean_counts", mean_counts),
            ("covariance_counts", covariance_counts),
            ("weight_counts", weight_counts),
        ):
            counts = _read_only(np.full(K, value) if np.ndim(value) == 0 else value, np.float64, (K,), name)
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


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """How one run of EM went.

    Parameters
    ----------
    start
        Initialise: the mixture that the first iteration met.
    log_likelihood
        (T,) expectation: mean log-likelihood of the data, per unit of weight, that each iteration met.
    log_prior
        (T,) log density of the prior (up to a constant), on the same scale.
    converged
        Convergence: the last iteration met an objective that differed by less than the tolerance, or made a step that
        was known to gain less (see :func:`expectation_maximisation`).
    """

    start: Mixture
    log_likelihood: FloatArray
    log_prior: FloatArray
    converged: bool

    @property
    def objective(self) -> FloatArray:
        """(T,) what maximisation raises: log-likelihood plus log prior, per unit of weight."""
        return self.log_likelihood + self.log_prior


def initialise(
    data: FloatArray,
    weights: FloatArray,
    K: int,
    rng: np.random.Generator,
    *,
    means: FloatArray | None = None,
    reg_covar: float = 1e-6,
) -> Mixture:
    """Return a first mixture: k-means++ seeds, each point given to the nearest, and one M-step.

    The components share one covariance. Each seed counts as one more observation, and one with the spread of all
    data is shared by the seeds, so that there may be more components than points. Distances are in units of each
    column's standard deviation.

    Parameters
    ----------
    data
        (N, D); NaN is missing and stands at the column's mean here.
    weights
        (N,) not negative.
    K
        Number of components.
    rng
        Source of the draws: each seed is the best of 2 + log K points drawn with probability proportional to
        weight x squared distance to the nearest seed so far.
    means
        (K, D) seeds to use instead.
    reg_covar
        Added to the diagonal of the covariance.

    Raises
    ------
    ValueError
        When a column has no value with weight.
    """
    present = np.where(np.isnan(data), 0.0, weights[:, None])
    if not (present.sum(axis=0) > 0).all():
        column = int((present.sum(axis=0) > 0).argmin())
        raise ValueError(f"column {column} of the data has no value with weight; a start must be given")
    centre = (present * np.nan_to_num(data)).sum(axis=0) / present.sum(axis=0)
    filled = np.where(np.isnan(data), centre, data)
    variance = (present * (filled - centre) ** 2).sum(axis=0) / present.sum(axis=0)
    scale = np.sqrt(np.where(variance > 0, variance, 1.0))
    points = (filled - centre) / scale
    norm = (points**2).sum(axis=1)

    seeds = np.empty((K, data.shape[1])) if means is None else means.copy()
    closest, label = np.full(len(data), np.inf), np.zeros(len(data), np.int64)
    for k in range(K):
        tried = seeds[k : k + 1]
        if means is None:
            mass = weights * closest if k else weights
            mass = mass if mass.sum() > 0 else weights
            tried = filled[rng.choice(len(data), size=2 + int(np.log(K)), p=mass / mass.sum())]
        z = (tried - centre) / scale
        distance = np.maximum((z**2).sum(axis=1)[:, None] + norm - 2 * z @ points.T, 0.0)
        best = (np.minimum(distance, closest) @ weights).argmin()
        seeds[k] = tried[best]
        label[distance[best] < closest] = k
        closest = np.minimum(distance[best], closest)

    nearest = np.zeros((K, len(data)))
    nearest[label, np.arange(len(data))] = 1.0
    spread = np.broadcast_to(np.diag(variance), (K, len(variance), len(variance)))
    prior = Prior(seeds, spread, mean_counts=1.0, covariance_counts=1 / K, weight_counts=1.0)
    return m_step(filled, weights, nearest.T, prior, "tied", reg_covar)


def e_step(
    mixture: Mixture, data: FloatArray, clutter_extent: FloatArray | None = None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Divide every point among the components and the background.

    ::

        log r_nk = log w_k + log N(x_n; mu_k, Sigma_k) - log p(x_n)

    Parameters
    ----------
    mixture
        K components in D dimensions.
    data
        (N, D); of a row with NaN the marginal density of its other values counts.
    clutter_extent
        (D,) sides of the box that the background fills; needed where clutter meets missing values.

    Returns
    -------
    log_responsibilities
        (N, K).
    log_clutter_share
        (N,) the background's; with the responsibilities it sums to one.
    log_likelihood
        (N,) log p(x_n). Where it is -inf nothing explains the point, and all shares are 0.
    """
    K, N = len(mixture), len(data)
    log_responsibilities, log_clutter_share, log_likelihood = np.empty((K, N)), np.empty(N), np.empty(N)
    for rows, observed in patterns(data, K * data.shape[1]):
        part = marginal(mixture, observed, clutter_extent)
        log_joint = part.log_weights[:, None] + log_densities(part, data[rows][:, observed]).T
        log_responsibilities[:, rows], log_clutter_share[rows], log_likelihood[rows] = log_normalise(
            log_joint, part.log_clutter
        )
    return log_responsibilities.T, log_clutter_share, log_likelihood


def m_step(
    data: FloatArray,
    weights: FloatArray,
    responsibilities: FloatArray,
    prior: Prior | None = None,
    covariance_type: CovarianceType = "full",
    reg_covar: float = 1e-6,
    *,
    previous: Mixture | None = None,
    clutter_extent: FloatArray | None = None,
) -> Mixture:
    """Move every component to its share of the data and of the prior.

    ::

        n_k     = sum_n u_n r_nk
        w_k     = (a_k + n_k) / total
        mu_k    = (kappa_k m_k + sum_n u_n r_nk x_n) / (kappa_k + n_k)
        S_k     = c_k C_k + kappa_k (m_k - mu_k)(m_k - mu_k)' + sum_n u_n r_nk (x_n - mu_k)(x_n - mu_k)'
        Sigma_k = S_k / (c_k + n_k)

    Of a value that is missing, x_n stands for its conditional mean under component k, and its conditional
    covariance is added to S_k. The other covariance types are the maximum under their constraint: the sum of
    all S_k over the sum of all counts (tied), the diagonal (diag), its mean (spherical).

    Parameters
    ----------
    data
        (N, D); NaN is missing.
    weights
        (N,) u, not negative.
    responsibilities
        (N, K); what a row leaves of 1 belongs to the background.
    prior
        Flat when None.
    covariance_type
        "full", "tied", "diag" or "spherical".
    reg_covar
        Added to the diagonal of every covariance.
    previous
        The mixture that gave the responsibilities: missing values are filled by it, and of a component without
        data and prior nothing changes but its weight.
    clutter_extent
        (D,) sides of the box that the background fills; None for no background.

    Raises
    ------
    ValueError
        Without ``previous`` where it is needed, or when a covariance is not positive definite.
    """
    found = statistics(data, responsibilities * weights[:, None], previous)
    return maximise(
        found, float(weights.sum()), prior, covariance_type, reg_covar, previous=previous, clutter_extent=clutter_extent
    )


def maximise(
    found: Statistics,
    mass: float,
    prior: Prior | None = None,
    covariance_type: CovarianceType = "full",
    reg_covar: float = 1e-6,
    *,
    previous: Mixture | None = None,
    clutter_extent: FloatArray | None = None,
) -> Mixture:
    """Return what :func:`m_step` does, from the statistics of the data, whose weights sum to ``mass``."""
    K, D = found.means.shape
    if prior is None:
        prior = Prior(np.zeros((K, D)), np.zeros((K, D, D)))
    if prior.means.shape != (K, D):
        raise ValueError(f"the prior is of {prior.means.shape} components and dimensions; the mixture has {(K, D)}")
    counts = found.counts

    mean_counts = prior.mean_counts + counts
    sums = prior.mean_counts[:, None] * prior.means + counts[:, None] * found.means
    means = _ratio(sums, mean_counts, None if previous is None else previous.means)

    covariance_counts = prior.covariance_counts + counts
    scatter = found.scatter + covariance_counts[:, None, None] * reg_covar * np.eye(D)
    scatter += prior.covariance_counts[:, None, None] * prior.covariances
    for mass_there, place in ((prior.mean_counts, prior.means), (counts, found.means)):
        offset = place - means
        scatter += mass_there[:, None, None] * offset[:, :, None] * offset[:, None, :]
    scatter, covariance_counts = _constrained(scatter, covariance_counts, covariance_type)
    covariances = _ratio(scatter, covariance_counts, None if previous is None else previous.covariances)

    weight_counts = prior.weight_counts + counts
    clutter_count = 0.0
    if clutter_extent is not None:
        clutter_count = prior.clutter_count + max(mass - counts.sum(), 0.0)
    total = weight_counts.sum() + clutter_count
    if total <= NOTHING:
        if previous is None:
            raise ValueError("there is neither data nor a prior of the weights; give the previous mixture")
        return Mixture(previous.log_weights, means, covariances, previous.log_clutter)
    log_clutter = _log(clutter_count / total)
    if clutter_extent is not None:
        log_clutter -= np.log(clutter_extent).sum()
    return Mixture(_log(weight_counts / total), means, covariances, log_clutter)


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


def step_gain(
    before: Mixture,
    after: Mixture,
    counts: FloatArray,
    clutter_count: float = 0.0,
    prior: Prior | None = None,
    clutter_extent: FloatArray | None = None,
) -> float:
    """Return by how much an M-step raised what it maximises, the expected log density of data and labels.

    What an M-step maximises has, up to a constant, the form of a :class:`Prior`: that of the posterior, whose means
    and covariances are the ones that the step has found, and whose counts are those of prior and data. So this needs
    no look at the data. The objective itself gains at least as much (Dempster, Laird and Rubin, theorem 1), and close
    to the end at most twice as much: to second order it gains more by half of the squared step in the metric of the
    missing information, and the gain here is half of it in that of the complete information, which is not less.

    Parameters
    ----------
    before, after
        The mixture that gave the responsibilities, and the one that the M-step made of it; both of one covariance
        type.
    counts
        (K,) sums of the weighted responsibilities.
    clutter_count
        The same of the background.
    prior, clutter_extent
        See :func:`m_step`.
    """
    of_means = of_covariances = of_weights = counts
    if prior is not None:
        of_means, of_covariances = prior.mean_counts + counts, prior.covariance_counts + counts
        of_weights, clutter_count = prior.weight_counts + counts, prior.clutter_count + clutter_count
    posterior = Prior(after.means, after.covariances, of_means, of_covariances, of_weights, clutter_count)
    return log_prior(after, posterior, clutter_extent) - log_prior(before, posterior, clutter_extent)


def expectation_maximisation(
    start: Mixture,
    data: FloatArray,
    weights: FloatArray,
    prior: Prior | None = None,
    covariance_type: CovarianceType = "full",
    reg_covar: float = 1e-6,
    *,
    tol: float = 1e-3,
    max_iter: int = 100,
    clutter_extent: FloatArray | None = None,
    near_end: bool = False,
) -> tuple[Mixture, Trace]:
    """Improve a mixture until the objective, per unit of weight, changes by less than ``tol``.

    That a step changed little shows only in the iteration after it. From a start near the end, as that of a frame
    which is like the one before, a step can tell by itself that it gained less than ``tol`` (:func:`step_gain`): the
    iteration that would find so is spared, and often the first is the last.

    Parameters
    ----------
    start
        The first mixture: from :func:`initialise`, or that of the frame before.
    data, weights, prior, covariance_type, reg_covar, clutter_extent
        See :func:`m_step`.
    tol
        Change of the objective at which to stop.
    max_iter
        Most iterations.
    near_end
        Whether the start is near the end, so that steps are believed.

    Returns
    -------
    The mixture after the last M-step, and what led to it.

    Raises
    ------
    ValueError
        When a covariance ceases to be positive definite, or for a start with clutter and no extent of it.
    """
    if start.log_clutter > -np.inf and clutter_extent is None:
        raise ValueError("a mixture with clutter is fitted only if the extent of the clutter is known")
    mixture, objective, converged = start, -np.inf, False
    log_likelihoods: list[float] = []
    log_priors: list[float] = []
    mass = float(weights.sum())
    scale = mass or 1.0
    observations = Observations.of(data, weights)
    while not converged and len(log_likelihoods) < max_iter:
        # Expectation
        found, log_likelihood = expected_statistics(mixture, observations, covariance_type, clutter_extent)
        log_likelihoods.append(log_likelihood / scale)
        log_priors.append(0.0 if prior is None else log_prior(mixture, prior, clutter_extent) / scale)
        # Maximisation
        before = mixture
        mixture = maximise(
            found, mass, prior, covariance_type, reg_covar, previous=before, clutter_extent=clutter_extent
        )
        # Convergence
        last, objective = objective, log_likelihoods[-1] + log_priors[-1]
        converged = abs(objective - last) < tol
        if near_end and not converged:
            clutter_count = 0.0 if clutter_extent is None else max(mass - found.counts.sum(), 0.0)
            gain = step_gain(before, mixture, found.counts, clutter_count, prior, clutter_extent)
            converged = 2.0 * gain / scale < tol
    return mixture, Trace(start, np.array(log_likelihoods), np.array(log_priors), converged)


def impute(mixture: Mixture, data: FloatArray) -> FloatArray:
    """Return (N, D) data with each missing value at its mean given the row's other values.

    The background says nothing about what is missing, and is left out.
    """
    gaussians = Mixture(mixture.log_weights, mixture.means, mixture.covariances)
    responsibilities = np.exp(e_step(gaussians, data)[0])
    filled = data.copy()
    for rows, observed in patterns(data, data.shape[1] * len(mixture)):
        values = data[rows]
        means, _ = conditional(mixture, observed, values[:, observed])
        values[:, ~observed] = np.einsum("knm,nk->nm", means, responsibilities[rows])
        filled[rows] = values
    return filled


def _log(shares: ArrayLike) -> Any:
    """Return logarithms, -inf of 0 without a warning."""
    with np.errstate(divide="ignore"):
        return np.log(shares)


def _table(X: ArrayLike, D: int | None = None) -> FloatArray:
    """Return (N, D) data, checked."""
    data = _read_only(X, np.float64, (None, D), "X")
    if np.isinf(data).any():
        raise ValueError(f"X row {int(np.isinf(data).any(axis=1).argmax())} is infinite; values are finite, or NaN")
    return data


def _sample_weights(weights: ArrayLike | None, n: int) -> FloatArray:
    """Return (n,) weights of the data, checked; ones by default."""
    checked = _read_only(np.ones(n) if weights is None else weights, np.float64, (n,), "sample_weight")
    good = (checked >= 0) & (checked < np.inf)
    if not good.all():
        row = int(good.argmin())
        raise ValueError(f"sample_weight row {row} is {checked[row]}; it is finite and not negative")
    return checked


def _ratio(sums: FloatArray, counts: FloatArray, previous: FloatArray | None) -> FloatArray:
    """Return sums / counts by component; the previous value where there is nothing to divide by."""
    empty = counts <= NOTHING
    if previous is None and empty.any():
        raise ValueError(f"component {int(empty.argmax())} has neither data nor prior; give the previous mixture")
    ratio = sums / np.where(empty, 1.0, counts).reshape(-1, *[1] * (sums.ndim - 1))
    if previous is not None:
        ratio[empty] = previous[empty]
    return ratio


def _constrained(scatter: FloatArray, counts: FloatArray, kind: CovarianceType) -> tuple[FloatArray, FloatArray]:
    """Return the scatter and counts whose ratio is the most likely covariance of its kind."""
    D = scatter.shape[1]
    match kind:
        case "full":
            return (scatter + scatter.transpose(0, 2, 1)) / 2, counts
        case "tied":
            pooled = scatter.sum(axis=0)
            return np.broadcast_to((pooled + pooled.T) / 2, scatter.shape), np.full(len(counts), counts.sum())
        case "diag":
            return scatter * np.eye(D), counts
        case "spherical":
            return np.trace(scatter, axis1=1, axis2=2)[:, None, None] / D * np.eye(D), counts
    raise ValueError(f"covariance_type is {kind!r}; it is one of {', '.join(COVARIANCE_TYPES)}")


@dataclass(eq=False)
class GaussianMixture:
    """A Gaussian mixture fitted to weighted, incomplete data by EM, with the interface of scikit-learn's.

    ::

        mixture = GaussianMixture(3, random_state=1).fit(X, sample_weight=u)
        mixture.predict(X), mixture.trace_.objective, mixture.mixture_

    ``X`` is (N, D) everywhere; NaN is missing. There may be fewer points than components if ``reg_covar`` or a
    prior keeps the covariances definite, and none if the start is given and a prior stands in for data.

    Parameters
    ----------
    n_components
        Number K of Gaussians.
    covariance_type
        "full", "tied" (one for all), "diag" or "spherical".
    tol
        Change of the objective per unit of weight at which to stop.
    reg_covar
        Added to the diagonal of covariances. With a prior of these it may be 0.
    max_iter
        Most iterations.
    n_init
        Number of starts; the best result is kept. One is made where the start is given.
    weights_init
        (K,) weights to start from, scaled to sum to 1 - ``clutter_weight``.
    means_init
        (K, D) means to start from.
    precisions_init
        Inverse covariances to start from: (K, D, D), (D, D), (K, D) or (K,), by covariance type.
    random_state
        Generator, or seed of one. What is not given above is found by k-means++.
    warm_start
        Start from the previous fit where there is one, and end with the first step that is known to gain less than
        ``tol``.
    prior
        Belief about each component; flat when None.
    clutter_weight
        Weight to start from of a uniform background; it is learned. 0 for no background.
    clutter_box
        (2, D) lowest and highest corner of the box that the background fills; the range of the data when None.
        Points outside meet the same density.

    Attributes
    ----------
    mixture_
        The result, a :class:`~tracker.mixture.gaussian.Mixture`.
    trace_
        How the fit went, a :class:`Trace`.
    clutter_box_
        (2, D) box of the background; None without.
    weights_, means_, covariances_, precisions_, clutter_weight_
        The result in scikit-learn's shapes (see ``precisions_init``); weights and clutter weight sum to one.
    converged_, n_iter_, lower_bound_
        Convergence, number of iterations, and the objective that the last iteration met.

    Warns
    -----
    RuntimeWarning
        When ``max_iter`` iterations do not reach convergence.
    """

    n_components: int = 1
    covariance_type: CovarianceType = "full"
    tol: float = 1e-3
    reg_covar: float = 1e-6
    max_iter: int = 100
    n_init: int = 1
    weights_init: ArrayLike | None = None
    means_init: ArrayLike | None = None
    precisions_init: ArrayLike | None = None
    random_state: int | np.random.Generator | None = None
    warm_start: bool = False
    prior: Prior | None = None
    clutter_weight: float = 0.0
    clutter_box: ArrayLike | None = None
    mixture_: Mixture = field(init=False, repr=False)
    trace_: Trace = field(init=False, repr=False)
    clutter_box_: FloatArray | None = field(init=False, repr=False)

    def fit(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the mixture to ``X``, whose rows count ``sample_weight`` (N,) times each (1 when None).

        Raises
        ------
        ValueError
            For parameters or data that cannot be used, and when a covariance collapses; the message says what
            to change.
        """
        self._check_parameters()
        data = _table(X)
        weights = _sample_weights(sample_weight, len(data))
        box = self._box(data, weights)
        extent = None if box is None else box[1] - box[0]
        rng = np.random.default_rng(self.random_state)
        warm = self.warm_start and hasattr(self, "mixture_")
        fixed = warm or (self.means_init is not None and self.precisions_init is not None)
        results = [
            expectation_maximisation(
                self._start(data, weights, extent, rng, warm),
                data,
                weights,
                self.prior,
                self.covariance_type,
                self.reg_covar,
                tol=self.tol,
                max_iter=self.max_iter,
                clutter_extent=extent,
                near_end=warm,
            )
            for _ in range(1 if fixed else self.n_init)
        ]
        self.mixture_, self.trace_ = max(results, key=lambda result: result[1].objective[-1])
        self.clutter_box_ = box
        if not self.converged_:
            warnings.warn(
                f"no convergence to {self.tol:g} in {self.max_iter} iterations; raise max_iter or tol",
                RuntimeWarning,
                stacklevel=2,
            )
        return self

    def fit_predict(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> IntArray:
        """Fit, and return the labels of ``X``; see :meth:`fit` and :meth:`predict`."""
        return self.fit(X, sample_weight).predict(X)

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Return the (N, K) responsibilities; what a row leaves of 1 is the background's."""
        return np.exp(self._e_step(X)[0])

    def predict(self, X: ArrayLike) -> IntArray:
        """Return the (N,) most responsible component, -1 for the background."""
        log_responsibilities, log_clutter_share, _ = self._e_step(X)
        label = log_responsibilities.argmax(axis=1)
        return np.where(log_clutter_share > log_responsibilities.max(axis=1), -1, label)

    def score_samples(self, X: ArrayLike) -> FloatArray:
        """Return the (N,) log-likelihood of each row, of what is observed of it."""
        return self._e_step(X)[2]

    def score(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the mean log-likelihood per unit of weight."""
        log_likelihood = self.score_samples(X)
        weights = _sample_weights(sample_weight, len(log_likelihood))
        if not weights.any():
            raise ValueError("sample_weight sums to 0; some weight must be positive")
        return float(np.average(log_likelihood, weights=weights))

    def bic(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the Bayesian information criterion, lower is better; the number of data is the sum of weights."""
        n = _sample_weights(sample_weight, len(np.asarray(X))).sum()
        return float(-2 * n * self.score(X, sample_weight) + self._parameters() * np.log(n))

    def aic(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return Akaike's information criterion, lower is better."""
        n = _sample_weights(sample_weight, len(np.asarray(X))).sum()
        return float(-2 * n * self.score(X, sample_weight) + 2 * self._parameters())

    def impute(self, X: ArrayLike) -> FloatArray:
        """Return ``X`` with each missing value at its mean given the row's other values; see :func:`impute`."""
        mixture = self._fitted()
        return impute(mixture, _table(X, mixture.means.shape[1]))

    def sample(self, n_samples: int = 1) -> tuple[FloatArray, IntArray]:
        """Draw (n, D) points and their (n,) components, -1 for the background."""
        rng = np.random.default_rng(self.random_state)
        points, labels = sample(self._fitted(), n_samples, rng)
        if self.clutter_box_ is not None:
            clutter = rng.random(n_samples) < self.clutter_weight_
            low, high = self.clutter_box_
            points[clutter] = rng.uniform(low, high, size=(clutter.sum(), len(low)))
            labels[clutter] = -1
        return points, labels

    @property
    def weights_(self) -> FloatArray:
        """(K,) weights."""
        return self._fitted().weights

    @property
    def means_(self) -> FloatArray:
        """(K, D) means."""
        return self._fitted().means

    @property
    def covariances_(self) -> FloatArray:
        """Covariances in the shape of the covariance type."""
        return self._shaped(self._fitted().covariances)

    @property
    def precisions_(self) -> FloatArray:
        """Inverse covariances in the shape of the covariance type."""
        return self._shaped(np.linalg.inv(self._fitted().covariances))

    @property
    def clutter_weight_(self) -> float:
        """Weight of the background."""
        log_clutter = self._fitted().log_clutter
        if self.clutter_box_ is None:
            return 0.0
        return float(np.exp(log_clutter + np.log(np.ptp(self.clutter_box_, axis=0)).sum()))

    @property
    def converged_(self) -> bool:
        """Whether the tolerance was reached."""
        return self.trace_.converged

    @property
    def n_iter_(self) -> int:
        """Number of iterations."""
        return len(self.trace_.objective)

    @property
    def lower_bound_(self) -> float:
        """Objective that the last iteration met."""
        return float(self.trace_.objective[-1])

    def _fitted(self) -> Mixture:
        if not hasattr(self, "mixture_"):
            raise ValueError("this GaussianMixture is not fitted yet; call fit first")
        return self.mixture_

    def _e_step(self, X: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
        mixture = self._fitted()
        extent = None if self.clutter_box_ is None else self.clutter_box_[1] - self.clutter_box_[0]
        return e_step(mixture, _table(X, mixture.means.shape[1]), extent)

    def _start(
        self, data: FloatArray, weights: FloatArray, extent: FloatArray | None, rng: np.random.Generator, warm: bool
    ) -> Mixture:
        """Return the mixture to start from: the last one, or what was given and for the rest k-means++."""
        K, D = self.n_components, data.shape[1]
        log_density = 0.0 if extent is None else -np.log(extent).sum()
        if warm:
            last = self._fitted()
            if last.means.shape != (K, D):
                raise ValueError(f"a warm start of shape {last.means.shape} does not fit {(K, D)}; fit a new estimator")
            clutter_weight = 0.0 if extent is None else self.clutter_weight_ or self.clutter_weight
            log_weights = last.log_weights + np.log((1.0 - clutter_weight) / last.weights.sum())
            return Mixture(log_weights, last.means, last.covariances, _log(clutter_weight) + log_density)
        means = None if self.means_init is None else _read_only(self.means_init, np.float64, (K, D), "means_init")
        if means is None or self.precisions_init is None:
            found = initialise(data, weights, K, rng, means=means, reg_covar=self.reg_covar)
            shares, means, covariances = found.weights, found.means if means is None else means, found.covariances
        else:
            shares = np.ones(K)
        if self.precisions_init is not None:
            covariances = np.asarray(np.linalg.inv(self._unshaped(self.precisions_init, D)), np.float64)
        if self.weights_init is not None:
            shares = _read_only(self.weights_init, np.float64, (K,), "weights_init")
            if not ((shares >= 0).all() and 0 < shares.sum() < np.inf):
                raise ValueError("weights_init must be finite, not negative and not all zero")
        log_weights = _log(shares * (1 - self.clutter_weight) / shares.sum())
        return Mixture(log_weights, means, covariances, _log(self.clutter_weight) + log_density)

    def _box(self, data: FloatArray, weights: FloatArray) -> FloatArray | None:
        """Return the (2, D) box of the background, None where there is none."""
        if self.clutter_weight == 0:
            return None
        if self.clutter_box is not None:
            box = _read_only(self.clutter_box, np.float64, (2, data.shape[1]), "clutter_box")
        else:
            present = ~np.isnan(data) & (weights > 0)[:, None]
            low = np.min(data, axis=0, initial=np.inf, where=present)
            box = np.stack([low, np.max(data, axis=0, initial=-np.inf, where=present)])
        good = (box[1] > box[0]) & np.isfinite(box).all(axis=0)
        if not good.all():
            raise ValueError(f"the clutter box has no extent in column {int(good.argmin())}; give clutter_box")
        return box

    def _shaped(self, matrices: NDArray[Any]) -> FloatArray:
        """Return (K, D, D) matrices in the shape of the covariance type."""
        match self.covariance_type:
            case "full":
                return matrices
            case "tied":
                return matrices[0]
            case "diag":
                return np.diagonal(matrices, axis1=1, axis2=2)
            case "spherical":
                return matrices[:, 0, 0]

    def _unshaped(self, matrices: ArrayLike, D: int) -> FloatArray:
        """Return matrices in the shape of the covariance type as (K, D, D)."""
        K, name = self.n_components, "precisions_init"
        match self.covariance_type:
            case "full":
                return _read_only(matrices, np.float64, (K, D, D), name)
            case "tied":
                return np.broadcast_to(_read_only(matrices, np.float64, (D, D), name), (K, D, D))
            case "diag":
                return _read_only(matrices, np.float64, (K, D), name)[:, :, None] * np.eye(D)
            case "spherical":
                return _read_only(matrices, np.float64, (K,), name)[:, None, None] * np.eye(D)

    def _parameters(self) -> int:
        """Return the number of free parameters."""
        K, D = self._fitted().means.shape
        covariance = {"full": K * D * (D + 1) // 2, "tied": D * (D + 1) // 2, "diag": K * D, "spherical": K}
        return covariance[self.covariance_type] + K * D + K - 1 + (self.clutter_box_ is not None)

    def _check_parameters(self) -> None:
        for name, value, least in (
            ("n_components", self.n_components, 1),
            ("max_iter", self.max_iter, 1),
            ("n_init", self.n_init, 1),
            ("tol", self.tol, 0),
            ("reg_covar", self.reg_covar, 0),
        ):
            if not value >= least:
                raise ValueError(f"{name} is {value}; it is {least} or more")
        if self.covariance_type not in COVARIANCE_TYPES:
            raise ValueError(f"covariance_type is {self.covariance_type!r}; it is one of {', '.join(COVARIANCE_TYPES)}")
        if not 0 <= self.clutter_weight < 1:
            raise ValueError(f"clutter_weight is {self.clutter_weight}; it is in [0, 1)")
