"""Expectation-maximisation for Gaussian mixtures of weighted, incomplete data.

The mixture has K Gaussians and, if wanted, a uniform background ("clutter") that fills a box. Four phases, each
a pure function or a line of :func:`expectation_maximisation`: initialise, expectation, maximisation, convergence.
Between expectation and maximisation stand the sufficient statistics (:mod:`tracker.mixture.statistics`).
What is maximised is the penalised log-likelihood

    sum_n u_n log p(x_n,observed) + log prior

with u the weights of the data: a row of weight 2 counts as two rows. Values that are NaN are missing (at random)
and integrated out. The M-step is exact, so that no iteration lowers the objective, as long as ``reg_covar`` is 0.
With ``reg_covar``, which is added to the diagonal after the maximum is found, it can fall by what that costs;
a :class:`~tracker.mixture.prior.Prior` guards covariances within the objective.

References
----------
Dempster, Laird and Rubin, "Maximum likelihood from incomplete data via the EM algorithm", JRSS B 39, 1977.
Ghahramani and Jordan, "Supervised learning from incomplete data via an EM approach", NIPS 6, 1994.
Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracker.mixture.gaussian import (
    Mixture,
    conditional,
    log_densities,
    log_normalise,
    log_weights_of,
    marginal,
)
from tracker.mixture.prior import Prior, log_prior
from tracker.mixture.statistics import (
    COVARIANCE_TYPES,
    NOTHING,
    CovarianceType,
    Observations,
    Statistics,
    expected_statistics,
    patterns,
    statistics,
)
from tracker.structures import FloatArray


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
    log_clutter = log_weights_of(clutter_count / total)
    if clutter_extent is not None:
        log_clutter -= np.log(clutter_extent).sum()
    return Mixture(log_weights_of(weight_counts / total), means, covariances, log_clutter)


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
