"""Maps by hand: where two boxes were, how fast, who came and went, and the pictures of it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.evaluation.heat import Doors, doors, heat, passages, velocities
from tracker.evaluation.maps import WHAT, _free_height, heat_map, hue_wheel, surprise_map, unit_of
from tracker.formats.table import TrackTable

# At 10 Hz, one object in frames 1 and 2: feet at (15, 25), then (25, 25); cells of 10 px.
TWO = TrackTable([1, 2], [1, 1], [[12.5, 15.0, 5.0, 10.0], [22.5, 15.0, 5.0, 10.0]])


def test_two_frames_by_hand() -> None:
    grid = heat(TWO, 10.0, (40, 30), 10.0, spread=0.001)  # feet lie in the middle of cells: nothing spreads
    presence = np.zeros((3, 4))
    presence[2, 1] = presence[2, 2] = 0.1
    np.testing.assert_allclose(grid.presence_s, presence, atol=1e-12)
    there = presence > 0
    np.testing.assert_allclose(grid.velocity_px_s[there], [[100.0, 0.0], [100.0, 0.0]])
    np.testing.assert_allclose(grid.speed_px_s[there], 100.0)
    assert np.isnan(grid.speed_px_s[~there]).all()


def test_feet_between_cells_are_shared_by_how_near_they_are() -> None:
    table = TrackTable([1], [1], [[15.0, 15.0, 5.0, 10.0]])  # feet at x 17.5: a quarter is the next cell's
    grid = heat(table, 10.0, (40, 30), 10.0, spread=0.001)
    np.testing.assert_allclose(grid.presence_s[2], [0.0, 0.075, 0.025, 0.0], atol=1e-12)


def test_feet_outside_count_at_the_border() -> None:
    table = TrackTable([1, 1], [1, 2], [[-90.0, 15.0, 5.0, 10.0], [38.0, 90.0, 80.0, 80.0]])
    grid = heat(table, 10.0, (40, 30), 10.0, spread=0.001)
    assert grid.presence_s[2, 0] == pytest.approx(0.1)
    assert grid.presence_s[2, 3] == pytest.approx(0.1)


def test_the_variances_of_the_run_spread_further() -> None:
    table = TrackTable([1], [1], [[98.0, 90.0, 4.0, 10.0]])
    sharp, wide = (
        heat(table, 10.0, (200, 200), 2.0, spread=0.1, variances_px2=np.array([[v, 1.0]])).presence_s
        for v in (1.0, 400.0)
    )
    columns = np.arange(100) * 2.0 + 1.0
    assert np.sqrt(np.average((columns - 100.0) ** 2, weights=wide.sum(axis=0))) == pytest.approx(20.0, rel=0.1)
    assert wide.max() < 0.3 * sharp.max()


@pytest.mark.parametrize("sd_cells", [0.5, 1.0, 4.0, 8.0])  # to which a quarter of an octave rounds exactly
def test_a_spread_is_that_of_a_gaussian(sd_cells: float) -> None:
    table = TrackTable([1], [1], [[148.0, 140.0, 10.0, 20.0]])  # feet in the middle of cell 76, 80 of 2 px
    grid = heat(table, 10.0, (304, 304), 2.0, spread=0.0, variances_px2=np.full((1, 2), (2.0 * sd_cells) ** 2))
    across = grid.presence_s.sum(axis=0) / grid.presence_s.sum()
    cells = np.arange(152) + 0.5
    centre = across @ cells
    assert centre == pytest.approx(76.5, abs=1e-9)
    assert across @ (cells - centre) ** 2 == pytest.approx(sd_cells**2, rel=1e-6)
    assert grid.presence_s.min() >= 0.0


def test_a_spread_beyond_all_bounds_is_even() -> None:
    presence = heat(TWO, 10.0, (400, 300), 1.0, spread=1e6).presence_s
    np.testing.assert_allclose(presence, 0.2 / presence.size, rtol=1e-9)


def test_velocities_look_a_quarter_of_a_second_around_and_across_gaps() -> None:
    frames = np.array([1, 2, 3, 4, 5, 6, 7, 17])
    x = np.array([0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 160.0])
    table = TrackTable([*frames, 3], [*[1] * 8, 2], [*([v, 0.0, 10.0, 20.0] for v in x), [0.0, 0.0, 10.0, 20.0]])
    found = velocities(table, 10.0)
    np.testing.assert_allclose(found[:8], np.tile([100.0, 0.0], (8, 1)))
    assert np.isnan(found[8]).all(), "one row says nothing of motion"
    shaken = TrackTable(frames[:7], [1] * 7, np.column_stack([x[:7] + 8.0 * (frames[:7] == 4), *np.full((3, 7), 9.0)]))
    assert np.abs(velocities(shaken, 10.0)[3, 0] - 100.0) < 1e-9, "a box that jumps is not a motion"


def test_who_is_there_at_the_beginning_or_end_did_not_come_or_go() -> None:
    rows = [(f, 1) for f in range(1, 101)] + [(f, 2) for f in range(30, 61)] + [(f, 3) for f in range(40, 101)]
    frames, ids = zip(*rows, strict=True)
    table = TrackTable(frames, ids, np.tile([10.0, 10.0, 5.0, 5.0], (len(rows), 1)))
    came, went = passages(table, 10.0)
    assert [(table.frames[r], table.ids[r]) for r in came] == [(30, 2), (40, 3)]
    assert [(table.frames[r], table.ids[r]) for r in went] == [(60, 2)]


def crossing(n: int = 40) -> TrackTable:
    """Return objects that come at the left and go at the upper right, one after the other."""
    rng = np.random.default_rng(1)
    rows = []
    for k in range(n):
        start, end = rng.normal([20, 200], 6), rng.normal([380, 60], 6)
        for step in range(20):
            x, y = start + (end - start) * step / 19
            rows.append((20 + 15 * k + step, k, x - 10, y - 40, 20, 40))
    rows += [(1, 999, 0, 0, 20, 40), (20 + 15 * n + 100, 1000, 0, 0, 20, 40)]
    table = np.array(rows, float)
    return TrackTable(table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2:])


def test_doors_are_found_where_objects_come_and_go() -> None:
    found = doors(crossing(), 20.0)
    order = np.argsort(found.centres[:, 0])
    main = [d for d in order if found.entries[d] + found.exits[d] > 20]
    np.testing.assert_allclose(found.centres[main], [[20, 200], [380, 60]], atol=6)
    assert [(found.entries[d], found.exits[d]) for d in main] == [(40, 0), (0, 40)]


def test_few_passages_make_no_door() -> None:
    assert len(doors(TWO, 10.0).centres) == 0


@pytest.mark.parametrize("what", WHAT)
def test_a_map_is_a_picture_of_the_frames_size_and_a_legend(what: str) -> None:
    table = crossing()
    grid = heat(table, 20.0, (700, 240), 4.0)
    ground = np.full((240, 700, 3), 90, np.uint8)
    found = Doors(np.array([[20.0, 200.0]]), np.array([np.diag([90.0, 40.0])]), np.array([40]), np.array([0]))
    data = heat_map(grid, what, (700, 240), ground, notes="a note", doors=found)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape[1] == 700
    assert image.shape[0] > 240
    untouched, travelled = image[20:60, 560:640], image[125:135, 190:210]
    assert np.ptp(untouched.reshape(-1, 3), axis=0).max() == 0, "where nobody was the ground shows"
    if what != "entries":
        assert np.abs(travelled.astype(int) - untouched[0, 0]).max() > 30
    assert data == heat_map(grid, what, (700, 240), ground, notes="a note", doors=found), "the same each time"


def test_a_map_without_a_picture_has_axes() -> None:
    data = heat_map(heat(TWO, 10.0, (40, 30), 5.0), "presence", (40, 30))
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape[1] > 640, "what is small is enlarged"
    assert np.unique(image.reshape(-1, 3), axis=0).shape[0] > 50


def test_unusual_tracks_are_drawn_in_order() -> None:
    paths = [(np.column_stack([np.linspace(20, 600, 30), np.full(30, y), np.full(30, v)]), f"{v}") for y, v in
             ((60.0, 3.0), (180.0, 0.0))]  # fmt: skip
    image = cv2.imdecode(np.frombuffer(surprise_map(paths, (700, 240)), np.uint8), cv2.IMREAD_COLOR).astype(int)
    plot = image[:240]
    yellow = (plot[..., 2] > 200) & (plot[..., 1] > 200) & (plot[..., 0] < 120)
    assert yellow.sum() > 500
    assert np.median(np.nonzero(yellow)[0]) < 120, "the rare one lies in the upper half"


def test_a_track_of_one_row_is_drawn() -> None:
    data = surprise_map([(np.array([[350.0, 120.0, 3.0]]), "1")], (700, 240), np.zeros((240, 700, 3), np.uint8))
    blue, green, red = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[120, 350].astype(int)
    assert min(red, green) > blue + 100, "yellow, as the rarest are"


def test_what_is_most_unusual_is_not_smoothed_away() -> None:
    steady = np.column_stack([np.linspace(20, 600, 30), np.full(30, 200.0), np.zeros(30)])
    jump = steady.copy()
    jump[15] = 320.0, 60.0, 3.0
    ground = np.zeros((240, 700, 3), np.uint8)
    plain, shown = (
        cv2.imdecode(np.frombuffer(surprise_map([(p, "")], (700, 240), ground), np.uint8), cv2.IMREAD_COLOR)
        for p in (steady, jump)
    )
    beside = (slice(80, 150), slice(300, 340))  # of the way there
    assert plain[beside].max() == 0
    assert shown[beside].max() > 150


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("width", [768, 1920, 3840])
def test_legends_end_before_the_picture_does(what: str, width: int) -> None:
    size_px = (width, width // 4)
    table = TrackTable([1, 2, 3], [1, 1, 1], [[5.0, 5.0, 9.0, 20.0], [6.0, 5.0, 9.0, 20.0], [7.0, 5.0, 9.0, 20.0]])
    grid = heat(table, 10.0, size_px, width / 64)
    data = heat_map(grid, what, size_px, np.zeros((size_px[1], width, 3), np.uint8))
    strip = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[size_px[1] + 4 :]
    assert np.ptp(strip[:, -6:].reshape(-1, 3), axis=0).max() == 0


def test_labels_lie_on_nothing_else() -> None:
    assert _free_height(50.0, 100.0, 20.0, 10.0, 200.0, []) == 90.0
    assert _free_height(50.0, 100.0, 20.0, 10.0, 200.0, [(60.0, 88.0, 20.0)]) == 75.0
    assert _free_height(50.0, 100.0, 20.0, 10.0, 200.0, [(95.0, 88.0, 20.0)]) == 90.0, "it is beside"
    assert _free_height(50.0, 8.0, 20.0, 10.0, 200.0, [(50.0, 8.0, 5.0)]) == 18.0, "there is no room above"


@given(st.floats(0.0, 1.4) | st.floats(3.6, 60.0), st.floats(3.0, 60.0))
def test_labels_of_one_place_stand_a_line_apart_each(lines: float, high: float) -> None:
    y, bottom = lines * high, 70.0 * high
    taken = [(50.0, y, 0.5 * high)]
    for _ in range(3):
        taken.append((50.0, _free_height(50.0, y, 20.0, high, bottom, taken), 20.0))
    side = 1.0 if lines < 1.5 else -1.0  # where there is room
    assert [at for _, at, _ in taken[1:]] == pytest.approx([y + side * n * high for n in (1, 2, 3)], abs=1e-6)


def test_the_unit_is_a_round_number() -> None:
    assert [unit_of((s, s // 2)) for s in (10, 300, 768, 1920, 3840)] == [1, 20, 50, 100, 200]


def test_no_direction_looks_lighter_than_another() -> None:
    rgb = np.array(hue_wheel().colors, float)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lightness = 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16
    assert np.ptp(lightness) < 12
    step = np.linalg.norm(np.diff(rgb, axis=0, append=rgb[:1]), axis=1)
    assert step.max() < 0.05, "the circle has no seam"
