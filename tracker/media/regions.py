"""Areas and lines in the picture: who enters, leaves, stays and crosses, each event once.

Boxes jitter, so that a point on a border is now on this side, now on that. Two thresholds settle it: a side is taken
only at a distance of ``hysteresis`` times the object's scale from the border, and kept until as much beyond it. A
jitter below that never makes two events of one. Only positions where an object was seen count: what happened while it
was hidden is told once, when it is seen again.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import StringIO
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tracker.classes import labels_of
from tracker.config import AreaConfig, LineConfig, RegionsConfig
from tracker.errors import ConfigurationError
from tracker.structures import FloatArray, IntArray, Tracks

EVENTS_HEADER = "frame,time_s,event,region,id,class,direction,dwell_s,x_px,y_px\n"

EventKind: TypeAlias = Literal["enter", "exit", "lost", "end", "cross"]


@dataclass(frozen=True, slots=True)
class RegionEvent:
    """Something that an object did.

    Parameters
    ----------
    frame, time_s
        Where and when it was established; of an object that is lost, where it was last seen.
    kind
        ``enter``: it is in an area; ``exit``: it has left it; ``lost``: it was in it when last seen, and its identity
        ended; ``end``: it was in it when the recording ended; ``cross``: it has crossed a line.
    region
        Name of the area or line.
    id, label
        Identity and class of the object.
    direction
        Name of the direction in which a line was crossed; empty for areas.
    dwell_s
        Time from entering to being seen last in an area; None for ``enter`` and ``cross``.
    x_px, y_px
        Its anchor.
    """

    frame: int
    time_s: float
    kind: EventKind
    region: str
    id: int
    label: int
    direction: str
    dwell_s: float | None
    x_px: float
    y_px: float


@dataclass(frozen=True, slots=True)
class RegionCount:
    """What a region counts: of an area who is in it and who has entered it, of a line crossings to right and left."""

    name: str
    counts: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A line from one point to another, in pixels; ``labels`` are the classes that count, None for all."""

    name: str
    start: FloatArray
    end: FloatArray
    to_right: str
    to_left: str
    labels: frozenset[int] | None = None

    @property
    def points(self) -> FloatArray:
        """(2, 2) its ends."""
        return np.array([self.start, self.end])

    def distance(self, points: FloatArray) -> FloatArray:
        """Return the distance of points (n, 2) to the endless line: positive right of it, seen from its start."""
        along = self.end - self.start
        offset = points - self.start
        # The picture's y axis points down, which turns the usual sign round.
        return (along[0] * offset[:, 1] - along[1] * offset[:, 0]) / np.hypot(along[0], along[1])

    def passages(self, before: FloatArray, after: FloatArray) -> IntArray:
        """Tell who passes between the line's ends: 1 to the right, -1 to the left, 0 not, on ways (n, 2) each."""
        d_before, d_after = self.distance(before), self.distance(after)
        crosses = (d_before > 0.0) != (d_after > 0.0)
        share = np.divide(d_before, d_before - d_after, out=np.zeros(len(before)), where=crosses)
        along = self.end - self.start
        place = (before + share[:, None] * (after - before) - self.start) @ along / (along @ along)
        return np.where(crosses & (place >= 0.0) & (place <= 1.0), np.where(d_after > 0.0, 1, -1), 0)


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """A polygon with corners (m, 2) in pixels; ``labels`` are the classes that count, None for all.

    Where it overlaps itself, what lies inside twice lies outside.
    """

    name: str
    corners: FloatArray
    labels: frozenset[int] | None = None

    @property
    def points(self) -> FloatArray:
        """(m, 2) its corners."""
        return self.corners

    def distance(self, points: FloatArray) -> FloatArray:
        """Return the distance of points (n, 2) to the border: positive inside."""
        a, b = self.corners, np.roll(self.corners, -1, axis=0)
        along, offset = b - a, points[:, None] - a
        share = np.clip(np.sum(offset * along, axis=2) / np.maximum(np.sum(along**2, axis=1), 1e-12), 0.0, 1.0)
        nearest = np.linalg.norm(offset - share[..., None] * along, axis=2).min(axis=1)
        # A ray to the right crosses the border an odd number of times from inside.
        x, y = points[:, :1], points[:, 1:]
        spans = (a[:, 1] > y) != (b[:, 1] > y)
        rise = np.where(a[:, 1] == b[:, 1], 1.0, b[:, 1] - a[:, 1])
        beyond = x < a[:, 0] + (y - a[:, 1]) / rise * along[:, 0]
        inside = np.count_nonzero(spans & beyond, axis=1) % 2 == 1
        return np.where(inside, nearest, -nearest)

    @property
    def breadth_px(self) -> float:
        """Area by outline: from half the radius of the largest circle inside, when round, to all of it, when slim."""
        x, y = self.corners.T
        area = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2.0
        outline = np.linalg.norm(np.roll(self.corners, -1, axis=0) - self.corners, axis=1).sum()
        return float(area / outline)


