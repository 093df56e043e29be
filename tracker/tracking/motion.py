"""Prediction, measurement update, and the noise that both learn while tracking.

Each coordinate (centre x, anchored y, width, height) carries position and velocity with its own 2x2 covariance:
a constant-velocity model with diagonal noise never mixes coordinates, so four small blocks are exact. All noise
is in units of the object's scale g, so that near and far objects share one set of numbers.
"""

from __future__ import annotations

import math

import numpy as np

from tracker.confidence import CLIPPED_AT, EXPECTED_CLIPPED_SQUARE
from tracker.mixture.kernels import kernel
from tracker.structures import FloatArray, IntArray
from tracker.tracking.state import Record, Records

TAU_PER_S = 25.0
"""The state's unit of time is 1/25 s."""
CONFIDENT = 0.8
"""Responsibility from which a match may teach the noise."""
CONFIDENT_HITS = 5
CONFIDENT_SCORE = 0.5
Z_LIMIT = 3.0
LONGEST_TAU = 12.5
"""Half a second: how evidence changes over longer steps was never measured, and its laws end there."""
WIDEST_GATE_MARGIN = 0.5
PERSISTENCE_PRIOR = 50.0
"""Squared ways, in variances of the innovation, that must be seen before what is learned of velocities counts half."""
PERSISTENCE_DECAY = 0.998
LEAST_PERSISTENCE, MOST_PERSISTENCE = 0.2, 1.3


@kernel()
def bring_to_step(p: Record, tau: float) -> None:
    """Bring what the parameters state for 1/25 s to a step of length ``tau``, in place.

    Process noise grows with the step, so that the kick to a velocity is the same at every frame rate. A longer
    step leaves an object's direction of motion a surer guide than its velocity, makes a detection near a predicted
    object less likely to be clutter, lets it leave the predicted box, and is a longer time over which process noise
    is learned.

    Parameters
    ----------
    p
        From :func:`tracker.tracking.state.parameters`, a copy for this step.
    tau
        Length of the step in 1/25 s.
    """
    bounded = min(tau, LONGEST_TAU)
    for i in range(4):
        p.process_noise[i] *= tau**p.process_noise_exponent
    p.direction *= bounded**p.direction_exponent
    p.clutter_density *= bounded**p.clutter_exponent
    p.process_rate *= bounded**p.learning_exponent
    grown = p.gate_margin + p.gate_growth * max(tau - 1.0, 0.0)
    p.gate_margin = max(p.gate_margin, min(grown, WIDEST_GATE_MARGIN))


@kernel()
def box_scale(width: float, height: float) -> float:
    """Return an object's scale g = sqrt(width x height), each side at least 1 px."""
    return math.sqrt(max(width, 1.0) * max(height, 1.0))


@kernel()
def predict(components: Records, scene: Records, affine: FloatArray, tau: float, p: Record, predicted: Records) -> None:
    """Move every component by the elapsed time and widen it: the warm start and the prior of this frame.

    ::

        v <- damped v,   m <- m + tau v
        P <- F P F' + Q,   F = [[1, tau], [0, 1]],   Q = s^2 [[1/4, 1/(2 tau)], [1/(2 tau), 1/tau^2]]

    Q is that of white-noise acceleration over one step with s = q g, q as :func:`bring_to_step` gives it. Damping
    touches the mean only: of positions by :func:`velocity_persistence`, while coasting by a share of each frame more.

    Parameters
    ----------
    components, scene
        See :mod:`tracker.tracking.state`.
    affine
        (2, 3) map from the previous frame's pixels to this one's.
    tau
        Elapsed time in 1/25 s.
    p
        The parameters, brought to this step.
    predicted
        (K,) where the result is written.
    """
    for k in range(len(components)):
        predicted[k] = components[k]
    xx, xy, x0 = affine[0, 0], affine[0, 1], affine[0, 2]
    yx, yy, y0 = affine[1, 0], affine[1, 1], affine[1, 2]
    determinant = abs(xx * yy - xy * yx)
    moving = not (xx == 1.0 and yy == 1.0 and xy == 0.0 and yx == 0.0 and x0 == 0.0 and y0 == 0.0)
    damping, survival = p.size_damping**tau, p.survival**tau
    noise = np.empty(4)
    for i in range(4):
        noise[i] = p.process_noise[i] * (scene[0].process_position if i < 2 else scene[0].process_size)
    lasts = velocity_persistence(scene, tau, p)
    for k in range(len(predicted)):
        c = predicted[k]
        if moving:
            warp(c, affine, determinant, p.anchor)
        coasting = c.misses > 0
        for i in range(2):
            c.velocity[i] *= min(lasts[i] * p.coasting_damping, 1.0) if coasting else lasts[i]
        keep = 0.0 if coasting else size_velocity_kept(c, damping)
        c.velocity[2] *= keep
        c.velocity[3] *= keep
        for i in range(4):
            c.mean[i] += tau * c.velocity[i]
        c.scale = box_scale(c.mean[2], c.mean[3])
        own = c.scale * math.exp(c.log_noise_factor)
        for i in range(4):
            s = noise[i] * (own if i < 2 else c.scale)
            if coasting:
                s *= p.coasting_position_noise if i < 2 else p.coasting_size_noise
            c.p00[i] += tau * (2.0 * c.p01[i] + tau * c.p11[i]) + s * s / 4.0
            c.p01[i] += tau * c.p11[i] + s * s / (2.0 * tau)
            c.p11[i] += s * s / (tau * tau)
        c.existence *= survival
        c.age_frames += 1


