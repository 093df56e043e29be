"""What the page, programs and monitoring are told of a moment."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tracker.app.hub import Event, Hub, LiveFrame, LiveStats, Snapshot
from tracker.app.telemetry import STALLED_AFTER_S, health, metrics_text, page_header, state_of, tracks_record
from tracker.confidence import ellipse_squared_radius
from tracker.media.regions import Area, Line, RegionCount
from tracker.structures import BlobTracks, Status, Tracks

TRACKS = Tracks(
    ids=np.array([3, 8]),
    boxes_xyxy=np.array([[10.0, 20.0, 30.126, 60.0], [-5.0, 0.0, 4.0, 9.0]]),
    scores=np.array([0.91, 0.4]),
    classes=np.array([0, 2]),
    detection_indices=np.array([0, -1]),
    covariances=np.arange(32.0).reshape(2, 4, 4),
    existence=np.array([1.0, 0.75]),
    responsibilities=np.array([0.99, 0.0]),
    status=np.array([Status.CONFIRMED, Status.COASTING]),
    continuity=np.array([1.0, 0.75]),
)
REGIONS = (
    Area("yard", np.array([[0.0, 0.0], [20.04, 0.0], [20.0, 30.0]])),
    Line("gate", np.array([5.0, 6.0]), np.array([50.0, 6.0]), "in", "out"),
)
COUNTS = (RegionCount("yard", (2, 9)), RegionCount("gate", (3, 5)))
STATS = LiveStats("running", 29.5, 31.0, 48.0, 18.0, 0.4, 110, 100, 7, 3, 1, 12)


def moment(
    *, silence_s: float = 0.0, stats: LiveStats = STATS, frames: int = 1, names: dict[int, str] | None = None
) -> Snapshot:
    now_s = 0.0
    hub = Hub(clock=lambda: now_s)
    for index in range(1, frames + 1):
        event = Event(index, index / 10, f"event of frame {index}")
        image = np.zeros((48, 64, 3), np.uint8)
        hub.publish(
            LiveFrame(index, index / 10, image, TRACKS, Tracks.empty(), stats, (event,), REGIONS, COUNTS, names)
        )
    if not frames:
        hub.report(stats)
    now_s = silence_s
    return hub.snapshot()


@pytest.mark.parametrize(
    ("state", "silence_s", "seen", "healthy"),
    [
        ("running", STALLED_AFTER_S, "running", True),
        ("running", STALLED_AFTER_S + 0.1, "stalled", False),
        ("paused", 1e6, "paused", True),
        ("connecting", 0.0, "connecting", False),
        ("stalled", 0.0, "stalled", False),
        ("ended", 0.0, "ended", False),
    ],
)
def test_health_is_judged_from_outside(state: str, silence_s: float, seen: str, healthy: bool) -> None:
    snapshot = moment(silence_s=silence_s, stats=LiveStats(state))  # type: ignore[arg-type]
    assert state_of(snapshot) == seen
    assert health(snapshot) == (healthy, {"state": seen, "silence_s": silence_s})


def test_tracks_are_an_entry_each() -> None:
    record = json.loads(json.dumps(tracks_record(moment(frames=3, names={2: "car"}))))
    assert (record["frame"], record["time_s"], record["width_px"], record["height_px"]) == (3, 0.3, 64, 48)
    assert record["tracks"] == [
        {
            "id": 3,
            "class": 0,
            "class_name": None,
            "status": "confirmed",
            "box_xyxy": [10.0, 20.0, 30.13, 60.0],
            "score": 0.91,
            "existence": 1.0,
            "age_s": 0.2,
        },
        {
            "id": 8,
            "class": 2,
            "class_name": "car",
            "status": "coasting",
            "box_xyxy": [-5.0, 0.0, 4.0, 9.0],
            "score": 0.4,
            "existence": 0.75,
            "age_s": 0.2,
        },
    ]


def test_regions_are_counted_for_programs_and_drawn_by_the_page() -> None:
    record = json.loads(json.dumps(tracks_record(moment())))
    assert record["regions"] == [
        {"name": "yard", "kind": "area", "counts": {"present": 2, "entered": 9}},
        {"name": "gate", "kind": "line", "counts": {"in": 3, "out": 5}},
    ]
    header = json.loads(json.dumps(page_header(moment(), 0)))
    assert header["regions"] == [
        {"name": "yard", "kind": "area", "points": [[0, 0], [20, 0], [20, 30]], "counts": "2 in, 9 entered"},
        {"name": "gate", "kind": "line", "points": [[5, 6], [50, 6]], "counts": "3 in, 5 out"},
    ]


@pytest.mark.parametrize(
    ("names", "classes", "texts"),
    [
        ({0: "person", 2: "car"}, ["person", "car"], ["person", "car"]),
        ({0: "person"}, ["person", "2"], ["", "c2"]),
        (None, ["0", "2"], ["", "c2"]),
    ],
)
def test_the_page_gets_classes_by_name(names: dict[int, str] | None, classes: list[str], texts: list[str]) -> None:
    tracks = page_header(moment(names=names), 0)["tracks"]
    assert (tracks["classes"], tracks["class_texts"]) == (classes, texts)


def test_without_a_frame_there_are_no_tracks() -> None:
    assert tracks_record(moment(frames=0)) == {"frame": None, "time_s": None, "state": "running", "tracks": []}
    assert page_header(moment(frames=0), 0)["frame"] is None


def test_the_page_gets_columns_of_equal_length_and_the_covariance_of_the_centre() -> None:
    header = json.loads(json.dumps(page_header(moment(), 0)))
    assert {len(column) for column in header["tracks"].values()} == {2}
    # Rows and columns of the covariance are centre x, centre y, width, height.
    assert header["tracks"]["center_covariance"] == [[0.0, 1.0, 5.0], [16.0, 17.0, 21.0]]
    # The second is known no better than to its box.
    assert header["tracks"]["ellipse_radius"] == [pytest.approx(ellipse_squared_radius(0.95) ** 0.5, abs=1e-4), 0.0]
    assert header["stats"]["latency_p99_ms"] == 48.0


def test_the_page_gets_the_outline_of_a_blob() -> None:
    """Evenly filled, an ellipse with half axes a and b has variances a^2/4 and b^2/4."""
    fields = {name: getattr(TRACKS, name) for name in Tracks.__slots__}
    shapes = np.stack([np.diag([25.0, 100.0]), np.diag([100.0, 4.0])])
    blobs = BlobTracks(**fields, parent_ids=np.zeros(2, np.int64), blob_covariances=shapes)
    snapshot = moment()
    assert snapshot.frame is not None
    tracks = page_header(replace(snapshot, frame=replace(snapshot.frame, tracks=blobs)), 0)["tracks"]
    assert tracks["center_covariance"] == [[25.0, 0.0, 100.0], [100.0, 0.0, 4.0]]
    assert tracks["ellipse_radius"] == [2.0, 0.0]  # the second is wider than its box


def test_the_page_gets_the_events_it_has_not_got() -> None:
    snapshot = moment(frames=4)
    assert [event["number"] for event in page_header(snapshot, 0)["events"]] == [1, 2, 3, 4]
    assert [event["text"] for event in page_header(snapshot, 3)["events"]] == ["event of frame 4"]
    assert page_header(snapshot, 4)["events"] == []


def test_metrics_can_be_parsed_and_are_in_base_units() -> None:
    text = metrics_text(moment(silence_s=0.25), viewers=2, pictures_sent=41).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert all(family.documentation and family.type in {"counter", "gauge"} for family in families.values())
    plain = {name: value for (name, *labels), value in values.items() if name.startswith("track_") and not labels}
    assert plain == {
        "track_frames_captured_total": 110,
        "track_frames_processed_total": 100,
        "track_frames_dropped_total": 7,
        "track_frames_skipped_total": 3,
        "track_source_reconnects_total": 1,
        "track_identities_total": 12,
        "track_pictures_sent_total": 41,
        "track_frames_per_second": 29.5,
        "track_detector_seconds": 0.018,
        "track_tracker_seconds": 0.0004,
        "track_last_frame_age_seconds": 0.25,
        "track_viewers": 2,
    }
    assert values["track_latency_seconds", "0.5"] == 0.031
    assert values["track_latency_seconds", "0.99"] == 0.048
    assert [values["track_objects", status] for status in ("tentative", "confirmed", "coasting")] == [0, 1, 1]
    assert values["track_region_present", "yard"] == 2
    assert values["track_region_entries_total", "yard"] == 9
    assert [values["track_region_crossings_total", way, "gate"] for way in ("in", "out")] == [3, 5]
    states = {labels[0]: value for (name, *labels), value in values.items() if name == "track_state"}
    assert states == {"connecting": 0, "running": 1, "paused": 0, "stalled": 0, "ended": 0}
