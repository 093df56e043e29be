"""The mixture through time where the observations are pixels: every object is a Gaussian blob of foreground.

The pixels of a frame are a Poisson process whose intensity is a mixture over a uniform background,

    lambda(x) = sum_k m_k N(x; mu_k, Sigma_k) + clutter,

m_k being the number of pixels that object k shows. Last frame's blobs, moved by the motion model of
:mod:`tracker.tracking.motion`, are the start and the prior of a few rounds of EM. Who is not needed to explain the
pixels, by the likelihood, is not seen in the frame and coasts. Unexplained pixels give birth. Boxes come from the
moments of an object's own pixels; how far its outline reaches beyond them is learned while it walks alone.

Neighbouring pixels say the same, so that all the pixels of a whole object count as one observation: the prior's
counts, and what an object costs, are in units of an object's mass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.config import Config, PixelsConfig
from tracker.geometry import intersection_over_union, xyxy_to_cxywh, xyxy_to_ltwh
from tracker.mixture.exclusive import association_marginals, is_worth_claiming, most_probable_claims
from tracker.mixture.kernels import compiling, kernel
from tracker.structures import (
    BLOB_TRACK,
    BlobTracks,
    Detections,
    FloatArray,
    Foreground,
    IntArray,
    Status,
    Tracks,
    _Rows,
)
from tracker.tracking.division import HELD, LARGEST_STEP, Halves, halves, sizes_for_two, sizes_of
from tracker.tracking.evidence import (
    LARGEST_COVER,
    cover_from_last_frame,
    detection_probability,
    log_density_at_mode,
    observe,
    pair_log_likelihoods,
    pair_log_odds,
)
from tracker.tracking.holding import STILL, Holder, checked_affine, elapsed_tau
from tracker.tracking.motion import (
    TAU_PER_S,
    bring_to_step,
    innovation_variances,
    measurement_variance,
    predict,
    predicted_boxes,
    update,
)
from tracker.tracking.state import (
    CERTAIN,
    COMPONENT,
    PAIR,
    Record,
    Records,
    StepInfo,
    TrackerState,
    initial_state,
    parameters,
)
from tracker.tracking.uncertainty import continuity, error_laws

ANCHOR = 0.5
"""Height of the point that is tracked: the centre, since pixels tell of all of an object alike."""
EXTENT = (4.5, 4.2)
"""Width and height of people in standard deviations of their silhouettes: medians of lone walkers on two clips (4.6
and 4.1 on one, 4.5 and 4.3 on the other). Of a rectangle it would be 3.46, of an ellipse 4."""
STRETCH = 1.35
"""No outline reaches further, or less far, than this times the usual."""
SIZE_BOUNDS = (0.3, 0.15)
"""Largest log deviation of a width and a height from what is typical where it stands."""
FREE_BOUND = math.log(2.0)
"""The same from the size at birth, where no size is typical."""
LARGEST_SKEW = 0.2
"""An outline's centre lies no further from the centre of gravity, in widths and heights."""
LARGEST_CORRELATION = 0.6
FILLS = (0.15, 1.0)
"""Share of its box that an object shows."""

_LEARNING = 0.1  # step of an object's own outline and fill
_GATE = 12.0  # squared Mahalanobis distance; beyond, a body's density is far below clutter
_HIDDEN = 0.9  # share of the covered pixels that is not expected
_SIZE_COUNT = 3.0  # times as firmly as the filter holds a size, EM holds it: shares are less certain than outlines
_VETO_IOU = 0.4  # no birth where somebody overlaps more than this
_OVERLAP = 0.7  # share of a box within another from which an object may be needless
_NEGLIGIBLE = 0.01  # share of a point's pixels
_SAME_IOU = 0.7  # of a silhouette and the pixels of its region, which are thinned
_TAIL = 0.003  # share of an object's pixels at either end that its outline leaves out
_PURE, _WHOLLY_PURE = 0.8, 0.97  # mean responsibility from which pixels show the object's own outline
_LARGEST_GAIN = 3.0  # of an object in one frame, in nats
_MOVED = 0.7  # distance from its birthplace, in units of g, that no hole in the background has
_KEPT_MISSES_FRAMES = 5  # so long the background is not learned where somebody is hidden
_KEPT_MARGIN = 0.25  # in units of g: arms and legs swing

_REPORTED = {
    "ids": "id",
    "scores": "score",
    "classes": "label",
    "detection_indices": "detection",
    "existence": "existence",
    "responsibilities": "responsibility",
    "parent_ids": "parent_id",
}

BLOB = np.dtype(
    [
        *COMPONENT.descr,
        ("correlation", "f8"),  # of x and y
        ("extent", "f8", (2,)),  # width and height in standard deviations of the pixels
        ("skew", "f8", (2,)),  # centre of gravity less centre, in widths and heights
        ("fill", "f8"),  # share of the box that shows pixels when nothing hides it
        ("birth_size", "f8", (2,)),
        ("birthplace", "f8", (2,)),
        ("moved", "i8"),  # whether it has ever left its birthplace
        ("silhouette", "f8", (4,)),  # left, top, right, bottom of the connected pixels that it is part of
        ("parent_id", "i8"),
        ("division", "f8"),  # evidence that it is two, nats
        ("offset", "f8", (2,)),  # from its centre of gravity to that of the first of the two
        ("apart", "f8"),  # evidence that it is not part of another, nats
    ]
)
"""An object: a :data:`tracker.tracking.state.COMPONENT`, whose y is that of the centre, with the shape of its blob."""


