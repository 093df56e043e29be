"""The one loop: source -> detector -> tracker -> sinks.

The loop is a chain of generators. Decoding, detection, drawing and encoding spend their time in libraries that
release the interpreter lock, so each of these links works in a thread, a few frames ahead of the next. Frames
keep their order, and how many are under way is bounded, whatever the video's length.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeAlias

from tracker.app.diagnostics import TextFile, detection_rows, diagnostic_rows, diagnostics_file
from tracker.app.fans import fan_maker
from tracker.app.inputs import Detect, Input, Job, open_input, until
from tracker.app.outputs import DETECTIONS, DIAGNOSTICS, EVENTS, OVERLAY, TRACKS, RunFolder
from tracker.app.refining import Report, refine_reports, waiting_for_births
from tracker.app.stages import StageTimes, ahead, batched, flat
from tracker.app.warming import warm_up
from tracker.config import Config
from tracker.errors import ConfigurationError
from tracker.media.overlay import OverlayPainter
from tracker.media.regions import EVENTS_HEADER, RegionCount, RegionMonitor, format_events
from tracker.media.sinks import OverlayVideo, TrackFile
from tracker.media.sources import open_video
from tracker.structures import Detections, FloatArray, Frame, Image, Tracks
from tracker.tracking.camera import CameraMotion, CameraMotionEstimator
from tracker.tracking.forecast import Fans
from tracker.tracking.online import Tracker
from tracker.tracking.pixels import PixelTracker


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A frame that the tracker has seen: what was detected, what is reported, and what may be drawn."""

    frame: Frame
    detections: Detections
    camera: CameraMotion
    tracks: Tracks
    drawn: Tracks
    counts: tuple[RegionCount, ...] = ()
    fans: Fans | None = None