@kernel()
def velocity_persistence(scene: Records, tau: float, p: Record) -> FloatArray:
    """Return (2,) the share of the velocities in x and y that lasts through a step.

    Over a long step a dancer turns, and what a car makes at 20 m it makes twice at 10 m. The share is the regression,
    over the confident matches of all objects, of the way made d on the way foretold u = tau v, ::

        rho = (n0 + sum d u / S) / (n0 + sum u^2 / S),

    with the prior of n0 that all of it lasts. It holds for the part of the step beyond ``steady_tau``:
    rho^(1 - steady_tau / tau).
    """
    lasts = np.ones(2)
    if p.persistence and tau > p.steady_tau:
        for i in range(2):
            cross, square = scene[0].velocity_cross[i], scene[0].velocity_square[i]
            rho = (PERSISTENCE_PRIOR + cross) / (PERSISTENCE_PRIOR + square)
            lasts[i] = min(max(rho, LEAST_PERSISTENCE), MOST_PERSISTENCE) ** (1.0 - p.steady_tau / tau)
    return lasts


# In line: the record of a blob, which holds more, would count as a subtype of one compiled for before.
@kernel(inline="always")
def warp(c: Record, affine: FloatArray, determinant: float, anchor: float) -> None:
    """Carry one component by the camera's motion: box centre and velocity by the map, sizes by its scale.

    Rotation would mix the coordinates of the covariance; it is small between frames and left out there.
    """
    xx, xy, x0 = affine[0, 0], affine[0, 1], affine[0, 2]
    yx, yy, y0 = affine[1, 0], affine[1, 1], affine[1, 2]
    grow = math.sqrt(determinant)
    mean, velocity, centres = c.mean, c.velocity, c.centres
    x, y = mean[0], mean[1] - (anchor - 0.5) * mean[3]
    mean[2] *= grow
    mean[3] *= grow
    mean[0] = xx * x + xy * y + x0
    mean[1] = yx * x + yy * y + y0 + (anchor - 0.5) * mean[3]
    x, y = velocity[0], velocity[1]
    velocity[0] = xx * x + xy * y
    velocity[1] = yx * x + yy * y
    velocity[2] *= grow
    velocity[3] *= grow
    for i in range(4):
        c.p00[i] *= determinant
        c.p01[i] *= determinant
        c.p11[i] *= determinant
    for n in range(len(centres)):
        x, y = centres[n, 0], centres[n, 1]
        centres[n, 0] = xx * x + xy * y + x0
        centres[n, 1] = yx * x + yy * y + y0


@kernel(inline="always")
def size_velocity_kept(c: Record, damping: float) -> float:
    """Return the factor on the size velocity: kept where width and height grow together, else damped.

    An approaching object grows in both at the same rate; arms and box noise do not. The evidence is the common
    relative growth against its variance.
    """
    w, h = max(c.mean[2], 1.0), max(c.mean[3], 1.0)
    common = max(0.0, c.velocity[2] * c.velocity[3] / (w * h))
    spread = (c.p11[2] / (w * w) + c.p11[3] / (h * h)) / 2.0
    evident = common / (common + spread)
    return damping + (1.0 - damping) * evident


