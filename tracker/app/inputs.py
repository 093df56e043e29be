"""What a run takes in: opened, checked, and brought to frames that have detections, a time and a camera motion."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, TypeVar

from tracker.app.checks import COUNT_SLACK_S, Notice, tell_idle_keys, tell_unknown_motion
from tracker.app.rates import same_rate, settle_rate_hz
from tracker.app.recorded import recorded_detections
from tracker.config import Config
from tracker.detection.base import Detector, NeuralDetector, Segmenter
from tracker.detection.recorded import RecordedDetector
from tracker.errors import ConfigurationError, DetectorError, FormatError
from tracker.formats.motchallenge import read_camera_motion, sequence_info_near
from tracker.media.sources import VideoSource, open_video
from tracker.structures import Detections, FloatArray, Frame, Image

Detect: TypeAlias = Detector | Callable[[Image], Detections]
Extract: TypeAlias = Callable[[Image, Detections], Detections]
DetectFrames: TypeAlias = Callable[[Sequence[Frame]], list[Detections]]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """What to track.

    Parameters
    ----------
    config
        The configuration.
    video
        A video file, a folder of images or a printf pattern; None to track recorded detections alone.
    detections
        Recorded detections, by frame number or a file of them, instead of a detector.
    detector
        The detector; None for the one that the configuration names.
    camera_motion
        By frame number, or a file of it, the (2, 3) affine from the previous frame's pixels to the frame's; instead of
        what the configuration says of it.
    frame_rate_hz
        The rate; wins over those of the ``run.yaml`` or ``seqinfo.ini`` beside the detections, and of the video.
    start, frames
        First frame, and number of frames at most; frames keep the numbers they have in the video.
    """

    config: Config = field(default_factory=Config)
    video: Path | None = None
    detections: Path | Mapping[int, Detections] | None = None
    detector: Detect | None = None
    camera_motion: Path | Mapping[int, FloatArray] | None = None
    frame_rate_hz: float | None = None
    start: int = 1
    frames: int | None = None

    def __post_init__(self) -> None:
        if self.video is None and self.detections is None:
            raise ValueError("a job needs a video or recorded detections")
        if self.detector is not None and self.detections is not None:
            raise ValueError("a job has a detector or recorded detections, not both")
        if self.start < 1 or (self.frames is not None and self.frames < 1):
            raise ValueError(f"start is {self.start} and frames {self.frames}; both are at least 1")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Input:
    """The input of a job, open and checked.

    Parameters
    ----------
    name
        Short name, fit for the name of an output folder.
    video
        The open video; None when there are detections alone.
    frames
        The frames; an error that shows only on the way, or at the end, is raised here.
    frame_count
        Number of frames to be expected; None when the video does not tell.
    frame_rate_hz
        The rate that was settled on.
    time_s
        Time of a frame for the tracker: the video's own, unless another rate was settled on.
    detect
        Detections of some frames; is to be asked for the frames in order.
    camera_motion
        Affine by frame number.
    estimates_camera_motion
        Whether the camera's motion is to be estimated from the pictures instead.
    batch_frames
        How many frames at a time the detector takes to advantage.
    class_names
        Names of the detector's or the file's classes by label, where they have any; None where it tells no classes.
    class_teller
        What tells the classes or does not, in words.
    segmenter
        What tells the foreground where pixels are observed; then nothing is to be detected.
    cut_short
        Set when ``frames`` ended early because the run was told to stop.
    """

    name: str
    video: VideoSource | None
    frames: Generator[Frame, None, None]
    frame_count: int | None
    frame_rate_hz: float
    time_s: Callable[[Frame], float]
    detect: DetectFrames
    camera_motion: Mapping[int, FloatArray]
    estimates_camera_motion: bool = False
    batch_frames: int = 1
    class_names: Mapping[int, str] | None = None
    class_teller: str = "the detector"
    segmenter: Segmenter | None = None
    cut_short: threading.Event = field(default_factory=threading.Event)


@contextmanager
def open_input(job: Job, stop: threading.Event | None = None, notice: Notice = lambda _: None) -> Iterator[Input]:
    """Open and check the input of a job.

    Parameters
    ----------
    job
        What to track.
    stop
        Once set, the frames end.
    notice
        Called with each line that the user should see.

    Raises
    ------
    TrackerError
        For what cannot be read or does not fit together.
    """
    stop = stop or threading.Event()
    segmenter = chosen_segmenter(job)
    tell_idle_keys(job.config, notice)
    motion = job.camera_motion or {}
    recorded = recorded_detector(job, notice)
    if isinstance(motion, Path):
        motion = read_camera_motion(motion)

    if job.video is None:
        assert recorded is not None  # as Job sees to
        if job.config.tracking.appearance != "none":
            raise ConfigurationError(
                f"tracking.appearance is {job.config.tracking.appearance}: it needs the pictures, --video"
            )
        yield _recorded_input(job, recorded, motion, stop, notice)
        return
    with open_video(job.video, start=job.start, frames=job.frames) as video:
        yield _video_input(job, video, recorded, segmenter, motion, stop, notice)


def _recorded_input(
    job: Job,
    recorded: RecordedDetector,
    motion: Mapping[int, FloatArray],
    stop: threading.Event,
    notice: Notice,
) -> Input:
    file = job.detections if isinstance(job.detections, Path) else None
    promised = 0 if file is None else sequence_info_near(file).frame_count or 0
    last = max(promised, recorded.last_frame)
    indices = range(job.start, last + 1)[: job.frames]
    if not indices:
        problem = f"ends with frame {last}; nothing is left from frame {job.start} on" if last else "holds no row"
        raise FormatError(_label(job.detections), None, problem)
    rate_hz = settle_rate_hz(job.frame_rate_hz, [file], job.config, notice)
    tell_unknown_motion(_label(job.camera_motion), motion, indices, notice)
    cut_short = threading.Event()
    return Input(
        name=_sequence_name(Path(_label(job.detections))),
        video=None,
        frames=until(_blank_frames(indices, rate_hz), stop, cut_short),
        frame_count=len(indices),
        frame_rate_hz=rate_hz,
        time_s=lambda frame: frame.time_s,
        detect=_lookup(recorded),
        camera_motion=motion,
        class_names=recorded.class_names,
        class_teller=_label(job.detections),
        cut_short=cut_short,
    )


def _video_input(
    job: Job,
    video: VideoSource,
    recorded: RecordedDetector | None,
    segmenter: Segmenter | None,
    motion: Mapping[int, FloatArray],
    stop: threading.Event,
    notice: Notice,
) -> Input:
    assert job.video is not None
    demand_promised_reach(job, recorded, video, motion)
    if video.frame_count is not None:
        indices = range(job.start, job.start + video.frame_count)
        tell_unknown_motion(_label(job.camera_motion), motion, indices, notice)
    files = [job.detections] if isinstance(job.detections, Path) else []
    rate_hz = settle_rate_hz(job.frame_rate_hz, files, job.config, notice, (job.video, video))
    agreed = same_rate(rate_hz, video.frame_rate_hz)
    # Images have no times of their own, so that the overlay, too, takes the rate that was settled on.
    retimed_hz = None if agreed or job.video.is_file() else rate_hz
    cut_short = threading.Event()
    network: NeuralDetector | None = None
    if recorded is not None:
        detect, class_names = _lookup(recorded), recorded.class_names
    elif segmenter is not None:
        detect, class_names = _nothing, None
    else:
        detector = chosen_detector(job)
        network = detector if isinstance(detector, NeuralDetector) else None
        detect, class_names = _looking(detector), None if network is None else network.class_names
    if network is not None and job.detector is None:
        notice(f"detector: {network}")
    return Input(
        name=video.name,
        video=video,
        frames=_video_frames(job, video, retimed_hz, _reaches(job, recorded, motion), stop, cut_short),
        frame_count=video.frame_count,
        frame_rate_hz=rate_hz,
        time_s=(lambda frame: frame.time_s) if agreed else (lambda frame: (frame.index - 1) / rate_hz),
        detect=_with_features(detect, feature_extractor(job.config, notice)),
        camera_motion=motion,
        estimates_camera_motion=estimates_camera_motion(job),
        batch_frames=1 if network is None else network.batch_frames,
        class_names=class_names,
        class_teller="the detector" if recorded is None else _label(job.detections),
        segmenter=segmenter,
        cut_short=cut_short,
    )


def _nothing(frames: Sequence[Frame]) -> list[Detections]:
    """Detect nothing, where pixels are observed instead."""
    return [Detections.empty() for _ in frames]


def _blank_frames(indices: range, rate_hz: float) -> Iterator[Frame]:
    return (Frame(index, (index - 1) / rate_hz, None) for index in indices)


def until(items: Iterable[Item], stop: threading.Event, cut_short: threading.Event) -> Generator[Item, None, None]:
    """Yield the items until ``stop`` is set; ``cut_short`` tells that there were more."""
    for item in items:
        if stop.is_set():
            cut_short.set()
            return
        yield item


def _video_frames(
    job: Job,
    video: VideoSource,
    retimed_hz: float | None,
    reaches: Iterable[tuple[str, int]],
    stop: threading.Event,
    cut_short: threading.Event,
) -> Generator[Frame, None, None]:
    """Yield the frames; at their end, say so when data come with them that go further."""
    end = 0
    for frame in until(video, stop, cut_short):
        end = frame.index
        yield frame if retimed_hz is None else Frame(end, (end - 1) / retimed_hz, frame.image)
    if video.loss is None and not cut_short.is_set():
        _demand_reach(job, reaches, end)


def demand_promised_reach(
    job: Job, recorded: RecordedDetector | None, video: VideoSource, motion: Mapping[int, FloatArray] | None = None
) -> None:
    """Raise an error when a job's data go beyond what its video tells of its length, if it does.

    Raises
    ------
    FormatError
        Naming the data.
    """
    if video.frame_count is not None:
        slack_frames = COUNT_SLACK_S * video.frame_rate_hz
        _demand_reach(job, _reaches(job, recorded, motion), job.start - 1 + video.frame_count, slack_frames)


def _reaches(
    job: Job, recorded: RecordedDetector | None, motion: Mapping[int, FloatArray] | None
) -> list[tuple[str, int]]:
    """Return what comes with the video, by name, and the last frame of each."""
    last_recorded = 0 if recorded is None else recorded.last_frame
    return [(_label(job.detections), last_recorded), (_label(job.camera_motion), max(motion or [0]))]


def _demand_reach(job: Job, reaches: Iterable[tuple[str, int]], end: int, slack_frames: float = 0.0) -> None:
    """Raise an error when data go beyond frame ``end``, but for frames that are not asked for."""
    asked = math.inf if job.frames is None else job.start + job.frames - 1
    for source, last in reaches:
        if end + slack_frames < min(last, asked):
            raise FormatError(source, None, f"goes to frame {last}, but the video ends with frame {end}")


def _lookup(recorded: RecordedDetector) -> DetectFrames:
    return lambda frames: [recorded.at(frame.index) for frame in frames]


def recorded_detector(job: Job, notice: Notice = lambda _: None) -> RecordedDetector | None:
    """Return the job's recorded detections; None where it has a detector.

    Raises
    ------
    TrackerError
        For a file that cannot be read, and for classes to be kept that it does not know.
    """
    if job.detections is None:
        return None
    return recorded_detections(job.detections, job.config.detection.recorded, notice)


def chosen_detector(job: Job) -> Detect:
    """Return the job's detector, or else that of the configuration."""
    detection = job.config.detection
    if job.detector is not None:
        return job.detector
    if detection.kind == "background":
        from tracker.detection.background import BackgroundDetector

        return BackgroundDetector(detection.background)
    if detection.kind == "onnx":
        from tracker.detection.onnx import OnnxDetector

        return OnnxDetector(detection.onnx)
    raise ConfigurationError("detection.kind is recorded: --detections must name the file")


