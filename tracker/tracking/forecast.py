"""Where objects will be: each component carried forward, as samples of its future and as bands that hold it.

The filter's process noise is tuned to find the next detection. Over a second it promises too much, so that forecasts
follow a law of their own, per coordinate in units of the object's scale g::

    dv = -v/T dt + sigma dW,   dx = v dt,   sigma = q g exp(own noise factor) (noise factor of the scene)

Velocity reverts to rest with relaxation time T (Ornstein and Uhlenbeck 1930). With phi = T (1 - e^(-t/T)), r = t/T,

    mean = m + k phi v,   variance = P00 + J + 2 phi P01 + phi^2 P11 + sigma^2 D,
    D = T^3 [r - 2 (1 - e^-r) + (1 - e^-2r)/2]

with J the error of a detected box, by the law of :mod:`tracker.tracking.uncertainty`. The radius sqrt(sum e^2/variance)
of the error in (x, y), and in (width, height), is that of Student's t; variances are squares of its scale.

No single law fits walkers, dancers and driving. Two things are therefore learned for each scene from its own past,
at the horizons :data:`HORIZONS_S`: the share k of the foretold displacement that comes true, and the distribution
of the radius, as a histogram; both start from the law with the weight of ``prior_count`` forecasts. What came is known
only as the detection that was claimed then. One half of its error's variance is noise, of which the comparison has
enough by itself; the other lasts from box to box (a detector's bias, annotators' habits), hides from it, and is added
by quadrature. A band of share p is the ellipse at the histogram's p-quantile, as conformal prediction has it (Vovk,
Gammerman and Shafer 2005).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tracker.confidence import DEGREES_OF_FREEDOM
from tracker.config import Config, ForecastConfig
from tracker.geometry import cxywh_to_xyxy, xyxy_to_cxywh
from tracker.structures import FloatArray, IntArray
from tracker.tracking.blobs import tracked_height
from tracker.tracking.motion import TAU_PER_S
from tracker.tracking.state import TrackerState
from tracker.tracking.uncertainty import error_laws, variance_parts, what_is_known

HORIZONS_S = (0.2, 0.5, 1.0, 2.0)
"""At these what was foretold is compared with what came; between them is interpolated over log time."""
GROUPS = (slice(0, 2), slice(2, 4))
"""Coordinates that share a radius: the position, and the size."""
_EDGES = np.linspace(np.log(0.02), np.log(50.0), 65)  # of the histogram, in log radius
_LEARNING_PER_S = 1.5  # forecasts that an object is worth each second: those of successive frames fail together
_STRIDE_S = 0.1
_ALIKE = 0.4  # difference in log time up to which an elapsed time stands for a horizon
_LEAST_HITS = 3
_LASTING = 0.5  # share of the variance of a detected box's error that the next box has too
_SCALE_OF_DEVIATION = math.sqrt(1.0 - 2.0 / DEGREES_OF_FREEDOM)  # of Student's t, whose standard deviation is 1
_NODE_SHARES = np.arange(0.1, 1.0, 0.2)
_NODE_DIRECTIONS = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) / np.sqrt(2.0)


@dataclass(frozen=True, slots=True, eq=False)
class Experience:
    """What a scene has taught of its forecasts, at each of H horizons.

    Parameters
    ----------
    radii
        (H, 2, B) forecasts by log radius of their error, of position and of size.
    foretold, came_true
        (H, 4) information in the displacements that were foretold, and what came true of it.
    """

    radii: FloatArray
    foretold: FloatArray
    came_true: FloatArray

    @classmethod
    def none(cls) -> Experience:
        """Return the experience of a scene that begins."""
        H = len(HORIZONS_S)
        return cls(np.zeros((H, len(GROUPS), len(_EDGES) - 1)), np.zeros((H, 4)), np.zeros((H, 4)))


@dataclass(frozen=True, slots=True, eq=False)
class Fans:
    """Bands of where the feet of objects will be; row i is that of ``tracks(coasting=True)``.

    Parameters
    ----------
    ids
        (K,) identities.
    times_s
        (T,) from now.
    shares
        (S,) probability that each band holds.
    centres
        (K, T, 2) x and y of the middle of the lower edge, px.
    axes
        (S, K, T, 2) half axes of the ellipses in x and y, px.
    """

    ids: IntArray
    times_s: FloatArray
    shares: FloatArray
    centres: FloatArray
    axes: FloatArray


def forecast(
    state: TrackerState,
    times_s: ArrayLike,
    rng: np.random.Generator,
    samples: int = 100,
    *,
    config: Config | None = None,
    experience: Experience | None = None,
) -> FloatArray:
    """Draw futures of all objects; the times of one sample are one path.

    Parameters
    ----------
    state
        ``Tracker.state``; row i of the result is that of ``Tracker.tracks(coasting=True)``.
    times_s
        (T,) from now, ascending and positive.
    rng
        Source of the draws: equal generators give equal futures.
    samples
        Number n of futures.
    config
        That of the tracker; the defaults when left out.
    experience
        From :class:`Forecaster`; the law alone when left out.

    Returns
    -------
    (n, K, T, 4) left, top, right, bottom in px, for a camera that stands still.

    Raises
    ------
    ValueError
        For times that are not positive and ascending, or fewer than one sample.

    Examples
    --------
    >>> futures = forecast(tracker.state, [0.5, 1.0], np.random.default_rng(1))  # doctest: +SKIP
    >>> (futures[..., 3] > kerb_y_px).mean(axis=0)  # probability of being beyond the kerb  # doctest: +SKIP
    """
    times = _checked(times_s)
    if samples < 1:
        raise ValueError(f"samples is {samples}; it is at least 1")
    config = Config() if config is None else config
    law, experience = config.tracking.forecast, experience or Experience.none()
    c = state.components
    shift, variance = expected_motion(state, times, config)
    z = _paths(state, times, config, samples, rng) / np.sqrt(variance)
    levels = np.linspace(0.0, 6.0, 121)[1:]  # radius of a Gaussian path
    reached = radius(-np.expm1(-0.5 * levels**2), times, law, experience)  # (levels, T, groups)
    for n, group in enumerate(GROUPS):
        plain = np.hypot(*np.moveaxis(z[..., group], -1, 0))
        for t in range(len(times)):
            told = np.interp(plain[..., t], np.append(0.0, levels), np.append(0.0, reached[:, t, n]))
            z[..., t, group] *= (told / np.maximum(plain[..., t], 1e-12))[..., None]
    mean = c["mean"][:, None] + kept(times, law, experience) * shift
    x, y, width, height = np.moveaxis(mean + z * np.sqrt(variance), -1, 0)
    width, height = np.maximum(width, 1.0), np.maximum(height, 1.0)
    left, top = x - width / 2.0, y - tracked_height(c, config) * height
    return np.stack([left, top, left + width, top + height], axis=-1)


def expected_motion(state: TrackerState, times_s: FloatArray, config: Config) -> tuple[FloatArray, FloatArray]:
    """Return the (K, T, 4) displacement phi v in px, and the variance in px^2; see the module."""
    components = state.components
    T, sigma, jitter = _noise(state, config)
    t = times_s[:, None]
    phi = -T * np.expm1(-t / T)
    shift = phi * TAU_PER_S * components["velocity"][:, None]
    variance = (
        (components["p00"] + jitter**2)[:, None]
        + 2.0 * phi * TAU_PER_S * components["p01"][:, None]
        + phi**2 * TAU_PER_S**2 * components["p11"][:, None]
        + sigma[:, None] ** 2 * _diffused(t, T)
    )
    return shift, variance


def radius(shares: ArrayLike, times_s: FloatArray, law: ForecastConfig, experience: Experience) -> FloatArray:
    """Return the (S, T, 2) radii that the errors of position and size stay within with the given probabilities."""
    counts = experience.radii + law.prior_count * _radii_by_law(law.tail_degrees)
    reached = np.cumsum(counts, axis=-1) / counts.sum(axis=-1, keepdims=True)
    at_horizons = np.array(
        [
            [np.interp(np.asarray(shares, np.float64), np.append(0.0, group), _EDGES) for group in horizon]
            for horizon in reached
        ]
    )  # (H, 2, S)
    return np.exp(np.moveaxis(_between_horizons(at_horizons, times_s), -1, 0))


def kept(times_s: FloatArray, law: ForecastConfig, experience: Experience) -> FloatArray:
    """Return the (T, 4) share of a foretold displacement that comes true in this scene."""
    share = (law.prior_count + experience.came_true) / (law.prior_count + experience.foretold)
    return _between_horizons(share, times_s)


def learn(
    experience: Experience,
    before: TrackerState,
    now: TrackerState,
    config: Config,
    *,
    weight: float,
    to_now: ArrayLike | None = None,
) -> Experience:
    """Compare what an earlier state foretold with the objects that are now seen again.

    Parameters
    ----------
    experience
        What is known so far.
    before, now
        States; the time between them is to be alike to a horizon, else nothing is learned.
    config
        Holds the laws.
    weight
        Forecasts that each of these is worth.
    to_now
        (3, 3) map from the earlier frame's pixels to this one's; None for a camera that stood still.
    """
    law = config.tracking.forecast
    elapsed_s = now.time_s - before.time_s
    apart = np.abs(np.log(np.array(HORIZONS_S) / elapsed_s))
    h = int(apart.argmin())
    known = (before.components["status"] == 1) & (before.components["hits"] >= _LEAST_HITS)
    seen = now.components["detection"] >= 0
    _, rows, rows_now = np.intersect1d(
        before.components["id"][known], now.components["id"][seen], assume_unique=True, return_indices=True
    )
    if apart[h] > _ALIKE or not len(rows):
        return experience
    c, c_now = before.components[known][rows], now.components[seen][rows_now]
    times = np.array([elapsed_s])
    shift, variance = (part[:, 0] for part in expected_motion(before._replace(components=c), times, config))
    start = c["mean"].copy()
    if to_now is not None:
        to_now = np.asarray(to_now, np.float64)
        grow = np.sqrt(abs(np.linalg.det(to_now[:2, :2])))
        start[:, :2] = start[:, :2] @ to_now[:2, :2].T + to_now[:2, 2]
        start[:, 2:] *= grow
        shift = np.concatenate([shift[:, :2] @ to_now[:2, :2].T, shift[:, 2:] * grow], axis=1)
        variance = variance * grow**2
    lever = tracked_height(c_now, config) - 0.5
    came = xyxy_to_cxywh(c_now["box"])
    came[:, 1] += lever * came[:, 3]
    moved = came - start
    share = kept(times, law, experience)[0]
    wrong = moved - share * shift
    unseen = math.sqrt(_LASTING) * _noise(now._replace(components=c_now), config)[2]
    typical = (radius([0.5], times, law, experience)[0, 0] / _radius_by_law(0.5, law.tail_degrees)) ** 2
    radii, foretold, came_true = experience.radii.copy(), experience.foretold.copy(), experience.came_true.copy()
    nodes = (_radius_by_law(_NODE_SHARES, law.tail_degrees)[:, None, None] * _NODE_DIRECTIONS).reshape(-1, 2)
    for n, group in enumerate(GROUPS):
        at_nodes = wrong[:, None, group] + nodes * unseen[:, None, group]
        log_radius = 0.5 * np.log(np.maximum((at_nodes**2 / variance[:, None, group]).sum(axis=2), 1e-12))
        bins = np.clip(np.searchsorted(_EDGES, log_radius) - 1, 0, radii.shape[2] - 1)
        radii[h, n] += weight / len(nodes) * np.bincount(bins.ravel(), minlength=radii.shape[2])
        # The information of Student's t: what is far off says little of the rest.
        nu, square = law.tail_degrees, (wrong[:, group] ** 2 / variance[:, group]).sum(axis=1)
        trust = weight * (nu + 2.0) / (nu + square / typical[n]) / typical[n]
        information = trust[:, None] * shift[:, group] / variance[:, group]
        foretold[h, group] += (information * shift[:, group]).sum(axis=0)
        came_true[h, group] += (information * moved[:, group]).sum(axis=0)
    return Experience(radii, foretold, came_true)


class Forecaster:
    """Foretells where a tracker's objects will be, and learns from how its earlier forecasts came true.

    ::

        tracks = tracker.update(detections, time_s, camera_affine)
        forecaster.observe(tracker.state, camera_affine)
        futures = forecaster.sample(tracker.state, [0.5, 1.0], rng)

    Parameters
    ----------
    config
        That of the tracker.
    """

    def __init__(self, config: Config | None = None) -> None:
        self._config = Config() if config is None else config
        self._past: deque[tuple[TrackerState, FloatArray]] = deque()
        self.experience = Experience.none()

    def observe(self, state: TrackerState, camera_affine: ArrayLike | None = None) -> None:
        """Take in the state after a frame, and the map that its update was given."""
        law = self._config.tracking.forecast
        if camera_affine is not None:
            step = np.vstack([camera_affine, [0.0, 0.0, 1.0]])
            self._past = deque((earlier, step @ to_now) for earlier, to_now in self._past)
        if self._past and state.frame_index < self._past[-1][0].frame_index:
            self._past.clear()  # the tracker was reset or taken back: identities may mean others now
        last_s = self._past[-1][0].time_s if self._past else -np.inf
        if state.time_s - last_s < _STRIDE_S:
            return
        if law.learn and self._past:
            waited_s = min(state.time_s - last_s, HORIZONS_S[0])
            fade = np.exp(-waited_s / law.memory_s)
            known = self.experience
            known = Experience(known.radii * fade, known.foretold * fade, known.came_true * fade)
            for n in {self._held_nearest(state.time_s - horizon_s) for horizon_s in HORIZONS_S}:
                earlier, to_now = self._past[n]
                known = learn(known, earlier, state, self._config, weight=_LEARNING_PER_S * waited_s, to_now=to_now)
            self.experience = known
        self._past.append((state, np.eye(3)))
        while state.time_s - self._past[0][0].time_s > HORIZONS_S[-1] + _STRIDE_S:
            self._past.popleft()

    def cut(self) -> None:
        """Forget the states before a cut; what was learned stays."""
        self._past.clear()

    def fans(self, state: TrackerState, times_s: ArrayLike, shares: ArrayLike = (0.5, 0.9)) -> Fans:
        """Return the bands that hold each object's feet with the given probabilities.

        Raises
        ------
        ValueError
            For times that are not positive and ascending.
        """
        times, share = _checked(times_s), np.asarray(shares, np.float64)
        law, c = self._config.tracking.forecast, state.components
        shift, variance = expected_motion(state, times, self._config)
        mean = c["mean"][:, None] + kept(times, law, self.experience) * shift
        centres = mean[..., :2].copy()
        centres[..., 1] += (1.0 - tracked_height(c, self._config)) * mean[..., 3]
        reached = radius(share, times, law, self.experience)[:, None, :, :1]
        return Fans(c["id"].copy(), times, share, centres, reached * np.sqrt(variance[..., :2]))

    def sample(
        self, state: TrackerState, times_s: ArrayLike, rng: np.random.Generator, samples: int = 100
    ) -> FloatArray:
        """Draw futures with what was learned; see :func:`forecast`."""
        return forecast(state, times_s, rng, samples, config=self._config, experience=self.experience)

    def _held_nearest(self, time_s: float) -> int:
        return int(np.argmin([abs(earlier.time_s - time_s) for earlier, _ in self._past]))


def _noise(state: TrackerState, config: Config) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return (4,) relaxation times in s, (K, 4) diffusion in px/s^1.5, and (K, 4) errors of detected boxes in px."""
    components, scene, law = state.components, state.scene, config.tracking.forecast
    g = components["scale"][:, None]
    factor = np.ones((len(components), 4))
    factor[:, :2] = (scene["process_position"] * np.exp(components["log_noise_factor"]))[:, None]
    laws = error_laws(config)
    lever = tracked_height(components, config) - 0.5
    boxes = cxywh_to_xyxy(components["mean"] - lever * components["mean"][:, [3]] * [0, 1, 0, 0])
    known = what_is_known(state, np.arange(len(components)), boxes, lever)
    squares = variance_parts(known, laws)[0].copy()
    squares[:, 1] += lever**2 * squares[:, 3]
    jitter = _SCALE_OF_DEVIATION * np.sqrt(squares)
    return np.array(law.relaxation_s), np.array(law.diffusion) * g * factor, jitter