@kernel()
def measurement_variance(i: int, scale: float, scene: Records, p: Record) -> float:
    """Return R of coordinate ``i`` in px^2."""
    factor = scene[0].measurement_position if i < 2 else scene[0].measurement_size
    r = p.measurement_noise[i] * scale * factor
    return r * r


@kernel(inline="always")
def innovation_variances(predicted: Records, scene: Records, p: Record) -> FloatArray:
    """Return (K, 4) S = P00 + R in px^2."""
    S = np.empty((len(predicted), 4))
    for k in range(len(predicted)):
        c = predicted[k]
        for i in range(4):
            S[k, i] = c.p00[i] + measurement_variance(i, c.scale, scene, p)
    return S


@kernel()
def update(c: Record, scene: Records, innovation: FloatArray, claimed: FloatArray, p: Record) -> None:
    """Move one component to its share of the detections: the MAP M-step with the prediction as prior.

    With a Gaussian prior this is Kalman's update with the responsibility-weighted innovation,

        S = P00 + R,   m <- m + P00/S e,   v <- v + P01/S e,   P <- P - [P00, P01]' [P00, P01] / S.

    The innovations are Student's t: an outlying one first widens the prior by 1 + .2 (f - 1) and the measurement
    by 1 + .8 (f - 1), f = (nu + e^2/S) / (nu + 1) clipped to [1, 5] being the scale at which it is ordinary.

    Parameters
    ----------
    c
        The component, changed in place.
    innovation
        (4,) sum over detections of responsibility times (detection - mean).
    claimed
        (4,) claimed detection - mean.
    """
    for i in range(4):
        prior = 1.0
        R = measurement_variance(i, c.scale, scene, p)
        if p.inflation:
            nu = p.degrees_of_freedom[i]
            f = (nu + claimed[i] * claimed[i] / (c.p00[i] + R)) / (nu + 1.0)
            f = min(max(f, 1.0), 5.0)
            prior = 1.0 + 0.2 * (f - 1.0)
            R *= 1.0 + 0.8 * (f - 1.0)
        p00, p01, p11 = prior * c.p00[i], prior * c.p01[i], prior * c.p11[i]
        S = p00 + R
        gain, velocity_gain = p00 / S, p01 / S
        c.mean[i] += gain * innovation[i]
        c.velocity[i] += velocity_gain * innovation[i]
        c.p00[i] = gain * R
        c.p01[i] = velocity_gain * R
        c.p11[i] = p11 - velocity_gain * p01


@kernel(inline="always")
def adapt(
    predicted: Records,
    scene: Records,
    z: FloatArray,
    confidence: FloatArray,
    scores: FloatArray,
    detection: IntArray,
    tau: float,
    p: Record,
) -> None:
    """Learn from this frame's confident matches: per object the process noise, per scene all noise and persistence.

    z are the normalised innovations clipped to 3, z' those of the same object's previous match. Measurement
    noise follows their size; process noise follows their lag-1 correlation, which a filter that trusts its
    motion too much or too little shows: steady walkers have little, dancers and driving much. For sizes the
    cross term of width and height is used, since approach moves both together and box noise does not.

    Parameters
    ----------
    predicted
        (K,) components before the update; ``log_noise_factor`` is changed in place.
    scene
        Changed in place.
    z
        (K, 4) normalised innovations, valid where ``detection`` is not -1.
    confidence
        (K,) responsibility of the claimed detection.
    scores
        (N,) scores of the detections.
    detection
        (K,) claimed detection, -1 for none.
    tau
        Length of the step in 1/25 s.
    """
    n = 0
    lasted, cross, square = velocity_persistence(scene, tau, p), np.zeros(2), np.zeros(2)
    now, before = np.empty(4), np.empty(4)
    z2_position, z2_size, lag_position, lag_size = 0.0, 0.0, 0.0, 0.0
    for k in range(len(predicted)):
        c = predicted[k]
        j = detection[k]
        if (
            j < 0
            or confidence[k] <= CONFIDENT
            or c.misses > 0
            or c.hits < CONFIDENT_HITS
            or scores[j] <= CONFIDENT_SCORE
        ):
            continue
        n += 1
        for i in range(4):
            now[i] = min(max(z[k, i], -Z_LIMIT), Z_LIMIT)
            before[i] = min(max(c.z[i], -Z_LIMIT), Z_LIMIT)
        for i in range(2):
            foretold = tau * c.velocity[i] / math.sqrt(c.p00[i] + measurement_variance(i, c.scale, scene, p))
            unabated = foretold / lasted[i]
            cross[i] += (foretold + now[i]) * unabated
            square[i] += unabated * unabated
        mean_z2 = (now[0] * now[0] + now[1] * now[1]) / 2.0
        z2_position += mean_z2
        z2_size += (now[2] * now[2] + now[3] * now[3]) / 2.0
        lag_position += (now[0] * before[0] + now[1] * before[1]) / 2.0
        lag_size += (now[2] * before[3] + now[3] * before[2]) / 2.0
        factor = 0.98 * c.log_noise_factor + p.object_rate * (mean_z2 - 1.0)
        c.log_noise_factor = min(max(factor, -2.0), 2.0)
    if n == 0:
        return
    s = scene[0]
    for i in range(2):
        s.velocity_cross[i] = PERSISTENCE_DECAY * s.velocity_cross[i] + cross[i]
        s.velocity_square[i] = PERSISTENCE_DECAY * s.velocity_square[i] + square[i]
    share = n / (n + 20.0)
    z2_position /= n
    z2_size /= n
    s.measurement_position = _bounded(s.measurement_position, p.measurement_rate * share * (z2_position - 1.0))
    s.measurement_size = _bounded(s.measurement_size, p.measurement_rate * share * (z2_size - 1.0))
    by_size = (1.0 - p.correlation) * (z2_position - 1.0)
    by_lag = 2.0 * p.correlation * (lag_position / n - 0.5)
    s.process_position = _bounded(s.process_position, p.process_rate * share * (by_size + by_lag))
    s.process_size = _bounded(s.process_size, p.process_rate * share * 2.0 * lag_size / n)


