"""Birth, confirmation, death, and what a score means here.

Detections that nobody claims and that score like objects give birth to tentative objects; a second detection
confirms, a miss before that kills, a long absence kills the confirmed. The score from which a detection is an
object is learned from the detections alone, since every detector scales its scores its own way.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from tracker.structures import FloatArray, IntArray
from tracker.tracking.gating import box_area, overlapping_pairs
from tracker.tracking.motion import measurement_variance
from tracker.tracking.state import (
    CHAIN,
    CHAIN_LENGTH,
    COMPONENT,
    LOWEST_BIN,
    SCORE_BIN_WIDTH,
    SCORE_BINS,
    Record,
    Records,
)

PROVEN_HITS = 5
COUNT_DECAY = 0.998
PRIOR_COUNT = 20.0
PRIOR_SLOPE = 10.0
BIRTH_POSTERIOR = 0.8
HIGHEST_BIRTH_SCORE = 0.9
LOWEST_BIRTH_SCORE = 0.3


@njit(cache=True, error_model="numpy")
def free_detections(
    boxes_xyxy: FloatArray,
    labels: IntArray,
    owner: IntArray,
    claimed_share: FloatArray,
    veto_iou: float,
    class_agnostic: bool,
) -> IntArray:
    """Return the detections that belong to nobody: unclaimed, mostly unexplained, not on a claimed one.

    One class does not veto another (a rider sits on a bicycle) unless objects may change class.

    Parameters
    ----------
    owner
        (N,) component that claimed the detection, -1 for none.
    claimed_share
        (N,) sum of the responsibilities of all components.
    """
    n = len(boxes_xyxy)
    free = np.empty(n, np.int64)
    count = 0
    claimed_count = 0
    for j in range(n):
        if owner[j] >= 0:
            claimed_count += 1
        elif claimed_share[j] < 0.5:
            free[count] = j
            count += 1
    if count == 0 or claimed_count == 0:
        return free[:count]
    claimed = np.empty((claimed_count, 4))
    claimed_labels = np.empty(claimed_count, np.int64)
    at = 0
    for j in range(n):
        if owner[j] >= 0:
            claimed[at] = boxes_xyxy[j]
            claimed_labels[at] = labels[j]
            at += 1
    candidates = boxes_xyxy[free[:count]]
    start, other, area = overlapping_pairs(candidates, claimed)
    kept = 0
    for c in range(count):
        vetoed = False
        for e in range(start[c], start[c + 1]):
            same = class_agnostic or labels[free[c]] == claimed_labels[other[e]]
            union = box_area(candidates[c]) + box_area(claimed[other[e]]) - area[e]
            if same and area[e] > veto_iou * union:
                vetoed = True
        if not vetoed:
            free[kept] = free[c]
            kept += 1
    return free[:kept]


@njit(cache=True, error_model="numpy")
def score_bin(score: float) -> int:
    """Return the bin of a score; scores below the lowest bin share it."""
    return min(max(int((score - LOWEST_BIN) / SCORE_BIN_WIDTH + 1e-9), 0), SCORE_BINS - 1)


@njit(cache=True, error_model="numpy")
def object_probability(scene: Records, b: int, birth_score: float) -> float:
    """Return the probability that a detection of score bin ``b`` is an object: counts on top of a prior."""
    low = LOWEST_BIN + SCORE_BIN_WIDTH * b
    logit = math.log(BIRTH_POSTERIOR / (1.0 - BIRTH_POSTERIOR)) + PRIOR_SLOPE * (low - birth_score)
    prior = 1.0 / (1.0 + math.exp(-logit))
    objects, clutter = scene[0].objects[b], scene[0].clutter[b]
    return (objects + PRIOR_COUNT * prior) / (objects + clutter + PRIOR_COUNT)


@njit(cache=True, error_model="numpy")
def count_claimed(scene: Records, components: Records, detection: IntArray, scores: FloatArray) -> None:
    """Let all counts fade, once a frame, and count what proven objects have claimed.

    Parameters
    ----------
    components
        (K,) after this frame's update, so that a proven one counts this frame's hit too.
    detection
        (K,) claimed detection, -1 for none.
    """
    for k in range(len(components)):
        if detection[k] >= 0 and components[k].hits > PROVEN_HITS:
            scene[0].objects[score_bin(scores[detection[k]])] += 1.0
    for b in range(SCORE_BINS):
        scene[0].objects[b] *= COUNT_DECAY
        scene[0].clutter[b] *= COUNT_DECAY


@njit(cache=True, error_model="numpy")
def learn_birth_score(scene: Records, birth_score: float) -> None:
    """Set the scene's birth threshold: the lowest score above which detections are objects at 80 %."""
    b = score_bin(HIGHEST_BIRTH_SCORE)
    while b > score_bin(LOWEST_BIRTH_SCORE) and (
        object_probability(scene, b - 1, birth_score) >= BIRTH_POSTERIOR - 1e-9
    ):
        b -= 1
    # Where the counts do not move the walk's end, the configured score stands, whatever its place in a bin.
    unmoved = math.ceil((birth_score - LOWEST_BIN) / SCORE_BIN_WIDTH - 1e-9)
    if b == min(max(unmoved, score_bin(LOWEST_BIRTH_SCORE)), score_bin(HIGHEST_BIRTH_SCORE)):
        scene[0].birth_score = birth_score
    else:
        scene[0].birth_score = LOWEST_BIN + SCORE_BIN_WIDTH * b


