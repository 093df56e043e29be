"""Where frames come from: a video file, a folder of images or a numbered image pattern.

A source is opened and iterated once::

    with open_video("street.mp4") as source:
        for frame in source:
            ...
        if source.loss is not None:
            print(source.loss)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Protocol, TypeAlias

import av
import cv2
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tracker.errors import VideoError, reason_of
from tracker.formats.motchallenge import sequence_info_near
from tracker.media.closing import Closing
from tracker.structures import Frame, Image

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
ASSUMED_RATE_HZ = 30.0

_Picture: TypeAlias = tuple[float, Callable[[], Image]]
"""Time in seconds, and a call that makes the image: pictures that are skipped cost no conversion."""

_NUMBER_FIELD = re.compile(r"%(?:0(\d+))?d")
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+", re.IGNORECASE)
_DURATION_SLACK_S = 1.0  # sound may well last longer than the pictures
_SMALLEST_HD_HEIGHT_PX = 720
_UNTOLD_COLORSPACES = frozenset({0, 2, 3})  # AVCOL_SPC_RGB (senseless for YUV), _UNSPECIFIED, _RESERVED
_BT601, _BT709 = 5, 1  # SWS_CS_ITU601, SWS_CS_ITU709
_ROTATION_CODES = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}


def open_video(path: str | Path, *, start: int = 1, frames: int | None = None) -> VideoSource:
    """Open a video file, a folder of images or a printf pattern such as ``img/%06d.jpg``.

    The first wanted frame is decoded at once, so that whatever is wrong with the input shows here.

    Parameters
    ----------
    path
        What to read. Images of a folder come in natural order (``2.png`` before ``10.png``), images of a
        pattern in the order of their numbers; both count from 1 in that order.
    start
        Number of the first frame to yield. Frames keep the numbers and times they have in the whole video.
    frames
        Number of frames to yield at most; None for all.

    Raises
    ------
    VideoError
        When nothing is there, it cannot be read as video or images, it holds no frame, or ``start`` lies
        beyond its last frame.
    ValueError
        When ``start`` or ``frames`` is below 1.
    """
    if start < 1 or (frames is not None and frames < 1):
        raise ValueError(f"start is {start} and frames {frames}; both are at least 1")
    path = Path(path)
    reader: _Reader
    if path.is_dir():
        reader = _ImageReader(_images_of_folder(path))
    elif path.exists():
        reader = _FileReader(path)
    elif _NUMBER_FIELD.search(path.name):
        reader = _ImageReader(_images_of_pattern(path))
    else:
        raise VideoError(f"{path}: no such video file or folder of images{_hint_of_stream(path)}")
    try:
        return VideoSource(path, reader, start, frames)
    except BaseException:
        reader.close()
        raise


def files_of(path: Path | None) -> list[Path]:
    """Return the files that :func:`open_video` reads for a path; none for None.

    Raises
    ------
    VideoError
        For a folder that it refuses.
    """
    if path is None:
        return []
    return _images_of_folder(path) if path.is_dir() else [path]


def _hint_of_stream(path: Path) -> str:
    """Say what to do with an address, of which a path keeps one slash only."""
    scheme = _ADDRESS.match(str(path))
    if scheme is None:
        return ""
    address = f"{scheme[1]}://{str(path)[scheme.end() :]}"
    return f"; it is the address of a stream: track live --camera {address}"


class _Reader(Protocol):
    """What differs between files and images: pictures in order, from the first."""

    frame_rate_hz: float
    frame_count: int | None

    def pictures(self) -> Iterator[_Picture]:
        """Yield every picture, times strictly increasing from 0."""

    def loss(self, *, at_end: bool) -> str | None:
        """Say what could not be decoded so far; ``at_end``: no picture is left."""

    def close(self) -> None:
        """Let go of the input."""


class VideoSource(Closing):
    """An open video, made by :func:`open_video`: a context manager, and an iterator of frames used once.

    The times of the frames strictly increase, from 0 at frame 1; all images have one size. Iteration raises
    :class:`~tracker.errors.VideoError` for an image that cannot be read or has another size than the first.

    Attributes
    ----------
    name
        Short name, fit for the name of an output folder.
    width_px, height_px
        Size of the images, after rotation.
    frame_rate_hz
        Average rate.
    frame_count
        Number of frames that iteration is expected to yield; None when the video does not tell.
    loss
        None, or after iteration one line that says what could not be decoded.
    """

    name: str
    width_px: int
    height_px: int
    frame_rate_hz: float
    frame_count: int | None
    loss: str | None

    def __init__(self, path: Path, reader: _Reader, start: int, frames: int | None) -> None:
        self.name = _short_name(path.absolute())
        self.width_px = self.height_px = 0
        self.frame_rate_hz = reader.frame_rate_hz
        self.frame_count = _count_in_span(reader.frame_count, start, frames)
        self.loss = None
        self._path = path
        self._reader = reader
        self._frames = self._span(start, frames)
        self._first: Frame | None = next(self._frames)

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return next(self._frames)

    def close(self) -> None:
        """Let go of the input; iteration ends."""
        self._first = None
        self._frames.close()
        self._reader.close()

    def _span(self, start: int, frames: int | None) -> Generator[Frame]:
        stop = None if frames is None else start - 1 + frames
        index = 0
        for index, (time_s, load) in islice(enumerate(self._reader.pictures(), 1), stop):
            if index >= start:
                image = load()
                self._check_size(index, image)
                yield Frame(index, time_s, image)
        if index == 0:
            raise VideoError(f"{self._path}: holds no frame that can be decoded")
        if index < start:
            raise VideoError(f"{self._path}: start is {start}, beyond the last frame, {index}")
        self.loss = self._reader.loss(at_end=stop is None or index < stop)

    def _check_size(self, index: int, image: Image) -> None:
        height_px, width_px = image.shape[:2]
        if self.width_px == 0:
            self.width_px, self.height_px = width_px, height_px
        if (width_px, height_px) != (self.width_px, self.height_px):
            raise VideoError(
                f"{self._path}: frame {index} is {width_px}x{height_px} px, those before it are "
                f"{self.width_px}x{self.height_px} px; all must have one size"
            )


class _FileReader:
    """A video file, decoded by libav on threads of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._container = av.open(str(path))
        except (OSError, av.FFmpegError) as error:
            raise VideoError(f"{path}: cannot be opened as a video: {reason_of(error)}") from None
        stream = self._container.streams.best("video")
        # libav takes any .txt file for a film of a text terminal.
        if not isinstance(stream, VideoStream) or self._container.format.name == "tty":
            self._container.close()
            raise VideoError(f"{path}: holds no video stream")
        stream.thread_type = "AUTO"
        self._stream = stream
        self.frame_rate_hz = float(stream.average_rate or stream.guessed_rate or ASSUMED_RATE_HZ)
        self.frame_count = stream.frames or round(self._duration_s() * self.frame_rate_hz) or None
        self._time_s = 0.0
        self._decoded = self._discarded = self._damaged = 0
        self._fault: str | None = None

    def pictures(self) -> Iterator[_Picture]:
        # A frame without a stamp, or with one that does not increase, follows the last good one (the anchor)
        # at the average rate.
        anchor_s, anchor_index = 0.0, 1
        origin: tuple[int, float] | None = None
        for index, frame in enumerate(self._frames(), 1):
            self._decoded = index
            self._time_s = anchor_s + (index - anchor_index) / self.frame_rate_hz
            if frame.pts is not None and frame.time_base is not None:
                origin = origin or (frame.pts, self._time_s)
                stamp_s = origin[1] + float((frame.pts - origin[0]) * frame.time_base)
                if stamp_s > anchor_s:
                    self._time_s = anchor_s = stamp_s
                    anchor_index = index
            yield self._time_s, partial(upright_bgr, frame)

    def loss(self, *, at_end: bool) -> str | None:
        faults = []
        promised = self._stream.frames - self._discarded
        end_s = self._time_s + 1 / self.frame_rate_hz
        if at_end and self._decoded < promised:
            faults.append(f"{self._decoded} of {promised} promised frames could be decoded")
        elif at_end and end_s < self._duration_s() - _DURATION_SLACK_S:
            faults.append(f"the frames end after {end_s:.1f} s of {self._duration_s():.1f} s")
        if self._damaged:
            faults.append(f"damaged packets: {self._damaged}")
        if self._fault:
            faults.append(f"reading stopped: {self._fault}")
        return f"{self._path}: {'; '.join(faults)}" if faults else None

    def close(self) -> None:
        self._container.close()

    def _duration_s(self) -> float:
        """Return the duration that the file promises; 0 when it does not tell."""
        if self._stream.duration is not None and self._stream.time_base is not None:
            return float(self._stream.duration * self._stream.time_base)
        return (self._container.duration or 0) / av.time_base

    def _frames(self) -> Iterator[VideoFrame]:
        for packet in self._packets():
            try:
                frames = self._stream.decode(packet)
            except av.FFmpegError:
                self._damaged += 1
                continue
            if packet is not None:
                self._damaged += packet.is_corrupt
                self._discarded += packet.is_discard
            yield from frames

    def _packets(self) -> Iterator[Packet[VideoStream] | None]:
        """Yield all packets; at last one that makes the decoder give out what it holds back."""
        try:
            yield from self._container.demux(self._stream)
        except (OSError, av.FFmpegError) as error:
            self._fault = reason_of(error)
            yield None