def feature_extractor(config: Config, notice: Notice = lambda _: None) -> Extract | None:
    """Return what adds features to the detections of a picture, as the configuration names it; None for nothing.

    ``notice`` is told what network it is.

    Raises
    ------
    TrackerError
        When the network cannot be used.
    """
    kind = config.tracking.appearance
    floor, visible = config.tracking.association.score_floor, config.tracking.likeness.least_visible
    if kind == "histogram":
        from tracker.detection.histogram import histogram_features

        return lambda image, detections: detections.with_features(
            histogram_features(image, detections, score_floor=floor, least_visible=visible)
        )
    if kind == "onnx":
        from tracker.detection.embedding import Embedding

        embedding = Embedding(config.detection.embedding)
        notice(f"appearance: {embedding}")
        return lambda image, detections: detections.with_features(
            embedding.features(image, detections, score_floor=floor, least_visible=visible)
        )
    return None


def chosen_segmenter(job: Job) -> Segmenter | None:
    """Return what tells the foreground's pixels; None where boxes are observed.

    Raises
    ------
    ConfigurationError
        When pixels are to be observed and there are none.
    """
    if job.config.tracking.observations == "boxes":
        return None
    problem = "tracking.observations is pixels"
    if job.detections is not None:
        raise ConfigurationError(f"{problem}: recorded detections are boxes; leave them out, and give a video")
    if job.detector is not None:
        if isinstance(job.detector, Segmenter):
            return job.detector
        raise ConfigurationError(f"{problem}: a {type(job.detector).__name__} has no segment(image, occupied_xyxy)")
    if job.config.detection.kind != "background":
        kind = job.config.detection.kind
        raise ConfigurationError(f"{problem}: detection.kind is {kind}; only background tells an object's pixels")
    if job.config.tracking.appearance != "none":
        looks = job.config.tracking.appearance
        raise ConfigurationError(f"{problem}: tracking.appearance is {looks}; it must be none, looks are told of boxes")
    from tracker.detection.background import BackgroundDetector

    return BackgroundDetector(job.config.detection.background)


