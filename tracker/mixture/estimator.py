"""The mixture as an estimator with the interface of scikit-learn's: parameters, ``fit``, ``predict``, scores.

What it does is done by :mod:`tracker.mixture.em`; here data and parameters are checked, the start and the background's
box are chosen, and the result is given in scikit-learn's shapes.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.mixture.em import Trace, e_step, expectation_maximisation, impute, initialise
from tracker.mixture.gaussian import Mixture, log_weights_of, sample
from tracker.mixture.prior import Prior
from tracker.mixture.statistics import COVARIANCE_TYPES, CovarianceType
from tracker.structures import FloatArray, IntArray, read_only


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
            return Mixture(log_weights, last.means, last.covariances, log_weights_of(clutter_weight) + log_density)
        means = None if self.means_init is None else read_only(self.means_init, np.float64, (K, D), "means_init")
        if means is None or self.precisions_init is None:
            found = initialise(data, weights, K, rng, means=means, reg_covar=self.reg_covar)
            shares, means, covariances = found.weights, found.means if means is None else means, found.covariances
        else:
            shares = np.ones(K)
        if self.precisions_init is not None:
            covariances = np.asarray(np.linalg.inv(self._unshaped(self.precisions_init, D)), np.float64)
        if self.weights_init is not None:
            shares = read_only(self.weights_init, np.float64, (K,), "weights_init")
            if not ((shares >= 0).all() and 0 < shares.sum() < np.inf):
                raise ValueError("weights_init must be finite, not negative and not all zero")
        log_weights = log_weights_of(shares * (1 - self.clutter_weight) / shares.sum())
        return Mixture(log_weights, means, covariances, log_weights_of(self.clutter_weight) + log_density)

    def _box(self, data: FloatArray, weights: FloatArray) -> FloatArray | None:
        """Return the (2, D) box of the background, None where there is none."""
        if self.clutter_weight == 0:
            return None
        if self.clutter_box is not None:
            box = read_only(self.clutter_box, np.float64, (2, data.shape[1]), "clutter_box")
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
                return read_only(matrices, np.float64, (K, D, D), name)
            case "tied":
                return np.broadcast_to(read_only(matrices, np.float64, (D, D), name), (K, D, D))
            case "diag":
                return read_only(matrices, np.float64, (K, D), name)[:, :, None] * np.eye(D)
            case "spherical":
                return read_only(matrices, np.float64, (K,), name)[:, None, None] * np.eye(D)

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


def _table(X: ArrayLike, D: int | None = None) -> FloatArray:
    """Return (N, D) data, checked."""
    data = read_only(X, np.float64, (None, D), "X")
    if np.isinf(data).any():
        raise ValueError(f"X row {int(np.isinf(data).any(axis=1).argmax())} is infinite; values are finite, or NaN")
    return data


def _sample_weights(weights: ArrayLike | None, n: int) -> FloatArray:
    """Return (n,) weights of the data, checked; ones by default."""
    checked = read_only(np.ones(n) if weights is None else weights, np.float64, (n,), "sample_weight")
    good = (checked >= 0) & (checked < np.inf)
    if not good.all():
        row = int(good.argmin())
        raise ValueError(f"sample_weight row {row} is {checked[row]}; it is finite and not negative")
    return checked
