"""Sparse pairs of overlapping boxes against the dense table."""

from __future__ import annotations

import resource

import numpy as np
import pytest

from tracker.geometry import intersection_over_union, xyxy_to_ltwh
from tracker.tracking.gating import box_area, grid_of, overlapping_pairs, overlaps_among


def random_boxes(rng, count, side=300.0, largest=80.0):
    corner = rng.uniform(0.0, side, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(1.0, largest, (count, 2))], axis=1)


def crowd(rng, count):
    """Boxes of 40 x 80 px that cover a tenth of the ground, however many there are."""
    side = np.sqrt(count * 40.0 * 80.0 / 0.1)
    corner = rng.uniform(0.0, side, (count, 2))
    return np.concatenate([corner, corner + np.array([40.0, 80.0])], axis=1)


def areas(boxes):
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


@pytest.mark.parametrize(
    ("rows", "columns", "largest"), [(1, 1, 300.0), (20, 30, 80.0), (30, 20, 5.0), (40, 40, 400.0)]
)
def test_pairs_are_those_of_the_dense_table_in_its_order(rows, columns, largest):
    rng = np.random.default_rng(1)
    for _ in range(10):
        a, b = random_boxes(rng, rows, largest=largest), random_boxes(rng, columns, largest=largest)
        row_start, column, area = overlapping_pairs(a, grid_of(b))
        iou = intersection_over_union(xyxy_to_ltwh(a), xyxy_to_ltwh(b))
        k, j = np.nonzero(iou)
        np.testing.assert_array_equal(np.repeat(np.arange(rows), np.diff(row_start)), k)
        np.testing.assert_array_equal(column, j)
        np.testing.assert_allclose(area / (areas(a)[k] + areas(b)[j] - area), iou[k, j])


def test_pairs_do_not_depend_on_who_is_asked():
    rng = np.random.default_rng(2)
    a, b = random_boxes(rng, 25), random_boxes(rng, 35)
    row_start, column, area = overlapping_pairs(a, grid_of(b))
    there = {(k, column[e]): area[e] for k in range(25) for e in range(row_start[k], row_start[k + 1])}
    row_start, column, area = overlapping_pairs(b, grid_of(a))
    back = {(column[e], j): area[e] for j in range(35) for e in range(row_start[j], row_start[j + 1])}
    assert there == back


def test_one_wide_box_hides_no_pair_behind_it():
    b = np.array([[0.0, 0.0, 500.0, 10.0], [10.0, 0.0, 20.0, 10.0], [300.0, 0.0, 310.0, 10.0]])
    row_start, column, area = overlapping_pairs(
        np.array([[305.0, 5.0, 400.0, 15.0], [15.0, 0.0, 16.0, 1.0]]), grid_of(b)
    )
    np.testing.assert_array_equal(row_start, [0, 2, 4])
    np.testing.assert_array_equal(column, [0, 2, 0, 1])
    np.testing.assert_allclose(area, [475.0, 25.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("other", "area"),
    [
        ([10.0, 0.0, 20.0, 10.0], None),  # edges touch
        ([0.0, 10.0, 10.0, 20.0], None),
        ([10.0, 10.0, 20.0, 20.0], None),  # corners touch
        ([9.99, 0.0, 20.0, 10.0], 0.1),
        ([0.0, 0.0, 10.0, 10.0], 100.0),
        ([2.0, 3.0, 4.0, 6.0], 6.0),
        ([-5.0, -5.0, 50.0, 50.0], 100.0),
    ],
)
def test_only_area_in_common_makes_a_pair(other, area):
    row_start, column, found = overlapping_pairs(np.array([[0.0, 0.0, 10.0, 10.0]]), grid_of(np.array([other])))
    np.testing.assert_array_equal(row_start, [0, 0 if area is None else 1])
    assert len(column) == row_start[1]
    np.testing.assert_allclose(found, [] if area is None else [area])


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (0, 4), (4, 0)])
def test_no_boxes_no_pairs(rows, columns):
    rng = np.random.default_rng(3)
    row_start, column, area = overlapping_pairs(random_boxes(rng, rows), grid_of(random_boxes(rng, columns)))
    np.testing.assert_array_equal(row_start, np.zeros(rows + 1))
    assert (len(column), len(area)) == (0, 0)


def test_many_more_pairs_than_room_was_made_for():
    boxes = np.tile([0.0, 0.0, 10.0, 10.0], (60, 1))
    row_start, column, area = overlapping_pairs(boxes, grid_of(boxes))
    np.testing.assert_array_equal(np.diff(row_start), 60)
    np.testing.assert_array_equal(column.reshape(60, 60), np.tile(np.arange(60), (60, 1)))
    np.testing.assert_array_equal(area, 100.0)


