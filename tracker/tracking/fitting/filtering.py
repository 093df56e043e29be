"""Filtering a recording with given responsibilities: how probable its boxes are under some noise."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.config import Config
from tracker.mixture.kernels import kernel
from tracker.structures import FloatArray, IntArray
from tracker.tracking.fitting.ownership import History
from tracker.tracking.motion import (
    adapt,
    box_scale,
    bring_to_step,
    innovation_variances,
    measurement_variance,
    predict,
    update,
)
from tracker.tracking.state import COMPONENT, SCENE, Record, Records, parameters


def filtered_log_likelihood(histories: Iterable[History], config: Config) -> float:
    """Return the log density of all boxes given the past and the responsibilities, but for a constant.

    The recordings are filtered as the tracker does it, adaptation and all; only who explains what is given.
    """
    parameter = parameters(config)
    return sum(_filtered(*_arrays(h), parameter) for h in histories)  # type: ignore[call-arg, misc]


def _arrays(history: History) -> tuple[NDArray[Any], ...]:
    return tuple(getattr(history, field.name) for field in fields(history))


@kernel()
def _filtered(
    tau: FloatArray,
    measured: FloatArray,
    scores: FloatArray,
    row_start: IntArray,
    claim: IntArray,
    confidence: FloatArray,
    survives: NDArray[np.bool_],
    pair_start: IntArray,
    pair_detection: IntArray,
    pair_share: FloatArray,
    born_start: IntArray,
    born: IntArray,
    parameter: Records,
) -> float:
    """Filter a recording with given responsibilities and return the log density of the boxes, weighted by them."""
    scene = np.zeros(1, SCENE)
    scene[0].process_position = scene[0].process_size = 1.0
    scene[0].measurement_position = scene[0].measurement_size = 1.0
    room = 0
    for t in range(len(tau)):
        room = max(room, row_start[t + 1] - row_start[t] + born_start[t + 1] - born_start[t])
    components, predicted = np.zeros(room, COMPONENT), np.zeros(room, COMPONENT)
    blank = np.zeros(1, COMPONENT)
    still = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    z, detection, innovation, claimed = np.empty((room, 4)), np.empty(room, np.int64), np.empty(4), np.empty(4)
    total = 0.0
    for t in range(len(tau)):
        parameter[1] = parameter[0]
        p = parameter[1]
        bring_to_step(p, tau[t])
        first, count = row_start[t], row_start[t + 1] - row_start[t]
        moved = predicted[:count]
        predict(components[:count], scene, still, tau[t], p, moved)
        S = innovation_variances(moved, scene, p)
        for k in range(count):
            c = moved[k]
            detection[k] = claim[first + k]
            for e in range(pair_start[first + k], pair_start[first + k + 1]):
                for i in range(4):
                    off = measured[pair_detection[e], i] - c.mean[i]
                    total += pair_share[e] * _log_density(off, S[k, i], c.scale, i, p)
            if detection[k] >= 0:
                for i in range(4):
                    z[k, i] = (measured[detection[k], i] - c.mean[i]) / math.sqrt(S[k, i])
        before = scene.copy()
        adapt(moved, scene, z[:count], confidence[first : first + count], scores, detection[:count], tau[t], p)
        kept = 0
        for k in range(count):
            c = moved[k]
            j = detection[k]
            if j < 0:
                c.misses += 1
                c.missed_tau += tau[t]
            else:
                for i in range(4):
                    claimed[i] = measured[j, i] - c.mean[i]
                    innovation[i] = 0.0
                    for e in range(pair_start[first + k], pair_start[first + k + 1]):
                        innovation[i] += pair_share[e] * (measured[pair_detection[e], i] - c.mean[i])
                    c.z[i] = z[k, i]
                update(c, before, innovation, claimed, p)
                c.hits += 1
                c.misses = 0
                c.missed_tau = 0.0
            if survives[first + k]:
                components[kept] = c
                kept += 1
        for b in range(born_start[t], born_start[t + 1]):
            components[kept] = blank[0]
            c = components[kept]
            j = born[b]
            c.hits = 1
            c.scale = box_scale(measured[j, 2], measured[j, 3])
            for i in range(4):
                c.mean[i] = measured[j, i]
                c.p00[i] = measurement_variance(i, c.scale, scene, p)
                c.p11[i] = (p.initial_velocity * c.scale) ** 2
            kept += 1
    return total


@kernel()
def _log_density(off: float, S: float, scale: float, i: int, p: Record) -> float:
    """Return the log of the tracker's density of coordinate i, in units of g, but for a constant."""
    nu = p.degrees_of_freedom[i]
    tails = (nu + 1.0) / 2.0 * math.log1p(off * off / (S * nu))
    return -p.coordinate_weight[i] * (tails + 0.5 * math.log(S / (scale * scale)))
