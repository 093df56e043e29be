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

import numpy as np
from numba import njit

from tracker.structures import FloatArray, IntArray
from tracker.tracking.gating import box_area, overlapping_pairs
from tracker.tracking.motion import innovation_variance, mean_to_box, predicted_boxes
from tracker.tracking.state import RECENT_CENTRES, Record, Records

LOG_2PI = math.log(2.0 * math.pi)
LOG_ODDS_LIMIT = 50.0
TEACHER = 0.7
"""Responsibility from which an object of round 1 teaches the others in round 2."""
TEACHER_HITS = 3
TEACHER_SCORE = 0.5
LEAST_TEACHERS = 4
NEGLIGIBLE_SHIFT = 1e-3
"""Probability of a moving image below which nothing is shifted, which spares a still camera the second look."""


@njit(cache=True, error_model="numpy")
def _logit(probability: float) -> float:
    return math.log(probability / (1.0 - probability))


@njit(cache=True, error_model="numpy")
def cover_from_last_frame(predicted: Records, boxes: FloatArray) -> FloatArray:
    """Return (K,) the largest share of each predicted box that one nearer object, seen last frame, covers.

    Nearer is whose bottom edge lies lower in the image.
    """
    row_start, column, area = overlapping_pairs(boxes, boxes)
    cover = np.zeros(len(boxes))
    for k in range(len(boxes)):
        own = box_area(boxes[k])
        for e in range(row_start[k], row_start[k + 1]):
            other = column[e]
            if predicted[other].misses == 0 and boxes[other, 3] > boxes[k, 3]:
                cover[k] = max(cover[k], area[e] / own)
    return cover


@njit(cache=True, error_model="numpy")
def cover_refined(
    predicted: Records,
    scene: Records,
    measured: FloatArray,
    graph: tuple[IntArray, IntArray, FloatArray],
    p: Record,
) -> FloatArray:
    """Return (K,) the cover at this frame's positions, by objects that round 1 found in this frame.

    Each box moves to the posterior mean of its centre, bottom and size given its share of the detections;
    which of two objects is nearer is soft in the height between their bottom edges.
    """
    row_start, column, beta = graph
    boxes = np.empty((len(predicted), 4))
    present = np.zeros(len(predicted), np.bool_)
    mean = np.empty(4)
    for k in range(len(predicted)):
        c = predicted[k]
        total = 0.0
        for e in range(row_start[k], row_start[k + 1]):
            total += beta[e]
        present[k] = total > 0.5
        for i in range(4):
            innovation = 0.0
            for e in range(row_start[k], row_start[k + 1]):
                innovation += beta[e] * (measured[column[e], i] - c.mean[i])
            gain = c.p00[i] / innovation_variance(c, i, scene, p)
            mean[i] = c.mean[i] + gain * innovation
        mean_to_box(mean, p.anchor, boxes[k])
    pair_start, other, area = overlapping_pairs(boxes, boxes)
    cover = np.zeros(len(boxes))
    for k in range(len(boxes)):
        own = box_area(boxes[k])
        for e in range(pair_start[k], pair_start[k + 1]):
            o = other[e]
            if o != k and present[o]:
                nearer = 1.0 / (1.0 + math.exp(-(boxes[o, 3] - boxes[k, 3]) / (0.02 * predicted[k].scale)))
                cover[k] = max(cover[k], nearer * area[e] / own)
    return cover


@njit(cache=True, error_model="numpy")
def detection_probability(predicted: Records, cover: FloatArray, p: Record) -> FloatArray:
    """Return (K,) P_D: less for who should be hidden, less for who was not seen for a while."""
    probability = np.empty(len(predicted))
    for k in range(len(predicted)):
        value = p.detection_probability * (1.0 - p.hiding * min(cover[k], 0.95))
        if predicted[k].missed_tau > 0.0:
            value *= p.detection_decay ** predicted[k].missed_tau
        probability[k] = min(max(value, 0.02), 0.98)
    return probability


