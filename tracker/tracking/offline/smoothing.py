"""Smoothing a track, with noise of detector and motion that is learned from all tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tracker.geometry import box_scales
from tracker.structures import FloatArray, IntArray
from tracker.tracking.offline.pieces import Piece

_TYPICAL_DETECTOR = np.array([0.02, 0.02, 0.03, 0.03])
_TYPICAL_MOTION = np.array([0.02, 0.012, 0.02, 0.015])
_TYPICAL_COUNT = 50
_STEP = np.array([[1.0, 1.0], [0.0, 1.0]])
_KICK = np.array([[0.25, 0.5], [0.5, 1.0]])  # white-noise acceleration over one frame


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """Standard deviations in units of g, for centre x, anchored y, width and height.

    Parameters
    ----------
    measurement
        (4,) of a box.
    process
        (4,) of the change of velocity from one frame to the next, per frame.
    initial_velocity
        Of a velocity of which nothing is known, per frame.
    """

    measurement: FloatArray
    process: FloatArray
    initial_velocity: float


@dataclass(frozen=True, slots=True, eq=False)
class Smoothed:
    """Posterior of a track's states, one for each frame from its first to its last.

    Parameters
    ----------
    means
        (F, 4, 2) position and velocity per frame of each coordinate.
    covariances
        (F, 4, 2, 2) of the same.
    """

    means: FloatArray
    covariances: FloatArray


def smoothed(frames: IntArray, measured: FloatArray, noise: Noise) -> Smoothed:
    """Smooth one track (Rauch, Tung and Striebel 1965) by filterpy; frames without a row are inferred.

    Each coordinate has position and velocity, x_f = [[1, 1], [0, 1]] x_(f-1) + white-noise acceleration. The noise
    of a frame goes with the object's scale in it, between rows with its geometric interpolation.

    Parameters
    ----------
    frames
        (n,) ascending frame numbers.
    measured
        (n, 4) boxes in them.
    noise
        Standard deviations.
    """
    from filterpy.kalman import KalmanFilter

    every = np.arange(frames[0], frames[-1] + 1)
    g = np.exp(np.interp(every, frames, np.log(box_scales(measured))))[:, None]
    R = (noise.measurement * g) ** 2
    q = (noise.process * g) ** 2
    kalman = KalmanFilter(dim_x=8, dim_z=4)
    kalman.F = np.kron(np.eye(4), _STEP)
    kalman.H = np.kron(np.eye(4), [[1.0, 0.0]])
    kalman.x = np.kron(measured[0], [1.0, 0.0])
    kalman.P = np.diag(np.column_stack([R[0], np.full(4, (noise.initial_velocity * g[0, 0]) ** 2)]).ravel())
    means, covariances = kalman.x[None], kalman.P[None]
    if len(every) > 1:
        rows: list[FloatArray | None] = [None] * len(every)
        for row, frame in enumerate(frames.tolist()):
            rows[frame - every[0]] = measured[row]
        Qs = [np.kron(np.diag(variances), _KICK) for variances in q]
        later, later_covariances, _, _ = kalman.batch_filter(rows[1:], Qs=Qs[1:], Rs=[np.diag(r) for r in R[1:]])
        means = np.concatenate([means, later])
        covariances = np.concatenate([covariances, later_covariances])
        means, covariances, _, _ = kalman.rts_smoother(means, covariances, Qs=Qs)
    blocks = covariances.reshape(-1, 4, 2, 4, 2)
    return Smoothed(means.reshape(-1, 4, 2), np.stack([blocks[:, i, :, i] for i in range(4)], axis=1))


def learned_noise(pieces: Sequence[Piece], tau: float) -> Noise:
    """Learn the noise of detector and motion from the second differences d of the tracks, by moments.

    Under the motion model the autocovariances of d are

        c0 = 6 r^2 + q^2 / 2,   c1 = -4 r^2 + q^2 / 4,   c2 = r^2,

    solved by least squares for r^2 and q^2 in each coordinate. Outliers are clipped at three robust standard
    deviations; values that detectors and people typically have count as much as fifty rows.
    """
    typical = _TYPICAL_DETECTOR**2, (_TYPICAL_MOTION * tau) ** 2
    design = np.array([[6.0, 0.5], [-4.0, 0.25], [1.0, 0.0]])
    moments = _TYPICAL_COUNT * (design @ np.stack(typical))
    count = _TYPICAL_COUNT
    bends = [np.diff(p.measured, 2, axis=0) / box_scales(p.measured)[1:-1, None] for p in pieces if len(p.frames) >= 5]
    if bends:
        everything = np.concatenate(bends)
        limit = 3.0 * 1.4826 * np.median(np.abs(everything), axis=0)
        count += len(everything)
        for bend in bends:
            d = np.clip(bend, -limit, limit)
            moments += [np.sum(d[: len(d) - lag] * d[lag:], axis=0) for lag in range(3)]
    moments /= count
    solution = np.linalg.lstsq(design, moments, rcond=None)[0]
    r2 = np.maximum(solution[0], 0.002 * moments[0])
    q2 = np.maximum(solution[1], 0.02 * moments[0])
    return Noise(np.sqrt(r2), np.sqrt(q2), 0.1 * tau)
