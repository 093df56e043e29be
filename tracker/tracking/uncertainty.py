"""How far the truth may lie from what is reported, and how surely an identity is still the same object.

The filter's own covariance serves association: tight noise with heavy tails. It knows nothing of what repeats from
frame to frame, the bias of a detector and the habits of annotators, so what is reported carries a law of its own,
fitted to annotated sequences (``tools/calibration.py``). With g the root of the box's area, a the geometric mean of g
and the side that the coordinate runs along, and rho the scene's factor of measurement noise over that of motion, the
standard deviation of the error of each coordinate is, for an object with a detection,

    sd^2 = D^2 + (lag d)^2,                  D = detector a u^score rho^scene,

with d the distance of the reported coordinate from the claimed detection's, 0 unless the filtered mean is reported;
and for one without

    sd^2 = D^2 + C^2,
    C = coasting g (filter's own / 0.03 g)^spread sigma^coasting_scene e^surprise (v / 0.01)^speed

with sigma the scene's factor of the measurement noise of sizes, e the root of 0.1 + the mean square of the innovations
when it was last seen, each clipped at 3 sd, and v its speed in g per 1/25 s, plus 0.003.

u is what the score leaves open, q = 1 - score with saturation:

    u = q / (1 + 5 q), over its value at a score of 0.9.

Detectors that are trained to score a box by its overlap with the truth (YOLOX, NanoDet) tell with it how exact the box
is. Those that score the class are sure of nearly all they find, and say nothing of the place: u is 1 unless a fifth of
the scores that proven objects had in this scene lie below 0.95. rho is large where innovations alternate, which is
the detector's doing, and small where they follow each other, which is the objects'.

The errors are Student's t (:mod:`tracker.confidence`), the coordinates uncorrelated.

That an identity is another object's than a second ago has odds of its *doubt* H: the surprise of its claims, -log
responsibility, summed over the last second with exponential forgetting,

    odds = scale (H + floor)^exponent.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracker.config import Config
from tracker.geometry import box_scales, xyxy_to_cxywh
from tracker.structures import FloatArray
from tracker.tracking.motion import Z_LIMIT
from tracker.tracking.state import Records, TrackerState

ORDINARY_SCORE = 0.9
SATURATION = 5.0
ORDINARY_SPREAD = 0.03
"""Standard deviation of the filter in units of g at which ``coasting`` is stated."""
ORDINARY_SPEED = 0.01
"""In g per 1/25 s."""
LEAST_SPREAD_OF_SCORES = 0.2
"""Share of the scores of proven objects below the highest bin, from which on scores tell how exact a box is."""
PRIOR_COUNT = 10.0
"""Scores in the highest bin that a scene has beforehand."""


class ErrorLaws(NamedTuple):
    """``tracking.uncertainty`` as arrays; see the module.

    Parameters
    ----------
    detector, coasting
        (4,) by coordinate.
    score, scene, lag, spread, coasting_scene, surprise, speed
        Exponents, and the factor of the lag.
    change_scale, change_floor, change_exponent
        Of the odds that an identity is another object's.
    lever
        Height of the tracked point above the centre, in heights.
    """

    detector: FloatArray
    score: float
    scene: float
    lag: float
    coasting: FloatArray
    spread: float
    coasting_scene: float
    surprise: float
    speed: float
    change_scale: float
    change_floor: float
    change_exponent: float
    lever: float


class Known(NamedTuple):
    """What is known of n objects in a frame, and their errors depend on.

    Parameters
    ----------
    scales, lengths
        (n,) g and (n, 4) a, px.
    seen
        (n,) whether a detection was claimed.
    open
        (n,) u.
    scene_ratio, size_noise
        (n,) rho and sigma.
    surprise, speeds
        (n,) e and v.
    lags
        (n, 4) d in px, 0 for objects without a detection.
    own_variances
        (n, 4) of the filter, px^2.
    """

    scales: FloatArray
    lengths: FloatArray
    seen: NDArray[np.bool_]
    open: FloatArray
    scene_ratio: FloatArray
    size_noise: FloatArray
    surprise: FloatArray
    speeds: FloatArray
    lags: FloatArray
    own_variances: FloatArray


def error_laws(config: Config) -> ErrorLaws:
    """Return what :func:`error_covariances` and :func:`continuity` need of the configuration."""
    told = config.tracking.uncertainty
    return ErrorLaws(
        np.array(told.detector),
        told.score,
        told.scene,
        told.lag,
        np.array(told.coasting),
        told.spread,
        told.coasting_scene,
        told.surprise,
        told.speed,
        told.change_scale,
        told.change_floor,
        told.change_exponent,
        config.tracking.motion.anchor - 0.5,
    )


def what_is_known(state: TrackerState, rows: NDArray[np.int64], boxes_xyxy: FloatArray, lever: float) -> Known:
    """Return what the errors of reported boxes depend on.

    Parameters
    ----------
    state
        After the frame.
    rows
        (n,) of the reported components.
    boxes_xyxy
        (n, 4) as reported.
    lever
        As in :class:`ErrorLaws`.
    """
    c, scene = state.components[rows], state.scene[0]
    centres_and_sizes = xyxy_to_cxywh(boxes_xyxy)
    sides = np.maximum(centres_and_sizes[:, 2:], 1.0)
    scales = box_scales(sides)
    seen = c["detection"] >= 0
    own = c["p00"].copy()
    own[:, 1] += lever**2 * own[:, 3]  # centre y = anchored y - lever height
    return Known(
        scales=scales,
        lengths=np.sqrt(scales[:, None] * np.tile(sides, 2)),
        seen=seen,
        open=np.where(_scores_tell(state.score_counts, c["label"]), _left_open(c["score"]), 1.0),
        scene_ratio=np.full(len(c), scene["measurement_position"] / scene["process_position"]),
        size_noise=np.full(len(c), scene["measurement_size"]),
        surprise=np.sqrt(0.1 + np.minimum(c["z"] ** 2, Z_LIMIT**2).mean(axis=1)),
        speeds=np.hypot(c["velocity"][:, 0], c["velocity"][:, 1]) / scales + 0.003,
        lags=np.where(seen[:, None], np.abs(centres_and_sizes - xyxy_to_cxywh(c["box"])), 0.0),
        own_variances=own,
    )


def variance_parts(known: Known, laws: ErrorLaws) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return (n, 4) variances in px^2 that add up: the detector's D^2, of the lag, and C^2 of what was not seen."""
    by_score_and_scene = known.open**laws.score * known.scene_ratio**laws.scene
    by_motion = (
        known.size_noise**laws.coasting_scene
        * known.surprise**laws.surprise
        * (known.speeds / ORDINARY_SPEED) ** laws.speed
    )
    g = known.scales[:, None]
    grown = (known.own_variances / (ORDINARY_SPREAD * g) ** 2) ** laws.spread
    coasting = (laws.coasting * g * by_motion[:, None]) ** 2 * grown
    return (
        np.asarray((laws.detector * known.lengths * by_score_and_scene[:, None]) ** 2),
        (laws.lag * known.lags) ** 2,
        np.where(known.seen[:, None], 0.0, coasting),
    )