@njit(cache=True, error_model="numpy")
def pair_log_likelihoods(
    predicted: Records,
    scene: Records,
    shift: FloatArray,
    boxes_xyxy: FloatArray,
    measured: FloatArray,
    scores: FloatArray,
    labels: IntArray,
    p: Record,
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return the gated pairs and what speaks for each of them but for P_D: row_start (K + 1,), column (E,), (E,).

    Parameters
    ----------
    shift
        (K, 2) what to add to each object's predicted position, px.
    """
    rows = len(predicted)
    boxes = predicted_boxes(predicted, p.anchor)
    for k in range(rows):
        boxes[k, 0] += shift[k, 0]
        boxes[k, 2] += shift[k, 0]
        boxes[k, 1] += shift[k, 1]
        boxes[k, 3] += shift[k, 1]
    near_start, near, area = overlapping_pairs(boxes, boxes_xyxy)
    row_start = np.empty(rows + 1, np.int64)
    log_likelihood = np.empty(len(near))
    count = 0
    S = np.empty(4)
    score_evidence = np.empty(len(scores))
    for j in range(len(scores)):
        score_evidence[j] = p.score_weight * (_logit(min(max(scores[j], 0.01), 0.99)) - _logit(p.score_neutral))
    constant = -math.log(p.clutter_density) - 2.0 * LOG_2PI
    for k in range(rows):
        c = predicted[k]
        row_start[k] = count
        if near_start[k] == near_start[k + 1]:
            continue
        own = box_area(boxes[k])
        base = constant
        for i in range(4):
            S[i] = innovation_variance(c, i, scene, p)
            base -= 0.5 * p.coordinate_weight[i] * math.log(S[i] / (c.scale * c.scale))
        for e in range(near_start[k], near_start[k + 1]):
            j = near[e]
            if labels[j] != c.label and not p.class_agnostic:
                continue
            if area[e] < p.gate_iou * (own + box_area(boxes_xyxy[j]) - area[e]):
                continue
            distance = 0.0
            value = base
            for i in range(4):
                innovation = measured[j, i] - c.mean[i]
                if i < 2:
                    innovation -= shift[k, i]
                q = innovation * innovation / S[i]
                distance += q
                nu = p.degrees_of_freedom[i]
                value -= p.coordinate_weight[i] * (nu + 1.0) / 2.0 * math.log(1.0 + q / nu)
            if distance > p.gate_distance:
                continue
            value += score_evidence[j]
            value += direction_evidence(c, boxes_xyxy[j], shift[k], p.direction)
            near[count] = j
            log_likelihood[count] = value
            count += 1
    row_start[rows] = count
    return row_start, near[:count], log_likelihood[:count]


@njit(cache=True, error_model="numpy")
def pair_log_odds(row_start: IntArray, log_likelihood: FloatArray, visible: FloatArray) -> FloatArray:
    """Return (E,) log odds of the pairs: what speaks for each, and (K,) P_D of its object, within +-50."""
    log_odds = np.empty_like(log_likelihood)
    for k in range(len(row_start) - 1):
        if row_start[k] < row_start[k + 1]:
            base = _logit(visible[k])
            for e in range(row_start[k], row_start[k + 1]):
                log_odds[e] = min(max(base + log_likelihood[e], -LOG_ODDS_LIMIT), LOG_ODDS_LIMIT)
    return log_odds


@njit(cache=True, error_model="numpy")
def direction_evidence(c: Record, box: FloatArray, shift: FloatArray, weight: float) -> float:
    """Return the nats by which a detection ahead of the object's recent path is preferred.

    The path is u, from the oldest to the newest of the last four observed centres, the candidate d, from the
    newest; displacements small against the object count in proportion.
    """
    if c.centre_count < 2 or weight == 0.0:
        return 0.0
    last = RECENT_CENTRES - 1
    oldest = RECENT_CENTRES - c.centre_count
    ux = c.centres[last, 0] - c.centres[oldest, 0]
    uy = c.centres[last, 1] - c.centres[oldest, 1]
    dx = (box[0] + box[2]) / 2.0 - c.centres[last, 0] - shift[0]
    dy = (box[1] + box[3]) / 2.0 - c.centres[last, 1] - shift[1]
    u, d = math.sqrt(ux * ux + uy * uy), math.sqrt(dx * dx + dy * dy)
    if u == 0.0 or d == 0.0:
        return 0.0
    least = 0.1 * c.scale
    return weight * min(u / least, 1.0) * min(d / least, 1.0) * (ux * dx + uy * dy) / (u * d)


@njit(cache=True, error_model="numpy")
def refine(
    predicted: Records,
    scene: Records,
    measured: FloatArray,
    scores: FloatArray,
    graph: tuple[IntArray, IntArray, FloatArray],
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
    pair = np.empty(rows, np.int64)
    n = 0
    for k in range(rows):
        c = predicted[k]
        if c.hits < TEACHER_HITS or c.misses > 0:
            continue
        for e in range(row_start[k], row_start[k + 1]):
            if beta[e] > TEACHER and scores[column[e]] > TEACHER_SCORE:
                teacher[n], pair[n] = k, e
                n += 1
    if not p.common_motion or n < LEAST_TEACHERS:
        return shift, False
    return shift, _common_motion(predicted, scene, measured, column, teacher[:n], pair[:n], shift, p)


@njit(cache=True, error_model="numpy")
def _common_motion(
    predicted: Records,
    scene: Records,
    measured: FloatArray,
    column: IntArray,
    teacher: IntArray,
    pair: IntArray,
    shift: FloatArray,
    p: Record,
) -> bool:
    """Write the shift of each object, learn how likely the image moves, and tell whether anything is shifted.

    Teacher l's innovation e_l counts with a robust weight w_l (Student's t about the common innovation); object k
    expects the others' mean, shrunk to zero by its own prior of precision 1/S_k:

        d_k = sum over l != k of w_l e_l / (sum over l != k of w_l + 1/S_k).
    """
    n = len(teacher)
    e, weight = np.empty(n), np.empty(n)
    expected = np.empty(len(predicted))
    shifted = False
    for i in range(2):
        for t in range(n):
            e[t] = measured[column[pair[t]], i] - predicted[teacher[t]].mean[i]
        common = float(np.median(e))
        total, total_weight = 0.0, 0.0
        for _ in range(5):
            total, total_weight = 0.0, 0.0
            for t in range(n):
                S = innovation_variance(predicted[teacher[t]], i, scene, p)
                q = (e[t] - common) ** 2 / S
                weight[t] = 4.0 / (3.0 + q) / S
                total += weight[t] * e[t]
                total_weight += weight[t]
            common = total / total_weight
        for k in range(len(predicted)):
            expected[k] = total / (total_weight + 1.0 / innovation_variance(predicted[k], i, scene, p))
        evidence = 0.0
        for t in range(n):
            S = innovation_variance(predicted[teacher[t]], i, scene, p)
            expected[teacher[t]] = (total - weight[t] * e[t]) / (total_weight - weight[t] + 1.0 / S)
            rest = e[t] - expected[teacher[t]]
            evidence -= 2.0 * (math.log(1.0 + rest * rest / (3.0 * S)) - math.log(1.0 + e[t] * e[t] / (3.0 * S)))
        odds = math.exp(min(max(evidence, -30.0), 30.0))
        prior = scene[0].shift_prior[i]
        moving = prior * odds / (1.0 - prior + prior * odds)
        scene[0].shift_prior[i] = min(max(0.98 * prior + 0.02 * moving, 0.01), 0.9)
        if moving >= NEGLIGIBLE_SHIFT:
            shifted = True
            for k in range(len(predicted)):
                shift[k, i] = moving * expected[k]
    return shifted
