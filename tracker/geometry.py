"""Boxes as plain arrays: conversions and overlap on continuous pixel coordinates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracker.structures import FloatArray


def ltwh_to_xyxy(boxes_ltwh: FloatArray) -> FloatArray:
    """Convert (N, 4) left, top, width, height to left, top, right, bottom."""
    return np.concatenate([boxes_ltwh[:, :2], boxes_ltwh[:, :2] + boxes_ltwh[:, 2:]], axis=1)


def xyxy_to_ltwh(boxes_xyxy: FloatArray) -> FloatArray:
    """Convert (N, 4) left, top, right, bottom to left, top, width, height."""
    return np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)


def xyxy_to_cxywh(boxes_xyxy: FloatArray) -> FloatArray:
    """Convert (N, 4) left, top, right, bottom to centre x, centre y, width, height."""
    low, high = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    return np.concatenate([(low + high) / 2.0, high - low], axis=1)


def cxywh_to_xyxy(boxes_cxywh: FloatArray) -> FloatArray:
    """Convert (..., 4) centre x, centre y, width, height to left, top, right, bottom."""
    centre, half = boxes_cxywh[..., :2], boxes_cxywh[..., 2:] / 2.0
    return np.concatenate([centre - half, centre + half], axis=-1)


def areas(boxes_xyxy: FloatArray) -> FloatArray:
    """Return the (N,) areas of left, top, right, bottom boxes."""
    return np.asarray((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(axis=1))


def box_scales(boxes: FloatArray) -> FloatArray:
    """Return (N,) g = sqrt(width x height) of (N, 4) boxes, or (N, 2) sizes, that end with width and height."""
    return np.sqrt(boxes[:, -2] * boxes[:, -1])


def intersections(a_xyxy: FloatArray, b_xyxy: FloatArray) -> FloatArray:
    """Return the (A, B) table of the areas that left, top, right, bottom boxes have in common."""
    low = np.maximum(a_xyxy[:, None, :2], b_xyxy[:, :2])
    high = np.minimum(a_xyxy[:, None, 2:], b_xyxy[:, 2:])
    return np.asarray(np.maximum(high - low, 0.0).prod(axis=2))


def intersection_over_union_xyxy(a_xyxy: FloatArray, b_xyxy: FloatArray) -> FloatArray:
    """Return the same table as :func:`intersection_over_union` for left, top, right, bottom boxes."""
    return intersection_over_union(xyxy_to_ltwh(a_xyxy), xyxy_to_ltwh(b_xyxy))


def intersection_over_union(a_ltwh: FloatArray, b_ltwh: FloatArray) -> FloatArray:
    """Return the (A, B) table of intersection over union of two sets of left, top, width, height boxes.

    The table is dense: it is meant for evaluation, where both sides are the few boxes of one frame.
    """
    return intersection_over_union_by_row(a_ltwh[:, None, :], b_ltwh[None, :, :])


def intersection_over_union_by_row(a_ltwh: FloatArray, b_ltwh: FloatArray) -> FloatArray:
    """Return the intersection over union of each box of (..., 4) with the one that stands in the same place."""
    low = np.maximum(a_ltwh[..., :2], b_ltwh[..., :2])
    high = np.minimum(a_ltwh[..., :2] + a_ltwh[..., 2:], b_ltwh[..., :2] + b_ltwh[..., 2:])
    overlap = np.clip(high - low, 0.0, None).prod(axis=-1)
    union = a_ltwh[..., 2:].prod(axis=-1) + b_ltwh[..., 2:].prod(axis=-1) - overlap
    return np.asarray(overlap / np.maximum(union, 1e-9))


def carried(boxes_xyxy: FloatArray, maps: NDArray[np.floating]) -> FloatArray:
    """Carry boxes by the camera's motion: the centre by the map, the size by its scale.

    Parameters
    ----------
    boxes_xyxy
        (N, 4) left, top, right, bottom.
    maps
        An affine map, (2, 3) or (3, 3), or (N, 2, 3) or (N, 3, 3): one for each box.
    """
    linear = maps[..., :2, :2]
    grown = np.sqrt(np.abs(np.linalg.det(linear)))[..., None]
    low, high = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    centres = np.einsum("...ij,...j->...i", linear, (low + high) / 2.0) + maps[..., :2, 2]
    halves = (high - low) / 2.0 * grown
    return np.concatenate([centres - halves, centres + halves], axis=1)
