"""Where an object's own pixels end: its measured place and size, and what its outline is like while it walks alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracker.geometry import cxywh_to_xyxy, intersection_over_union_xyxy
from tracker.structures import FloatArray, Foreground
from tracker.tracking.blobs import (
    EXTENT,
    FILLS,
    LARGEST_CORRELATION,
    LARGEST_SKEW,
    STRETCH,
    measurement_variances,
)
from tracker.tracking.pixel_em import BlobPrior, Shares
from tracker.tracking.state import Record, Records

_LEARNING = 0.1  # step of an object's own outline and fill
_SAME_IOU = 0.7  # of a silhouette and the pixels of its region, which are thinned
_TAIL = 0.003  # share of an object's pixels at either end that its outline leaves out
_PURE, _WHOLLY_PURE = 0.8, 0.97  # mean responsibility from which pixels show the object's own outline


def lone_outlines(foreground: Foreground, shares: Shares, pairs: Records, regions_xyxy: FloatArray) -> FloatArray:
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
        iou = intersection_over_union_xyxy(regions_xyxy[region][None], found)
        if iou.max(initial=0.0) > _SAME_IOU:
            outlines[k] = found[iou.argmax()]
    return outlines


def move(
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
    R = measurement_variances(predicted, scene, parameter)
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
        filtered = cxywh_to_xyxy(c["mean"])
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
