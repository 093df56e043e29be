"""The E-step of box mode: how well each detection fits each object, and who is hidden from view.

The log odds that object k claims detection j, against neither, are

    logit(P_D,k) - log clutter + log L_kj + logit(score_j) - logit(neutral score) + direction_kj,

with L the product of four Student-t densities of the innovation: tight noise with heavy tails lets one setting
follow calm streets and dancers. The second round repeats this with what the *other* objects of the frame
learned in the first (cavity densities, so that no detection is counted twice): the motion that the image has in
common, and who is hidden at this frame's positions.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numpy as np

from tracker.mixture.exclusive import banked
from tracker.mixture.kernels import kernel
from tracker.mixture.logistic import logit, logits
from tracker.structures import FloatArray, IntArray
from tracker.tracking.gating import Grid, box_area, grid_of, overlapping_pairs, overlaps_among
from tracker.tracking.motion import edges, measured_coordinates
from tracker.tracking.state import RECENT_CENTRES, Record, Records

Graph: TypeAlias = tuple[IntArray, IntArray, FloatArray]
"""Sparse responsibilities: (K + 1,) first pair of each object, (E,) detection, (E,) responsibility."""

LOG_2PI = math.log(2.0 * math.pi)
LOG_ODDS_LIMIT = 50.0
LOWEST_SCORE, HIGHEST_SCORE = 0.01, 0.99
"""What scores count as that are beyond: detectors are not as sure as they say."""
LOWEST_DETECTION_PROBABILITY, HIGHEST_DETECTION_PROBABILITY = 0.02, 0.98
TEACHER = 0.7
"""Responsibility from which an object of round 1 teaches the others in round 2."""
TEACHER_HITS = 3
TEACHER_SCORE = 0.5
LEAST_TEACHERS = 4
LARGEST_COVER = 0.95
"""Share of an object that may count as covered: some detectors see who is wholly hidden."""
NEGLIGIBLE_SHIFT = 1e-3
"""Probability of a moving image below which nothing is shifted, which spares a still camera the second look."""


class Observed(NamedTuple):
    """The detections of a frame that are heard, a row each.

    Parameters
    ----------
    detection
        (N,) row in the frame's :class:`tracker.structures.Detections`.
    grid
        Their boxes, by where they lie.
    measured
        (N, 4) centre x, anchored y, width, height.
    scores, labels
        (N,) scores and classes.
    score_evidence
        (N,) log-likelihood ratio of the score, object against clutter.
    """

    detection: IntArray
    grid: Grid
    measured: FloatArray
    scores: FloatArray
    labels: IntArray
    score_evidence: FloatArray


@kernel(inline="always")
def observe(boxes_xyxy: FloatArray, scores: FloatArray, labels: IntArray, p: Record) -> Observed:
    """Take in the detections whose score is not below the floor."""
    n = 0
    detection = np.empty(len(scores), np.int64)
    for j in range(len(scores)):
        if scores[j] >= p.score_floor:
            detection[n] = j
            n += 1
    boxes, heard_scores, heard_labels = np.empty((n, 4)), np.empty(n), np.empty(n, np.int64)
    score_evidence = np.empty(n)
    neutral = logit(p.score_neutral)
    for r in range(n):
        j = detection[r]
        for i in range(4):
            boxes[r, i] = boxes_xyxy[j, i]
        heard_scores[r], heard_labels[r] = scores[j], labels[j]
        score_evidence[r] = p.score_weight * (logit(min(max(scores[j], LOWEST_SCORE), HIGHEST_SCORE)) - neutral)
    measured = measured_coordinates(boxes, p.anchor)
    return Observed(detection[:n], grid_of(boxes), measured, heard_scores, heard_labels, score_evidence)


def score_logits(scores: FloatArray) -> FloatArray:
    """Return the log odds of scores, bounded as in :func:`observe`."""
    return logits(np.clip(scores, LOWEST_SCORE, HIGHEST_SCORE))


@kernel(inline="always")
def cover_from_last_frame(predicted: Records, boxes: FloatArray) -> FloatArray:
    """Return (K,) the largest share of each predicted box that one nearer object, seen last frame, covers.

    Nearer is whose bottom edge lies lower in the image.
    """
    cover = np.zeros(len(boxes))
    pair, area = overlaps_among(grid_of(boxes))
    for e in range(len(area)):
        further, nearer = pair[e, 0], pair[e, 1]
        if boxes[further, 3] > boxes[nearer, 3]:
            further, nearer = nearer, further
        if predicted[nearer].misses == 0 and boxes[nearer, 3] > boxes[further, 3]:
            cover[further] = max(cover[further], area[e] / box_area(boxes, further))
    return cover


@kernel(inline="always")
def cover_refined(
    predicted: Records,
    S: FloatArray,
    measured: FloatArray,
    graph: Graph,
    p: Record,
) -> FloatArray:
    """Return (K,) the cover at this frame's positions, by objects as far as round 1 found them in this frame.

    Each box moves to the posterior mean of its centre, bottom and size given its share of the detections. Cover is
    expected cover: the share that another box covers, times the probabilities that its object is there and that it
    is the nearer one, which is soft in the height between the two bottom edges.
    """
    row_start, column, beta = graph
    boxes = np.empty((len(predicted), 4))
    present, mean = np.empty(len(predicted)), np.empty(4)
    for k in range(len(predicted)):
        c = predicted[k]
        prior, p00 = c.mean, c.p00
        total = 0.0
        for e in range(row_start[k], row_start[k + 1]):
            total += beta[e]
        present[k] = min(total, 1.0)
        for i in range(4):
            innovation = 0.0
            for e in range(row_start[k], row_start[k + 1]):
                innovation += beta[e] * (measured[column[e], i] - prior[i])
            mean[i] = prior[i] + p00[i] / S[k, i] * innovation
        boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3] = edges(mean[0], mean[1], mean[2], mean[3], p.anchor)
    cover = np.zeros(len(boxes))
    pair, area = overlaps_among(grid_of(boxes))
    for e in range(len(area)):
        for side in range(2):
            k, other = pair[e, side], pair[e, 1 - side]
            nearer = 1.0 / (1.0 + math.exp(-(boxes[other, 3] - boxes[k, 3]) / (0.02 * predicted[k].scale)))
            cover[k] = max(cover[k], present[other] * nearer * area[e] / box_area(boxes, k))
    return cover


@kernel(inline="always")
def detection_probability(predicted: Records, cover: FloatArray, p: Record) -> FloatArray:
    """Return (K,) P_D: less for who should be hidden, less for who was not seen for a while."""
    probability = np.empty(len(predicted))
    for k in range(len(predicted)):
        value = p.detection_probability * (1.0 - p.hiding * min(cover[k], LARGEST_COVER))
        if predicted[k].missed_tau > 0.0:
            value *= p.detection_decay ** predicted[k].missed_tau
        probability[k] = min(max(value, LOWEST_DETECTION_PROBABILITY), HIGHEST_DETECTION_PROBABILITY)
    return probability


@kernel(inline="always")
def log_density_at_mode(predicted: Records, S: FloatArray, p: Record) -> FloatArray:
    """Return (K,) what a detection exactly where it is expected says for each object, against clutter."""
    density, weight = np.empty(len(predicted)), p.coordinate_weight
    constant = -math.log(p.clutter_density) - 2.0 * LOG_2PI
    for k in range(len(predicted)):
        per_area = 1.0 / (predicted[k].scale * predicted[k].scale)
        value, product = constant, 1.0
        for i in range(4):
            product *= S[k, i] * per_area
            if i == 3 or weight[i + 1] != weight[i]:
                value -= 0.5 * weight[i] * math.log(product)
                product = 1.0
        density[k] = value
    return density


@kernel()
def pair_log_likelihoods(
    predicted: Records,
    boxes: FloatArray,
    S: FloatArray,
    at_mode: FloatArray,
    shift: FloatArray,
    observed: Observed,
    p: Record,
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return the gated pairs and what speaks for each of them but for P_D: row_start (K + 1,), column (E,), (E,).

    Parameters
    ----------
    boxes
        (K, 4) predicted boxes.
    S
        (K, 4) variance of the innovation.
    at_mode
        From :func:`log_density_at_mode`.
    shift
        (K, 2) what to add to each object's predicted position, px.
    """
    rows = len(predicted)
    gate = np.empty((rows, 4))
    for k in range(rows):
        for i in range(2):
            margin = p.gate_margin * (boxes[k, i + 2] - boxes[k, i])
            gate[k, i] = boxes[k, i] + shift[k, i] - margin
            gate[k, i + 2] = boxes[k, i + 2] + shift[k, i] + margin
    near_start, column, area = overlapping_pairs(gate, observed.grid)
    found, measured = observed.grid.boxes_xyxy, observed.measured
    labels, score_evidence = observed.labels, observed.score_evidence
    per_nu, exponent = np.empty(4), np.empty(4)
    for i in range(4):
        per_nu[i] = 1.0 / p.degrees_of_freedom[i]
        exponent[i] = p.coordinate_weight[i] * (p.degrees_of_freedom[i] + 1.0) / 2.0
    row_start = np.empty(rows + 1, np.int64)
    log_likelihood = np.empty(len(column))
    count = 0
    for k in range(rows):
        c = predicted[k]
        row_start[k] = count
        own = box_area(gate, k)
        mean = c.mean
        for e in range(near_start[k], near_start[k + 1]):
            j = column[e]
            if labels[j] != c.label and not p.class_agnostic:
                continue
            if area[e] < p.gate_iou * (own + box_area(found, j) - area[e]):
                continue
            distance, tail = 0.0, 1.0
            value = at_mode[k]
            for i in range(4):
                innovation = measured[j, i] - mean[i]
                if i < 2:
                    innovation -= shift[k, i]
                q = innovation * innovation / S[k, i]
                distance += q
                tail *= 1.0 + q * per_nu[i]
                if i == 3 or exponent[i + 1] != exponent[i]:
                    value -= exponent[i] * math.log(tail)
                    tail = 1.0
            if distance > p.gate_distance:
                continue
            value += score_evidence[j]
            x = (found[j, 0] + found[j, 2]) / 2.0 - shift[k, 0]
            y = (found[j, 1] + found[j, 3]) / 2.0 - shift[k, 1]
            value += direction_evidence(c, x, y, p.direction)
            column[count] = j
            log_likelihood[count] = value
            count += 1
    row_start[rows] = count
    return row_start, column[:count], log_likelihood[:count]