@njit(cache=True, error_model="numpy")
def follow_chains(
    scene: Records, chains: Records, boxes_xyxy: FloatArray, scores: FloatArray, free: IntArray
) -> Records:
    """Chain unclaimed detections from frame to frame and count what became of them; return the new chains.

    A chain that reaches eight frames was an object that nobody followed: all its detections count as objects.
    One that ends sooner was clutter.
    """
    boxes = boxes_xyxy[free]
    links = np.zeros(len(free), CHAIN)
    continued = np.zeros(len(chains), np.bool_)
    before = np.empty((len(chains), 4))
    for c in range(len(chains)):
        before[c] = chains[c].box
    # Links in the order of overlap: the order of detections must not matter.
    start, other, area = overlapping_pairs(boxes, before)
    follower, iou = np.empty(len(other), np.int64), np.empty(len(other))
    for f in range(len(free)):
        for e in range(start[f], start[f + 1]):
            follower[e] = f
            iou[e] = area[e] / (box_area(boxes[f]) + box_area(before[other[e]]) - area[e])
    followed = np.full(len(free), -1, np.int64)
    for e in np.argsort(-iou, kind="mergesort"):
        if iou[e] > 0.5 and followed[follower[e]] < 0 and not continued[other[e]]:
            followed[follower[e]] = other[e]
            continued[other[e]] = True
    for f in range(len(free)):
        link = links[f]
        link.box[:] = boxes[f]
        b = score_bin(scores[free[f]])
        if followed[f] >= 0:
            link.length = chains[followed[f]].length
            link.bins[:] = chains[followed[f]].bins
        if link.length < CHAIN_LENGTH:
            link.bins[link.length] = b
        link.length += 1
        if link.length == CHAIN_LENGTH:
            for past in range(CHAIN_LENGTH):
                scene[0].objects[link.bins[past]] += 1.0
        elif link.length > CHAIN_LENGTH:
            scene[0].objects[b] += 1.0
    for c in range(len(chains)):
        if not continued[c]:
            for past in range(chains[c].length if chains[c].length < CHAIN_LENGTH else 0):
                scene[0].clutter[chains[c].bins[past]] += 1.0
    return links


@njit(cache=True, error_model="numpy")
def newborn(
    measured: FloatArray,
    boxes_xyxy: FloatArray,
    scores: FloatArray,
    labels: IntArray,
    chosen: IntArray,
    scene: Records,
    next_id: int,
    p: Record,
) -> Records:
    """Return a tentative component for each chosen detection, at rest and as uncertain as its measurement."""
    born = np.zeros(len(chosen), COMPONENT)
    for n in range(len(chosen)):
        j = chosen[n]
        c = born[n]
        c.id = next_id + n
        c.label = labels[j]
        c.hits = 1
        c.scale = math.sqrt(max(measured[j, 2], 1.0) * max(measured[j, 3], 1.0))
        c.mean[:] = measured[j]
        for i in range(4):
            c.p00[i] = measurement_variance(i, c.scale, scene, p)
            c.p11[i] = (p.initial_velocity * c.scale) ** 2
        c.existence = object_probability(scene, score_bin(scores[j]), p.birth_score)
        c.score = scores[j]
        c.detection = j
        c.responsibility = c.existence
        c.box[:] = boxes_xyxy[j]
        remember_centre(c, boxes_xyxy[j])
    return born


@njit(cache=True, error_model="numpy")
def remember_centre(c: Record, box: FloatArray) -> None:
    """Append an observed centre to the component's recent path, whose newest entry stands last."""
    size = len(c.centres)
    for n in range(size - 1):
        c.centres[n, 0] = c.centres[n + 1, 0]
        c.centres[n, 1] = c.centres[n + 1, 1]
    c.centres[size - 1, 0] = (box[0] + box[2]) / 2.0
    c.centres[size - 1, 1] = (box[1] + box[3]) / 2.0
    c.centre_count = min(c.centre_count + 1, size)


@njit(cache=True, error_model="numpy")
def survives(c: Record, p: Record) -> bool:
    """Tell whether an object goes on: a tentative one dies at its first miss, a confirmed one after many."""
    return c.misses == 0 or (c.status == 1 and c.misses <= p.max_misses_frames)


@njit(cache=True, error_model="numpy")
def renew(components: Records, born: Records, p: Record) -> tuple[Records, IntArray]:
    """Confirm who has been seen often enough; return survivors and newborn, and the identities that ended."""
    alive = np.empty(len(components) + len(born), COMPONENT)
    died = np.empty(len(components), np.int64)
    count, dead = 0, 0
    for k in range(len(components)):
        if survives(components[k], p):
            alive[count] = components[k]
            count += 1
        else:
            died[dead] = components[k].id
            dead += 1
    for b in range(len(born)):
        alive[count] = born[b]
        count += 1
    for k in range(count):
        if alive[k].hits >= p.confirmation_hits:
            alive[k].status = 1
    return alive[:count], died[:dead]
