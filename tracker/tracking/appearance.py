"""What objects look like: how much a detection's look speaks for an object, learned while tracking.

A feature is any vector of a detection's look: a histogram of colours, or what a neural network makes of the picture.
Features are compared by the angle between them, d = sqrt(1 - cos), which for roots of histograms is the Hellinger
distance. A feature of zeros tells nothing, as of a detection that is hidden for the most part.

How far apart two looks of one object are, and how far those of two objects, depends on the scene, the light and the
feature. Both distributions are learned from the run itself, as fading counts in bins of d: those of one object from
claims that motion alone is sure of, those of different objects from the same detections against everybody else. The
term that joins a pair's log odds is the logarithm of their ratio,

    log p(d | same) / p(d | different),

shrunk to 0 while there is little evidence, never rising with d, and bounded, since looks do change.

What is remembered of an object is a slow mean, so that a claim is compared with what the object looked like up to a
second ago. Were it the last frame's look, the distances would be those of neighbouring frames, which are too small to
tell what to expect after a gap.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tracker.mixture.kernels import kernel
from tracker.mixture.logistic import logit
from tracker.structures import FloatArray, IntArray
from tracker.tracking.lifecycle import survives
from tracker.tracking.state import LIKENESS_BINS, Record, Records

COUNT_DECAY = 0.998
"""Share of the counts that is kept from frame to frame."""
LEAST_COUNT = 1e-3
"""Of an empty bin, in both distributions: it speaks neither for nor against, until the order of bins decides."""
KNOWN_LOOKS = 5
"""Looks of an object from which its mean is one to learn from."""


class Looks(NamedTuple):
    """The features of a frame.

    Parameters
    ----------
    seen
        (N, D) of all of the frame's detections, of length 1 or 0.
    remembered
        (K, D) of the objects, of length 1 or 0.
    """

    seen: FloatArray
    remembered: FloatArray


def normalised(features: FloatArray) -> FloatArray:
    """Return features, a row each, at length 1; rows of zeros stay."""
    length = np.sqrt(np.einsum("nd,nd->n", features, features))
    return features / np.where(length > 0.0, length, 1.0)[:, None]


@kernel(fastmath={"reassoc"})
def _product(a: FloatArray, b: FloatArray) -> float:
    total = 0.0
    for d in range(len(a)):
        total += a[d] * b[d]
    return total


@kernel(inline="always")
def _tells(feature: FloatArray) -> bool:
    """Tell whether a feature is not of zeros."""
    return _product(feature, feature) > 0.0


@kernel(inline="always")
def look_distance(a: FloatArray, b: FloatArray) -> float:
    """Return the distance of two features of length 1: 0 of equal ones, 1 of those that have nothing in common."""
    return math.sqrt(max(1.0 - _product(a, b), 0.0))


@kernel()
def likeness_table(alike: FloatArray, unalike: FloatArray, prior_count: float, change: float) -> FloatArray:
    """Return (B,) nats for each bin of the distance, which never rise.

    Parameters
    ----------
    alike, unalike
        (B,) counts of distances between looks of one object and of different objects.
    prior_count
        Counts by which both distributions are drawn to their mean, which says nothing.
    change
        Share of looks that follow the other distribution than they should; it bounds the nats at
        +- log((1 - change) / change).

    Notes
    -----
    Bins that break the order are pooled (isotonic regression by the pool-adjacent-violators algorithm [1]_).

    References
    ----------
    .. [1] R. E. Barlow et al., "Statistical inference under order restrictions", Wiley 1972.
    """
    bins = len(alike)
    total = total_other = 0.0
    for b in range(bins):
        total += alike[b]
        total_other += unalike[b]
    nats = np.zeros(bins)
    if total == 0.0 or total_other == 0.0:
        return nats
    value, weight, size = np.empty(bins), np.empty(bins), np.empty(bins, np.int64)
    blocks = 0
    for b in range(bins):
        pooled = 0.5 * (alike[b] / total + unalike[b] / total_other)
        same = (alike[b] + prior_count * pooled + LEAST_COUNT) / (total + prior_count)
        different = (unalike[b] + prior_count * pooled + LEAST_COUNT) / (total_other + prior_count)
        value[blocks], weight[blocks], size[blocks] = same / (same + different), same + different, 1
        blocks += 1
        while blocks > 1 and value[blocks - 1] > value[blocks - 2]:
            joint = weight[blocks - 2] + weight[blocks - 1]
            value[blocks - 2] += (value[blocks - 1] - value[blocks - 2]) * weight[blocks - 1] / joint
            weight[blocks - 2] = joint
            size[blocks - 2] += size[blocks - 1]
            blocks -= 1
    b = 0
    for block in range(blocks):
        share = value[block] + change * (1.0 - 2.0 * value[block])
        for _ in range(size[block]):
            nats[b] = logit(share)
            b += 1
    return nats


@kernel(inline="always")
def likeness(distance: float, nats: FloatArray) -> float:
    """Return the nats at a distance: linear between the middles of the bins, constant beyond."""
    at = min(max(distance * len(nats) - 0.5, 0.0), len(nats) - 1.0)
    b = min(int(at), len(nats) - 2)
    return nats[b] + (at - b) * (nats[b + 1] - nats[b])


@kernel()
def likeness_evidence(
    row_start: IntArray,
    column: IntArray,
    predicted: Records,
    detection: IntArray,
    looks: Looks,
    scene: Records,
    p: Record,
) -> FloatArray:
    """Return (E,) nats by which the looks of each pair speak for it; 0 where either look is not known.

    Parameters
    ----------
    row_start, column
        The pairs, by rows of objects.
    detection
        (N,) row of each detection that is heard in the frame's features.
    """
    nats = likeness_table(scene[0].alike, scene[0].unalike, p.likeness_prior_count, p.change_of_look)
    evidence = np.zeros(len(column))
    for k in range(len(predicted)):
        if predicted[k].looks == 0:
            continue
        for e in range(row_start[k], row_start[k + 1]):
            seen = looks.seen[detection[column[e]]]
            if _tells(seen):
                evidence[e] = likeness(look_distance(looks.remembered[k], seen), nats)
    return evidence


@kernel()
def sure_without_looks(
    row_start: IntArray, column: IntArray, log_odds: FloatArray, columns: int, certainty: float
) -> IntArray:
    """Return (K,) the detection that is an object's by all but its look, -1 where that is not sure.

    Sure is a pair whose odds are more than ``certainty`` of the sum of all odds of its object and of its detection,
    with one for neither.
    """
    by_row, by_column = np.ones(len(row_start) - 1), np.ones(columns)
    for k in range(len(by_row)):
        for e in range(row_start[k], row_start[k + 1]):
            odds = math.exp(log_odds[e])
            by_row[k] += odds
            by_column[column[e]] += odds
    sure = np.empty(len(by_row), np.int64)
    for k in range(len(by_row)):
        sure[k] = -1
        for e in range(row_start[k], row_start[k + 1]):
            odds = math.exp(log_odds[e])
            if odds > certainty * (by_row[k] + by_column[column[e]] - odds):
                sure[k] = column[e]
    return sure


@kernel()
def learn_likeness(
    predicted: Records,
    detection: IntArray,
    sure: IntArray,
    looks: Looks,
    scene: Records,
) -> None:
    """Let all counts fade, once a frame, and count how far sure looks are from their objects' and from all others'.

    Objects that are partly covered are counted too: it is there that looks will be asked for.

    Parameters
    ----------
    detection
        (N,) row of each detection that is heard in the frame's features.
    sure
        From :func:`sure_without_looks`.
    """
    for b in range(LIKENESS_BINS):
        scene[0].alike[b] *= COUNT_DECAY
        scene[0].unalike[b] *= COUNT_DECAY
    for k in range(len(predicted)):
        if sure[k] < 0 or predicted[k].looks < KNOWN_LOOKS:
            continue
        seen = looks.seen[detection[sure[k]]]
        if not _tells(seen):
            continue
        for other in range(len(predicted)):
            if predicted[other].looks < KNOWN_LOOKS:
                continue
            distance = look_distance(looks.remembered[other], seen)
            b = min(int(distance * LIKENESS_BINS), LIKENESS_BINS - 1)
            if other == k:
                scene[0].alike[b] += 1.0
            else:
                scene[0].unalike[b] += 1.0


@kernel()
def remember_looks(
    components: Records, cover: FloatArray, looks: Looks, tau: float, p: Record, remembered: FloatArray
) -> None:
    """Draw what is remembered of the claimed objects towards what was seen, and close the rows of those that end.

    A look is passed over where the claim is not sure or the object partly covered: it may be another's.

    Parameters
    ----------
    components
        (K,) after this frame's update, before those that end are removed; their count of looks is kept here.
    cover
        (K,) share of each object that a nearer one covers.
    tau
        Length of the step in 1/25 s.
    remembered
        At least (K, D); the survivors' features are written to its beginning.
    """
    row = 0
    least = 1.0 - math.exp(-tau / p.look_memory_tau)
    for k in range(len(components)):
        c = components[k]
        rate = 0.0
        sure = c.detection >= 0 and c.responsibility > p.sure_of_look and cover[k] <= p.cover_of_look
        if sure and _tells(looks.seen[c.detection]):
            c.looks += 1
            rate = max(least, 1.0 / c.looks)
        if not survives(c, p):
            continue
        length = 0.0
        for d in range(remembered.shape[1]):
            value = looks.remembered[k, d]
            if rate > 0.0:
                value += rate * (looks.seen[c.detection, d] - value)
            remembered[row, d] = value
            length += value * value
        if rate > 0.0 and length > 0.0:
            length = math.sqrt(length)
            for d in range(remembered.shape[1]):
                remembered[row, d] /= length
        row += 1


@kernel()
def first_looks(alive: Records, begin: int, end: int, seen: FloatArray, remembered: FloatArray) -> None:
    """Write what is seen of newborn objects, from row ``begin`` to before ``end``, to their rows of ``remembered``."""
    for k in range(begin, end):
        look = seen[alive[k].detection]
        alive[k].looks = 1 if _tells(look) else 0
        for d in range(len(look)):
            remembered[k, d] = look[d]
