"""An object that is followed by its pixels: what is known of it, how it begins, and what is usual of its shape."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from tracker.config import Config, PixelsConfig
from tracker.geometry import box_scales, carried, xyxy_to_cxywh
from tracker.mixture.kernels import kernel
from tracker.structures import FloatArray, Foreground
from tracker.tracking.holding import STILL
from tracker.tracking.motion import TAU_PER_S, measurement_variance
from tracker.tracking.state import CERTAIN, COMPONENT, Records, TrackerState, initial_state

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


def first_state() -> TrackerState:
    """Return the state before the first frame."""
    return initial_state()._replace(components=np.zeros(0, BLOB))


def tracked_height(components: Records, config: Config) -> float:
    """Return the height of the point whose y the components hold: 1 the bottom edge; of blobs it is the centre."""
    return ANCHOR if components.dtype == BLOB else config.tracking.motion.anchor


def carry_shapes(components: Records, affine: FloatArray) -> None:
    """Carry by the camera's motion, in place, what only blobs have; the rest goes with the prediction."""
    if (affine == STILL).all():
        return
    for boxes in ("box", "silhouette"):
        components[boxes] = carried(components[boxes], affine)
    linear = affine[:, :2]
    components["birthplace"] = components["birthplace"] @ linear.T + affine[:, 2]
    components["offset"] = components["offset"] @ linear.T
    components["birth_size"] *= math.sqrt(abs(np.linalg.det(linear)))


def config_of_blobs(config: Config) -> Config:
    """Return the configuration by which blobs move: the noise of pixels, and the centre as the tracked point."""
    pixels, tracking = config.tracking.pixels, config.tracking
    noise = {"measurement_noise": pixels.measurement_noise, "process_noise": pixels.process_noise}
    motion = tracking.motion.model_copy(update={"anchor": ANCHOR, **noise})
    return config.model_copy(update={"tracking": tracking.model_copy(update={"motion": motion})})


@kernel()
def measurement_variances(components: Records, scene: Records, parameter: Records) -> FloatArray:
    """Return (K, 4) R of each coordinate, px^2."""
    R = np.empty((len(components), 4))
    for k in range(len(components)):
        for i in range(4):
            R[k, i] = measurement_variance(i, components[k].scale, scene, parameter[0])
    return R


def begun(found: Records, next_id: int, scene: Records, config: Config, parameter: Records) -> Records:
    """Return an object at rest for each record of :data:`FREE`."""
    born = np.zeros(len(found), BLOB)
    born["mean"] = xyxy_to_cxywh(found["box"])
    centre, size = born["mean"][:, :2], born["mean"][:, 2:]
    born["id"], born["hits"], born["detection"] = next_id + np.arange(len(found)), 1, found["region"]
    born["scale"], born["box"] = box_scales(size), found["box"]
    born["p00"] = measurement_variances(born, scene, parameter)
    born["p11"] = (config.tracking.motion.initial_velocity * born["scale"][:, None]) ** 2
    born["extent"], born["fill"] = EXTENT, np.clip(found["mass"] / size.prod(axis=1), *FILLS)
    born["birthplace"], born["birth_size"], born["silhouette"] = centre, size, found["box"]
    born["existence"] = born["score"] = np.minimum(found["score"], CERTAIN)
    born["responsibility"] = found["unexplained"]
    return born


def revert_sizes(predicted: Records, foreground: Foreground, tau: float, settings: PixelsConfig) -> None:
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


def blob_covariances(components: Records) -> FloatArray:
    """Return (K, 2, 2) of the pixels about the objects' centres of gravity."""
    deviation = np.maximum(components["mean"][:, 2:], 1.0) / components["extent"]
    covariances = deviation[:, :, None] * deviation[:, None, :]
    covariances[:, 0, 1] *= components["correlation"]
    covariances[:, 1, 0] *= components["correlation"]
    return np.asarray(covariances)


def existence_of(odds: FloatArray) -> FloatArray:
    """Return the probabilities of some odds, never quite certain."""
    return np.asarray(np.clip(odds / (1.0 + odds), 1.0 - CERTAIN, CERTAIN))