def visited(a, grid):
    """Return how many candidates the rows of ``a`` meet: all boxes in all cells that each touches."""
    first = np.array([grid.left_px, grid.top_px])
    per_px = np.array([grid.columns_per_px, grid.rows_per_px])
    last = np.array([grid.columns, grid.rows]) - 1
    low = np.clip(((a[:, :2] - first) * per_px).astype(int), 0, last)
    high = np.clip(((a[:, 2:] - first) * per_px).astype(int), 0, last)
    members = np.pad(np.diff(grid.start).reshape(grid.rows, grid.columns).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    (x0, y0), (x1, y1) = low.T, high.T + 1
    return (members[y1, x1] - members[y0, x1] - members[y1, x0] + members[y0, x0]).sum()


@pytest.mark.parametrize("wide", [0, 1])
def test_work_and_pairs_grow_in_proportion_at_constant_density(wide):
    """Also with one box as large as the image, which overlaps all others."""
    rng = np.random.default_rng(4)
    candidates, pairs = [], []
    for count in (500, 2000, 8000):
        boxes = crowd(rng, count)
        if wide:
            boxes = np.concatenate([boxes, [[*boxes.min(axis=0)[:2], *boxes.max(axis=0)[2:]]]])
        grid = grid_of(boxes)
        found = len(overlapping_pairs(boxes, grid)[1])
        assert len(overlaps_among(grid)[0]) == (found - len(boxes)) / 2
        assert grid.columns * grid.rows <= len(boxes)
        candidates.append(visited(boxes, grid) / count)
        pairs.append(found / count)
    # Each box meets itself and a tenth of the ground four times over: 1.4; a box that covers all adds two.
    np.testing.assert_allclose(pairs, 1.4 + 2 * wide, rtol=0.05)
    assert max(candidates) < 1.2 * candidates[0] < 12.0


def test_a_box_far_away_from_the_others_hides_no_pair():
    rng = np.random.default_rng(6)
    boxes = np.concatenate([random_boxes(rng, 30), [[1e12, -1e9, 1e12 + 50.0, -1e9 + 50.0]]])
    row_start, column, _ = overlapping_pairs(boxes, grid_of(boxes))
    k, j = np.nonzero(intersection_over_union(xyxy_to_ltwh(boxes), xyxy_to_ltwh(boxes)))
    np.testing.assert_array_equal(np.repeat(np.arange(31), np.diff(row_start)), k)
    np.testing.assert_array_equal(column, j)


@pytest.mark.parametrize("largest", [5.0, 80.0, 400.0])
def test_each_pair_of_one_set_is_found_once(largest):
    rng = np.random.default_rng(7)
    for count in (1, 2, 40):
        boxes = random_boxes(rng, count, largest=largest)
        pair, area = overlaps_among(grid_of(boxes))
        table = intersection_over_union(xyxy_to_ltwh(boxes), xyxy_to_ltwh(boxes))
        expected = np.argwhere(np.triu(table, 1))
        order = np.lexsort(pair.T[::-1])
        np.testing.assert_array_equal(pair[order], expected)
        k, j = expected.T
        np.testing.assert_allclose(area[order] / (areas(boxes)[k] + areas(boxes)[j] - area[order]), table[k, j])


def test_every_cell_holds_who_touches_it():
    rng = np.random.default_rng(8)
    boxes = random_boxes(rng, 50)
    grid = grid_of(boxes)
    assert min(grid.columns, grid.rows) > 1
    for cell in range(grid.columns * grid.rows):
        y, x = divmod(cell, grid.columns)
        left, top = grid.left_px + x / grid.columns_per_px, grid.top_px + y / grid.rows_per_px
        right, bottom = left + 1 / grid.columns_per_px, top + 1 / grid.rows_per_px
        inside = (boxes[:, 0] < right) & (boxes[:, 2] > left) & (boxes[:, 1] < bottom) & (boxes[:, 3] > top)
        member = grid.member[grid.start[cell] : grid.start[cell + 1]]
        np.testing.assert_array_equal(member, np.flatnonzero(inside))


def test_twenty_thousand_boxes_need_no_table():
    """A dense table of single bytes would hold 400 MB."""
    rng = np.random.default_rng(5)
    a, b = crowd(rng, 20_000), crowd(rng, 20_000)
    overlapping_pairs(a[:1], grid_of(b[:1]))
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    row_start, column, _ = overlapping_pairs(a, grid_of(b))
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    assert row_start[-1] == len(column) > 5_000
    assert grown_kb < 40_000


def test_area_of_a_box():
    assert box_area(np.array([[9.0, 9.0, 10.0, 11.0], [1.0, 2.0, 4.0, 7.0]]), 1) == 15.0
