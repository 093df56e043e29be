"""Maps of heat: what is laid onto the grid is kept, wherever it lies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.evaluation.heat import heat, passages, spread_out
from tracker.formats.table import TrackTable


@st.composite
def tables(draw: st.DrawFn) -> TrackTable:
    n = draw(st.integers(1, 30))
    keys = draw(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5)), min_size=n, max_size=n, unique=True))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    boxes = np.column_stack([rng.uniform(-60, 260, (n, 2)), rng.uniform(0.5, 120, (n, 2))])
    frames, ids = zip(*keys, strict=True)
    return TrackTable(frames, ids, boxes)


@given(tables(), st.floats(1.0, 60.0), st.floats(1.5, 70.0), st.floats(0.01, 3.0))
def test_presence_sums_to_object_seconds_and_passages_to_objects(
    table: TrackTable, rate_hz: float, cell_px: float, spread: float
) -> None:
    grid = heat(table, rate_hz, (200, 150), cell_px, spread=spread)
    assert grid.presence_s.shape == (int(np.ceil(150 / cell_px)), int(np.ceil(200 / cell_px)))
    assert (grid.presence_s >= 0).all()
    assert grid.presence_s.sum() == pytest.approx(len(table) / rate_hz, rel=1e-9)
    came, went = passages(table, rate_hz)
    assert grid.entries.sum() == pytest.approx(len(came), abs=1e-9)
    assert grid.exits.sum() == pytest.approx(len(went), abs=1e-9)


@given(tables(), st.floats(1.0, 60.0))
def test_speed_is_never_below_that_of_the_mean_velocity(table: TrackTable, rate_hz: float) -> None:
    grid = heat(table, rate_hz, (200, 150), 5.0)
    known = ~np.isnan(grid.speed_px_s)
    mean = np.hypot(*grid.velocity_px_s[known].T)
    assert (mean <= grid.speed_px_s[known] * (1 + 1e-6) + 1e-6).all()


@given(st.integers(0, 2**32 - 1))
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames, ids = np.repeat(np.arange(1, 11), 3), np.tile([4, 7, 9], 10)
    table = TrackTable(frames, ids, np.column_stack([rng.uniform(0, 150, (30, 2)), rng.uniform(5, 40, (30, 2))]))
    grid, shuffled = (heat(t, 10.0, (200, 150), 7.0) for t in (table, table.select(rng.permutation(30))))
    for field in ("presence_s", "velocity_px_s", "speed_px_s", "entries", "exits"):
        np.testing.assert_allclose(getattr(shuffled, field), getattr(grid, field), rtol=1e-6, atol=1e-12)


def test_far_from_the_border_it_is_the_sum_of_the_gaussians() -> None:
    rng = np.random.default_rng(0)
    places = rng.uniform(150, 250, (40, 2))
    sd = 2.0 ** (np.rint(4 * np.log2(rng.uniform(8, 20, (40, 2)))) / 4)  # quarters of an octave: not rounded
    (grid,) = spread_out(places, sd, np.ones((40, 1)), (400, 400), 1.0)
    y, x = np.mgrid[0:400, 0:400] + 0.5
    exact = sum(
        np.exp(-0.5 * ((x - px) / sx) ** 2 - 0.5 * ((y - py) / sy) ** 2) / (2 * np.pi * sx * sy)
        for (px, py), (sx, sy) in zip(places, sd, strict=True)
    )
    assert np.abs(grid - exact).max() < 0.01 * exact.max()