def error_variances(known: Known, laws: ErrorLaws) -> FloatArray:
    """Return (n, 4) variances of the error of the reported centre x, centre y, width and height, in px^2."""
    detector, lag, coasting = variance_parts(known, laws)
    return detector + lag + coasting


def error_covariances(
    state: TrackerState, rows: NDArray[np.int64], boxes_xyxy: FloatArray, laws: ErrorLaws
) -> FloatArray:
    """Return (n, 4, 4) covariances of the error of the reported boxes; parameters as of :func:`what_is_known`."""
    covariances = np.zeros((len(rows), 4, 4))
    known = what_is_known(state, rows, boxes_xyxy, laws.lever)
    covariances[:, range(4), range(4)] = error_variances(known, laws)
    return covariances


def continuity(components: Records, laws: ErrorLaws) -> FloatArray:
    """Return (n,) the probability that an identity is the same object as a second ago, or at its birth if later."""
    odds = laws.change_scale * (components["doubt"] + laws.change_floor) ** laws.change_exponent
    return 1.0 / (1.0 + odds)


def _scores_tell(score_counts: Records, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return (n,) whether the scores of an object's class are spread in this scene."""
    objects = score_counts["objects"]
    total, below = objects.sum(axis=1), objects[:, :-1].sum(axis=1)
    tell = score_counts["label"][below > LEAST_SPREAD_OF_SCORES * (total + PRIOR_COUNT)]
    return np.isin(labels, tell)


def _left_open(scores: FloatArray) -> FloatArray:
    missing, ordinary = np.maximum(1.0 - scores, 0.01), 1.0 - ORDINARY_SCORE
    return np.asarray(missing / (1.0 + SATURATION * missing) * (1.0 + SATURATION * ordinary) / ordinary)
