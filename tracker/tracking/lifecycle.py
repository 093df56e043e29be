"""Birth, confirmation, death, and what a score means here.

Detections that nobody claims and that score like objects give birth to tentative objects; a second detection
confirms, a miss before that kills, a long absence kills the confirmed. The score from which a detection is an
object is learned from the detections alone, class by class, since every detector scales its scores its own way.
"""

from __future__ import annotations

import math

import numpy as np

from tracker.mixture.kernels import kernel
from tracker.mixture.logistic import logit
from tracker.structures import FloatArray, IntArray
from tracker.tracking.evidence import Observed
from tracker.tracking.gating import Grid, box_area, grid_of, overlapping_pairs
from tracker.tracking.motion import box_scale, measurement_variance
from tracker.tracking.state import (
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
CHAIN_IOU = 0.5
"""Overlap from which a detection may continue a chain."""


@kernel(inline="always")
def free_detections(
    grid: Grid,
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
    grid
        The boxes of the detections.
    owner
        (N,) component that claimed the detection, -1 for none.
    claimed_share
        (N,) sum of the responsibilities of all components.
    """
    free = np.empty(len(owner), np.int64)
    count = 0
    for j in range(len(owner)):
        if owner[j] < 0 and claimed_share[j] < 0.5:
            free[count] = j
            count += 1
    if count == 0:
        return free[:0]
    boxes = boxes_of(grid.boxes_xyxy, free[:count])
    start, other, area = overlapping_pairs(boxes, grid)
    kept = 0
    for c in range(count):
        vetoed = False
        for e in range(start[c], start[c + 1]):
            j = other[e]
            same = class_agnostic or labels[free[c]] == labels[j]
            union = box_area(boxes, c) + box_area(grid.boxes_xyxy, j) - area[e]
            if owner[j] >= 0 and same and area[e] > veto_iou * union:
                vetoed = True
        if not vetoed:
            free[kept] = free[c]
            kept += 1
    return free[:kept]


@kernel()
def boxes_of(boxes_xyxy: FloatArray, rows: IntArray) -> FloatArray:
    """Return the chosen rows, as indexing does, which would take long to compile."""
    chosen = np.empty((len(rows), 4))
    for r in range(len(rows)):
        for i in range(4):
            chosen[r, i] = boxes_xyxy[rows[r], i]
    return chosen


@kernel(inline="always")
def classes_seen(labels: IntArray, before: Records, counts: Records, birth_score: float) -> tuple[IntArray, int]:
    """Write the score counts of all classes seen so far, new ones empty, to the beginning of ``counts``.

    Returns
    -------
    kind
        (N,) row of each detection's class in ``counts``.
    classes
        How many classes there are now.
    """
    classes = len(before)
    for c in range(classes):
        counts[c] = before[c]
    kind = np.empty(len(labels), np.int64)
    for j in range(len(labels)):
        c = 0
        while c < classes and counts[c].label != labels[j]:
            c += 1
        if c == classes:
            counts[c].label, counts[c].birth_score = labels[j], birth_score
            for b in range(SCORE_BINS):
                counts[c].objects[b] = counts[c].clutter[b] = 0.0
            classes += 1
        kind[j] = c
    return kind, classes


@kernel(inline="always")
def scored_as_objects(free: IntArray, scores: FloatArray, kind: IntArray, counts: Records) -> IntArray:
    """Return those of the free detections whose score is not below the birth threshold of their class."""
    chosen = np.empty(len(free), np.int64)
    n = 0
    for j in free:
        if scores[j] >= counts[kind[j]].birth_score - 1e-9:
            chosen[n] = j
            n += 1
    return chosen[:n]


@kernel()
def score_bin(score: float) -> int:
    """Return the bin of a score; scores below the lowest bin share it."""
    return min(max(int((score - LOWEST_BIN) / SCORE_BIN_WIDTH + 1e-9), 0), SCORE_BINS - 1)


@kernel()
def object_probability(counted: Record, b: int, birth_score: float) -> float:
    """Return the probability that a detection of score bin ``b`` is an object: a class's counts on top of a prior."""
    low = LOWEST_BIN + SCORE_BIN_WIDTH * b
    log_odds = logit(BIRTH_POSTERIOR) + PRIOR_SLOPE * (low - birth_score)
    prior = 1.0 / (1.0 + math.exp(-log_odds))
    objects, clutter = counted.objects[b], counted.clutter[b]
    return (objects + PRIOR_COUNT * prior) / (objects + clutter + PRIOR_COUNT)


@kernel(inline="always")
def count_claimed(
    counts: Records, components: Records, detection: IntArray, scores: FloatArray, kind: IntArray
) -> None:
    """Let all counts fade, once a frame, and count what proven objects have claimed.

    Parameters
    ----------
    components
        (K,) after this frame's update, so that a proven one counts this frame's hit too.
    detection
        (K,) claimed detection, -1 for none.
    kind
        (N,) row of each detection's class in ``counts``.
    """
    for k in range(len(components)):
        if detection[k] >= 0 and components[k].hits > PROVEN_HITS:
            counts[kind[detection[k]]].objects[score_bin(scores[detection[k]])] += 1.0
    for c in range(len(counts)):
        for b in range(SCORE_BINS):
            counts[c].objects[b] *= COUNT_DECAY
            counts[c].clutter[b] *= COUNT_DECAY


@kernel(inline="always")
def learn_birth_scores(counts: Records, birth_score: float) -> None:
    """Set the birth threshold of each class: the lowest score above which detections are objects at 80 %."""
    lowest, highest = score_bin(LOWEST_BIRTH_SCORE), score_bin(HIGHEST_BIRTH_SCORE)
    unmoved = math.ceil((birth_score - LOWEST_BIN) / SCORE_BIN_WIDTH - 1e-9)
    for c in range(len(counts)):
        b = highest
        while b > lowest and object_probability(counts[c], b - 1, birth_score) >= BIRTH_POSTERIOR - 1e-9:
            b -= 1
        # Where the counts do not move the walk's end, the configured score stands, whatever its place in a bin.
        if b == min(max(unmoved, lowest), highest):
            counts[c].birth_score = birth_score
        else:
            counts[c].birth_score = LOWEST_BIN + SCORE_BIN_WIDTH * b


@kernel()
def follow_chains(
    counts: Records,
    chains: Records,
    boxes_xyxy: FloatArray,
    scores: FloatArray,
    kind: IntArray,
    free: IntArray,
    class_agnostic: bool,
    links: Records,
) -> None:
    """Chain unclaimed detections from frame to frame and count what became of them.

    A chain that reaches eight frames was an object that nobody followed: all its detections count as objects.
    One that ends sooner was clutter.

    Parameters
    ----------
    chains
        (C,) of the last frame, in this one's pixels.
    kind
        (N,) row of each detection's class in ``counts``.
    free
        (F,) detections that belong to nobody.
    class_agnostic
        Whether a detection of another class may continue a chain.
    links
        At least (F,); the new chains are written to its beginning.
    """
    if len(free) == 0 and len(chains) == 0:
        return
    boxes = boxes_of(boxes_xyxy, free)
    continued = np.zeros(len(chains), np.bool_)
    before = np.empty((len(chains), 4))
    for c in range(len(chains)):
        for i in range(4):
            before[c, i] = chains[c].box[i]
    start, other, area = overlapping_pairs(boxes, grid_of(before))
    for f in range(len(free)):
        for e in range(start[f], start[f + 1]):
            same = class_agnostic or kind[free[f]] == chains[other[e]].kind
            area[e] = area[e] / (box_area(boxes, f) + box_area(before, other[e]) - area[e]) if same else 0.0
    followed = _linked(start, other, area, len(chains))
    for f in range(len(free)):
        if followed[f] >= 0:
            continued[followed[f]] = True
    for f in range(len(free)):
        link = links[f]
        for i in range(4):
            link.box[i] = boxes[f, i]
        link.kind = kind[free[f]]
        b = score_bin(scores[free[f]])
        earlier = followed[f]
        link.length = chains[earlier].length if earlier >= 0 else 0
        for past in range(CHAIN_LENGTH):
            link.bins[past] = chains[earlier].bins[past] if earlier >= 0 else 0
        if link.length < CHAIN_LENGTH:
            link.bins[link.length] = b
        link.length += 1
        if link.length == CHAIN_LENGTH:
            for past in range(CHAIN_LENGTH):
                counts[link.kind].objects[link.bins[past]] += 1.0
        elif link.length > CHAIN_LENGTH:
            counts[link.kind].objects[b] += 1.0
    for c in range(len(chains)):
        if not continued[c]:
            for past in range(chains[c].length if chains[c].length < CHAIN_LENGTH else 0):
                counts[chains[c].kind].clutter[chains[c].bins[past]] += 1.0


@kernel()
def _linked(start: IntArray, column: IntArray, iou: FloatArray, columns: int) -> IntArray:
    """Return for each row the column it is linked with, -1 for none: one to one, the greatest overlap first.

    Pairs that are the best of both their row and their column come first in that order, whatever the rest is; when
    they are taken others are. So the order of detections does not matter, and nothing needs to be sorted.
    """
    rows = len(start) - 1
    linked = np.empty(rows, np.int64)
    linked[:] = -1
    taken = np.zeros(columns, np.bool_)
    best_of_row, best_of_column = np.empty(rows, np.int64), np.empty(columns, np.int64)
    more = True
    while more:
        more = False
        best_of_row[:] = -1
        best_of_column[:] = -1
        for r in range(rows):
            if linked[r] >= 0:
                continue
            for e in range(start[r], start[r + 1]):
                c = column[e]
                if iou[e] > CHAIN_IOU and not taken[c]:
                    if best_of_row[r] < 0 or iou[e] > iou[best_of_row[r]]:
                        best_of_row[r] = e
                    if best_of_column[c] < 0 or iou[e] > iou[best_of_column[c]]:
                        best_of_column[c] = e
        for r in range(rows):
            e = best_of_row[r]
            if e >= 0 and best_of_column[column[e]] == e:
                linked[r] = column[e]
                taken[column[e]] = True
                more = True
    return linked


@kernel(inline="always")
def newborn(
    observed: Observed,
    chosen: IntArray,
    scene: Records,
    kind: IntArray,
    counts: Records,
    next_id: int,
    p: Record,
    born: Records,
) -> None:
    """Write a component for each chosen detection: at rest, as uncertain as its measurement, as a rule tentative.

    Parameters
    ----------
    born
        At least (B,); the components are written to its beginning.
    """
    measured, boxes, scores = observed.measured, observed.grid.boxes_xyxy, observed.scores
    labels, frame_row = observed.labels, observed.detection
    blank = np.zeros(1, COMPONENT)
    for n in range(len(chosen)):
        j = chosen[n]
        c = born[n]
        born[n] = blank[0]
        c.id = next_id + n
        c.status = 1 if p.confirmation_hits <= 1 else 0
        c.label = labels[j]
        c.hits = 1
        c.scale = box_scale(measured[j, 2], measured[j, 3])
        for i in range(4):
            c.mean[i], c.box[i] = measured[j, i], boxes[j, i]
            c.p00[i] = measurement_variance(i, c.scale, scene, p)
            c.p11[i] = (p.initial_velocity * c.scale) ** 2
        c.existence = object_probability(counts[kind[j]], score_bin(scores[j]), p.birth_score)
        c.score = scores[j]
        c.detection = frame_row[j]
        c.responsibility = c.existence
        remember_centre(c, boxes, j)


@kernel()
def remember_centre(c: Record, boxes_xyxy: FloatArray, j: int) -> None:
    """Append the centre of box ``j`` to the component's recent path, whose newest entry stands last."""
    size = len(c.centres)
    for n in range(size - 1):
        c.centres[n, 0] = c.centres[n + 1, 0]
        c.centres[n, 1] = c.centres[n + 1, 1]
    c.centres[size - 1, 0] = (boxes_xyxy[j, 0] + boxes_xyxy[j, 2]) / 2.0
    c.centres[size - 1, 1] = (boxes_xyxy[j, 1] + boxes_xyxy[j, 3]) / 2.0
    c.centre_count = min(c.centre_count + 1, size)


@kernel()
def survives(c: Record, p: Record) -> bool:
    """Tell whether an object goes on: a tentative one dies at its first miss, a confirmed one after many."""
    return c.misses == 0 or (c.status == 1 and c.misses <= p.max_misses_frames)


@kernel(inline="always")
def renew(components: Records, p: Record) -> int:
    """Confirm who has been seen often enough, move the survivors to the beginning and return how many there are."""
    count = 0
    for k in range(len(components)):
        if survives(components[k], p):
            if count < k:
                components[count] = components[k]
            if components[count].hits >= p.confirmation_hits:
                components[count].status = 1
            count += 1
    return count