@dataclass(frozen=True, slots=True, eq=False)
class BlobPrior(_Rows):
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
        Point n is near to the blobs ``member[start[n]:start[n + 1]]``.
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


def share_out(
    foreground: Foreground, prior: BlobPrior, visible: NDArray[np.bool_], clutter_density: float, rounds: int
) -> Shares:
    """Divide the pixels among the blobs by expectation-maximisation, from the mode of the prior.

    ::

        r_nk    = m_k N(x_n; mu_k, Sigma_k) / lambda(x_n),      n_k = sum_n u_n r_nk
        m_k     = (n_k + m_0k) / 2
        mu_k    = (kappa_k mu_0k + sum_n u_n r_nk x_n) / (kappa_k + n_k)
        Sigma_k = (c_k C_k + kappa_k (mu_0k - mu_k)(..)' + sum_n u_n r_nk (x_n - mu_k)(..)') / (c_k + n_k)

    as in :func:`tracker.mixture.em.m_step`, with masses in place of weights. A blob has no density beyond a gate
    about its prediction.

    Parameters
    ----------
    foreground
        The pixels.
    prior
        Of the blobs.
    visible
        (K,) which blobs take part.
    clutter_density
        Foreground pixels per pixel that belong to no object.
    rounds
        Of EM.
    """
    points, weights = foreground.points_px, foreground.weights
    start, member = _near(points, prior.means, prior.covariances, prior.spreads, visible)
    outcome = _em(
        points,
        weights,
        start,
        member,
        visible,
        clutter_density,
        rounds,
        prior.means,
        prior.covariances,
        prior.mean_counts,
        prior.covariance_counts,
        prior.masses,
    )
    return Shares(visible, start, member, *outcome)