def _diffused(t: FloatArray, T: FloatArray) -> FloatArray:
    """Return D, the position variance that diffusion of 1 adds in time t."""
    r = t / T
    series = r**3 * (1.0 / 3.0 - r / 4.0 + 7.0 * r**2 / 60.0)  # where the closed form cancels
    return np.asarray(T**3 * np.where(r < 0.01, series, r + 2.0 * np.expm1(-r) - 0.5 * np.expm1(-2.0 * r)))


def _paths(
    state: TrackerState,
    times_s: FloatArray,
    config: Config,
    samples: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Return (n, K, T, 4) deviations of Gaussian paths from their mean, in px."""
    components = state.components
    T, sigma, jitter = _noise(state, config)
    shape = (samples, len(components), 4)
    p00, p01 = components["p00"] + jitter**2, TAU_PER_S * components["p01"]
    p11 = TAU_PER_S**2 * components["p11"]
    place, velocity = _draw(p00, p01, p11, shape, rng)
    paths = np.empty((samples, len(components), len(times_s), 4))
    for n, dt in enumerate(np.diff(times_s, prepend=0.0)):
        decay = np.exp(-dt / T)
        kick = _draw(
            sigma**2 * _diffused(dt, T),
            sigma**2 * T**2 / 2.0 * np.expm1(-dt / T) ** 2,
            -(sigma**2) * T / 2.0 * np.expm1(-2.0 * dt / T),
            shape,
            rng,
        )
        place = place + T * (1.0 - decay) * velocity + kick[0]
        velocity = decay * velocity + kick[1]
        paths[:, :, n] = place
    return paths


def _draw(
    p00: FloatArray, p01: FloatArray, p11: FloatArray, shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Draw position and velocity from their 2x2 covariances."""
    first, second = rng.standard_normal(shape), rng.standard_normal(shape)
    root = np.sqrt(np.maximum(p00, 1e-300))
    slope = p01 / root
    return root * first, slope * first + np.sqrt(np.maximum(p11 - slope**2, 0.0)) * second


def _radii_by_law(tail_degrees: float) -> FloatArray:
    """Return the (B,) shares of the histogram's bins: P(R <= r) = 1 - (1 + r^2/nu)^(-nu/2) in two dimensions."""
    reached = -np.expm1(-0.5 * tail_degrees * np.log1p(np.exp(2.0 * _EDGES) / tail_degrees))
    reached[0], reached[-1] = 0.0, 1.0
    return np.diff(reached)


def _radius_by_law(share: ArrayLike, tail_degrees: float) -> FloatArray:
    """Return the radius within which Student's t of two dimensions stays with a probability."""
    return np.asarray(np.sqrt(tail_degrees * np.expm1(-2.0 / tail_degrees * np.log1p(-np.asarray(share)))))


def _between_horizons(values: FloatArray, times_s: FloatArray) -> FloatArray:
    """Interpolate (H, ...) over log time; return (T, ...). Beyond the ends the values stay."""
    place = np.interp(np.log(times_s), np.log(HORIZONS_S), np.arange(len(HORIZONS_S)))
    low = np.minimum(place.astype(np.int64), len(HORIZONS_S) - 2)
    share = (place - low).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray((1.0 - share) * values[low] + share * values[low + 1])


def _checked(times_s: ArrayLike) -> FloatArray:
    times = np.array(times_s, np.float64, ndmin=1)
    if times.ndim != 1 or not len(times) or not (np.diff(times, prepend=0.0) > 0.0).all() or np.isinf(times[-1]):
        raise ValueError(f"times_s is {times.tolist()}; times are positive and ascending")
    return times