class _ImageReader:
    """Images that are frames of one video, read one by one."""

    def __init__(self, images: list[Path]) -> None:
        self.frame_rate_hz = sequence_info_near(images[0]).frame_rate_hz or ASSUMED_RATE_HZ
        self.frame_count: int | None = len(images)
        self._images = images

    def pictures(self) -> Iterator[_Picture]:
        for position, image in enumerate(self._images):
            yield position / self.frame_rate_hz, partial(_read_image, image)

    def loss(self, *, at_end: bool) -> str | None:  # noqa: ARG002 - images are whole or raise
        return None

    def close(self) -> None:
        pass


def _count_in_span(count: int | None, start: int, frames: int | None) -> int | None:
    if count is None:
        return None
    left = max(count - start + 1, 0)
    return left if frames is None else min(left, frames)


def _short_name(path: Path) -> str:
    if path.is_dir():
        return path.name
    return path.stem if path.exists() else path.parent.name


def upright_bgr(frame: VideoFrame) -> Image:
    """Convert a decoded frame to blue-green-red, turned as its display matrix says.

    Where the file does not name its colour matrix, the picture's height does, as in the usual players.
    """
    matrix = None
    if frame.colorspace in _UNTOLD_COLORSPACES and not frame.format.is_rgb:
        matrix = _BT709 if frame.height >= _SMALLEST_HD_HEIGHT_PX else _BT601
    image: Image = np.asarray(frame.to_ndarray(format="bgr24", src_colorspace=matrix), np.uint8)
    quarter_turns = round(frame.rotation / 90) % 4
    if quarter_turns:
        image = np.asarray(cv2.rotate(image, _ROTATION_CODES[quarter_turns]), np.uint8)
    return image