@kernel()
def _near(
    points: FloatArray, means: FloatArray, covariances: FloatArray, spreads: FloatArray, visible: NDArray[np.bool_]
) -> tuple[IntArray, IntArray]:
    """Return start, member as in :class:`Shares`."""
    K = len(means)
    start = np.zeros(len(points) + 1, np.int64)
    member = np.empty(len(points) * K, np.int64)
    count = 0
    for n in range(len(points)):
        for k in range(K):
            if not visible[k]:
                continue
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
                responsibilities[e] = q[3] * math.exp(-0.5 * (q[0] * x * x + 2.0 * q[1] * x * y + q[2] * y * y))
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
    foreground: Foreground, prior: BlobPrior, extents: FloatArray, settings: PixelsConfig
) -> tuple[Shares, FloatArray]:
    """Divide the pixels among the objects that are needed to explain them.

    An object's gain is what the log posterior loses without it, per pixel of its whole mass. While somebody's gain
    is below 0, all others left as they are, who gains least is taken out, and EM begins anew. Who overlaps another
    by more than 70 % must gain ``object_cost`` over the best that the others can do without it: two blobs on one
    body explain it hardly better than one.

    Parameters
    ----------
    foreground, prior
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
        shares = share_out(foreground, prior, visible, settings.clutter_density, settings.rounds)
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
    """Return (K,) the gain of each object, the others left as they are; infinite for those that took no part."""
    loss = -foreground.weights[shares.points] * np.log(np.maximum(1.0 - shares.responsibilities, 1e-3))
    gains = np.bincount(shares.member, loss, len(prior)) - shares.masses
    offset = shares.means - prior.means
    distance = np.einsum("ki,kij,kj->k", offset, np.linalg.inv(shares.covariances), offset)
    return np.where(shares.visible, (gains - 0.5 * prior.mean_counts * distance) / prior.whole_masses, np.inf)


def _largest_cover(shares: Shares, extents: FloatArray) -> FloatArray:
    """Return (K,) the largest share of each blob's box that another one's covers, both taking part."""
    if not len(extents):
        return np.zeros(0)
    boxes = _boxes(shares.means, np.sqrt(np.diagonal(shares.covariances, axis1=1, axis2=2)) * extents)
    cover = _intersections(boxes, boxes) / _areas(boxes)[:, None]
    np.fill_diagonal(cover, 0.0)
    return np.asarray((cover * shares.visible).max(axis=1))


def _intersections(a_xyxy: FloatArray, b_xyxy: FloatArray) -> FloatArray:
    """Return (A, B) areas that boxes have in common."""
    low = np.maximum(a_xyxy[:, None, :2], b_xyxy[:, :2])
    high = np.minimum(a_xyxy[:, None, 2:], b_xyxy[:, 2:])
    return np.asarray(np.maximum(high - low, 0.0).prod(axis=2))


def _areas(boxes_xyxy: FloatArray) -> FloatArray:
    return np.asarray((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(axis=1))


def _overlaps(box_xyxy: FloatArray, boxes_xyxy: FloatArray) -> FloatArray:
    """Return (N,) the intersection over union of one box with each of others."""
    return intersection_over_union(xyxy_to_ltwh(box_xyxy[None]), xyxy_to_ltwh(boxes_xyxy))[0]


def _boxes(centres: FloatArray, sizes: FloatArray) -> FloatArray:
    """Return (..., 4) left, top, right, bottom."""
    return np.concatenate([centres - sizes / 2.0, centres + sizes / 2.0], axis=-1)


def _existence(odds: FloatArray) -> FloatArray:
    return np.asarray(np.clip(odds / (1.0 + odds), 1.0 - CERTAIN, CERTAIN))


@kernel()
def _predict(
    components: Records, scene: Records, affine: FloatArray, tau: float, parameter: Records, predicted: Records
) -> tuple[FloatArray, FloatArray]:
    """Move the components as in box mode; return (K,) the share of each that is hidden, and P_D."""
    parameter[1] = parameter[0]
    p = parameter[1]
    bring_to_step(p, tau)
    predict(components, scene, affine, tau, p, predicted)
    cover = cover_from_last_frame(predicted, predicted_boxes(predicted, ANCHOR))
    return cover, detection_probability(predicted, cover, p)


def _revert_sizes(predicted: Records, foreground: Foreground, tau: float, settings: PixelsConfig) -> None:
    """Let sizes return to what is typical where objects stand, in place, and bound them.

    The deviation from the typical size is an Ornstein-Uhlenbeck process: it decays with ``size_memory_s``, and its
    variance is, in the long run, that of the sizes of objects.
    """
    size = predicted["mean"][:, 2:]
    if foreground.typical_size is None:
        size[:] = _bounded(size, predicted["birth_size"], FREE_BOUND)
        return
    typical = foreground.typical_size.at(predicted["mean"][:, 1] + size[:, 1] / 2.0)
    kept = math.exp(-tau / (TAU_PER_S * settings.size_memory_s))
    size[:] = typical + kept * (_bounded(size, typical, SIZE_BOUNDS) - typical)
    spread = (foreground.typical_size.log_spread * typical) ** 2
    predicted["p00"][:, 2:] = kept**2 * predicted["p00"][:, 2:] + (1.0 - kept**2) * spread
    predicted["p01"][:, 2:] *= kept


def _bounded(size: FloatArray, centre: FloatArray, bound: ArrayLike) -> FloatArray:
    """Return sizes whose logarithms are within ``bound`` of those of ``centre``."""
    deviation = np.log(np.maximum(size, 1.0) / centre)
    return np.asarray(centre * np.exp(np.clip(deviation, -np.asarray(bound), bound)))


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
    stiffness = np.sqrt(_variances(predicted, scene, parameter) / predicted["p00"])
    return BlobPrior(
        means=centre + predicted["skew"] * size,
        covariances=covariances,
        mean_counts=whole * stiffness[:, 0] * stiffness[:, 1],
        covariance_counts=_SIZE_COUNT * whole * stiffness[:, 2] * stiffness[:, 3],
        masses=whole * (1.0 - _HIDDEN * hidden),
        whole_masses=whole,
        spreads=predicted["p00"][:, :2].copy(),
    )


def step(
    state: TrackerState,
    foreground: Foreground,
    config: Config,
    *,
    time_s: float,
    camera_affine: ArrayLike | None = None,
) -> tuple[TrackerState, StepInfo, Shares]:
    """Carry the mixture through one frame.

    Parameters
    ----------
    state
        From :func:`first_state` or an earlier step; not changed.
    foreground
        What was seen in the frame.
    config
        The configuration.
    time_s
        Time of the frame in seconds.
    camera_affine
        (2, 3) map from the previous frame's pixels to this one's; None for a camera that stood still.

    Returns
    -------
    state, info, shares
        The new state, what the step learned, and the outcome of EM. The pairs of ``info`` are of objects and
        silhouettes, with shares of the object's pixels.

    Raises
    ------
    ValueError
        When time does not increase or the map is not 2 x 3, finite and invertible.
    """
    return _step(state, foreground, config, parameters(config_of_blobs(config)), time_s, camera_affine)


def _step(
    state: TrackerState,
    foreground: Foreground,
    config: Config,
    parameter: Records,
    time_s: float,
    camera_affine: ArrayLike | None,
) -> tuple[TrackerState, StepInfo, Shares]:
    settings = config.tracking.pixels
    tau, time_s = elapsed_tau(state, time_s)
    predicted = np.empty(len(state.components), BLOB)
    affine = STILL if camera_affine is None else checked_affine(camera_affine)
    cover, visible = _predict(state.components, state.scene, affine, tau, parameter, predicted)
    _revert_sizes(predicted, foreground, tau, settings)
    prior = blob_prior(predicted, np.minimum(cover, LARGEST_COVER), state.scene, parameter)
    shares, gains = seen_shares(foreground, prior, predicted["extent"], settings)
    pairs, regions = _regions(foreground, shares), _region_boxes(foreground)

    seen = shares.visible & (shares.counts > settings.least_seen * prior.whole_masses)
    outlines = _lone_outlines(foreground, shares, pairs, regions)
    _move(predicted, foreground, prior, shares, outlines, seen, cover, state.scene, parameter)
    _keep_books(predicted, foreground, prior, shares, seen, pairs, regions, visible, gains, tau)
    free = _free(predicted[seen], foreground, shares)
    again, taken = _find_again(predicted, seen, visible, free, state.scene, parameter)
    pairs = np.concatenate([pairs, again])
    own = _dense(foreground, shares)
    merged = _merged(predicted, foreground, own, seen, config)
    divided = _divided(predicted, foreground, own, seen & ~merged, settings.object_cost)
    children = _children(predicted, divided, state.next_id, state.scene, config, parameter)
    survivors = predicted[_survives(predicted, config) & ~merged]
    newborn = _newborn(survivors, free[~taken], state.next_id + len(children), state, config, parameter)
    newborn = np.concatenate([children, newborn])
    components = np.concatenate([survivors, newborn])
    components["status"] |= components["hits"] >= config.tracking.lifecycle.confirmation_hits

    next_id = state.next_id + len(newborn)
    new = state._replace(components=components, next_id=next_id, frame_index=state.frame_index + 1, time_s=time_s)
    return new, StepInfo(state.components, components, pairs, float(shares.objective[-1])), shares


def config_of_blobs(config: Config) -> Config:
    """Return the configuration by which blobs move: the noise of pixels, and the centre as the tracked point."""
    pixels, tracking = config.tracking.pixels, config.tracking
    noise = {"measurement_noise": pixels.measurement_noise, "process_noise": pixels.process_noise}
    motion = tracking.motion.model_copy(update={"anchor": ANCHOR, **noise})
    return config.model_copy(update={"tracking": tracking.model_copy(update={"motion": motion})})


@kernel()
def _variances(components: Records, scene: Records, parameter: Records) -> FloatArray:
    R = np.empty((len(components), 4))
    for k in range(len(components)):
        for i in range(4):
            R[k, i] = measurement_variance(i, components[k].scale, scene, parameter[0])
    return R


def _regions(foreground: Foreground, shares: Shares) -> Records:
    """Return records of PAIR: each blob, each region that holds pixels of it, and the share of its pixels there."""
    if not len(shares.member):
        return np.empty(0, PAIR)
    columns = int(foreground.regions.max()) + 1
    cell = shares.member * columns + foreground.regions[shares.points]
    mass = np.bincount(cell, _own_weights(foreground, shares))
    cells = np.flatnonzero(mass)
    pairs = np.zeros(len(cells), PAIR)
    pairs["row"], pairs["column"] = np.divmod(cells, columns)
    pairs["responsibility"] = mass[cells] / shares.counts[pairs["row"]]
    return pairs


def _region_boxes(foreground: Foreground) -> FloatArray:
    """Return (R, 4) left, top, right, bottom of the points of each region."""
    points, regions = foreground.points_px, foreground.regions
    low = np.full((int(regions.max(initial=-1)) + 1, 2), np.inf)
    high = -low
    np.minimum.at(low, regions, points)
    np.maximum.at(high, regions, points)
    return np.hstack([low, high])


def _lone_outlines(foreground: Foreground, shares: Shares, pairs: Records, regions_xyxy: FloatArray) -> FloatArray:
    """Return (K, 4) the silhouettes of those who are alone in theirs, NaN for others.

    Those are better outlines than the own pixels': fragments that belong to nobody else are the object's too, such as
    shoes below trousers that are as dark as a shadow.
    """
    outlines = np.full((len(shares.visible), 4), np.nan)
    mass = pairs["responsibility"] * shares.counts[pairs["row"]]
    whole = np.bincount(pairs["column"], mass, 1)
    lone = (pairs["responsibility"] > _WHOLLY_PURE) & (mass > _WHOLLY_PURE * whole[pairs["column"]])
    found = foreground.silhouettes.boxes_xyxy
    for k, region in zip(pairs["row"][lone], pairs["column"][lone], strict=True):
        iou = _overlaps(regions_xyxy[region], found)
        if iou.max(initial=0.0) > _SAME_IOU:
            outlines[k] = found[iou.argmax()]
    return outlines


def _own_weights(foreground: Foreground, shares: Shares) -> FloatArray:
    """Return (E,) the pixels of each point that are each near blob's."""
    return np.asarray(foreground.weights[shares.points] * shares.responsibilities)