Steps: TypeAlias = Generator[Step, None, None]
Learned: TypeAlias = Callable[[Frame, Detections, Tracker | PixelTracker], None]
Seen: TypeAlias = tuple[Frame, Detections, CameraMotion]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Parameters
    ----------
    activity
        What is being done, in a word or two.
    done, total
        Frames; ``total`` is None when it is not known.
    alive
        Tracks seen in the last frame; None while nothing is tracked.
    """

    activity: str
    done: int = 0
    total: int | None = None
    alive: int | None = None


@dataclass(slots=True)
class Summary:
    """What a run did. Without a frame (it was stopped before the first) there are no files.

    Parameters
    ----------
    folder, files
        Where the files are, and their paths.
    frame_rate_hz
        The rate that was settled on.
    first_frame, last_frame, frames
        Numbers of the first and last frame, and how many were processed.
    last_drawn
        The last frame on the overlay; None without one.
    detections, boxes, tracks
        Detections taken in, rows of the track file and distinct identities in it.
    cuts
        Places where the film was cut, as far as the camera's motion was estimated.
    loss
        What of the video could not be decoded.
    interrupted
        Whether the run was stopped before the end.
    class_names
        Names of the classes in the track file by label; None where it states none.
    wall_s, processor_s
        Time from the first frame's turn to complete files, by the clock and of all processors.
    stages
        Time per stage.
    """

    folder: Path
    frame_rate_hz: float
    files: list[Path] = field(default_factory=list)
    first_frame: int | None = None
    last_frame: int | None = None
    frames: int = 0
    last_drawn: int | None = None
    detections: int = 0
    boxes: int = 0
    tracks: int = 0
    cuts: int = 0
    loss: str | None = None
    interrupted: bool = False
    class_names: Mapping[int, str] | None = None
    wall_s: float = 0.0
    processor_s: float = 0.0
    stages: StageTimes = field(default_factory=StageTimes)


def track_video(
    path: str | Path,
    config: Config | None = None,
    *,
    detector: Detect | None = None,
    detections: str | Path | Mapping[int, Detections] | None = None,
    camera_motion: str | Path | Mapping[int, FloatArray] | None = None,
    start: int = 1,
    frames: int | None = None,
) -> Generator[tuple[Frame, Tracks], None, None]:
    """Track a whole video; yield each frame and the objects seen in it.

    Parameters
    ----------
    path
        A video file, a folder of images or a printf pattern such as ``img/%06d.jpg``.
    config
        See :func:`tracker.load_config`; the defaults when left out.
    detector
        Called with each image in order, or its ``detect`` is; the configuration's detector when left out.
    detections
        Instead of a detector, a file of detections (MOTChallenge or KITTI) or detections by frame number.
    camera_motion
        By frame number, or as a file, the (2, 3) affine from the previous frame's pixels to the frame's; what
        ``tracking.camera_motion`` says when left out.
    start, frames
        First frame, and number of frames at most; frames keep the numbers they have in the video.

    Raises
    ------
    TrackerError
        For input that cannot be used, with the first frame; for what shows only on the way, there.
    ValueError
        When both a detector and detections are given, or ``start`` or ``frames`` is below 1.

    Examples
    --------
    >>> for frame, tracks in track_video("street.mp4"):  # doctest: +SKIP
    ...     print(frame.index, tracks.ids, tracks.boxes_xyxy)
    """
    job = Job(
        config=Config() if config is None else config,
        video=Path(path),
        detections=Path(detections) if isinstance(detections, str) else detections,
        detector=detector,
        camera_motion=Path(camera_motion) if isinstance(camera_motion, str) else camera_motion,
        start=start,
        frames=frames,
    )
    with open_input(job) as source:
        tracked = _tracked(source, job.config, StageTimes())
        offline = _is_offline(job.config)
        with closing(_refined(tracked, source, job, threading.Event()) if offline else tracked) as steps:
            for step in steps:
                yield step.frame, step.tracks


def run(
    job: Job,
    output: Path | None = None,
    *,
    overlay: bool = True,
    diagnostics: bool = False,
    command: str | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    notice: Callable[[str], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> Summary:
    """Track, and write ``overlay.mp4``, ``tracks.txt`` and ``run.yaml``; with regions, ``events.csv`` too.

    The files get their names when all are complete, in place of those of an earlier run. When anything fails,
    nothing is left behind and an earlier run's files stay.

    Parameters
    ----------
    job
        What to track.
    output
        Folder of the files; ``<name of the input>-tracks`` in the current folder when left out.
    overlay
        Whether to draw and encode; without a video there is nothing to draw on.
    diagnostics
        Whether to write ``diagnostics.csv`` and ``detections.txt`` too: what the tracker promised, and was given.
    command
        The command line, for the record.
    progress
        Called for each frame.
    notice
        Called with each line that the user should see.
    stop
        Once set, by the handler of a signal say, no further frame is taken in and the files are completed.

    Raises
    ------
    TrackerError
        For input that cannot be used or output that cannot be written.
    """
    stop = stop or threading.Event()
    if overlay and job.config.overlay.forecast_s and _is_offline(job.config):
        raise ConfigurationError(
            f"overlay.forecast_s is {job.config.overlay.forecast_s:g}; with tracking.smoothing: offline it must be 0: "
            "the future is known by then"
        )
    told: list[str] = []  # once it is sure that there is no error to be told instead
    with open_input(job, stop, told.append) as source:
        extra = (DIAGNOSTICS, DETECTIONS) if diagnostics else ()
        monitor = _region_monitor(job, source)
        if monitor is not None:
            extra = (*extra, EVENTS)
        inputs = [path for path in (job.video, job.detections, job.camera_motion) if isinstance(path, Path)]
        folder = RunFolder(Path(f"{source.name}-tracks") if output is None else output, extra, inputs)
        summary = Summary(folder.path, source.frame_rate_hz, class_names=source.class_names)
        for line in told:
            notice(line)
        with folder:
            overlay_video = _overlay_video(source, folder, job.config) if overlay else None
            track_file = folder.add(TrackFile(folder.path / TRACKS, classes=source.class_names is not None))
            learned = _learned(folder) if diagnostics else None
            progress(Progress("loading", total=source.frame_count))
            warm_up(
                job.config.tracking.observations,
                lambda: progress(Progress("compiling (once)", total=source.frame_count)),
            )
            began_s, began_processor_s = time.perf_counter(), time.process_time()
            steps = _tracked(source, job.config, summary.stages, with_drawn=overlay_video is not None, learned=learned)
            if _is_offline(job.config):
                pictures = overlay_video is not None
                steps = _refined(steps, source, job, stop, pictures=pictures, progress=progress)
            if monitor is not None:
                steps = _watched(steps, monitor, folder, source, summary.stages)
            if overlay_video is not None:
                regions = () if monitor is None else monitor.regions
                painter = OverlayPainter(job.config.overlay, source.class_names, regions)
                steps = _painted(steps, overlay_video, painter, summary)
            with closing(_written(steps, track_file, summary)) as written:
                for step in written:
                    progress(Progress("tracking", summary.frames, source.frame_count, len(step.tracks)))
            summary.loss = None if source.video is None else source.video.loss
            summary.interrupted = source.cut_short.is_set()
            if summary.frames:
                progress(Progress("completing", summary.frames, source.frame_count))
                folder.finish()
                summary.wall_s = time.perf_counter() - began_s
                summary.processor_s = time.process_time() - began_processor_s
                summary.files = folder.publish(_record(job, summary, command))
    return summary


def _learned(folder: RunFolder) -> Learned:
    """Return a function that writes down what a step was given and what it learned."""
    promises = folder.add(diagnostics_file(folder.path / DIAGNOSTICS))
    given = folder.add(TextFile(folder.path / DETECTIONS))

    def learned(frame: Frame, detections: Detections, tracker: Tracker | PixelTracker) -> None:
        promises.write(diagnostic_rows(frame.index, tracker))
        given.write(detection_rows(frame.index, detections))

    return learned


def _tracked(
    source: Input,
    config: Config,
    times: StageTimes,
    *,
    with_drawn: bool = False,
    learned: Learned | None = None,
) -> Steps:
    """Chain decoding, detection, the camera's motion and tracking; each frame waits for its own report."""
    if _is_offline(config):
        config = waiting_for_births(config)
    lag = config.tracking.lag_frames
    waiting: deque[tuple[Seen, Fans | None]] = deque()
    foretell = fan_maker(config) if with_drawn else None
    tracker: Tracker | PixelTracker
    if source.segmenter is None:
        boxes = tracker = Tracker(config)

        def observe(seen: Seen) -> tuple[Seen, Tracks]:
            frame, detections, camera = seen
            return seen, boxes.update(detections, source.time_s(frame), camera.affine)
    else:
        blobs, segmenter = (tracker := PixelTracker(config)), source.segmenter

        def observe(seen: Seen) -> tuple[Seen, Tracks]:
            # What is known of this frame's objects tells where not to learn the next one's background.
            frame, _, camera = seen
            assert frame.image is not None
            foreground = times["detect"].call(segmenter.segment, frame.image, blobs.occupied_xyxy)
            tracks = blobs.update(foreground, source.time_s(frame), camera.affine)
            return (frame, foreground.silhouettes, camera), tracks

    def detect(frames: list[Frame]) -> list[Seen]:
        return [
            (frame, detections, CameraMotion(source.camera_motion.get(frame.index)))
            for frame, detections in zip(frames, source.detect(frames), strict=True)
        ]

    def track(seen: Seen) -> Step | None:
        if seen[2].is_cut:
            tracker.cut()
            if foretell is not None:
                foretell.cut()
        seen, tracks = observe(seen)
        if learned is not None:
            learned(seen[0], seen[1], tracker)
        waiting.append((seen, None if foretell is None else foretell(tracker.state, seen[2].affine)))
        if len(waiting) <= lag:
            return None
        earlier, fans = waiting.popleft()
        drawn = tracker.tracks(coasting=True) if with_drawn and not lag else tracks
        return Step(*earlier, tracks, drawn, fans=fans)

    # Without a video there is nothing to wait for, and handing over would cost more than the work.
    frames = source.frames if source.video is None else ahead(times.iterate("decode", source.frames))
    seen = flat(times.map("detect", detect, batched(frames, source.batch_frames)))
    if source.estimates_camera_motion:
        seen = times.map("camera", _camera_observer(config), ahead(seen))
    tracked = times.map("track", track, seen if source.video is None else ahead(seen))

    def reported() -> Steps:
        with closing(tracked):
            yield from (step for step in tracked if step is not None)
        # A run that is stopped takes in no further frame, so that this is its end too.
        for tracks in tracker.flush():
            earlier, fans = waiting.popleft()
            yield Step(*earlier, tracks, tracks, fans=fans)

    return reported()


