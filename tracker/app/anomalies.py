"""From files to what was unusual in them: rows, tracks, a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tracker.app.checks import Notice, Progress
from tracker.app.mapping import Scene, read_scene
from tracker.app.recorded import recorded_detections
from tracker.config import Config
from tracker.detection.recorded import RecordedDetector
from tracker.errors import FormatError, counted
from tracker.evaluation.heat import feet
from tracker.evaluation.maps import surprise_map
from tracker.evaluation.surprise import FEWEST_TRACKS, Ordinary, Surprise, features_of, surprise, typical_size
from tracker.formats.files import write_whole
from tracker.formats.table import TrackTable
from tracker.geometry import intersection_over_union, xyxy_to_ltwh

_TRACKED_IOU = 0.5
_NOBODY = -1
_HEADING = "frame,id,x,y,score,p\n"


@dataclass(frozen=True, slots=True)
class UnusualTrack:
    """A track and what is unusual about it.

    Parameters
    ----------
    id
        Its identity.
    first_frame, last_frame
        Where it begins and ends.
    p
        The share of what the others did that is as unusual as this track for a second.
    aspect
        What that is due to.
    frame, x_px, y_px
        Where it is the most unusual.
    """

    id: int
    first_frame: int
    last_frame: int
    p: float
    aspect: str
    frame: int
    x_px: float
    y_px: float


@dataclass(frozen=True, slots=True)
class Anomalies:
    """What was found.

    Parameters
    ----------
    files
        The files that were written.
    tracks
        All tracks, the most unusual first.
    components
        Number of components of the mixture that says what is ordinary.
    detections
        Detections that no track has, which were judged too.
    """

    files: tuple[Path, ...]
    tracks: tuple[UnusualTrack, ...]
    components: int
    detections: int


def find_anomalies(
    tracks: Path,
    output: Path,
    config: Config,
    *,
    detections: Path | None = None,
    video: Path | None = None,
    picture: Path | None = None,
    shown: int = 5,
    frame_rate_hz: float | None = None,
    progress: Progress = lambda *_: None,
    notice: Notice = lambda _: None,
) -> Anomalies:
    """Judge the rows and tracks of a file, and detections that no track has.

    Parameters
    ----------
    tracks, video, frame_rate_hz, notice
        See :func:`tracker.app.mapping.read_scene`.
    output
        The table of rows as CSV; id -1 stands for a detection that no track has.
    config
        Gives the rate where none is known.
    detections
        File of detections, read as ``detection.recorded`` says.
    picture
        The PNG of the most unusual tracks; none is drawn when left out.
    shown
        How many tracks it shows.
    progress
        Called as the work goes on.

    Raises
    ------
    TrackerError
        For input that cannot be used, also where fewer than three tracks have several rows, and for output that cannot
        be written.
    """
    seen = None if detections is None else recorded_detections(detections, config.detection.recorded, notice)
    scene = read_scene(tracks, config, video=video, frame_rate_hz=frame_rate_hz, notice=notice)
    table = scene.table
    moving = int(np.count_nonzero(np.unique_counts(table.ids).counts > 1))
    if moving < FEWEST_TRACKS:
        raise FormatError(
            tracks,
            None,
            f"holds {counted(moving, 'track')} of several rows; "
            f"what is ordinary is learned from {FEWEST_TRACKS} or more",
        )
    progress("learning what is ordinary", 0, None)
    found, ordinary = surprise(table, scene.frame_rate_hz)
    text = _rows(table, found.scores, found.p)
    untracked = None if seen is None else _untracked(seen, table)
    if untracked is not None:
        text += _rows(untracked, *_judged(untracked, ordinary, table))
    progress("drawing", 0, None)
    write_whole(output, (_HEADING + text).encode())
    if picture is not None:
        write_whole(picture, _picture(scene, found, shown))
    places = feet(table)
    return Anomalies(
        (output, *([] if picture is None else [picture])),
        tuple(
            UnusualTrack(
                identity,
                int(table.frames[table.ids == identity].min()),
                int(table.frames[table.ids == identity].max()),
                p,
                aspect,
                int(table.frames[row]),
                float(places[row, 0]),
                float(places[row, 1]),
            )
            for identity, p, aspect, row in zip(
                found.ids.tolist(), found.track_p.tolist(), found.aspects, found.worst_rows.tolist(), strict=True
            )
        ),
        ordinary.mixture.n_components,
        0 if untracked is None else len(untracked),
    )


def _rows(table: TrackTable, scores: np.ndarray, p: np.ndarray) -> str:
    order = np.lexsort((table.ids, table.frames))
    places = feet(table)
    return "".join(
        f"{frame},{identity},{x:.2f},{y:.2f},{score:.4g},{share:.4g}\n"
        for frame, identity, (x, y), score, share in zip(
            table.frames[order].tolist(),
            table.ids[order].tolist(),
            places[order].tolist(),
            scores[order].tolist(),
            p[order].tolist(),
            strict=True,
        )
    )


def _untracked(seen: RecordedDetector, table: TrackTable) -> TrackTable:
    """Return those of the detections that overlap no track of their frame by half."""
    frames, boxes = [], []
    for frame, boxes_seen in seen.every().items():
        ltwh = xyxy_to_ltwh(boxes_seen.boxes_xyxy)
        overlap = intersection_over_union(ltwh, table.boxes_ltwh[table.frames == frame])
        free = ltwh[overlap.max(axis=1, initial=0.0) < _TRACKED_IOU]
        frames.append(np.full(len(free), frame))
        boxes.append(free)
    flat = np.concatenate([np.zeros(0, np.int64), *frames])
    return TrackTable(
        flat, np.full(len(flat), _NOBODY), np.concatenate([np.zeros((0, 4)), *boxes]), flags=np.zeros(len(flat), bool)
    )


def _judged(untracked: TrackTable, ordinary: Ordinary, table: TrackTable) -> tuple[np.ndarray, np.ndarray]:
    """Judge boxes whose motion is not known by where they are and how large."""
    still_unknown = np.full((len(untracked), 2), np.nan)
    return ordinary.judge(features_of(untracked, still_unknown, typical_size(table)))


def _picture(scene: Scene, found: Surprise, shown: int) -> bytes:
    table, places = scene.table, feet(scene.table)
    paths = []
    for identity, p, aspect in list(zip(found.ids.tolist(), found.track_p.tolist(), found.aspects, strict=True))[
        :shown
    ]:
        rows = np.flatnonzero(table.ids == identity)
        rows = rows[np.argsort(table.frames[rows], kind="stable")]
        path = np.column_stack([places[rows], -np.log10(found.p[rows])])
        paths.append((path, f"{identity}: p {p:.2g}, {aspect}"))
    notes = f"the {len(paths)} most unusual of {len(found.ids)} tracks"
    return surprise_map(paths, scene.size_px, scene.image, notes=notes)