def _move(
    predicted: Records,
    foreground: Foreground,
    prior: BlobPrior,
    shares: Shares,
    outlines: FloatArray,
    seen: NDArray[np.bool_],
    cover: FloatArray,
    scene: Records,
    parameter: Records,
) -> None:
    """Move everybody seen to its own pixels, and learn its outline where they show it, in place.

    The measurement is the box about the centre of gravity, of ``extent`` standard deviations; where nearly all
    pixels are surely the object's own, it is their outline. With half of the object visible, its variance is twice
    the usual.
    """
    R = _variances(predicted, scene, parameter)
    order = np.argsort(shares.member, kind="stable")
    begin = np.searchsorted(shares.member[order], np.arange(len(predicted) + 1))
    point = shares.points[order]
    responsibilities = shares.responsibilities[order]
    for k in np.flatnonzero(seen):
        c, mine = predicted[k], slice(begin[k], begin[k + 1])
        own = foreground.weights[point[mine]] * responsibilities[mine]
        purity = float(own @ responsibilities[mine] / own.sum())
        deviation = np.sqrt(np.maximum(np.diagonal(shares.scatters[k]), 0.1))
        size = c["extent"] * deviation
        centre = shares.centres[k] - c["skew"] * size
        if np.isnan(outlines[k, 0]):
            low, high = _outline(foreground.points_px[point[mine]], foreground.weights[point[mine]], own)
            alone = min(max((purity - _PURE) / (_WHOLLY_PURE - _PURE), 0.0), 1.0)
        else:
            low, high, alone = outlines[k, :2], outlines[k, 2:], 1.0
        if alone > 0.0:
            centre = alone * (low + high) / 2.0 + (1.0 - alone) * centre
            size = alone * (high - low) + (1.0 - alone) * size
            _learn_outline(c, low, high, shares.centres[k], deviation, alone)
        innovation = np.concatenate([centre, size]) - c["mean"]
        hidden = max(prior.whole_masses[k] / shares.counts[k], 1.0)
        c["z"] = innovation / np.sqrt(c["p00"] + hidden * R[k])
        _update(c, innovation, hidden * R[k])
        c["mean"][2:] = np.maximum(c["mean"][2:], 1.0)
        correlation = shares.scatters[k, 0, 1] / deviation.prod()
        own_correlation = min(max(correlation, -LARGEST_CORRELATION), LARGEST_CORRELATION)
        c["correlation"] += 3.0 * _LEARNING / hidden * (own_correlation - c["correlation"])
        if cover[k] < 0.1:
            fill = np.clip(shares.counts[k] / c["mean"][2:].prod(), *FILLS)
            c["fill"] += _LEARNING * (fill - c["fill"])
        filtered = _boxes(c["mean"][:2], c["mean"][2:])
        c["box"] = alone * np.concatenate([low, high]) + (1.0 - alone) * filtered


