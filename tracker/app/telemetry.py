"""A snapshot of the live loop, as the page, programs and monitoring read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, get_args

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tracker.app.hub import LiveFrame, Snapshot, State
from tracker.classes import class_text
from tracker.media.ellipses import ellipses_of
from tracker.media.regions import Area, Line, words_of
from tracker.structures import Status

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Media type of Prometheus' text format."""
STALLED_AFTER_S = 5.0
"""A loop that says it runs but publishes nothing for so long is taken for stalled."""


def state_of(snapshot: Snapshot) -> State:
    """Return the loop's state, seen from outside: a loop that hangs cannot say so itself."""
    state = snapshot.stats.state
    return "stalled" if state == "running" and snapshot.silence_s > STALLED_AFTER_S else state


def health(snapshot: Snapshot) -> tuple[bool, dict[str, Any]]:
    """Return whether all is well (frames flow, or are paused on request) and what to say about it."""
    state = state_of(snapshot)
    return state in {"running", "paused"}, {"state": state, "silence_s": round(snapshot.silence_s, 3)}


def tracks_record(snapshot: Snapshot) -> dict[str, Any]:
    """Return the objects of the newest frame, an entry each, for programs."""
    frame = snapshot.frame
    if frame is None:
        return {"frame": None, "time_s": None, "state": state_of(snapshot), "tracks": []}
    tracks = frame.tracks
    names = frame.class_names or {}
    return {
        "frame": frame.index,
        "time_s": round(frame.time_s, 6),
        "state": state_of(snapshot),
        "width_px": frame.image.shape[1],
        "height_px": frame.image.shape[0],
        "regions": [{"name": name, "kind": kind, "counts": counts} for name, kind, counts in _counts_of_regions(frame)],
        "tracks": [
            {
                "id": track_id,
                "class": class_,
                "class_name": names.get(class_),
                "status": Status(status).name.lower(),
                "box_xyxy": box,
                "score": score,
                "existence": existence,
                "age_s": age_s,
            }
            for track_id, class_, status, box, score, existence, age_s in zip(
                tracks.ids.tolist(),
                tracks.classes.tolist(),
                tracks.status.tolist(),
                tracks.boxes_xyxy.round(2).tolist(),
                tracks.scores.round(4).tolist(),
                tracks.existence.round(4).tolist(),
                [round(age_s, 3) for age_s in snapshot.ages_s],
                strict=True,
            )
        ],
    }


def page_header(snapshot: Snapshot, after_event: int) -> dict[str, Any]:
    """Return what the page draws and shows; compact, since it is sent with every picture.

    Parameters
    ----------
    snapshot
        The moment to be shown.
    after_event
        The number of the last event that this viewer has.

    Returns
    -------
    dict
        ``tracks`` has a list per column; ``center_covariance`` holds var(x), cov(x, y), var(y) in px^2 of the ellipse
        about the middle of each box, of a blob those of its pixels, and ``ellipse_radius`` its Mahalanobis radius, 0
        for none to be drawn; ``classes`` each object's class by name or else number, and ``class_texts`` what the
        picture says of it. ``regions`` has their points in pixels.
    """
    header: dict[str, Any] = {
        "state": state_of(snapshot),
        "paused": snapshot.paused,
        "stats": asdict(snapshot.stats),
        "events": [
            {"number": number, "frame": event.frame_index, "time_s": round(event.time_s, 3), "text": event.text}
            for number, event in snapshot.events
            if number > after_event
        ],
        "frame": None,
    }
    if (frame := snapshot.frame) is not None:
        tracks = frame.tracks
        covariances, radii = ellipses_of(tracks)
        header |= {
            "frame": frame.index,
            "time_s": round(frame.time_s, 4),
            "width_px": frame.image.shape[1],
            "height_px": frame.image.shape[0],
            "regions": [
                {
                    "name": region.name,
                    "kind": _kind(region),
                    "points": region.points.round(1).tolist(),
                    "counts": words_of(count, region),
                }
                for region, count in zip(frame.regions, frame.counts, strict=True)
            ],
            "tracks": {
                "ids": tracks.ids.tolist(),
                "boxes_xyxy": tracks.boxes_xyxy.round(1).tolist(),
                "classes": [_class_name(label, frame.class_names) for label in tracks.classes.tolist()],
                "class_texts": [class_text(label, frame.class_names) for label in tracks.classes.tolist()],
                "scores": tracks.scores.round(2).tolist(),
                "status": tracks.status.tolist(),
                "ages_s": [round(age_s, 1) for age_s in snapshot.ages_s],
                "center_covariance": covariances[:, [0, 0, 1], [0, 1, 1]].round(2).tolist(),
                "ellipse_radius": radii.round(4).tolist(),
            },
        }
    return header


