"""The meeting point of one live loop and any number of viewers.

The loop publishes and never waits; whoever looks takes the newest. What a viewer is too slow for is not kept for
it, with two exceptions, both bounded: the last events, and the rows of the tracks, which can be downloaded.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from tracker.formats.motchallenge import format_rows
from tracker.media.regions import Area, Line, RegionCount
from tracker.structures import Image, Tracks

State: TypeAlias = Literal["connecting", "running", "paused", "stalled", "ended"]

_EVENTS_KEPT = 200


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth a line, such as an object that enters or a source that comes back.

    Parameters
    ----------
    frame_index
        The frame it belongs to, counted from 1; 0 before the first.
    time_s
        When, on the capture clock.
    text
        What happened, in a few words.
    ids
        The identities it is about.
    """

    frame_index: int
    time_s: float
    text: str
    ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LiveStats:
    """How the live loop is doing.

    Parameters
    ----------
    state
        ``connecting`` until the first frame and while a lost source is sought, ``stalled`` when a connected
        source sends nothing, ``ended`` when nothing more will come.
    fps
        Frames processed per second, lately.
    latency_ms, latency_p99_ms
        Median and 99th percentile of the time from capture to tracked, of the last 100 frames or so.
    detector_ms, tracker_ms
        Time for one frame, lately.
    captured, processed
        Frames so far.
    dropped
        Frames that came too late to be processed.
    skipped
        Frames that could not be decoded or at which the detector failed.
    reconnects
        How often the source was lost and found.
    identities
        Distinct ids so far.
    """

    state: State = "connecting"
    fps: float = 0.0
    latency_ms: float = 0.0
    latency_p99_ms: float = 0.0
    detector_ms: float = 0.0
    tracker_ms: float = 0.0
    captured: int = 0
    processed: int = 0
    dropped: int = 0
    skipped: int = 0
    reconnects: int = 0
    identities: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class LiveFrame:
    """One processed frame.

    Parameters
    ----------
    index
        Frame number, counted from 1; rises from frame to frame.
    time_s
        When it was captured.
    image
        (height, width, 3) uint8, blue-green-red, as captured: nothing drawn on it, and not changed afterwards.
    tracks
        Everybody to be drawn: seen, coasting and tentative.
    reported
        What goes to the track file.
    stats
        How the loop is doing.
    events
        What happened in this frame.
    regions, counts
        The regions that are watched, and what each counts so far.
    class_names
        Names of the detector's classes by label; None for a detector that tells no classes.
    """

    index: int
    time_s: float
    image: Image
    tracks: Tracks
    reported: Tracks
    stats: LiveStats
    events: tuple[Event, ...] = ()
    regions: tuple[Area | Line, ...] = ()
    counts: tuple[RegionCount, ...] = ()
    class_names: Mapping[int, str] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """All that a viewer can know at one moment.

    Parameters
    ----------
    version
        Rises with every change.
    frame
        The newest frame; None before the first.
    ages_s
        For each row of ``frame.tracks``, the time since the object was first published.
    stats
        How the loop is doing; newer than ``frame.stats`` where the source gives no frames.
    events
        The last events, oldest first, each with its number, counted from 1.
    paused
        True when viewers want the loop to pause.
    closed
        True when nothing more will come.
    silence_s
        Time since the newest frame was published, or since the hub was made.
    """

    version: int
    frame: LiveFrame | None
    ages_s: tuple[float, ...]
    stats: LiveStats
    events: tuple[tuple[int, Event], ...]
    paused: bool
    closed: bool
    silence_s: float