@kernel(inline="always")
def pair_log_odds(row_start: IntArray, log_likelihood: FloatArray, visible: FloatArray) -> FloatArray:
    """Return (E,) log odds of the pairs: what speaks for each, and (K,) P_D of its object, within +-50."""
    log_odds = np.empty_like(log_likelihood)
    in_view, base = 0.5, 0.0
    for k in range(len(row_start) - 1):
        if row_start[k] < row_start[k + 1]:
            if visible[k] != in_view:  # it is the same for all in plain view
                in_view, base = visible[k], logit(visible[k])
            for e in range(row_start[k], row_start[k + 1]):
                log_odds[e] = min(max(base + log_likelihood[e], -LOG_ODDS_LIMIT), LOG_ODDS_LIMIT)
    return log_odds


@kernel()
def direction_evidence(c: Record, x: float, y: float, weight: float) -> float:
    """Return the nats by which a detection with its centre at (x, y), ahead of the object's recent path, is preferred.

    The path is u, from the oldest to the newest of the last four observed centres, the candidate d, from the
    newest; displacements small against the object count in proportion.
    """
    if c.centre_count < 2 or weight == 0.0:
        return 0.0
    last = RECENT_CENTRES - 1
    oldest = RECENT_CENTRES - c.centre_count
    ux = c.centres[last, 0] - c.centres[oldest, 0]
    uy = c.centres[last, 1] - c.centres[oldest, 1]
    dx = x - c.centres[last, 0]
    dy = y - c.centres[last, 1]
    u, d = math.sqrt(ux * ux + uy * uy), math.sqrt(dx * dx + dy * dy)
    if u == 0.0 or d == 0.0:
        return 0.0
    least = 0.1 * c.scale
    return weight * min(u / least, 1.0) * min(d / least, 1.0) * (ux * dx + uy * dy) / (u * d)


