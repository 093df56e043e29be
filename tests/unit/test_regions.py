"""Regions on ways that are worked out by hand."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from tracker.app.inputs import Job
from tracker.app.outputs import EVENTS, RECORD, TRACKS
from tracker.app.pipeline import run
from tracker.config import Config, RegionsConfig, check_config
from tracker.errors import ConfigurationError
from tracker.media.overlay import OverlayPainter
from tracker.media.regions import (
    EVENTS_HEADER,
    Area,
    Line,
    RegionCount,
    RegionEvent,
    RegionMonitor,
    format_events,
    sentence_of,
    words_of,
)
from tracker.structures import TRACK, Detections, Frame, Tracks

SQUARE = {"unit": "pixels", "areas": {"yard": [[100, 100], [200, 100], [200, 200], [100, 200]]}}
GATE = {"unit": "pixels", "lines": {"gate": {"points": [[0, 100], [200, 100]], "to_right": "down", "to_left": "up"}}}
SIDE_PX = 20.0  # sides of the boxes: a margin of 5 px


def nothing_known(name: str, rows: np.ndarray) -> np.ndarray:
    return np.zeros((len(rows), 4, 4) if name == "covariances" else len(rows))


def tracks_at(places: dict[int, tuple[float, float]], label: int = 0) -> Tracks:
    rows = np.zeros(len(places), TRACK)
    rows["ids"], rows["classes"] = list(places), label
    for k, (x, y) in enumerate(places.values()):
        rows["boxes_xyxy"][k] = x - SIDE_PX / 2, y - SIDE_PX, x + SIDE_PX / 2, y
    return Tracks.of_rows(rows, nothing_known)


def monitor_of(
    regions: dict[str, Any],
    size_px: tuple[int, int] | None = None,
    lost_after: int = 3,
    names: dict[int, str] | None = None,
) -> RegionMonitor:
    return RegionMonitor(RegionsConfig.model_validate(regions), size_px, lost_after, names)


def walk(monitor: RegionMonitor, way: list[tuple[float, float] | None]) -> list[RegionEvent]:
    """Let object 7 go along a way, a place each second; None where it is not seen."""
    events = []
    for n, place in enumerate(way):
        events += monitor.update(n + 1, float(n), tracks_at({} if place is None else {7: place}))
    return events


def told(events: list[RegionEvent]) -> list[tuple[int, str, str]]:
    return [(event.frame, event.kind, event.direction) for event in events]


def test_distance_to_a_line_is_positive_on_its_right() -> None:
    line = Line("a", np.array([0.0, 0.0]), np.array([10.0, 0.0]), "r", "l")
    assert line.distance(np.array([[5.0, 3.0], [-20.0, -4.0], [7.0, 0.0]])).tolist() == [3.0, -4.0, 0.0]


def test_passages_are_between_the_ends() -> None:
    line = Line("a", np.array([0.0, 0.0]), np.array([10.0, 0.0]), "r", "l")
    before = np.array([[5.0, -1.0], [5.0, 1.0], [-1.0, -1.0], [9.0, -1.0], [5.0, 1.0], [0.0, -1.0]])
    after = np.array([[5.0, 1.0], [5.0, -1.0], [-1.0, 1.0], [13.0, 1.0], [8.0, 2.0], [0.0, 1.0]])
    assert line.passages(before, after).tolist() == [1, -1, 0, 0, 0, 1]


def test_distance_to_an_area_with_a_dent() -> None:
    area = Area("a", np.array([[0.0, 0], [10, 0], [10, 10], [5, 5], [0, 10]]))
    points = np.array([[5.0, 2.0], [5.0, 8.0], [-3.0, 0.0], [5.0, -2.0], [13.0, 14.0], [2.0, 5.0]])
    wanted = [2.0, -3.0 / np.sqrt(2.0), -3.0, -2.0, -5.0, 2.0]
    assert area.distance(points) == pytest.approx(wanted)


def test_an_area_tells_enter_exit_and_dwell() -> None:
    monitor = monitor_of(SQUARE)
    events = walk(monitor, [(150, 80), (150, 98), (150, 102), (150, 120), (150, 180), (150, 203), (150, 220)])
    assert told(events) == [(4, "enter", ""), (7, "exit", "")]
    assert [event.dwell_s for event in events] == [None, 3.0]
    assert (events[0].x_px, events[0].y_px, events[0].region, events[0].id) == (150.0, 120.0, "yard", 7)
    assert monitor.counts == (RegionCount("yard", (0, 1)),)


def test_who_appears_inside_enters_and_who_is_there_at_the_end_is_told() -> None:
    monitor = monitor_of(SQUARE)
    assert told(walk(monitor, [(150, 150), (150, 151)])) == [(1, "enter", "")]
    assert monitor.counts == (RegionCount("yard", (1, 1)),)
    events = monitor.finish()
    assert (told(events), events[0].dwell_s) == ([(2, "end", "")], 1.0)
    assert monitor.finish() == []


def test_who_vanishes_inside_is_lost_where_it_was_last_seen() -> None:
    monitor = monitor_of(SQUARE, lost_after=2)
    events = walk(monitor, [(150, 150), (160, 150), None, None, None, None])
    assert told(events) == [(1, "enter", ""), (2, "lost", "")]
    assert (events[1].x_px, events[1].dwell_s) == (160.0, 1.0)
    assert monitor.counts == (RegionCount("yard", (0, 1)),)


def test_who_is_hidden_no_longer_than_a_track_survives_stays() -> None:
    assert told(walk(monitor_of(SQUARE, lost_after=2), [(150, 150), None, None, (150, 150)])) == [(1, "enter", "")]


def test_a_cut_ends_who_is_inside() -> None:
    monitor = monitor_of(SQUARE)
    walk(monitor, [(150, 150)])
    assert told(monitor.cut()) == [(1, "lost", "")]
    assert monitor.counts == (RegionCount("yard", (0, 1)),)


def test_a_slim_area_can_be_entered() -> None:
    slim = {"unit": "pixels", "areas": {"kerb": [[0, 100], [200, 100], [200, 106], [0, 106]]}}
    assert told(walk(monitor_of(slim), [(50, 90), (50, 103), (50, 120)])) == [(2, "enter", ""), (3, "exit", "")]


@pytest.mark.parametrize(
    ("way", "wanted"),
    [
        ([(50, 80), (50, 98), (50, 103), (50, 110)], [(4, "cross", "down")]),
        ([(50, 120), (50, 60)], [(2, "cross", "up")]),
        ([(50, 80), (50, 103), (50, 97), (50, 104), (50, 96), (50, 80)], []),
        ([(50, 80), (50, 120), (50, 80)], [(2, "cross", "down"), (3, "cross", "up")]),
        ([(220, 80), (220, 120)], []),
        ([(180, 80), (220, 80), (220, 120), (180, 120)], []),
        ([(50, 102), (50, 97), (50, 80)], []),
        ([(50, 80), None, None, (50, 120), (50, 121)], [(4, "cross", "down")]),
        ([(190, 80), (190, 103), (230, 103), (230, 80)], []),
    ],
    ids=["down", "fast", "to and fro", "there and back", "beyond", "round", "born on it", "hidden", "slips out"],
)
def test_a_line_is_crossed_once(way: list[tuple[float, float] | None], wanted: list[tuple[int, str, str]]) -> None:
    assert told(walk(monitor_of(GATE), way)) == wanted


def test_objects_are_told_apart_whatever_their_order() -> None:
    monitor = monitor_of(GATE)
    monitor.update(1, 0.0, tracks_at({1: (50, 80), 2: (60, 120)}))
    events = monitor.update(2, 1.0, tracks_at({3: (50, 80), 2: (60, 80), 1: (50, 120)}, label=4))
    assert {(event.id, event.direction, event.label) for event in events} == {(1, "down", 4), (2, "up", 4)}
    assert monitor.counts == (RegionCount("gate", (1, 1)),)


def test_the_anchor_is_a_height_in_the_box() -> None:
    top = {**GATE, "anchor": 0.0}
    assert told(walk(monitor_of(top), [(50, 110), (50, 126)])) == [(2, "cross", "down")]


def test_shares_need_a_size() -> None:
    with pytest.raises(ValueError, match="need its size"):
        monitor_of({"areas": {"a": [[0, 0], [1, 0], [1, 1]]}})


NAMES = {0: "person", 2: "car"}


def with_classes(regions: dict[str, Any], *classes: str | int) -> dict[str, Any]:
    """Return regions, areas given by their corners, that count these classes alone."""
    areas = {name: {"points": corners, "classes": classes} for name, corners in regions.get("areas", {}).items()}
    lines = {name: {**line, "classes": classes} for name, line in regions.get("lines", {}).items()}
    return {**regions, "areas": areas, "lines": lines}


@pytest.mark.parametrize("chosen", ["Car", 2, "2"])
def test_only_objects_of_the_chosen_classes_count(chosen: str | int) -> None:
    for regions in (SQUARE, GATE):
        monitor = monitor_of(with_classes(regions, chosen), names=NAMES)
        events = []
        for n, y in enumerate((80, 120, 150, 230)):
            events += monitor.update(n + 1, n, tracks_at({1: (150, y)}, label=0))
            events += monitor.update(n + 1, n, tracks_at({2: (110, y)}, label=2))
        assert {event.id for event in events} == {2}
        assert len(events) == (2 if regions is SQUARE else 1)


def test_an_object_counts_by_the_class_it_has_when_it_crosses() -> None:
    monitor = monitor_of(with_classes(GATE, "car"), names=NAMES)
    monitor.update(1, 0.0, tracks_at({1: (50, 80)}, label=0))
    assert told(monitor.update(2, 1.0, tracks_at({1: (50, 120)}, label=2))) == [(2, "cross", "down")]
    assert monitor.update(3, 2.0, tracks_at({1: (50, 80)}, label=0)) == []
    assert told(monitor.update(4, 3.0, tracks_at({1: (50, 120)}, label=2))) == [(4, "cross", "down")]


def test_who_has_entered_also_leaves_whatever_he_has_become() -> None:
    monitor = monitor_of(with_classes(SQUARE, "car"), names=NAMES)
    monitor.update(1, 0.0, tracks_at({1: (150, 150)}, label=2))
    assert told(monitor.update(2, 1.0, tracks_at({1: (150, 250)}, label=0))) == [(2, "exit", "")]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (NAMES, "regions.lines.gate.classes: the detector has no class cat; did you mean car?"),
        ({}, "regions.lines.gate.classes: the detector does not name its classes; give numbers"),
        (
            None,
            "regions.lines.gate.classes: the detector tells no classes; "
            "a model does, or the eighth column of --detections",
        ),
    ],
)
def test_classes_that_the_detector_does_not_tell_are_refused(names: dict[int, str] | None, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        monitor_of(with_classes(GATE, "cat"), names=names)
    assert str(caught.value) == message


def test_frames_of_another_size_end_identities_and_keep_the_counts() -> None:
    shares = {"areas": {"left": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}}
    monitor = monitor_of(shares, (400, 300))
    walk(monitor, [(150, 150)])
    ended = monitor.resize((200, 300))
    assert (told(ended), ended[0].dwell_s) == ([(1, "lost", "")], 0.0)
    assert monitor.areas[0].corners.max(axis=0).tolist() == [100.0, 300.0]
    assert monitor.update(2, 1.0, tracks_at({8: (150, 150)})) == []
    assert told(monitor.update(3, 2.0, tracks_at({9: (50, 150)}))) == [(3, "enter", "")]
    assert monitor.counts == (RegionCount("left", (1, 2)),)


def test_an_area_is_its_corners_or_has_them() -> None:
    corners = [[0, 0], [1, 0], [1, 1]]
    short, long = (RegionsConfig.model_validate({"areas": {"a": area}}) for area in (corners, {"points": corners}))
    assert short == long


def test_rows_are_csv_whatever_the_names() -> None:
    event = RegionEvent(3, 0.125, "exit", 'a, "b"', 7, 2, "", 1.5, 10.0, 20.126)
    text = EVENTS_HEADER + "".join(format_events([event], names) for names in ({2: "car"}, {}, None))
    rows = list(csv.DictReader(text.splitlines()))
    assert rows[0] == {
        "frame": "3", "time_s": "0.125", "event": "exit", "region": 'a, "b"', "id": "7", "class": "car",
        "direction": "", "dwell_s": "1.500", "x_px": "10.00", "y_px": "20.13",
    }  # fmt: skip
    assert [row["class"] for row in rows[1:]] == ["2", "-1"]  # as in the tracks, where no classes are told


@pytest.mark.parametrize(
    ("regions", "words"),
    [
        ({"areas": {"a": [[0, 0], [1, 1]]}}, ["regions.areas.a", "at least 3"]),
        ({"areas": {"a": [[0, 0], [1, 1], [0, 0]]}}, ["a has only 2 different corners"]),
        ({"areas": {"a": [[0, 0], [1.5, 1], [0, 1]]}}, ["a has the point 1.5, 1", "0 to 1", "unit: pixels"]),
        ({"areas": {"a": [[0, 0], [-0.1, 1], [0, 1]]}}, ["a has the point -0.1, 1", "0 to 1"]),
        ({"unit": "pixels", "lines": {"a": {"points": [[0, 0], [-1, 1]]}}}, ["-1, 1", "at least 0"]),
        ({"unit": "metres"}, ["regions.unit", "'metres'", "'share' or 'pixels'"]),
        ({"lines": {"a": {"points": [[0.5, 0.5], [0.5, 0.5]]}}}, ["regions.lines.a", "two points are one"]),
        (
            {"lines": {"a": {"points": [[0, 0], [1, 1]], "to_left": "to right"}}},
            ["both directions are called to right"],
        ),
        ({"lines": {"a": {"points": [[0, 0], [1, 1]]}}, "areas": {"a": [[0, 0], [1, 1], [0, 1]]}}, ["both called a"]),
        ({"lines": {"": {"points": [[0, 0], [1, 1]]}}}, ["regions.lines", "at least 1 character"]),
        ({"hysteresis": -1}, ["regions.hysteresis", "greater than or equal to 0"]),
    ],
)
def test_a_bad_region_is_told_in_one_line(regions: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_config({"regions": regions}, "mine.yaml")
    message = str(caught.value)
    assert message.startswith("mine.yaml: ")
    assert "\n" not in message
    assert all(word in message for word in words), message


def crossing_run(folder: Path, **regions: Any) -> list[dict[str, str]]:
    there = {n: Detections([[40, 10 * n, 60, 10 * n + 20]], [0.9]) for n in range(1, 13)}
    run(
        Job(config=Config.model_validate({"regions": {**GATE, **regions}}), detections=there, frame_rate_hz=10.0),
        folder,
    )
    return list(csv.DictReader((folder / EVENTS).read_text().splitlines()))


def test_a_run_writes_events_beside_the_tracks(tmp_path: Path) -> None:
    rows = crossing_run(tmp_path)
    assert [(row["frame"], row["time_s"], row["event"], row["id"], row["direction"]) for row in rows] == [
        ("9", "0.800", "cross", "1", "down")
    ]
    assert {row["class"] for row in rows} == {"-1"}
    assert {line.split(",")[7] for line in (tmp_path / TRACKS).read_text().splitlines()} == {"-1"}
    record = yaml.safe_load((tmp_path / RECORD).read_text())
    assert set(record["files"]) == {TRACKS, EVENTS}
    assert record["configuration"]["regions"]["lines"]["gate"]["to_right"] == "down"


def test_who_is_there_at_the_end_of_a_run_is_written(tmp_path: Path) -> None:
    rows = crossing_run(tmp_path, areas={"all": [[0, 0], [200, 0], [200, 500], [0, 500]]})
    assert [row["event"] for row in rows] == ["enter", "cross", "end"]
    assert rows[-1]["dwell_s"] == "1.100"


def test_a_run_without_regions_removes_the_events_of_the_one_before(tmp_path: Path) -> None:
    crossing_run(tmp_path)
    run(Job(detections={1: Detections([[40, 10, 60, 30]], [0.9])}, frame_rate_hz=10.0), tmp_path)
    assert not (tmp_path / EVENTS).exists()


def test_shares_without_a_video_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^regions\.unit is share: without --video"):
        crossing_run(tmp_path, unit="share", lines={"gate": {"points": [[0, 0.5], [1, 0.5]]}})


def test_regions_and_their_counts_are_painted_beneath_the_tracks() -> None:
    monitor = monitor_of({**SQUARE, "lines": {"gate": {"points": [[0, 250], [300, 250]]}}})
    ground = np.full((300, 300, 3), 90, np.uint8)
    painter = OverlayPainter(Config().overlay, regions=monitor.regions)
    frame, somebody = Frame(1, 0.0, ground), tracks_at({7: (150, 160)})
    none = painter.paint(frame, Tracks.empty(), monitor.counts)
    assert (none[150, 150] > ground[150, 150]).any()
    assert (none[280, 20] == ground[280, 20]).all()
    assert (none[250, 200] != ground[250, 200]).any()
    monitor.update(1, 0.0, somebody)
    one = painter.paint(frame, somebody, monitor.counts)
    assert (one[72:98, 100:200] != none[72:98, 100:200]).any(), "the count has changed"
    assert (ground == 90).all()


def test_an_area_beyond_the_picture_is_painted_as_far_as_it_goes() -> None:
    regions = monitor_of(
        {
            "unit": "pixels",
            "areas": {"a": [[250, 250], [900, 250], [900, 900]], "b": [[500, 500]] * 2 + [[600, 500], [600, 600]]},
        }
    )
    image = OverlayPainter(Config().overlay, regions=regions.regions).paint(
        Frame(1, 0.0, np.zeros((300, 300, 3), np.uint8)), Tracks.empty(), regions.counts
    )
    assert image[255:295, 260:295].any()
    assert not image[:200, :200].any()


def test_counts_in_words() -> None:
    line = Line("gate", np.zeros(2), np.ones(2), "in", "out")
    assert words_of(RegionCount("gate", (3, 5)), line) == "3 in, 5 out"
    assert words_of(RegionCount("yard", (2, 9)), Area("yard", np.zeros((3, 2)))) == "2 in, 9 entered"


@pytest.mark.parametrize(
    ("kind", "direction", "dwell_s", "sentence"),
    [
        ("enter", "", None, "object 7 enters yard"),
        ("exit", "", 2.51, "object 7 leaves yard after 2.5 s"),
        ("lost", "", 0.0, "object 7 is lost in yard after 0.0 s"),
        ("end", "", 3.0, "object 7 is at the end in yard after 3.0 s"),
        ("cross", "down", None, "object 7 crosses yard: down"),
    ],
)
def test_events_in_words(kind: Any, direction: str, dwell_s: float | None, sentence: str) -> None:
    assert sentence_of(RegionEvent(1, 0.0, kind, "yard", 7, 0, direction, dwell_s, 0.0, 0.0)) == sentence


def test_the_tint_follows_the_corners_in_the_order_of_opencv() -> None:
    mask = np.zeros((300, 300), np.uint8)
    corners = np.array([[50, 40], [250, 40], [150, 260]])
    cv2.fillPoly(mask, [corners.astype(np.int32)], 1)
    inside = Area("a", corners.astype(float)).distance(
        np.array([[x, y] for y in range(300) for x in range(300)], float)
    )
    agree = (mask.ravel() > 0) == (inside > 0)
    assert agree[np.abs(inside) > 1.5].all()