class Hub:
    """Hands frames from the live loop's thread to viewers in other threads; no call ever waits for a viewer.

    Parameters
    ----------
    rows_bytes
        Most text that :meth:`tracks_text` keeps; the rows of the oldest frames go first. The default holds about
        20 minutes of 20 objects at 30 frames/s. A recording on disk is the way to keep all.
    clock
        Seconds that never go back.
    """

    def __init__(self, *, rows_bytes: int = 32 << 20, clock: Callable[[], float] = time.monotonic) -> None:
        self._rows_bytes = rows_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._listeners: dict[object, Callable[[], None]] = {}
        self._rows: deque[str] = deque()
        self._rows_held_bytes = 0
        self._events: deque[tuple[int, Event]] = deque(maxlen=_EVENTS_KEPT)
        self._event_count = 0
        self._first_seen_s: dict[int, float] = {}
        self._reported_s: dict[int, tuple[float, float]] = {}
        self._version = 0
        self._frame: LiveFrame | None = None
        self._stats = LiveStats()
        self._published_s = clock()
        self._paused = False
        self._closed = False

    def publish(self, frame: LiveFrame) -> None:
        """Make ``frame`` the newest; frames that nobody took are forgotten but for their rows and events.

        That an object is reported for the first time, and that it is gone, are events without further ado.
        """
        rows = format_rows(frame.index, frame.reported, classes=frame.class_names is not None)
        with self._lock:
            self._frame, self._stats, self._published_s = frame, frame.stats, self._clock()
            self._first_seen_s = {i: self._first_seen_s.get(i, frame.time_s) for i in frame.tracks.ids.tolist()}
            self._add_events(frame.events)
            self._add_events(self._comings_and_goings(frame))
            if rows:
                self._rows.append(rows)
                self._rows_held_bytes += len(rows)
            while self._rows_held_bytes > self._rows_bytes:
                self._rows_held_bytes -= len(self._rows.popleft())
            self._version += 1
        self._tell_listeners()

    def report(self, stats: LiveStats, events: tuple[Event, ...] = ()) -> None:
        """Tell viewers how the loop is doing while there is no frame: connecting, paused, stalled, ended."""
        with self._lock:
            self._stats = stats
            self._add_events(events)
            self._version += 1
        self._tell_listeners()

    def request_pause(self, paused: bool) -> None:
        """Ask the loop to pause or to go on, for all viewers; the loop looks at :attr:`paused`."""
        with self._lock:
            self._paused = paused
            self._version += 1
        self._tell_listeners()

    def close(self) -> None:
        """Tell all viewers that nothing more will come."""
        with self._lock:
            self._closed = True
            self._stats = replace(self._stats, state="ended")
            self._version += 1
        self._tell_listeners()

    @property
    def paused(self) -> bool:
        """Whether the loop shall pause."""
        return self._paused

    @property
    def closed(self) -> bool:
        """Whether nothing more will come."""
        return self._closed

    @property
    def version(self) -> int:
        """Rises with every change."""
        return self._version

    @property
    def newest(self) -> LiveFrame | None:
        """The frame published last."""
        return self._frame

    def snapshot(self) -> Snapshot:
        """Return the newest of everything, fitting together."""
        with self._lock:
            frame = self._frame
            ids = [] if frame is None else frame.tracks.ids.tolist()
            now_s = 0.0 if frame is None else frame.time_s
            return Snapshot(
                version=self._version,
                frame=frame,
                ages_s=tuple(now_s - self._first_seen_s[track_id] for track_id in ids),
                stats=self._stats,
                events=tuple(self._events),
                paused=self._paused,
                closed=self._closed,
                silence_s=self._clock() - self._published_s,
            )

    def tracks_text(self) -> str:
        """Return the MOTChallenge rows of all published frames, as far as they are kept."""
        with self._lock:
            rows = list(self._rows)
        return "".join(rows)

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have ``listener`` called after every change, in the thread that made it; return how to end that.

        A listener returns at once: it wakes a viewer and does no work itself.
        """
        key = object()
        with self._lock:
            self._listeners[key] = listener

        def unsubscribe() -> None:
            with self._lock:
                self._listeners.pop(key, None)

        return unsubscribe

    def _comings_and_goings(self, frame: LiveFrame) -> tuple[Event, ...]:
        events = []
        reported, alive = frame.reported.ids.tolist(), set(frame.tracks.ids.tolist())
        for track_id in reported:
            if track_id not in self._reported_s:
                events.append(Event(frame.index, frame.time_s, f"object {track_id} appears", (track_id,)))
            first_s, _ = self._reported_s.get(track_id, (frame.time_s, 0.0))
            self._reported_s[track_id] = first_s, frame.time_s
        for track_id in sorted(self._reported_s.keys() - alive.union(reported)):
            first_s, last_s = self._reported_s.pop(track_id)
            text = f"object {track_id} is gone, seen for {last_s - first_s:.1f} s"
            events.append(Event(frame.index, frame.time_s, text, (track_id,)))
        return tuple(events)

    def _add_events(self, events: tuple[Event, ...]) -> None:
        for event in events:
            self._event_count += 1
            self._events.append((self._event_count, event))

    def _tell_listeners(self) -> None:
        with self._lock:
            listeners = list(self._listeners.values())
        for listener in listeners:
            listener()