_OBJECT = np.dtype(
    [("id", "i8"), ("label", "i8"), ("frame", "i8"), ("time_s", "f8"), ("place", "f8", (2,)), ("misses", "i8")]
)


class RegionMonitor:
    """Watches the regions of one recording, frame by frame.

    An object counts by the class that it has when it enters or crosses.

    Parameters
    ----------
    config
        The regions.
    size_px
        Width and height of the frames, for regions in shares of them.
    lost_after_frames
        Frames without being seen after which an identity has ended: those that a track survives.
    class_names
        Names of the detector's classes by label; None for a detector that tells no classes.
    class_teller
        What tells the classes or does not, for errors.

    Raises
    ------
    ConfigurationError
        For regions of classes that the detector does not tell.
    ValueError
        When regions are in shares and the size is not known.
    """

    def __init__(
        self,
        config: RegionsConfig,
        size_px: tuple[int, int] | None,
        lost_after_frames: int,
        class_names: Mapping[int, str] | None = None,
        class_teller: str = "the detector",
    ) -> None:
        self._config = config
        self._lost_after_frames = lost_after_frames
        self._labels = {name: _labels(name, region, class_names, class_teller) for name, region in config.every.items()}
        self.areas, self.lines = self._placed(size_px)
        self._objects = np.zeros(0, _OBJECT)
        self._entered_s = np.zeros((0, len(self.areas)))  # NaN for who is not in the area
        self._side = np.zeros((0, len(self.lines)), np.int64)  # 1 right, -1 left, 0 not known
        self._passed = np.zeros((0, len(self.lines)), np.int64)  # between the line's ends since the side was taken
        self._entries = np.zeros(len(self.areas), np.int64)
        self._crossings = np.zeros((len(self.lines), 2), np.int64)

    def _placed(self, size_px: tuple[int, int] | None) -> tuple[tuple[Area, ...], tuple[Line, ...]]:
        """Return the regions in pixels of a picture."""
        if self._config.unit == "share" and size_px is None:
            raise ValueError("regions in shares of the frame need its size")
        unit = np.array(size_px if self._config.unit == "share" else (1.0, 1.0), np.float64)
        areas = (Area(name, unit * area.points, self._labels[name]) for name, area in self._config.areas.items())
        lines = (
            Line(name, unit * line.points[0], unit * line.points[1], line.to_right, line.to_left, self._labels[name])
            for name, line in self._config.lines.items()
        )
        return tuple(areas), tuple(lines)

    def resize(self, size_px: tuple[int, int]) -> list[RegionEvent]:
        """Go on with frames of another size: all identities end as by :meth:`cut`, what is counted stays."""
        self.areas, self.lines = self._placed(size_px)
        return self.cut()

    def update(self, frame: int, time_s: float, tracks: Tracks) -> list[RegionEvent]:
        """Take in the objects seen in a frame; return what they did."""
        left, top, right, bottom = tracks.boxes_xyxy.T
        places = np.column_stack([(left + right) / 2.0, top + self._config.anchor * (bottom - top)])
        margins_px = self._config.hysteresis * np.sqrt((right - left) * (bottom - top))
        rows, is_new = self._rows_of(tracks.ids)
        before = np.where(is_new[:, None], places, self._objects["place"][rows])
        seen = self._objects[rows]
        seen["label"], seen["frame"], seen["time_s"] = tracks.classes, frame, time_s
        seen["place"], seen["misses"] = places, -1
        self._objects[rows] = seen
        self._objects["misses"] += 1

        events = []
        for n, line in enumerate(self.lines):
            events += self._crossed(n, line, rows, before, margins_px)
        for n, area in enumerate(self.areas):
            events += self._entered_or_left(n, area, rows, is_new, margins_px)
        return events + self._end(self._objects["misses"] > self._lost_after_frames, "lost")

    def cut(self) -> list[RegionEvent]:
        """End all identities where the film was cut; return who was in an area then."""
        return self._end(np.ones(len(self._objects), np.bool_), "lost")

    def finish(self) -> list[RegionEvent]:
        """End the recording; return who was in an area when last seen."""
        return self._end(np.ones(len(self._objects), np.bool_), "end")

    @property
    def regions(self) -> tuple[Area | Line, ...]:
        """All regions in the order of their counts, areas first."""
        return (*self.areas, *self.lines)

    @property
    def counts(self) -> tuple[RegionCount, ...]:
        """What is counted so far."""
        present = np.count_nonzero(~np.isnan(self._entered_s), axis=0).tolist()
        areas = zip(self.areas, present, self._entries.tolist(), strict=True)
        lines = zip(self.lines, self._crossings.tolist(), strict=True)
        return (
            *(RegionCount(area.name, (now, ever)) for area, now, ever in areas),
            *(RegionCount(line.name, (to_right, to_left)) for line, (to_right, to_left) in lines),
        )

    def _rows_of(self, ids: IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
        """Return the rows of identities and which of them are new; rows are added for those."""
        known = {track_id: row for row, track_id in enumerate(self._objects["id"].tolist())}
        is_new = np.array([track_id not in known for track_id in ids.tolist()], np.bool_)
        fresh = np.zeros(np.count_nonzero(is_new), _OBJECT)
        fresh["id"] = ids[is_new]
        known.update({track_id: len(self._objects) + k for k, track_id in enumerate(fresh["id"].tolist())})
        self._objects = np.concatenate([self._objects, fresh])
        self._entered_s = np.vstack([self._entered_s, np.full((len(fresh), len(self.areas)), np.nan)])
        self._side, self._passed = (
            np.vstack([table, np.zeros((len(fresh), len(self.lines)), np.int64)])
            for table in (self._side, self._passed)
        )
        return np.array([known[track_id] for track_id in ids.tolist()], np.int64), is_new

    def _crossed(
        self, n: int, line: Line, rows: IntArray, before: FloatArray, margins_px: FloatArray
    ) -> list[RegionEvent]:
        places = self._objects["place"][rows]
        distance = line.distance(places)
        passed = self._passed[rows, n] + line.passages(before, places)
        old = self._side[rows, n]
        new = np.where(distance > margins_px, 1, np.where(distance < -margins_px, -1, 0))
        # Who goes round an end of the line changes sides without having passed between its ends.
        crossed = (new * old == -1) & (new * passed > 0) & self._counts(line, rows)
        self._passed[rows, n] = np.where(new == 0, passed, 0)
        self._side[rows, n] = np.where(new == 0, old, new)
        self._crossings[n] += np.count_nonzero(crossed & (new == 1)), np.count_nonzero(crossed & (new == -1))
        return [
            self._event(rows[k], "cross", line.name, direction=line.to_right if new[k] == 1 else line.to_left)
            for k in np.flatnonzero(crossed)
        ]

    def _entered_or_left(
        self, n: int, area: Area, rows: IntArray, is_new: NDArray[np.bool_], margins_px: FloatArray
    ) -> list[RegionEvent]:
        distance = area.distance(self._objects["place"][rows])
        # In the middle of a small area, too, one is inside.
        margins_px = np.minimum(margins_px, area.breadth_px / 2.0)
        entered_s = self._entered_s[rows, n]
        was_inside = ~np.isnan(entered_s)
        # There is no side to be kept by who is seen for the first time.
        threshold = np.where(is_new, 0.0, np.where(was_inside, -margins_px, margins_px))
        is_inside = distance > threshold
        entered = is_inside & ~was_inside & self._counts(area, rows)
        left = was_inside & ~is_inside
        now_s = self._objects["time_s"][rows]
        self._entered_s[rows, n] = np.where(entered, now_s, np.where(left, np.nan, entered_s))
        self._entries[n] += np.count_nonzero(entered)
        return [
            *(self._event(rows[k], "enter", area.name) for k in np.flatnonzero(entered)),
            *(
                self._event(rows[k], "exit", area.name, dwell_s=float(now_s[k] - entered_s[k]))
                for k in np.flatnonzero(left)
            ),
        ]

    def _counts(self, region: Area | Line, rows: IntArray) -> NDArray[np.bool_]:
        """Tell whose class counts in a region."""
        if region.labels is None:
            return np.ones(len(rows), np.bool_)
        return np.isin(self._objects["label"][rows], list(region.labels))

    def _end(self, gone: NDArray[np.bool_], kind: EventKind) -> list[RegionEvent]:
        """Forget identities, and tell who of them was in an area."""
        events = [
            self._event(row, kind, area.name, dwell_s=float(self._objects["time_s"][row] - self._entered_s[row, n]))
            for n, area in enumerate(self.areas)
            for row in np.flatnonzero(gone & ~np.isnan(self._entered_s[:, n]))
        ]
        if gone.any():
            kept = ~gone
            self._objects, self._entered_s = self._objects[kept], self._entered_s[kept]
            self._side, self._passed = self._side[kept], self._passed[kept]
        return events

    def _event(
        self, row: np.integer, kind: EventKind, region: str, direction: str = "", dwell_s: float | None = None
    ) -> RegionEvent:
        seen = self._objects[row]
        return RegionEvent(
            frame=int(seen["frame"]),
            time_s=float(seen["time_s"]),
            kind=kind,
            region=region,
            id=int(seen["id"]),
            label=int(seen["label"]),
            direction=direction,
            dwell_s=dwell_s,
            x_px=float(seen["place"][0]),
            y_px=float(seen["place"][1]),
        )


def _labels(
    name: str, region: AreaConfig | LineConfig, class_names: Mapping[int, str] | None, class_teller: str
) -> frozenset[int] | None:
    """Return the labels of the classes that count; None for all."""
    if not region.classes:
        return None
    key = f"regions.{'areas' if isinstance(region, AreaConfig) else 'lines'}.{name}.classes"
    if class_names is None:
        raise ConfigurationError(
            f"{key}: {class_teller} tells no classes; a model does, or the eighth column of --detections"
        )
    return labels_of(region.classes, class_names, f"{key}: {class_teller}")


def words_of(count: RegionCount, region: Area | Line) -> str:
    """Return a region's count in words."""
    first, second = count.counts
    if isinstance(region, Line):
        return f"{first} {region.to_right}, {second} {region.to_left}"
    return f"{first} in, {second} entered"


def sentence_of(event: RegionEvent) -> str:
    """Return an event in words."""
    if event.kind == "cross":
        return f"object {event.id} crosses {event.region}: {event.direction}"
    if event.dwell_s is None:
        return f"object {event.id} enters {event.region}"
    done = {"exit": "leaves", "lost": "is lost in", "end": "is at the end in"}[event.kind]
    return f"object {event.id} {done} {event.region} after {event.dwell_s:.1f} s"


def format_events(events: Iterable[RegionEvent], class_names: Mapping[int, str] | None) -> str:
    """Return the rows of ``events.csv``, see :data:`EVENTS_HEADER`.

    A class without a name is its number; without any names, where no classes are told, it is -1, as in the tracks.
    """
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        (
            event.frame,
            f"{event.time_s:.3f}",
            event.kind,
            event.region,
            event.id,
            -1 if class_names is None else class_names.get(event.label, event.label),
            event.direction,
            "" if event.dwell_s is None else f"{event.dwell_s:.3f}",
            f"{event.x_px:.2f}",
            f"{event.y_px:.2f}",
        )
        for event in events
    )
    return text.getvalue()