def _class_name(label: int, names: Mapping[int, str] | None) -> str:
    return (names or {}).get(label, str(label))


def _kind(region: Area | Line) -> str:
    return "area" if isinstance(region, Area) else "line"


def _counts_of_regions(frame: LiveFrame) -> Iterator[tuple[str, str, dict[str, int]]]:
    """Yield name, kind and counts of each region."""
    for region, count in zip(frame.regions, frame.counts, strict=True):
        what = ("present", "entered") if isinstance(region, Area) else (region.to_right, region.to_left)
        yield region.name, _kind(region), dict(zip(what, count.counts, strict=True))


def metrics_text(snapshot: Snapshot, *, viewers: int, pictures_sent: int) -> bytes:
    """Return Prometheus' text format, version 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_LiveCollector(snapshot, viewers, pictures_sent))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _LiveCollector(Collector):
    """Metrics of one snapshot."""

    def __init__(self, snapshot: Snapshot, viewers: int, pictures_sent: int) -> None:
        self._snapshot = snapshot
        self._viewers = viewers
        self._pictures_sent = pictures_sent

    def collect(self) -> Iterator[Metric]:
        stats = self._snapshot.stats
        counters = {
            "track_frames_captured": ("Frames that came from the source.", stats.captured),
            "track_frames_processed": ("Frames that were detected and tracked.", stats.processed),
            "track_frames_dropped": ("Frames that came too late to be processed.", stats.dropped),
            "track_frames_skipped": ("Frames not decoded, or at which the detector failed.", stats.skipped),
            "track_source_reconnects": ("Times that the source was lost and found.", stats.reconnects),
            "track_identities": ("Distinct identities.", stats.identities),
            "track_pictures_sent": ("Pictures sent to viewers of the page.", self._pictures_sent),
        }
        for name, (meaning, count) in counters.items():
            yield CounterMetricFamily(name, meaning, value=count)

        gauges = {
            "track_frames_per_second": ("Frames processed per second, lately.", stats.fps),
            "track_detector_seconds": ("Time of the detector for one frame, lately.", stats.detector_ms / 1000.0),
            "track_tracker_seconds": ("Time of the tracker for one frame, lately.", stats.tracker_ms / 1000.0),
            "track_last_frame_age_seconds": ("Time since the newest frame.", self._snapshot.silence_s),
            "track_viewers": ("Viewers of the page.", self._viewers),
        }
        for name, (meaning, value) in gauges.items():
            yield GaugeMetricFamily(name, meaning, value=value)

        latency = GaugeMetricFamily(
            "track_latency_seconds", "Time from capture to tracked, quantiles of the last frames.", labels=["quantile"]
        )
        latency.add_metric(["0.5"], stats.latency_ms / 1000.0)
        latency.add_metric(["0.99"], stats.latency_p99_ms / 1000.0)
        yield latency

        objects = GaugeMetricFamily("track_objects", "Objects in the newest frame.", labels=["status"])
        frame = self._snapshot.frame
        for status in Status:
            count = 0 if frame is None else int((frame.tracks.status == status).sum())
            objects.add_metric([status.name.lower()], count)
        yield objects

        yield from self._regions()

        now = state_of(self._snapshot)
        states = GaugeMetricFamily("track_state", "State of the live loop: 1 for the present one.", labels=["state"])
        for state in get_args(State):
            states.add_metric([state], float(state == now))
        yield states

    def _regions(self) -> Iterator[Metric]:
        frame = self._snapshot.frame
        regions = [] if frame is None else list(_counts_of_regions(frame))
        present = GaugeMetricFamily("track_region_present", "Objects in an area.", labels=["region"])
        entries = CounterMetricFamily("track_region_entries", "Objects that entered an area.", labels=["region"])
        crossings = CounterMetricFamily(
            "track_region_crossings", "Crossings of a line by direction.", labels=["region", "direction"]
        )
        for name, kind, counts in regions:
            if kind == "area":
                present.add_metric([name], counts["present"])
                entries.add_metric([name], counts["entered"])
            else:
                for direction, count in counts.items():
                    crossings.add_metric([name, direction], count)
        yield from (present, entries, crossings)