def _is_offline(config: Config) -> bool:
    return config.tracking.smoothing == "offline"


def _refined(
    steps: Steps,
    source: Input,
    job: Job,
    stop: threading.Event,
    *,
    pictures: bool = True,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Steps:
    """Wait for all steps, refine their tracks, and give the steps again; for the pictures, the video is read again.

    ``stop`` ends the pass in which it comes. What the first one took in is refined as a whole; of the second one there
    is a picture at least, and steps beyond have none.
    """
    seen: list[Step] = []
    with closing(steps):
        for step in steps:
            seen.append(replace(step, frame=replace(step.frame, image=None)))
            progress(Progress("tracking", len(seen), source.frame_count, len(step.tracks)))
    progress(Progress("refining", total=source.frame_count))
    reports = [Report(step.frame.index, step.tracks, step.camera.affine, step.camera.is_cut) for step in seen]
    refined = refine_reports(reports, job.config, source.frame_rate_hz)
    again = [replace(step, tracks=(tracks := refined[step.frame.index]), drawn=tracks) for step in seen]
    if not pictures or job.video is None:
        yield from again
        return
    if source.cut_short.is_set():
        stop = threading.Event()
    with open_video(job.video, start=job.start, frames=job.frames) as video:
        taken = iter(video)
        frames = chain(islice(taken, 1), until(taken, stop, source.cut_short))
        for step in again:
            frame = next(frames, step.frame)
            yield replace(step, frame=replace(step.frame, image=frame.image))


def _camera_observer(config: Config) -> Callable[[Seen], Seen]:
    """Return a function that finds the camera's motion in frames given in order."""
    estimator = CameraMotionEstimator()
    floor = config.tracking.association.score_floor

    def observe(seen: Seen) -> Seen:
        frame, detections, _ = seen
        assert frame.image is not None
        boxes_xyxy = detections.boxes_xyxy[detections.scores >= floor]
        return frame, detections, estimator.update(frame.image, boxes_xyxy)

    return observe


def _region_monitor(job: Job, source: Input) -> RegionMonitor | None:
    regions, video = job.config.regions, source.video
    if not (regions.areas or regions.lines):
        return None
    if video is None and regions.unit == "share":
        raise ConfigurationError("regions.unit is share: without --video the frame's size is not known; use pixels")
    size_px = None if video is None else (video.width_px, video.height_px)
    survived_frames = job.config.tracking.lifecycle.max_misses_frames
    return RegionMonitor(regions, size_px, survived_frames, source.class_names, source.class_teller)


def _watched(steps: Steps, monitor: RegionMonitor, folder: RunFolder, source: Input, times: StageTimes) -> Steps:
    """Write down what objects do in the regions, and give each step the counts so far."""
    event_file = folder.add(TextFile(folder.path / EVENTS, EVENTS_HEADER))
    class_names = source.class_names

    def watch(step: Step) -> Step:
        ended = monitor.cut() if step.camera.is_cut else []
        events = monitor.update(step.frame.index, source.time_s(step.frame), step.tracks)
        event_file.write(format_events([*ended, *events], class_names))
        return replace(step, counts=monitor.counts)

    watched = times.map("regions", watch, steps)

    def to_the_end() -> Steps:
        with closing(watched):
            yield from watched
        event_file.write(format_events(monitor.finish(), class_names))

    return to_the_end()


def _painted(steps: Steps, overlay_video: OverlayVideo, painter: OverlayPainter, summary: Summary) -> Steps:
    """Chain drawing and encoding to the tracker's steps, as far as they have pictures."""

    def draw(step: Step) -> tuple[Step, Image | None]:
        if step.frame.image is None:
            return step, None
        return step, painter.paint(step.frame, step.drawn, step.counts, step.fans)

    def encode(painted: tuple[Step, Image | None]) -> Step:
        step, image = painted
        if image is not None:
            overlay_video.write(image, step.frame.time_s)
            summary.last_drawn = step.frame.index
        return step

    times = summary.stages
    return ahead(times.map("encode", encode, ahead(times.map("draw", draw, ahead(steps)))))


def _written(steps: Steps, track_file: TrackFile, summary: Summary) -> Steps:
    """Write the tracks of each step and count."""
    ids: set[int] = set()

    def write(step: Step) -> Step:
        track_file.write(step.frame.index, step.tracks)
        ids.update(step.tracks.ids.tolist())
        summary.first_frame = summary.first_frame or step.frame.index
        summary.last_frame = step.frame.index
        summary.frames += 1
        summary.detections += len(step.detections)
        summary.boxes += len(step.tracks)
        summary.tracks = len(ids)
        summary.cuts += step.camera.is_cut
        return step

    return summary.stages.map("write", write, steps)


def _overlay_video(source: Input, folder: RunFolder, config: Config) -> OverlayVideo | None:
    if source.video is None:
        return None
    video, path = source.video, folder.path / OVERLAY
    return folder.add(OverlayVideo(path, video.width_px, video.height_px, source.frame_rate_hz, config.overlay.crf))


def _record(job: Job, summary: Summary, command: str | None) -> dict[str, Any]:
    """Return what ``run.yaml`` says of a run."""
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "input": {
            "video": _name(job.video),
            "detections": _name(job.detections),
            "camera_motion": _name(job.camera_motion),
            "frame_rate_hz": summary.frame_rate_hz,
        },
        "counts": {
            name: getattr(summary, name)
            for name in ("first_frame", "last_frame", "frames", "detections", "boxes", "tracks", "cuts")
        },
        "classes": None if summary.class_names is None else dict(summary.class_names),
        "loss": summary.loss,
        "interrupted": summary.interrupted,
        "time": {
            "wall_s": round(summary.wall_s, 3),
            "processor_s": round(summary.processor_s, 3),
            "stages": {
                name: {key: round(value, 3) for key, value in asdict(spent).items()}
                for name, spent in summary.stages.items()
            },
        },
        "configuration": job.config.model_dump(mode="json"),
    }


def _name(source: object) -> str | None:
    """Name an input: by its path, or by its kind when it was handed over in memory."""
    return None if source is None else str(source) if isinstance(source, Path) else type(source).__name__
