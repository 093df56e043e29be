"""The live loop: newest picture -> detector -> tracker -> whoever watches.

A source, a detector and viewers each have a pace of their own. The source's thread keeps the newest picture; the loop
takes it, and pictures that come while it works are dropped and counted. The tracker is told when each picture was
captured, so that a dropped one is a longer step and nothing else.

Identities end honestly: when the source was silent for longer than ``live.stall_s``, changes its resolution or shows
another scene, all tracks end, for nobody can say who is who after that. New ones go on with the next free id.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from tracker.app.checks import tell_idle_keys
from tracker.app.fans import fan_maker
from tracker.app.hub import Event, Hub, LiveFrame, LiveStats, State
from tracker.app.inputs import (
    Detect,
    Job,
    chosen_detector,
    chosen_segmenter,
    demand_promised_reach,
    estimates_camera_motion,
    feature_extractor,
    recorded_detector,
    seen_by,
)
from tracker.app.warming import warm_up
from tracker.config import Config
from tracker.detection.base import NeuralDetector
from tracker.detection.recorded import RecordedDetector
from tracker.errors import ConfigurationError, DetectorError, OutputError
from tracker.media.camera import Captured, Clock, LiveCapture
from tracker.media.overlay import OverlayPainter
from tracker.media.recording import Recording
from tracker.media.regions import Area, Line, RegionCount, RegionEvent, RegionMonitor, sentence_of
from tracker.media.sources import open_video
from tracker.media.window import Window, save_snapshot
from tracker.structures import Detections, Foreground, Frame, Image, Tracks
from tracker.tracking.camera import CameraMotion, CameraMotionEstimator
from tracker.tracking.forecast import Fans
from tracker.tracking.online import Tracker
from tracker.tracking.pixels import PixelTracker

_POLL_S = 0.02  # keys, pauses and signals are looked at this often while no picture comes
_RECENT_FRAMES = 100
_REMEMBERED_LATENCIES = 20_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LiveJob:
    """What to follow.

    Parameters
    ----------
    source
        The number of a camera, a URL, or the path of a file that is replayed at its own pace.
    config
        The configuration.
    detector
        The detector; None for the one that the configuration names.
    detections
        For a file: recorded detections, by frame number or a file of them, instead of a detector.
    clock
        The time of the capture.
    """

    source: str
    config: Config = field(default_factory=Config)
    detector: Detect | None = None
    detections: Path | Mapping[int, Detections] | None = None
    clock: Clock = field(default_factory=Clock)


@dataclass(slots=True)
class LiveSummary:
    """What a live run did.

    Parameters
    ----------
    stats
        The counts at its end.
    drawn_ms, drawn_p99_ms
        Median and 99th percentile of the time from a picture's capture until it was drawn (shown, with a window;
        tracked, where nothing is drawn), of the last 20 000 pictures.
    files
        What was recorded.
    recording_fault
        Why the recording ended early, in one line; None when it did not.
    """

    stats: LiveStats = field(default_factory=LiveStats)
    drawn_ms: float = 0.0
    drawn_p99_ms: float = 0.0
    files: list[Path] = field(default_factory=list)
    recording_fault: str | None = None


def track_live(
    source: int | str | Path, config: Config | None = None, *, detector: Detect | None = None
) -> Generator[tuple[Frame, Tracks], None, None]:
    """Follow what a camera sees; yield the newest frame and the objects seen in it, again and again.

    Frames that come while the caller is busy are skipped. Close the generator, or leave the loop, to end it.

    Parameters
    ----------
    source
        The number of a camera, a URL (``rtsp://``, ``http://``, ...), or a file, replayed at its own pace.
    config
        See :func:`tracker.load_config`; the defaults when left out.
    detector
        Called with each image, or its ``detect`` is; the configuration's detector when left out.

    Raises
    ------
    TrackerError
        For a source that cannot be opened, and for a detector that always fails.

    Examples
    --------
    >>> for frame, tracks in track_live(0):  # doctest: +SKIP
    ...     print(frame.time_s, tracks.ids, tracks.boxes_xyxy)
    """
    job = LiveJob(source=str(source), config=Config() if config is None else config, detector=detector)
    follower = _Follower(job)
    follower.warm_up()
    with LiveCapture(job.source, job.config.live, job.clock) as capture:
        while not capture.ended:
            captured = capture.newest(_POLL_S)
            if captured is not None and (seen := follower.follow(captured)) is not None:
                yield seen.frame, seen.reported


def run_live(
    job: LiveJob,
    *,
    hub: Hub | None = None,
    show: bool = False,
    record: Path | None = None,
    stop: threading.Event | None = None,
    notice: Callable[[str], None] = lambda _: None,
    progress: Callable[[LiveStats], None] = lambda _: None,
) -> LiveSummary:
    """Follow a source until it ends, ``stop`` is set or the window is closed.

    Parameters
    ----------
    job
        What to follow.
    hub
        Where viewers look; it is closed at the end. While it is paused no picture is taken: those of a camera are
        dropped, a file stands still.
    show
        Whether to open a window. Its keys: q quits, space pauses, s saves a snapshot, d shows diagnostics. Only the
        main thread can have one.
    record
        Folder of a recording, see :class:`tracker.media.recording.Recording`. When it cannot be written any more,
        what was written stays and whoever watches goes on watching; without window and hub the run ends.
    stop
        Once set, by the handler of a signal say, the run ends and its files are completed.
    notice
        Called with each line that the user should see, from any thread.
    progress
        Called after each frame, and when the state changes.

    Raises
    ------
    TrackerError
        For a source, detector, display or folder that cannot be used, and for a detector that fails
        ``live.detector_failures`` times in a row. A recording is complete up to there.
    """
    watched = show or hub is not None
    hub = hub or Hub(rows_bytes=0)  # nobody can ask for rows
    news = _News(notice)
    with ExitStack() as stack:
        stack.callback(hub.close)
        follower = _Follower(job, news.say, with_fans=show or record is not None)
        window = stack.enter_context(Window(f"track {job.source}")) if show else None
        hub.report(LiveStats())
        progress(LiveStats())
        follower.warm_up()
        capture = stack.enter_context(LiveCapture(job.source, job.config.live, job.clock, news.say))
        recording = None if record is None else _recording(record, job.config, follower)
        loop = _Loop(job, hub, follower, capture, window, recording, news, progress)
        try:
            loop.run(stop or threading.Event(), watched)
        finally:
            loop.finish()
        return loop.summary()


def _recording(folder: Path, config: Config, follower: _Follower) -> Recording:
    return Recording(
        folder,
        config.overlay.crf,
        config.live.segment_s,
        class_names=follower.class_names,
        with_events=follower.watches_regions,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """A picture that the tracker has seen; ``index`` counts those from 1.

    What objects did in the regions is told of earlier pictures (``ended``: their identities have ended since) and of
    this one (``events``).
    """

    index: int
    frame: Frame
    reported: Tracks
    drawn: Tracks
    detector_ms: float
    tracker_ms: float
    ended: tuple[RegionEvent, ...] = ()
    events: tuple[RegionEvent, ...] = ()
    regions: tuple[Area | Line, ...] = ()
    counts: tuple[RegionCount, ...] = ()
    fans: Fans | None = None


class _Follower:
    """Detector and tracker of one source; ``with_fans`` says that somebody draws what is forecast."""

    def __init__(
        self, job: LiveJob, notice: Callable[[str], None] = lambda _: None, *, with_fans: bool = False
    ) -> None:
        if job.config.tracking.lag_frames:
            raise ConfigurationError(
                f"tracking.lag_frames is {job.config.tracking.lag_frames}; live it must be 0: reports cannot wait"
            )
        if job.config.tracking.smoothing == "offline":
            raise ConfigurationError("tracking.smoothing is offline; live it must be none or online: nothing is over")
        self._job = Job(config=job.config, video=Path(job.source), detector=job.detector, detections=job.detections)
        self._notice = notice
        self._floor = job.config.tracking.association.score_floor
        self._camera = CameraMotionEstimator() if estimates_camera_motion(self._job) else None
        self._limit = job.config.live.detector_failures
        self._segmenter = chosen_segmenter(self._job)
        tell_idle_keys(job.config, notice)
        self._tracker = Tracker(job.config) if self._segmenter is None else PixelTracker(job.config)
        self._foretell = fan_maker(job.config) if with_fans else None
        self._extract = feature_extractor(job.config)
        self._recorded = _recorded(job.source, self._job, notice)
        given = self._recorded is not None or self._segmenter is not None
        self._detector = None if given else chosen_detector(self._job)
        self._shape: tuple[int, ...] | None = None
        network = self._detector if isinstance(self._detector, NeuralDetector) else None
        told_by = network or self._recorded
        self.class_names = None if told_by is None else told_by.class_names
        class_teller = "the detector" if job.detections is None else str(job.detections)
        self._monitor = _region_monitor(job.config, self.class_names, class_teller)
        self._ended: list[RegionEvent] = []
        self._failures_in_a_row = 0
        self._seen = 0
        self._reported: set[int] = set()
        self.failures = 0
        self.identities = 0

    @property
    def watches_regions(self) -> bool:
        """Whether there are regions."""
        return self._monitor is not None

    def finish(self) -> list[RegionEvent]:
        """Return who is in a region at the end, and what was not told yet."""
        return [*self._ended, *([] if self._monitor is None else self._monitor.finish())]

    def warm_up(self) -> None:
        """Compile what a frame needs."""
        warm_up(self._job.config.tracking.observations)

    def follow(self, captured: Captured) -> _Seen | None:
        """Take in a picture; return what is seen in it, None when the detector failed."""
        frame = captured.frame
        assert frame.image is not None
        if captured.after_outage:
            self._end_identities("the source was silent")
        if frame.image.shape != self._shape:
            if self._shape is not None:
                size = f"{frame.image.shape[1]}x{frame.image.shape[0]}"
                self._end_identities(f"the resolution is now {size}")
                if self._detector is not None:
                    self._detector = chosen_detector(self._job)
                self._segmenter = chosen_segmenter(self._job)
            if self._monitor is not None:
                self._ended += self._monitor.resize((frame.image.shape[1], frame.image.shape[0]))
            self._shape = frame.image.shape
        began_s = time.perf_counter()
        observed = self._observe(frame, frame.image)
        if observed is None:
            return None
        detected_s = time.perf_counter()
        motion = self._camera_motion(frame.image, observed)
        if motion.is_cut:
            self._end_identities("the picture shows another scene")
        if isinstance(self._tracker, PixelTracker):
            assert isinstance(observed, Foreground)
            reported = self._tracker.update(observed, frame.time_s, motion.affine)
        else:
            assert isinstance(observed, Detections)
            reported = self._tracker.update(observed, frame.time_s, motion.affine)
        drawn = self._tracker.tracks(coasting=True)
        fans = None if self._foretell is None else self._foretell(self._tracker.state, motion.affine)
        ended_s = time.perf_counter()
        self._count(reported, drawn)
        self._seen += 1
        took_ms = 1e3 * (detected_s - began_s), 1e3 * (ended_s - detected_s)
        seen = _Seen(self._seen, frame, reported, drawn, *took_ms, fans=fans)
        return seen if self._monitor is None else self._watched(seen, self._monitor)

    def _watched(self, seen: _Seen, monitor: RegionMonitor) -> _Seen:
        """Add what objects do in the regions."""
        ended, self._ended = tuple(self._ended), []
        events = tuple(monitor.update(seen.index, seen.frame.time_s, seen.reported))
        return replace(seen, ended=ended, events=events, regions=monitor.regions, counts=monitor.counts)

    def _observe(self, frame: Frame, image: Image) -> Detections | Foreground | None:
        observed: Detections | Foreground
        try:
            if self._segmenter is not None:
                assert isinstance(self._tracker, PixelTracker)
                observed = self._segmenter.segment(image, self._tracker.occupied_xyxy)
            elif self._recorded is not None:
                observed = self._recorded.at(frame.index)
            else:
                assert self._detector is not None
                (observed,) = seen_by(self._detector, [image], "it")
            if self._extract is not None and isinstance(observed, Detections):
                observed = self._extract(image, observed)
        except Exception as error:  # a detector may raise anything, and one bad picture must not end the day
            self.failures += 1
            self._failures_in_a_row += 1
            reason = f"{type(error).__name__}: {error}"
            if self._failures_in_a_row >= self._limit:
                raise DetectorError(f"the detector failed {self._limit} times in a row, last with {reason}") from error
            if self.failures == 1:
                self._notice(f"the detector failed with {reason}; such pictures are skipped and counted")
            return None
        self._failures_in_a_row = 0
        return observed

    def _camera_motion(self, image: Image, observed: Detections | Foreground) -> CameraMotion:
        if self._camera is None:
            return CameraMotion()
        detections = observed.silhouettes if isinstance(observed, Foreground) else observed
        return self._camera.update(image, detections.boxes_xyxy[detections.scores >= self._floor])

    def _end_identities(self, reason: str) -> None:
        if self._monitor is not None:
            self._ended += self._monitor.cut()
        if ended := len(self._tracker.state.components):
            self._tracker.cut()
            if self._foretell is not None:
                self._foretell.cut()
            self._notice(f"{reason}: {ended} identities end")

    def _count(self, reported: Tracks, drawn: Tracks) -> None:
        """Count identities when they are first reported; those that are over need not be remembered."""
        ids = set(reported.ids.tolist())
        self.identities += len(ids - self._reported)
        self._reported = (self._reported | ids) & set(drawn.ids.tolist())


def _region_monitor(config: Config, class_names: Mapping[int, str] | None, class_teller: str) -> RegionMonitor | None:
    """Return who watches the regions, which are placed when the size of the pictures is known."""
    if not (config.regions.areas or config.regions.lines):
        return None
    survived_frames = config.tracking.lifecycle.max_misses_frames
    return RegionMonitor(config.regions, (1, 1), survived_frames, class_names, class_teller)


def _recorded(source: str, job: Job, notice: Callable[[str], None]) -> RecordedDetector | None:
    """Return the recorded detections of a file, which must not go beyond its end."""
    if job.detections is None:
        return None
    if source.isdecimal() or "://" in source:
        raise ConfigurationError(f"{source}: is not a file; recorded detections go with a file")
    recorded = recorded_detector(job, notice)
    with open_video(source) as video:
        demand_promised_reach(job, recorded, video)
    return recorded


class _News:
    """Lines for the user, kept for those who look at the hub; may be told from any thread."""

    def __init__(self, notice: Callable[[str], None]) -> None:
        self._notice = notice
        self._lines: SimpleQueue[str] = SimpleQueue()

    def say(self, line: str) -> None:
        self._notice(line)
        self._lines.put(line)

    def take(self, frame_index: int, time_s: float) -> tuple[Event, ...]:
        """Return what has been said since the last call."""
        return tuple(Event(frame_index, time_s, self._lines.get()) for _ in range(self._lines.qsize()))


class _Loop:
    """One run: takes pictures, hands out what is seen in them, and keeps the figures."""

    def __init__(
        self,
        job: LiveJob,
        hub: Hub,
        follower: _Follower,
        capture: LiveCapture,
        window: Window | None,
        recording: Recording | None,
        news: _News,
        progress: Callable[[LiveStats], None],
    ) -> None:
        self._job = job
        self._hub = hub
        self._follower = follower
        self._capture = capture
        self._window = window
        self._recording = recording
        self._snapshots = Path() if recording is None else recording.folder
        self._news = news
        self._progress = progress
        self._painter: OverlayPainter | None = None
        self._painted: Image | None = None
        self._diagnostics = False
        self._stats = LiveStats()
        self._summary = LiveSummary()
        self._moments_s: deque[float] = deque(maxlen=_RECENT_FRAMES)
        self._tracked_ms: deque[float] = deque(maxlen=_RECENT_FRAMES)
        self._drawn_ms: deque[float] = deque(maxlen=_REMEMBERED_LATENCIES)

    def run(self, stop: threading.Event, watched: bool) -> None:
        """Follow until the end."""
        while not (stop.is_set() or self._capture.ended) and self._serve_window():
            self._capture.pause(self._hub.paused)
            if self._hub.paused:
                self._report("paused")
                stop.wait(_POLL_S)
                continue
            captured = self._capture.newest(_POLL_S)
            if captured is None:
                self._report(self._capture.state)
            elif (seen := self._follower.follow(captured)) is not None:
                self._hand_out(seen)
                if self._summary.recording_fault is not None and not watched:
                    return

    def finish(self) -> None:
        """Tell who is in a region at the end, and complete the files."""
        if self._recording is not None:
            with suppress(OutputError):  # which completing the files tells
                self._recording.write_events(self._follower.finish())
        self.end_recording()

    def end_recording(self) -> None:
        """Complete the files; a fault is told, not raised."""
        if self._recording is None:
            return
        recording, self._recording = self._recording, None
        self._summary.files = recording.files
        try:
            recording.close()
        except OutputError as error:
            self._summary.recording_fault = str(error)
            self._news.say(f"recording stopped: {error}; what was written before is kept")

    def summary(self) -> LiveSummary:
        """Return what was done."""
        self._summary.stats = self._counted("ended")
        if self._drawn_ms:
            self._summary.drawn_ms, self._summary.drawn_p99_ms = np.percentile(self._drawn_ms, (50, 99)).tolist()
        return self._summary

    def _hand_out(self, seen: _Seen) -> None:
        frame = seen.frame
        assert frame.image is not None
        self._measure(seen)
        index, time_s = seen.index, frame.time_s
        told = (*seen.ended, *seen.events)
        done = (Event(event.frame, event.time_s, sentence_of(event), (event.id,)) for event in told)
        self._hub.publish(
            LiveFrame(
                index,
                time_s,
                frame.image,
                seen.drawn,
                seen.reported,
                self._stats,
                (*self._news.take(index, time_s), *done),
                seen.regions,
                seen.counts,
                self._follower.class_names,
            )
        )
        self._progress(self._stats)
        if self._window is not None or self._recording is not None:
            self._painted = self._paint(seen)
            self._refresh_window()
        self._drawn_ms.append(1e3 * (self._capture.now_s() - time_s))
        if self._recording is not None:
            assert self._painted is not None
            try:
                self._recording.write_events(seen.ended)
                self._recording.write(self._painted, time_s, seen.reported)
                self._recording.write_events(seen.events)
            except OutputError:
                self.end_recording()

    def _measure(self, seen: _Seen) -> None:
        now_s = self._capture.now_s()
        self._moments_s.append(now_s)
        self._tracked_ms.append(1e3 * (now_s - seen.frame.time_s))
        latency_ms, latency_p99_ms = np.percentile(self._tracked_ms, (50, 99)).tolist()
        span_s = now_s - self._moments_s[0]
        self._stats = replace(
            self._counted("running"),
            processed=seen.index,
            fps=(len(self._moments_s) - 1) / span_s if span_s > 0.0 else 0.0,
            latency_ms=latency_ms,
            latency_p99_ms=latency_p99_ms,
            detector_ms=_smoothed(self._stats.detector_ms, seen.detector_ms),
            tracker_ms=_smoothed(self._stats.tracker_ms, seen.tracker_ms),
        )

    def _counted(self, state: State) -> LiveStats:
        return replace(
            self._stats,
            state=state,
            captured=self._capture.captured,
            dropped=self._capture.dropped,
            skipped=self._capture.corrupt + self._follower.failures,
            reconnects=self._capture.reconnects,
            identities=self._follower.identities,
        )

    def _report(self, state: State) -> None:
        """Tell how the loop is doing while there is no picture, when that is news."""
        events = self._news.take(self._stats.processed, self._capture.now_s())
        if state != self._stats.state or events:
            self._stats = self._counted(state)
            self._hub.report(self._stats, events)
            self._progress(self._stats)
            self._refresh_window()

    def _paint(self, seen: _Seen) -> Image:
        assert seen.frame.image is not None
        if self._painter is None or (self._painted is not None and self._painted.shape != seen.frame.image.shape):
            self._painter = OverlayPainter(self._job.config.overlay, self._follower.class_names, seen.regions)
        return self._painter.paint(seen.frame, seen.drawn, seen.counts, seen.fans)

    def _refresh_window(self) -> None:
        if self._window is not None and self._painted is not None:
            self._window.show(self._painted, self._window_lines())

    def _window_lines(self) -> list[str]:
        stats = self._stats
        if not self._diagnostics:
            return [] if stats.state == "running" else [stats.state]
        return [
            f"{stats.state}  {stats.fps:.1f} frames/s",
            f"latency {stats.latency_ms:.0f} ms, 99 % {stats.latency_p99_ms:.0f} ms",
            f"detector {stats.detector_ms:.1f} ms, tracker {stats.tracker_ms:.2f} ms",
            f"captured {stats.captured}, dropped {stats.dropped}, skipped {stats.skipped}",
            f"identities {stats.identities}, reconnects {stats.reconnects}",
        ]

    def _serve_window(self) -> bool:
        """Do what the window's keys ask for; return False when the run shall end."""
        key = None if self._window is None else self._window.poll()
        if key == " ":
            self._hub.request_pause(not self._hub.paused)
        elif key == "d":
            self._diagnostics = not self._diagnostics
            self._refresh_window()
        elif key == "s" and self._painted is not None:
            try:
                self._news.say(f"snapshot: {save_snapshot(self._snapshots, self._painted)}")
            except OutputError as error:
                self._news.say(f"no snapshot: {error}")
        return key != "q"


def _smoothed(before_ms: float, now_ms: float) -> float:
    """Return an average that forgets, over about ten frames."""
    return now_ms if before_ms == 0.0 else 0.9 * before_ms + 0.1 * now_ms