def _outline(points: FloatArray, weights: FloatArray, own: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return left and top, right and bottom of an object's own pixels, a small share left out at either end."""
    low, high = np.empty(2), np.empty(2)
    half = np.sqrt(weights) / 2.0  # a point is a square of pixels
    for i in range(2):
        order = np.argsort(points[:, i], kind="stable")
        below = np.cumsum(own[order])
        first, last = np.searchsorted(below, [_TAIL * below[-1], (1.0 - _TAIL) * below[-1]])
        a, b = order[first], order[min(last, len(order) - 1)]
        low[i], high[i] = points[a, i] - half[a], points[b, i] + half[b]
    return low, high


def _learn_outline(
    c: Record, low: FloatArray, high: FloatArray, centre: FloatArray, deviation: FloatArray, alone: float
) -> None:
    size = high - low
    skew = np.clip((centre - (low + high) / 2.0) / size, -LARGEST_SKEW, LARGEST_SKEW)
    extent = np.clip(size / deviation, np.divide(EXTENT, STRETCH), np.multiply(EXTENT, STRETCH))
    c["skew"] += _LEARNING * alone * (skew - c["skew"])
    c["extent"] += _LEARNING * alone * (extent - c["extent"])


def _update(c: Record, innovation: FloatArray, R: FloatArray) -> None:
    """Kalman's update of four independent blocks, in place."""
    p00, p01, p11 = c["p00"].copy(), c["p01"].copy(), c["p11"].copy()
    S = p00 + R
    c["mean"] += p00 / S * innovation
    c["velocity"] += p01 / S * innovation
    c["p00"], c["p01"], c["p11"] = p00 * R / S, p01 * R / S, p11 - p01 * p01 / S


def _keep_books(
    predicted: Records,
    foreground: Foreground,
    prior: BlobPrior,
    shares: Shares,
    seen: NDArray[np.bool_],
    pairs: Records,
    regions_xyxy: FloatArray,
    visible: FloatArray,
    gains: FloatArray,
    tau: float,
) -> None:
    """Count hits and misses, and what else is known of who was seen, in place."""
    odds = predicted["existence"] / (1.0 - predicted["existence"])
    odds *= np.where(seen, np.exp(np.clip(gains, 0.0, _LARGEST_GAIN)), 1.0 - visible)
    predicted["existence"] = _existence(odds)
    predicted["hits"] += seen
    predicted["misses"] = np.where(seen, 0, predicted["misses"] + 1)
    predicted["missed_tau"] = np.where(seen, 0.0, predicted["missed_tau"] + tau)
    predicted["detection"] = -1
    order = np.argsort(pairs["responsibility"], kind="stable")  # the largest share is written last
    predicted["detection"][pairs["row"][order]] = pairs["column"][order]
    predicted["detection"][~seen] = -1
    shown = np.clip(shares.counts / prior.whole_masses, 0.0, 1.0)
    predicted["score"] = np.where(seen, shown, predicted["score"])
    weights = _own_weights(foreground, shares)
    purity = np.bincount(shares.member, weights * shares.responsibilities, len(predicted))
    predicted["responsibility"] = np.where(seen, purity / np.maximum(shares.counts, 1e-9), 0.0)
    surprise = -np.log(np.clip(predicted["responsibility"], 1e-9, 1.0))
    predicted["doubt"] = math.exp(-tau / TAU_PER_S) * predicted["doubt"] + np.where(seen, surprise, 0.0)
    travelled = np.hypot(*(predicted["mean"][:, :2] - predicted["birthplace"]).T)
    predicted["moved"] |= seen & (travelled > _MOVED * predicted["scale"])
    predicted["silhouette"][seen] = regions_xyxy[predicted["detection"][seen]]


def _dense(foreground: Foreground, shares: Shares) -> FloatArray:
    """Return (K, M) responsibilities."""
    own = np.zeros((len(shares.visible), len(foreground)))
    own[shares.member, shares.points] = shares.responsibilities
    return own


def _weighed(
    c: Record, foreground: Foreground, own: FloatArray, offset: FloatArray, cost: float
) -> tuple[float, float, Halves | None]:
    """Return what likelihoods and sizes say for two objects in some pixels, in nats, and these two.

    Parameters
    ----------
    own
        (M,) share of each point's pixels.
    offset
        See :func:`tracker.tracking.division.halves`.
    """
    rows = own > _NEGLIGIBLE
    found = halves(foreground.points_px[rows], foreground.weights[rows] * own[rows], offset)
    if found is None:
        return -math.inf, 0.0, None
    usual, spread = np.tile(c["birth_size"], (3, 1)), np.full(2, FREE_BOUND)
    if foreground.typical_size is not None:
        middles = np.append(found.means[:, 1], found.shares @ found.means[:, 1])
        bottoms = middles + sizes_of(found, c["extent"])[:, 1] / 2.0
        usual, spread = foreground.typical_size.at(bottoms), np.array(SIZE_BOUNDS)
    sizes = sizes_for_two(found, c["extent"], usual, spread)
    return 2.0 * found.gain - cost, sizes, found


def _divided(
    predicted: Records, foreground: Foreground, own: FloatArray, seen: NDArray[np.bool_], cost: float
) -> list[tuple[int, Halves]]:
    """Sum up, in place, the evidence that objects are two; return the rows of those that are, and the two.

    The sizes that the two would have can only speak against them: a large silhouette may be one object with its
    shadow.
    """
    divided: list[tuple[int, Halves]] = []
    for k in np.flatnonzero(seen & (predicted["status"] == 1)):
        c = predicted[k]
        likelihood, sizes, found = _weighed(c, foreground, own[k], c["offset"], cost)
        evidence = np.clip(likelihood + min(sizes, 0.0), -LARGEST_STEP, LARGEST_STEP)
        c["division"] = max(c["division"] + evidence, 0.0)
        c["offset"] = 0.0
        if found is not None:
            c["offset"] = found.means[0] - found.shares @ found.means
            if c["division"] >= HELD:
                divided.append((int(k), found))
    return divided


def _merged(
    predicted: Records, foreground: Foreground, own: FloatArray, seen: NDArray[np.bool_], config: Config
) -> NDArray[np.bool_]:
    """Sum up, in place, the evidence that objects are apart; return (K,) who is only part of an older one.

    Who was apart for long can be part of another for as long as anybody can be hidden.
    """
    boxes = _boxes(predicted["mean"][:, :2], predicted["mean"][:, 2:])
    shown = seen & own.any(axis=1)
    together = predicted["detection"] == predicted["detection"][:, None]
    meet = (_intersections(boxes, boxes) > 0.0) & together & shown & shown[:, None]
    between = np.full(meet.shape, np.inf)
    for a, b in np.argwhere(np.triu(meet, 1)):
        offset = (predicted["mean"][a, :2] - predicted["mean"][b, :2]) / 2.0
        cost = config.tracking.pixels.object_cost
        likelihood, sizes, _ = _weighed(predicted[a], foreground, own[a] + own[b], offset, cost)
        between[a, b] = between[b, a] = likelihood + sizes
    evidence = np.clip(between.min(axis=1, initial=LARGEST_STEP), -LARGEST_STEP, LARGEST_STEP)
    surest = LARGEST_STEP * config.tracking.lifecycle.max_misses_frames
    predicted["apart"] = np.clip(predicted["apart"] + np.where(shown, evidence, 0.0), -HELD, surest)
    older = (between == between.min(axis=1, initial=np.inf)[:, None]) & (predicted["id"] < predicted["id"][:, None])
    return np.asarray(shown & older.any(axis=1) & (evidence < 0.0) & (predicted["apart"] <= -HELD))


def _survives(predicted: Records, config: Config) -> NDArray[np.bool_]:
    confirmed = predicted["status"] == 1
    longest = config.tracking.lifecycle.max_misses_frames
    return np.asarray((predicted["misses"] == 0) | (confirmed & (predicted["misses"] <= longest)))


FREE = np.dtype(
    [
        ("box", "f8", (4,)),  # left, top, right, bottom
        ("score", "f8"),
        ("region", "i8"),
        ("mass", "f8"),  # number of pixels
        ("unexplained", "f8"),  # share of them
    ]
)
"""A silhouette whose pixels nobody explains."""


def _free(seen: Records, foreground: Foreground, shares: Shares) -> Records:
    """Return records of :data:`FREE`: the silhouettes that show none of the objects seen."""
    found, points = foreground.silhouettes, foreground.points_px
    free = np.zeros(len(found), FREE)
    kept = np.zeros(len(found), np.bool_)
    for j in range(len(found)):
        box = found.boxes_xyxy[j]
        inside = (points >= box[:2]).all(axis=1) & (points <= box[2:]).all(axis=1)
        mass, unexplained = foreground.weights[inside], (foreground.weights * shares.clutter)[inside]
        apart = _overlaps(box, seen["box"]).max(initial=0.0) <= _VETO_IOU
        if 2.0 * unexplained.sum() > mass.sum() and apart:
            region = foreground.regions[inside][0]
            free[j] = box, found.scores[j], region, mass.sum(), unexplained.sum() / mass.sum()
            kept[j] = True
    return free[kept]


def _find_again(
    predicted: Records, seen: NDArray[np.bool_], visible: FloatArray, free: Records, scene: Records, parameter: Records
) -> tuple[Records, NDArray[np.bool_]]:
    """Let who was not seen claim a free silhouette, as in box mode, in place; return the pairs, and who is taken.

    Blobs move little between frames, so that their pixels are sought near to where they are expected. Who was
    hidden, or stumbled, or was filmed by a camera that drops frames, is elsewhere: the heavy tails and the
    exclusive responsibilities of box mode decide.
    """
    lost = np.flatnonzero(~seen)
    taken = np.zeros(len(free), np.bool_)
    if not len(lost) or not len(free):
        return np.empty(0, PAIR), taken
    moved, of_boxes = predicted[lost], list(COMPONENT.names or ())
    boxes = moved[of_boxes].astype(COMPONENT)  # what box mode has compiled serves these too
    claimed, responsibility = _claim_silhouettes(boxes, visible[lost], free["box"], free["score"], scene, parameter)
    moved[of_boxes] = boxes
    found = claimed >= 0
    again, silhouettes, share = moved[found], free[claimed[found]], responsibility[found]
    odds = again["existence"] / (1.0 - again["existence"]) / np.maximum(1.0 - share, 1.0 - CERTAIN)
    again["existence"] = _existence(odds)
    again["hits"] += 1
    again["misses"], again["missed_tau"] = 0, 0.0
    again["detection"], again["score"] = silhouettes["region"], silhouettes["score"]
    again["box"] = again["silhouette"] = silhouettes["box"]
    again["responsibility"] = share
    again["doubt"] -= np.log(np.minimum(share, 1.0))
    predicted[lost[found]] = again
    taken[claimed[found]] = True
    pairs = np.empty(len(again), PAIR)
    pairs["row"], pairs["column"], pairs["responsibility"] = lost[found], silhouettes["region"], share
    return pairs, taken


@kernel()
def _claim_silhouettes(
    lost: Records, visible: FloatArray, boxes_xyxy: FloatArray, scores: FloatArray, scene: Records, parameter: Records
) -> tuple[IntArray, FloatArray]:
    """Return (K,) the silhouette that shows each, -1 for none, and its responsibility; move those who have one."""
    p = parameter[1]  # as :func:`_predict` has brought it to the step
    observed = observe(boxes_xyxy, scores, np.zeros(len(scores), np.int64), p)
    S = innovation_variances(lost, scene, p)
    row_start, column, log_likelihood = pair_log_likelihoods(
        lost,
        predicted_boxes(lost, ANCHOR),
        S,
        log_density_at_mode(lost, S, p),
        np.zeros((len(lost), 2)),
        observed,
        p,
    )
    log_odds = pair_log_odds(row_start, log_likelihood, visible)
    beta, _ = association_marginals(row_start, column, log_odds, len(observed.scores), False)
    claim = most_probable_claims(row_start, column, beta, len(observed.scores))
    silhouette, responsibility = np.full(len(lost), -1), np.zeros(len(lost))
    innovation, claimed = np.empty(4), np.empty(4)
    for k in range(len(lost)):
        if not is_worth_claiming(row_start, beta, k, claim[k], p.claim):
            continue
        j, responsibility[k] = column[claim[k]], beta[claim[k]]
        silhouette[k] = observed.detection[j]
        for i in range(4):
            claimed[i] = observed.measured[j, i] - lost[k].mean[i]
            innovation[i] = responsibility[k] * claimed[i]
        update(lost[k], scene, innovation, claimed, p)
    return silhouette, responsibility


def _newborn(
    alive: Records, free: Records, next_id: int, state: TrackerState, config: Config, parameter: Records
) -> Records:
    """Return an object for each free silhouette that looks like one.

    Whoever comes out of the silhouette that a confirmed object alone was part of is its child.
    """
    born = _begun(free[free["score"] >= config.tracking.lifecycle.birth_score], next_id, state.scene, config, parameter)
    for c in born:
        c["parent_id"] = _parent(state.components, alive, c["mean"][:2])
    return born


def _children(
    predicted: Records,
    divided: list[tuple[int, Halves]],
    next_id: int,
    scene: Records,
    config: Config,
    parameter: Records,
) -> Records:
    """Return the second of the two objects that each divided one has become; the divided goes on as the larger."""
    parts = np.zeros((2, len(divided)), FREE)
    rows = [k for k, _ in divided]
    for n, (k, found) in enumerate(divided):
        c = predicted[k]
        size = c["extent"] * np.sqrt(np.diagonal(found.covariance))
        for part, which in zip(parts[:, n], np.argsort(-found.shares), strict=True):
            mass = found.shares[which] * c["fill"] * c["mean"][2:].prod()
            part["box"] = _boxes(found.means[which] - c["skew"] * size, size)
            part["score"], part["region"], part["mass"], part["unexplained"] = c["score"], c["detection"], mass, 1.0
    goes_on, begun = (_begun(part, next_id, scene, config, parameter) for part in parts)
    for field in ("mean", "scale", "p00", "p01", "box", "fill", "birth_size", "division", "offset"):
        predicted[field][rows] = goes_on[field]
    for field in ("velocity", "extent", "skew", "correlation", "existence"):
        begun[field] = predicted[field][rows]
    begun["parent_id"], begun["hits"] = predicted["id"][rows], config.tracking.lifecycle.confirmation_hits
    return begun


def _begun(found: Records, next_id: int, scene: Records, config: Config, parameter: Records) -> Records:
    """Return an object at rest for each record of :data:`FREE`."""
    born = np.zeros(len(found), BLOB)
    born["mean"] = xyxy_to_cxywh(found["box"])
    centre, size = born["mean"][:, :2], born["mean"][:, 2:]
    born["id"], born["hits"], born["detection"] = next_id + np.arange(len(found)), 1, found["region"]
    born["scale"], born["box"] = np.sqrt(size.prod(axis=1)), found["box"]
    born["p00"] = _variances(born, scene, parameter)
    born["p11"] = (config.tracking.motion.initial_velocity * born["scale"][:, None]) ** 2
    born["extent"], born["fill"] = EXTENT, np.clip(found["mass"] / size.prod(axis=1), *FILLS)
    born["birthplace"], born["birth_size"], born["silhouette"] = centre, size, found["box"]
    born["existence"] = born["score"] = np.minimum(found["score"], CERTAIN)
    born["responsibility"] = found["unexplained"]
    return born


def _parent(before: Records, alive: Records, place: FloatArray) -> int:
    """Return the identity of the object out of whose silhouette somebody comes, 0 for nobody's or several objects'."""
    confirmed = (before["status"] == 1) & (before["misses"] == 0) & np.isin(before["id"], alive["id"])
    boxes = before["silhouette"]
    around = confirmed & (boxes[:, :2] < place).all(axis=1) & (place < boxes[:, 2:]).all(axis=1)
    return int(before["id"][around][0]) if np.count_nonzero(around) == 1 else 0


def first_state() -> TrackerState:
    """Return the state before the first frame."""
    return initial_state()._replace(components=np.zeros(0, BLOB))


def _blob_covariances(components: Records) -> FloatArray:
    """Return (K, 2, 2) of the pixels about the objects' centres of gravity."""
    deviation = np.maximum(components["mean"][:, 2:], 1.0) / components["extent"]
    covariances = deviation[:, :, None] * deviation[:, None, :]
    covariances[:, 0, 1] *= components["correlation"]
    covariances[:, 1, 0] *= components["correlation"]
    return np.asarray(covariances)


class PixelTracker(Holder):
    """Follow objects by their pixels: feed each frame's foreground, get the objects with their identities.

    As :class:`tracker.Tracker` does with boxes.

    Parameters
    ----------
    config
        See :func:`tracker.load_config`; the defaults when left out.
    """

    __slots__ = ("_laws", "_parameter", "_shares")

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config, first_state())
        self._parameter = parameters(config_of_blobs(self._config))
        self._laws = error_laws(self._config)
        self._shares: Shares | None = None

    def update(
        self, foreground: Foreground, time_s: float | None = None, camera_affine: ArrayLike | None = None
    ) -> Tracks:
        """Take in one frame and return the objects seen in it, or in the frame ``tracking.lag_frames`` before.

        Parameters
        ----------
        foreground
            What was seen in the frame; may be empty.
        time_s
            Time of the frame; the last frame's plus one period of ``tracking.frame_rate_hz`` when left out.
        camera_affine
            (2, 3) map from the previous frame's pixels to this one's.

        Raises
        ------
        ValueError
            When time does not increase or the map is not 2 x 3, finite and invertible.
        """
        if time_s is None:
            time_s = self._due_s()
        self._state, self._info, self._shares = _step(
            self._state, foreground, self._config, self._parameter, time_s, camera_affine
        )
        tracks = self.tracks()
        return self._hold_back(tracks, camera_affine) if self._lag_frames else tracks

    def tracks(self, coasting: bool = False) -> BlobTracks:
        """Return the objects of the newest frame; ``coasting`` adds those not seen in it and the tentative."""
        c, smoothed = self._state.components, self._config.tracking.smoothing == "online"
        seen = c["detection"] >= 0
        # Nothing can have been confirmed in the first two frames, and waiting would lose what is there.
        c = c if coasting else c[seen & ((c["status"] == 1) | (self._state.frame_index <= 2))]
        seen = c["detection"] >= 0
        filtered = _boxes(c["mean"][:, :2], c["mean"][:, 2:])
        rows = np.zeros(len(c), BLOB_TRACK)
        rows["boxes_xyxy"] = np.where((seen & (not smoothed))[:, None], c["box"], filtered)
        rows["covariances"] = c["p00"][:, :, None] * np.eye(4)
        rows["status"] = np.where(c["status"] == 0, Status.TENTATIVE, np.where(seen, Status.CONFIRMED, Status.COASTING))
        for column, field in _REPORTED.items():
            rows[column] = c[field]
        rows["continuity"] = continuity(c, self._laws)
        rows["blob_covariances"] = _blob_covariances(c)
        return BlobTracks.of_rows(rows)

    @property
    def occupied_xyxy(self) -> FloatArray:
        """(n, 4) where objects are for certain, so that the background is not learned there (``keep_visible``).

        What has moved since its birth is an object; a hole that somebody left in the background never moves.
        """
        if not self._config.tracking.pixels.keep_visible:
            return np.empty((0, 4))
        c = self._state.components
        c = c[(c["moved"] == 1) & (c["status"] == 1) & (c["misses"] <= _KEPT_MISSES_FRAMES)]
        margin = _KEPT_MARGIN * c["scale"][:, None]
        return np.hstack([c["box"][:, :2] - margin, c["box"][:, 2:] + margin])

    def reset(self) -> None:
        """Forget everything, waiting reports too; identities begin at 1 again."""
        super().reset()
        self._shares = None

    @property
    def shares(self) -> Shares | None:
        """How EM divided the last frame's pixels; None before the first."""
        return self._shares


def warm_up() -> None:
    """Compile what a frame needs, or load it from the cache of an earlier run."""
    tracker = PixelTracker()
    y, x = np.divmod(np.arange(800.0), 20.0)
    body = Detections([[0.0, 0.0, 20.0, 40.0]])
    foreground = Foreground(np.column_stack([x, y]) + 0.5, np.ones(800), silhouettes=body)
    with compiling():
        for _ in range(2):
            tracker.update(foreground, camera_affine=STILL)