@kernel(inline="always")
def refine(
    predicted: Records,
    S: FloatArray,
    scene: Records,
    measured: FloatArray,
    scores: FloatArray,
    graph: Graph,
    p: Record,
) -> tuple[FloatArray, bool]:
    """Return the shift (K, 2) in px that each object takes over from the others, and whether there is any.

    The teachers are the confident pairs of round 1. Their innovations e have a *common motion* d. Whether the
    image moves as a whole is judged per axis by the likelihood ratio of e - d against e, on top of a prior that
    is learned over the frames; on a still camera the answer stays no.
    """
    row_start, column, beta = graph
    rows = len(predicted)
    shift = np.zeros((rows, 2))
    teacher = np.empty(rows, np.int64)
    learned = np.empty((2, rows))
    n = 0
    for k in range(rows):
        c = predicted[k]
        if c.hits < TEACHER_HITS or c.misses > 0:
            continue
        for e in range(row_start[k], row_start[k + 1]):
            j = column[e]
            if beta[e] > TEACHER and scores[j] > TEACHER_SCORE:
                teacher[n] = k
                for i in range(2):
                    learned[i, n] = measured[j, i] - c.mean[i]
                n += 1
    if not p.common_motion or n < LEAST_TEACHERS:
        return shift, False
    shifted = False
    for i in range(2):
        if _common_motion(i, S, scene, teacher[:n], learned[i, :n], shift):
            shifted = True
    return shift, shifted