def _read_image(path: Path) -> Image:
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise VideoError(f"{path}: cannot be read: {reason_of(error)}") from None
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise VideoError(f"{path}: not an image that can be read")
    return np.asarray(image, np.uint8)


def _images_of_folder(folder: Path) -> list[Path]:
    images = [file for file in _files(folder) if file.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise VideoError(f"{folder}: a folder without images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    images.sort(key=_natural_order)
    for one, other in pairwise(images):
        if one.stem == other.stem:
            raise VideoError(
                f"{folder}: holds both {one.name} and {other.name}; each frame must be one image, "
                "as a pattern such as img/%06d.jpg chooses it"
            )
    return images


def _images_of_pattern(pattern: Path) -> list[Path]:
    before, digits, after = _NUMBER_FIELD.split(pattern.name, 1)
    number = rf"(\d{{{digits}}}|[1-9]\d{{{digits},}})" if digits else r"(0|[1-9]\d*)"
    name = re.compile(re.escape(before) + number + re.escape(after))
    matches = {file: name.fullmatch(file.name) for file in _files(pattern.parent)}
    numbers = {file: int(match[1]) for file, match in matches.items() if match is not None}
    if not numbers:
        raise VideoError(f"{pattern}: no such file, and no image whose name follows this pattern")
    return sorted(numbers, key=numbers.__getitem__)


def _files(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith(".")]
    except OSError as error:
        raise VideoError(f"{folder}: cannot be read: {reason_of(error)}") from None


def _natural_order(file: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", file.name)
    return [(int(part), part) if part.isdecimal() else (-1, part) for part in parts]