@kernel(inline="always")
def learn_innovation_scale(scene: Records, z: FloatArray, detection: IntArray, p: Record) -> None:
    """Learn how large innovations really are, coordinate by coordinate, for those who read them; nothing else uses it.

    Noise that follows objects best is no honest error: widths share a factor with heights, and heavy tails leave room
    for noise that is too small. The scale s moves until the mean square of z / s is that of Student's t.

    Parameters
    ----------
    scene
        Changed in place.
    z
        (K, 4) innovations over the filter's standard deviations, valid where ``detection`` is not -1.
    detection
        (K,) claimed detection, -1 for none.
    """
    n = 0
    square = np.zeros(4)
    scale = scene[0].innovation_scale
    for k in range(len(detection)):
        if detection[k] >= 0:
            n += 1
            for i in range(4):
                told = z[k, i] / scale[i]
                square[i] += min(told * told, CLIPPED_AT * CLIPPED_AT)
    for i in range(4):
        surplus = square[i] / max(n, 1) / EXPECTED_CLIPPED_SQUARE - 1.0 if n > 0 else 0.0
        scale[i] = _bounded(scale[i], p.measurement_rate * n / (n + 20.0) * surplus)


@kernel()
def _bounded(factor: float, step: float) -> float:
    return min(max(factor * math.exp(step), 0.25), 4.0)


@kernel(inline="always")
def predicted_boxes(predicted: Records, anchor: float) -> FloatArray:
    """Return (K, 4) left, top, right, bottom of the components, at least 1 px wide and high."""
    boxes = np.empty((len(predicted), 4))
    for k in range(len(predicted)):
        c = predicted[k]
        box = edges(c.mean[0], c.mean[1], c.mean[2], c.mean[3], anchor)
        boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3] = box
    return boxes


@kernel()
def edges(x: float, y: float, width: float, height: float, anchor: float) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom of the box with these coordinates, at least 1 px wide and high."""
    w, h = max(width, 1.0), max(height, 1.0)
    left, top = x - w / 2.0, y - anchor * h
    return left, top, left + w, top + h


@kernel()
def measured_coordinates(boxes_xyxy: FloatArray, anchor: float) -> FloatArray:
    """Return (N, 4) centre x, anchored y, width, height of detected boxes."""
    measured = np.empty((len(boxes_xyxy), 4))
    for j in range(len(boxes_xyxy)):
        w = boxes_xyxy[j, 2] - boxes_xyxy[j, 0]
        h = boxes_xyxy[j, 3] - boxes_xyxy[j, 1]
        measured[j, 0] = boxes_xyxy[j, 0] + w / 2.0
        measured[j, 1] = boxes_xyxy[j, 1] + anchor * h
        measured[j, 2] = w
        measured[j, 3] = h
    return measured