@kernel()
def _common_motion(i: int, S: FloatArray, scene: Records, teacher: IntArray, e: FloatArray, shift: FloatArray) -> bool:
    """Write the shift of each object along axis i, learn how likely the image moves, and tell whether it is shifted.

    Teacher l's innovation e_l counts with a robust weight w_l (Student's t about the common innovation d); object k
    expects the others' mean, shrunk to zero by its own prior of precision 1/S_k:

        w_l = 4 / (3 + (e_l - d)^2 / S_l) / S_l,
        d_k = sum over l != k of w_l e_l / (sum over l != k of w_l + 1/S_k).
    """
    n = len(teacher)
    weight, expected = np.empty(n), np.empty(n)
    for t in range(n):
        weight[t] = e[t]
    common = median_in_place(weight)
    total, total_weight = 0.0, 0.0
    for _ in range(5):
        total, total_weight = 0.0, 0.0
        for t in range(n):
            rest = e[t] - common
            weight[t] = 4.0 / (3.0 * S[teacher[t], i] + rest * rest)
            total += weight[t] * e[t]
            total_weight += weight[t]
        common = total / total_weight
    log_ratio, ratio = 0.0, 1.0
    for t in range(n):
        V = S[teacher[t], i]
        expected[t] = (total - weight[t] * e[t]) / (total_weight - weight[t] + 1.0 / V)
        rest = e[t] - expected[t]
        log_ratio, ratio = banked(log_ratio, ratio * ((3.0 * V + rest * rest) / (3.0 * V + e[t] * e[t])))
    evidence = -2.0 * (log_ratio + math.log(ratio))
    odds = math.exp(min(max(evidence, -30.0), 30.0))
    prior = scene[0].shift_prior[i]
    moving = prior * odds / (1.0 - prior + prior * odds)
    scene[0].shift_prior[i] = min(max(0.98 * prior + 0.02 * moving, 0.01), 0.9)
    if moving < NEGLIGIBLE_SHIFT:
        return False
    for k in range(len(shift)):
        shift[k, i] = moving * (total / (total_weight + 1.0 / S[k, i]))
    for t in range(n):
        shift[teacher[t], i] = moving * expected[t]
    return True


@kernel()
def median_in_place(values: FloatArray) -> float:
    """Return the median of at least one value by Hoare's selection, which leaves the values in another order."""
    middle = len(values) // 2
    low, high = 0, len(values) - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if middle <= j:
            high = j
        elif middle >= i:
            low = i
        else:
            break
    upper = values[middle]
    if len(values) % 2 == 1:
        return upper
    lower = values[0]
    for t in range(1, middle):
        lower = max(lower, values[t])
    return (lower + upper) / 2.0
