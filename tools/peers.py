"""Other trackers behind one face, each with its own defaults, where they are installed.

pip install trackers pyxtrackers norfair-enough
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracker import Detections, Tracker

Array = np.ndarray


@dataclass(frozen=True)
class Peer:
    """A tracker for one sequence: ``read(update(prepare(detections), time_s))`` gives (n, 5) id and box rows."""

    prepare: Callable[[Detections], Any]
    update: Callable[[Any, float], Any]
    read: Callable[[Any], Array]


def _ours(frame_rate_hz: float) -> Peer:  # noqa: ARG001 - times are given
    tracker = Tracker()
    return Peer(
        lambda detections: detections,
        lambda detections, time_s: tracker.update(detections, time_s=time_s),
        lambda tracks: np.column_stack([tracks.ids, tracks.boxes_xyxy]),
    )


def _pyxtrackers(name: str, least_score: float = 0.0, **options: Any) -> Callable[[float], Peer]:
    def make(frame_rate_hz: float) -> Peer:
        import pyxtrackers

        rate = {"frame_rate": round(frame_rate_hz)} if name == "BYTETracker" else {}
        update = getattr(pyxtrackers, name)(**options, **rate).update
        return Peer(
            lambda detections: np.ascontiguousarray(_rows(detections, least_score)),
            lambda rows, _: update(rows),
            lambda rows: np.asarray(rows)[:, [4, 0, 1, 2, 3]] if len(rows) else np.empty((0, 5)),
        )

    return make


def _roboflow(name: str, least_score: float = 0.0, **options: Any) -> Callable[[float], Peer]:
    def make(frame_rate_hz: float) -> Peer:
        import supervision
        import trackers

        update = getattr(trackers, name)(frame_rate=frame_rate_hz, **options).update

        def prepare(detections: Detections) -> Any:
            rows = _rows(detections, least_score).astype(np.float32)
            return supervision.Detections(xyxy=rows[:, :4], confidence=rows[:, 4], class_id=np.zeros(len(rows), int))

        def read(result: Any) -> Array:
            if result.tracker_id is None:
                return np.empty((0, 5))
            rows = np.column_stack([result.tracker_id, result.xyxy])
            return rows[rows[:, 0] >= 0]

        return Peer(prepare, lambda given, _: update(given), read)

    return make


def _norfair(frame_rate_hz: float) -> Peer:  # noqa: ARG001 - it counts frames
    from norfair import Detection
    from norfair import Tracker as Norfair
    from norfair.filter import FilterPyKalmanFilterFactory

    tracker = Norfair(
        distance_function="iou",
        distance_threshold=0.9,
        detection_threshold=0.5,
        pointwise_hit_counter_max=3,
        hit_counter_max=8,
        filter_factory=FilterPyKalmanFilterFactory(),
    )
    return Peer(
        lambda detections: [
            Detection(points=row[:4].reshape(2, 2), scores=row[[4, 4]]) for row in _rows(detections, 0.5)
        ],
        lambda given, _: tracker.update(detections=given),
        lambda objects: np.array([[o.id, *np.asarray(o.estimate).ravel()] for o in objects]).reshape(-1, 5),
    )


def _rows(detections: Detections, least_score: float) -> Array:
    """Return (N, 5) boxes and scores; trackers that make nothing of scores get the better half only."""
    rows = np.column_stack([detections.boxes_xyxy, detections.scores])
    return rows[rows[:, 4] >= least_score]


PEERS: dict[str, Callable[..., Peer]] = {
    "ours": _ours,
    "pyxtrackers ByteTrack": _pyxtrackers("BYTETracker"),
    "pyxtrackers OC-SORT": _pyxtrackers("OCSort", det_thresh=0.6),
    "roboflow SORT": _roboflow("SORTTracker", least_score=0.5),
    "roboflow ByteTrack": _roboflow("ByteTrackTracker"),
    "roboflow OC-SORT": _roboflow("OCSORTTracker"),
    "roboflow BoT-SORT": _roboflow("BoTSORTTracker", enable_cmc=False),
    "roboflow C-BIoU": _roboflow("CBIoUTracker"),
    "norfair": _norfair,
}


def installed() -> dict[str, Callable[..., Peer]]:
    """Return the trackers that can be made on this machine."""
    return {name: make for name, make in PEERS.items() if is_installed(name)}


def is_installed(name: str) -> bool:
    """Tell whether a tracker of that name is known and can be made on this machine."""
    try:
        PEERS[name](30.0)
    except (ImportError, KeyError):
        return False
    return True
