"""Which boxes can have to do with which: sparse pairs from a uniform grid, never a dense table."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tracker.mixture.exclusive import by_column
from tracker.mixture.kernels import kernel
from tracker.structures import FloatArray, IntArray

SHORT_ROW = 16
"""Pairs of a row that are sorted as they come; longer rows, of boxes that cover many others, are sorted apart."""


class Grid(NamedTuple):
    """Boxes by the cells of a uniform grid that they touch.

    There are at most as many cells as boxes, each at least twice as wide and high as the boxes' mean: at constant
    density a box shares its cells with a few others, however many there are. A box as large as the image stands
    in every cell, which is as much work as one more object.

    Parameters
    ----------
    boxes_xyxy
        (N, 4) the boxes.
    left_px, top_px
        Where the grid begins.
    columns, rows
        How many cells there are.
    columns_per_px, rows_per_px
        Cells in a pixel.
    touched
        (N, 4) first column, first row, last column and last row of each box's cells.
    start
        (columns x rows + 1,) first member of each cell, row by row.
    member
        (M,) boxes, ascending within a cell.
    """

    boxes_xyxy: FloatArray
    left_px: float
    top_px: float
    columns: int
    rows: int
    columns_per_px: float
    rows_per_px: float
    touched: IntArray
    start: IntArray
    member: IntArray


@kernel()
def grid_of(boxes_xyxy: FloatArray) -> Grid:
    """Sort boxes, (N, 4) left, top, right, bottom, into the cells of a grid."""
    n = len(boxes_xyxy)
    left, top, right, bottom = math.inf, math.inf, -math.inf, -math.inf
    width, height = 0.0, 0.0
    for j in range(n):
        left, top = min(left, boxes_xyxy[j, 0]), min(top, boxes_xyxy[j, 1])
        right, bottom = max(right, boxes_xyxy[j, 2]), max(bottom, boxes_xyxy[j, 3])
        width += boxes_xyxy[j, 2] - boxes_xyxy[j, 0]
        height += boxes_xyxy[j, 3] - boxes_xyxy[j, 1]
    # As many cells as fit two mean boxes; where that is more than there are boxes, fewer of the same shape.
    across, down = (right - left) / width * n / 2.0, (bottom - top) / height * n / 2.0
    fewer = math.sqrt(max(across * down / n, 1.0))
    columns = _cell(across / fewer, 0.0, 1.0, n + 1)
    columns = max(columns, 1)
    rows = max(_cell(down / fewer, 0.0, 1.0, n // columns + 1), 1)
    columns_per_px, rows_per_px = columns / (right - left), rows / (bottom - top)

    touched = np.empty((n, 4), np.int64)
    start = np.zeros(columns * rows + 1, np.int64)
    for j in range(n):
        touched[j, 0] = _cell(boxes_xyxy[j, 0], left, columns_per_px, columns)
        touched[j, 1] = _cell(boxes_xyxy[j, 1], top, rows_per_px, rows)
        touched[j, 2] = _cell(boxes_xyxy[j, 2], left, columns_per_px, columns)
        touched[j, 3] = _cell(boxes_xyxy[j, 3], top, rows_per_px, rows)
        for y in range(touched[j, 1], touched[j, 3] + 1):
            for x in range(touched[j, 0], touched[j, 2] + 1):
                start[y * columns + x] += 1
    # From the last member of each cell to its first, so that no second set of counters is needed.
    total = 0
    for cell in range(columns * rows):
        total += start[cell]
        start[cell] = total
    start[columns * rows] = total
    member = np.empty(total, np.int64)
    for j in range(n - 1, -1, -1):
        for y in range(touched[j, 1], touched[j, 3] + 1):
            for x in range(touched[j, 0], touched[j, 2] + 1):
                start[y * columns + x] -= 1
                member[start[y * columns + x]] = j
    return Grid(boxes_xyxy, left, top, columns, rows, columns_per_px, rows_per_px, touched, start, member)


@kernel()
def _cell(position_px: float, begin_px: float, per_px: float, cells: int) -> int:
    """Return the column or row of a position, the nearest for what lies outside of the grid or is no number."""
    at = (position_px - begin_px) * per_px
    if not at > 0.0:
        return 0
    return int(at) if at < cells else cells - 1


@kernel()
def overlapping_pairs(a_xyxy: FloatArray, grid: Grid) -> tuple[IntArray, IntArray, FloatArray]:
    """Return all pairs of boxes that overlap, by rows of ``a``, with the boxes of the grid.

    Returns
    -------
    row_start
        (A + 1,) first pair of each row.
    column
        (E,) box of the grid, ascending within a row.
    intersection_px2
        (E,) area in common.
    """
    row_start = np.empty(len(a_xyxy) + 1, np.int64)
    room = 2 * len(a_xyxy) + 16
    while True:
        column, area = np.empty(room, np.int64), np.empty(room)
        count = _write_pairs(a_xyxy, grid, row_start, column, area)
        if count <= room:
            break
        room = count
    column, area = column[:count], area[:count]
    for k in range(len(a_xyxy)):
        if row_start[k + 1] - row_start[k] > SHORT_ROW:
            return _in_ascending_order(row_start, column, area, len(grid.boxes_xyxy))
    return row_start, column, area


@kernel()
def _in_ascending_order(
    row_start: IntArray, column: IntArray, area: FloatArray, columns: int
) -> tuple[IntArray, IntArray, FloatArray]:
    """Sort the pairs of each row by their column, all rows at once: column by column, each to its row."""
    row, place = np.empty_like(column), row_start.copy()
    for k in range(len(row_start) - 1):
        row[row_start[k] : row_start[k + 1]] = k
    ordered_column, ordered_area = np.empty_like(column), np.empty_like(area)
    _, pair = by_column(column, columns)
    for e in pair:
        at = place[row[e]]
        place[row[e]] += 1
        ordered_column[at], ordered_area[at] = column[e], area[e]
    return row_start, ordered_column, ordered_area


@kernel()
def _write_pairs(a_xyxy: FloatArray, grid: Grid, row_start: IntArray, column: IntArray, area: FloatArray) -> int:
    """Write what :func:`overlapping_pairs` returns as far as there is room, and return how many pairs there are."""
    b_xyxy, touched, start, member = grid.boxes_xyxy, grid.touched, grid.start, grid.member
    room = len(column)
    count = 0
    for k in range(len(a_xyxy)):
        row_start[k] = count
        a0, a1, a2, a3 = a_xyxy[k, 0], a_xyxy[k, 1], a_xyxy[k, 2], a_xyxy[k, 3]
        x0 = _cell(a0, grid.left_px, grid.columns_per_px, grid.columns)
        y0 = _cell(a1, grid.top_px, grid.rows_per_px, grid.rows)
        x1 = _cell(a2, grid.left_px, grid.columns_per_px, grid.columns)
        y1 = _cell(a3, grid.top_px, grid.rows_per_px, grid.rows)
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                cell = y * grid.columns + x
                for m in range(start[cell], start[cell + 1]):
                    j = member[m]
                    # Two that share several cells meet in the first of them only.
                    if max(x0, touched[j, 0]) != x or max(y0, touched[j, 1]) != y:
                        continue
                    width = min(a2, b_xyxy[j, 2]) - max(a0, b_xyxy[j, 0])
                    height = min(a3, b_xyxy[j, 3]) - max(a1, b_xyxy[j, 1])
                    if width <= 0.0 or height <= 0.0:
                        continue
                    if count < room:
                        # Insert in ascending order: a result must not depend on where boxes happen to lie.
                        at = count
                        while at > max(row_start[k], count - SHORT_ROW) and column[at - 1] > j:
                            column[at] = column[at - 1]
                            area[at] = area[at - 1]
                            at -= 1
                        column[at] = j
                        area[at] = width * height
                    count += 1
    row_start[len(a_xyxy)] = count
    return count


@kernel()
def overlaps_among(grid: Grid) -> tuple[IntArray, FloatArray]:
    """Return all pairs of two boxes of the grid that overlap, each once: (E, 2) the boxes, (E,) area in common."""
    room = len(grid.boxes_xyxy) + 16
    while True:
        pair, area = np.empty((room, 2), np.int64), np.empty(room)
        count = _write_overlaps(grid, pair, area)
        if count <= room:
            return pair[:count], area[:count]
        room = count


@kernel()
def _write_overlaps(grid: Grid, pair: IntArray, area: FloatArray) -> int:
    """Write what :func:`overlaps_among` returns as far as there is room, and return how many pairs there are."""
    boxes, touched, start, member = grid.boxes_xyxy, grid.touched, grid.start, grid.member
    room = len(area)
    count = 0
    for y in range(grid.rows):
        for x in range(grid.columns):
            cell = y * grid.columns + x
            for m in range(start[cell], start[cell + 1]):
                i = member[m]
                for n in range(m + 1, start[cell + 1]):
                    j = member[n]
                    if max(touched[i, 0], touched[j, 0]) != x or max(touched[i, 1], touched[j, 1]) != y:
                        continue
                    width = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0])
                    height = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1])
                    if width <= 0.0 or height <= 0.0:
                        continue
                    if count < room:
                        pair[count, 0], pair[count, 1], area[count] = i, j, width * height
                    count += 1
    return count


@kernel()
def box_area(boxes_xyxy: FloatArray, k: int) -> float:
    """Return width times height of box ``k`` in px^2."""
    return (boxes_xyxy[k, 2] - boxes_xyxy[k, 0]) * (boxes_xyxy[k, 3] - boxes_xyxy[k, 1])
