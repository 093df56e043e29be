"""Boxes as plain arrays: conversions and overlap on continuous pixel coordinates."""

from __future__ import annotations

import numpy as np

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


def intersection_over_union(a_ltwh: FloatArray, b_ltwh: FloatArray) -> FloatArray:
    """Return the (A, B) table of intersection over union of two sets of left, top, width, height boxes.

    The table is dense: it is meant for evaluation, where both sides are the few boxes of one frame.
    """
    a, b = a_ltwh[:, None, :], b_ltwh[None, :, :]
    inner = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    overlap = np.clip(inner, 0.0, None).prod(axis=-1)
    union = a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - overlap
    return overlap / np.maximum(union, 1e-9)