def estimates_camera_motion(job: Job) -> bool:
    """Tell whether to look for the camera's motion: it is not given, and the detector does not need a still camera."""
    subtracts = job.detector is None and job.detections is None and job.config.detection.kind == "background"
    return job.camera_motion is None and job.config.tracking.camera_motion == "auto" and not subtracts


def seen_by(detector: Detect, images: Sequence[Image], named: str = "the detector") -> list[Detections]:
    """Return what a detector sees in images, given to it together where it takes several.

    Raises
    ------
    DetectorError
        When it returns anything but detections; ``named`` begins the message.
    """
    if isinstance(detector, NeuralDetector):
        found = detector.detect_batch(images)
    else:
        look = detector.detect if hasattr(detector, "detect") else detector
        found = [look(image) for image in images]
    for detections in found:
        if not isinstance(detections, Detections):
            raise DetectorError(f"{named} returned a {type(detections).__name__}; it must return Detections")
    return found


def _looking(detector: Detect) -> DetectFrames:
    """Return a function that gives a detector the frames' images."""
    return lambda frames: seen_by(detector, [frame.image for frame in frames if frame.image is not None])


def _with_features(detect: DetectFrames, extract: Extract | None) -> DetectFrames:
    """Return a function that looks at what is detected, too, where that is wanted."""
    if extract is None:
        return detect

    def look(frames: Sequence[Frame]) -> list[Detections]:
        found = zip(frames, detect(frames), strict=True)
        return [extract(frame.image, seen) for frame, seen in found if frame.image is not None]

    return look


def _label(source: object) -> str:
    """Name data in errors: by the file, where it is one."""
    return str(source) if isinstance(source, Path) else "detections"


def _sequence_name(path: Path) -> str:
    """Return the name of a detection file's sequence: ``SEQ`` for ``SEQ/det/det.txt`` and ``SEQ/det.txt``."""
    folder = path.absolute().parent
    if path.stem != "det":
        return path.stem
    return folder.parent.name if folder.name == "det" else folder.name
