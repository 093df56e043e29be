"""What must hold of regions whatever the ways and the jitter."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tracker.config import RegionsConfig
from tracker.media.regions import RegionEvent, RegionMonitor
from tracker.structures import TRACK, FloatArray, Tracks

SIZE = (640, 480)
SIDE_PX = 40.0
HYSTERESIS = 0.25
MARGIN_PX = HYSTERESIS * SIDE_PX
REGIONS = {
    "hysteresis": HYSTERESIS,
    "areas": {"yard": [[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]]},
    "lines": {"gate": {"points": [[0.0, 0.5], [1.0, 0.5]], "to_right": "down", "to_left": "up"}},
}
unit = st.floats(-1.0, 1.0)


def in_pixels(regions: dict[str, Any]) -> dict[str, Any]:
    def scaled(points: list[list[float]]) -> list[list[float]]:
        return (np.array(points) * SIZE).tolist()

    return {
        **regions,
        "unit": "pixels",
        "areas": {name: scaled(points) for name, points in regions["areas"].items()},
        "lines": {name: {**line, "points": scaled(line["points"])} for name, line in regions["lines"].items()},
    }


def nothing_else(name: str, _: np.ndarray) -> np.ndarray:
    raise AssertionError(f"regions have no use for {name}")


def watch(ways: FloatArray, regions: dict[str, Any] = REGIONS, size: tuple[int, int] = SIZE) -> list[RegionEvent]:
    """Watch objects on ways (frames, objects, 2)."""
    monitor = RegionMonitor(RegionsConfig.model_validate(regions), size, 30)
    side_px = SIDE_PX * size[0] / SIZE[0]
    events = []
    for frame, places in enumerate(ways, 1):
        rows = np.zeros(len(places), TRACK)
        rows["ids"] = np.arange(1, len(places) + 1)
        rows["boxes_xyxy"] = np.column_stack([places - [side_px / 2, side_px], places + np.array([side_px / 2, 0.0])])
        events += monitor.update(frame, frame / 10.0, Tracks.of_rows(rows, nothing_else))
    return events + monitor.finish()


def facts(events: list[RegionEvent]) -> list[tuple[int, str, str, int, str]]:
    return [(e.frame, e.kind, e.region, e.id, e.direction) for e in events]


def wandering(count: int) -> st.SearchStrategy[FloatArray]:
    return st.integers(0, 2**32 - 1).map(
        lambda seed: (
            np.cumsum(np.random.default_rng(seed).normal(0.0, 25.0, (40, count, 2)), axis=0)
            + np.random.default_rng(seed).uniform(0, SIZE, (count, 2))
        )
    )


@given(x=st.floats(60, 580), steps=st.integers(3, 60), jitter=st.lists(unit, min_size=60, max_size=60))
def test_a_jitter_below_the_margin_never_counts_a_crossing_twice(x: float, steps: int, jitter: list[float]) -> None:
    way = np.column_stack([np.full(steps, x), np.linspace(200.0, 280.0, steps)])
    way[:, 1] += 0.999 * MARGIN_PX * np.array(jitter[:steps])
    events = [e for e in watch(way[:, None]) if e.kind == "cross"]
    assert [e.direction for e in events] == ["down"]


@given(steps=st.integers(3, 60), jitter=st.lists(unit, min_size=60, max_size=60))
def test_a_jitter_below_the_margin_never_enters_twice(steps: int, jitter: list[float]) -> None:
    way = np.column_stack([np.linspace(100.0, 320.0, steps), np.full(steps, 180.0)])
    way[:, 0] += 0.999 * MARGIN_PX * np.array(jitter[:steps])
    assert [e.kind for e in watch(way[:, None]) if e.region == "yard"] == ["enter", "end"]


@given(ways=wandering(3))
def test_the_way_back_swaps_the_directions(ways: FloatArray) -> None:
    # Ends well off the line, where both ways know their side from the first frame on.
    ends = np.array([[[100.0, 100.0], [300.0, 100.0], [500.0, 400.0]]])
    ways = np.concatenate([ends, ways, ends[:, ::-1]])
    there, back = (sorted((e.id, e.direction) for e in watch(way) if e.kind == "cross") for way in (ways, ways[::-1]))
    swapped = {"down": "up", "up": "down"}
    assert sorted((track_id, swapped[direction]) for track_id, direction in there) == back


@given(ways=wandering(4))
def test_pixels_and_shares_are_the_same(ways: FloatArray) -> None:
    assert watch(ways, in_pixels(REGIONS)) == watch(ways)


@given(ways=wandering(4))
def test_size_does_not_matter(ways: FloatArray) -> None:
    assert facts(watch(2.0 * ways, size=(2 * SIZE[0], 2 * SIZE[1]))) == facts(watch(ways))


@given(ways=wandering(4))
def test_objects_do_not_matter_to_each_other(ways: FloatArray) -> None:
    together = facts(watch(ways))
    for k in range(4):
        alone = [(frame, kind, region, k + 1, way) for frame, kind, region, _, way in facts(watch(ways[:, k : k + 1]))]
        assert [fact for fact in together if fact[3] == k + 1] == alone


@given(ways=wandering(5))
def test_entries_and_exits_take_turns_and_crossings_alternate(ways: FloatArray) -> None:
    events = watch(ways)
    for track_id in range(1, 6):
        stays = [e for e in events if e.id == track_id and e.region == "yard"]
        assert [e.kind for e in stays[::2]] == ["enter"] * len(stays[::2])
        assert all(e.kind in {"exit", "lost", "end"} for e in stays[1::2])
        assert len(stays) % 2 == 0
        for enter, leave in zip(stays[::2], stays[1::2], strict=True):
            assert leave.dwell_s is not None
            assert abs(leave.dwell_s - (leave.time_s - enter.time_s)) < 1e-9
        assert all(e.direction in {"down", "up"} for e in events if e.kind == "cross")
