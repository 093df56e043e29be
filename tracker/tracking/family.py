"""Blobs that begin, divide and merge: births from unexplained silhouettes, and tests of one Gaussian against two."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tracker.config import Config
from tracker.geometry import cxywh_to_xyxy, intersection_over_union_xyxy, intersections
from tracker.structures import FloatArray, Foreground
from tracker.tracking.blobs import FREE, FREE_BOUND, SIZE_BOUNDS, begun
from tracker.tracking.division import HELD, LARGEST_STEP, Halves, halves, sizes_for_two, sizes_of
from tracker.tracking.pixel_em import Shares
from tracker.tracking.state import Record, Records, TrackerState

_VETO_IOU = 0.4  # no birth where somebody overlaps more than this
_NEGLIGIBLE = 0.01  # share of a point's pixels


def free_silhouettes(seen: Records, foreground: Foreground, shares: Shares) -> Records:
    """Return records of :data:`FREE`: the silhouettes that show none of the objects seen."""
    found, points = foreground.silhouettes, foreground.points_px
    free = np.zeros(len(found), FREE)
    kept = np.zeros(len(found), np.bool_)
    for j in range(len(found)):
        box = found.boxes_xyxy[j]
        inside = (points >= box[:2]).all(axis=1) & (points <= box[2:]).all(axis=1)
        mass, unexplained = foreground.weights[inside], (foreground.weights * shares.clutter)[inside]
        apart = intersection_over_union_xyxy(box[None], seen["box"]).max(initial=0.0) <= _VETO_IOU
        if 2.0 * unexplained.sum() > mass.sum() and apart:
            region = np.bincount(foreground.regions[inside], mass).argmax()
            free[j] = box, found.scores[j], region, mass.sum(), unexplained.sum() / mass.sum()
            kept[j] = True
    return free[kept]


def births(
    alive: Records, free: Records, next_id: int, state: TrackerState, config: Config, parameter: Records
) -> Records:
    """Return an object for each free silhouette that looks like one.

    Whoever comes out of the silhouette that a confirmed object alone was part of is its child.
    """
    born = begun(free[free["score"] >= config.tracking.lifecycle.birth_score], next_id, state.scene, config, parameter)
    for c in born:
        c["parent_id"] = _parent(state.components, alive, c["mean"][:2])
    return born


def _parent(before: Records, alive: Records, place: FloatArray) -> int:
    """Return the identity of the object out of whose silhouette somebody comes, 0 for nobody's or several objects'."""
    confirmed = (before["status"] == 1) & (before["misses"] == 0) & np.isin(before["id"], alive["id"])
    boxes = before["silhouette"]
    around = confirmed & (boxes[:, :2] < place).all(axis=1) & (place < boxes[:, 2:]).all(axis=1)
    return int(before["id"][around][0]) if np.count_nonzero(around) == 1 else 0


def find_divided(
    predicted: Records, foreground: Foreground, own: FloatArray, seen: NDArray[np.bool_], cost: float
) -> list[tuple[int, Halves]]:
    """Sum up, in place, the evidence that objects are two; return the rows of those that are, and the two.

    The sizes that the two would have can only speak against them: a large silhouette may be one object with its
    shadow.
    """
    divided: list[tuple[int, Halves]] = []
    for k in np.flatnonzero(seen & (predicted["status"] == 1)):
        c = predicted[k]
        likelihood, sizes, found = _weighed(c, foreground, own[k], c["offset"], cost)
        evidence = np.clip(likelihood + min(sizes, 0.0), -LARGEST_STEP, LARGEST_STEP)
        c["division"] = max(c["division"] + evidence, 0.0)
        c["offset"] = 0.0
        if found is not None:
            c["offset"] = found.means[0] - found.shares @ found.means
            if c["division"] >= HELD:
                divided.append((int(k), found))
    return divided


def divide(
    predicted: Records,
    divided: list[tuple[int, Halves]],
    next_id: int,
    scene: Records,
    config: Config,
    parameter: Records,
) -> Records:
    """Return the second of the two objects that each divided one has become; the divided goes on as the larger."""
    parts = np.zeros((2, len(divided)), FREE)
    rows = [k for k, _ in divided]
    for n, (k, found) in enumerate(divided):
        c = predicted[k]
        size = c["extent"] * np.sqrt(np.diagonal(found.covariance))
        for part, which in zip(parts[:, n], np.argsort(-found.shares), strict=True):
            mass = found.shares[which] * c["fill"] * c["mean"][2:].prod()
            part["box"] = cxywh_to_xyxy(np.append(found.means[which] - c["skew"] * size, size))
            part["score"], part["region"], part["mass"], part["unexplained"] = c["score"], c["detection"], mass, 1.0
    goes_on, begins = (begun(part, next_id, scene, config, parameter) for part in parts)
    for field in ("mean", "scale", "p00", "p01", "box", "fill", "birth_size", "division", "offset"):
        predicted[field][rows] = goes_on[field]
    for field in ("velocity", "extent", "skew", "correlation", "existence"):
        begins[field] = predicted[field][rows]
    begins["parent_id"], begins["hits"] = predicted["id"][rows], config.tracking.lifecycle.confirmation_hits
    return begins


def find_merged(
    predicted: Records, foreground: Foreground, own: FloatArray, seen: NDArray[np.bool_], config: Config
) -> NDArray[np.bool_]:
    """Sum up, in place, the evidence that objects are apart; return (K,) who is only part of an older one.

    Who was apart for long can be part of another for as long as anybody can be hidden.
    """
    boxes = cxywh_to_xyxy(predicted["mean"])
    shown = seen & own.any(axis=1)
    together = predicted["detection"] == predicted["detection"][:, None]
    meet = (intersections(boxes, boxes) > 0.0) & together & shown & shown[:, None]
    between = np.full(meet.shape, np.inf)
    for a, b in np.argwhere(np.triu(meet, 1)):
        offset = (predicted["mean"][a, :2] - predicted["mean"][b, :2]) / 2.0
        cost = config.tracking.pixels.object_cost
        likelihood, sizes, _ = _weighed(predicted[a], foreground, own[a] + own[b], offset, cost)
        between[a, b] = between[b, a] = likelihood + sizes
    evidence = np.clip(between.min(axis=1, initial=LARGEST_STEP), -LARGEST_STEP, LARGEST_STEP)
    surest = LARGEST_STEP * config.tracking.lifecycle.max_misses_frames
    predicted["apart"] = np.clip(predicted["apart"] + np.where(shown, evidence, 0.0), -HELD, surest)
    older = (between == between.min(axis=1, initial=np.inf)[:, None]) & (predicted["id"] < predicted["id"][:, None])
    return np.asarray(shown & older.any(axis=1) & (evidence < 0.0) & (predicted["apart"] <= -HELD))


def _weighed(
    c: Record, foreground: Foreground, own: FloatArray, offset: FloatArray, cost: float
) -> tuple[float, float, Halves | None]:
    """Return what likelihoods and sizes say for two objects in some pixels, in nats, and these two.

    Parameters
    ----------
    own
        (M,) share of each point's pixels.
    offset
        See :func:`tracker.tracking.division.halves`.
    """
    rows = own > _NEGLIGIBLE
    found = halves(foreground.points_px[rows], foreground.weights[rows] * own[rows], offset)
    if found is None:
        return -math.inf, 0.0, None
    usual, spread = np.tile(c["birth_size"], (3, 1)), np.full(2, FREE_BOUND)
    if foreground.typical_size is not None:
        middles = np.append(found.means[:, 1], found.shares @ found.means[:, 1])
        bottoms = middles + sizes_of(found, c["extent"])[:, 1] / 2.0
        usual, spread = foreground.typical_size.at(bottoms), np.array(SIZE_BOUNDS)
    sizes = sizes_for_two(found, c["extent"], usual, spread)
    return 2.0 * found.gain - cost, sizes, found
