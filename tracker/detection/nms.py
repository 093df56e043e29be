"""What is left of overlapping boxes: one for each object."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.structures import FloatArray, IntArray

_COVERED = 0.6  # share of a part that lies in a whole


def suppress(
    boxes_xyxy: FloatArray, scores: FloatArray, classes: IntArray, iou: float, *, across_classes: bool = False
) -> IntArray:
    """Return the rows that non-maximum suppression keeps, by falling score.

    Parameters
    ----------
    boxes_xyxy, scores, classes
        (N, 4), (N,) and (N,).
    iou
        A box goes where one of a higher score overlaps it more than this.
    across_classes
        Whether boxes of one class suppress those of another.
    """
    if not len(scores):
        return np.empty(0, np.int64)
    boxes_ltwh = np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)
    labels = np.zeros_like(classes) if across_classes else classes
    # Classes are kept apart by shifting each by more than the largest coordinate, so that none may be negative.
    boxes_ltwh[:, :2] -= np.minimum(boxes_ltwh[:, :2].min(axis=0), 0.0)
    kept = cv2.dnn.NMSBoxesBatched(boxes_ltwh.tolist(), scores.tolist(), labels.tolist(), 0.0, iou)
    return np.asarray(kept, np.int64).reshape(-1)


def parts_of_wholes(boxes_xyxy: FloatArray, classes: IntArray, cut: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which boxes are parts of objects that another box shows whole.

    Parameters
    ----------
    boxes_xyxy, classes
        (N, 4) and (N,).
    cut
        (N,) whether a box ends at the border of a tile, so that its object may go on beyond.

    Returns
    -------
    (N,) bool
        Cut boxes that lie for the most part in one box of their class that is not cut.
    """
    parts, wholes = np.flatnonzero(cut), np.flatnonzero(~cut)
    a, b = boxes_xyxy[parts][:, None], boxes_xyxy[wholes][None]
    inner = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0.0, None).prod(axis=-1)
    covered = inner >= _COVERED * (a[..., 2:] - a[..., :2]).prod(axis=-1)
    result = np.zeros(len(cut), np.bool_)
    result[parts] = (covered & (classes[parts][:, None] == classes[wholes][None])).any(axis=1)
    return result
