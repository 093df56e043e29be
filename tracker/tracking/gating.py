"""Which boxes can have to do with which: sparse pairs by a sorted sweep, never a dense table."""

from __future__ import annotations

import numpy as np
from numba import njit

from tracker.structures import FloatArray, IntArray


@njit(cache=True, error_model="numpy")
def overlapping_pairs(a_xyxy: FloatArray, b_xyxy: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
    """Return all pairs of boxes that overlap, by rows of ``a``.

    ``b`` is swept in the order of its left edges; the running maximum of right edges tells where the sweep of
    a row may begin, so that a row meets only boxes of its own vertical band.

    Returns
    -------
    row_start
        (A + 1,) first pair of each row.
    column
        (E,) row of ``b``, ascending within a row.
    intersection_px2
        (E,) area in common.
    """
    rows, columns = len(a_xyxy), len(b_xyxy)
    order = np.argsort(b_xyxy[:, 0], kind="mergesort")
    left = np.empty(columns)
    reach = np.empty(columns)
    furthest = -np.inf
    for s in range(columns):
        left[s] = b_xyxy[order[s], 0]
        furthest = max(furthest, b_xyxy[order[s], 2])
        reach[s] = furthest

    row_start = np.empty(rows + 1, np.int64)
    column = np.empty(4 * rows + 16, np.int64)
    area = np.empty(4 * rows + 16)
    count = 0
    for k in range(rows):
        row_start[k] = count
        a0, a1, a2, a3 = a_xyxy[k, 0], a_xyxy[k, 1], a_xyxy[k, 2], a_xyxy[k, 3]
        s = np.searchsorted(reach, a0, side="right")
        while s < columns and left[s] < a2:
            j = order[s]
            s += 1
            width = min(a2, b_xyxy[j, 2]) - max(a0, b_xyxy[j, 0])
            height = min(a3, b_xyxy[j, 3]) - max(a1, b_xyxy[j, 1])
            if width <= 0.0 or height <= 0.0:
                continue
            if count == len(column):
                column = np.concatenate((column, np.empty_like(column)))
                area = np.concatenate((area, np.empty_like(area)))
            # Insert in ascending order: a result must not depend on where boxes happen to start.
            at = count
            while at > row_start[k] and column[at - 1] > j:
                column[at] = column[at - 1]
                area[at] = area[at - 1]
                at -= 1
            column[at] = j
            area[at] = width * height
            count += 1
    row_start[rows] = count
    return row_start, column[:count], area[:count]


@njit(cache=True, error_model="numpy")
def box_area(box_xyxy: FloatArray) -> float:
    """Return width times height of one box."""
    return (box_xyxy[2] - box_xyxy[0]) * (box_xyxy[3] - box_xyxy[1])
