"""Recording of something that may end at any moment: by a power cut, a full disk, ``kill -9``.

A recording is a folder of segments, ``overlay.mp4`` with ``tracks.txt`` (and ``events.csv``, where regions are
watched), then ``overlay-2.mp4`` with ``tracks-2.txt`` and so on. The videos are fragmented MP4: every second or so a
fragment is written that needs nothing of what follows, so that a file that was never closed plays up to its last
fragment. Rows of tracks and events are handed to the system frame by frame.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import IO

import av
from av.video.stream import VideoStream

from tracker.errors import OutputError, reason_of
from tracker.formats.motchallenge import format_rows
from tracker.media.closing import Closing
from tracker.media.h264 import ENCODER, TICKS_PER_S, Ticks, describe, picture_of
from tracker.media.regions import EVENTS_HEADER, RegionEvent, format_events
from tracker.structures import Image, Tracks

_NOMINAL_RATE_HZ = 30
_FRAGMENT_S = 1.0
_NEVER = 1 << 20  # frames from one key picture to the next, but for those that are asked for
_WAITING_FRAMES = 4


class FragmentedVideo:
    """An H.264 video that plays up to its last second however its writing ends.

    Parameters
    ----------
    path
        The file; it must not exist.
    width_px, height_px
        Size of the images to come; odd sizes are made even by repeating the last column or row.
    crf
        Quality: 0 lossless, 23 usual, 51 worst.

    Raises
    ------
    OutputError
        From every method, when the file cannot be written; it then ends with its last whole fragment.
    """

    def __init__(self, path: Path, width_px: int, height_px: int, crf: int) -> None:
        self.path = path
        self._ticks = Ticks()
        self._fragment_ticks = 0
        with _output_errors(path):
            self._file = _WholeFragments(path.open("xb", buffering=0))
            self._container = av.open(
                self._file,
                "w",
                format="mp4",
                options={"movflags": "empty_moov+default_base_moof+frag_keyframe", "flush_packets": "1"},
            )
            # Without look-ahead and B-frames no picture waits in the encoder for later ones.
            options = {"preset": "veryfast", "tune": "zerolatency", "crf": str(crf), "g": str(_NEVER)}
            stream = self._container.add_stream(ENCODER, rate=_NOMINAL_RATE_HZ, options=options)
            assert isinstance(stream, VideoStream)
            describe(stream, width_px, height_px)
            self._stream = stream
            self._container.start_encoding()
            self._file.mark_whole()

    def write(self, image: Image, time_s: float) -> None:
        """Append an image (height, width, 3) of the announced size; the first one's time becomes 0."""
        ticks = self._ticks.of(time_s)
        picture = picture_of(image, ticks)
        if ticks >= self._fragment_ticks:
            # A fragment ends where the next key picture comes: by time, since a live rate is not known beforehand.
            picture.pict_type = av.video.frame.PictureType.I
            self._fragment_ticks = ticks + round(_FRAGMENT_S * TICKS_PER_S)
        with _output_errors(self.path):
            self._container.mux(self._stream.encode(picture))
            self._file.mark_whole()

    def close(self) -> None:
        """Complete and close the file."""
        with ExitStack() as stack:
            stack.callback(self._file.close)
            with _output_errors(self.path):
                if not self._file.failed:
                    self._container.mux(self._stream.encode())
                self._container.close()


class _WholeFragments:
    """The file beneath a muxer: what cannot be written whole is taken back, and nothing more is written then."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._whole_bytes = 0
        self.failed = False

    def write(self, data: bytes) -> int:
        """Write all of ``data``, as libav calls it; after a failure nothing."""
        if self.failed:
            return len(data)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self.failed = True
            with suppress(OSError):
                self._file.truncate(self._whole_bytes)
            raise
        return len(data)

    def mark_whole(self) -> None:
        """Take what has been written so far for whole."""
        self._whole_bytes = self._file.tell()

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True, slots=True)
class _Names:
    """The files of a segment; ``events`` is None where no regions are watched."""

    video: Path
    rows: Path
    events: Path | None

    @property
    def all(self) -> list[Path]:
        return [path for path in (self.video, self.rows, self.events) if path is not None]


class _Segment:
    """A video, and the rows and events that belong to its pictures."""

    def __init__(self, names: _Names, image: Image, time_s: float, crf: int, frames_before: int) -> None:
        self.size = image.shape
        self.start_s = time_s
        self._names = names
        self._frames_before = frames_before
        self._frames = 0
        with ExitStack() as stack:
            self._video = FragmentedVideo(names.video, image.shape[1], image.shape[0], crf)
            stack.callback(self._video.close)
            self._rows = stack.enter_context(_text(names.rows))
            self._events = None
            if names.events is not None:
                self._events = stack.enter_context(_text(names.events))
                self._append(self._events, names.events, EVENTS_HEADER)
            self._files = stack.pop_all()

    def write(self, image: Image, time_s: float, tracks: Tracks, *, classes: bool) -> None:
        self._frames += 1
        self._video.write(image, time_s)
        self._append(self._rows, self._names.rows, format_rows(self._frames, tracks, classes=classes))

    def write_events(self, events: Sequence[RegionEvent], class_names: Mapping[int, str] | None) -> None:
        assert self._events is not None
        assert self._names.events is not None
        own = [
            replace(event, frame=event.frame - self._frames_before, time_s=event.time_s - self.start_s)
            for event in events
        ]
        self._append(self._events, self._names.events, format_events(own, class_names))

    def _append(self, file: IO[str], path: Path, text: str) -> None:
        with _output_errors(path):
            file.write(text)
            file.flush()

    def close(self) -> None:
        self._files.close()


class Recording(Closing):
    """Pictures with their tracks, encoded and written in a thread of their own.

    A segment ends after ``segment_s`` or when the pictures change their size. Frame numbers in its ``tracks`` and
    ``events`` files are those of the pictures in its ``overlay`` video, counted from 1; times of events begin with it,
    too. Identities run on through all segments. Who was lost since was seen last before the segment, at a frame below
    1. What the folder holds is never replaced: a later recording goes on with the next free number.

    Parameters
    ----------
    folder
        Where the files go; made when it does not exist.
    crf
        Quality of the video: 0 lossless, 23 usual, 51 worst.
    segment_s
        Length of a segment.
    class_names
        Names of classes by label, for the events; the rows tell classes unless it is None, see
        :func:`tracker.formats.motchallenge.format_rows`.
    with_events
        Whether regions are watched, and there are files for their events.

    Raises
    ------
    OutputError
        When the folder cannot be made; from :meth:`write`, :meth:`write_events` and :meth:`close`, when a file could
        not be written. The files are complete up to there.
    """

    def __init__(
        self,
        folder: Path,
        crf: int,
        segment_s: float,
        *,
        class_names: Mapping[int, str] | None = None,
        with_events: bool = False,
    ) -> None:
        self.folder = folder
        self.files: list[Path] = []
        self._crf = crf
        self._segment_s = segment_s
        self._class_names = class_names
        self._with_events = with_events
        self._segment: _Segment | None = None
        self._frames = 0
        self._room = threading.Semaphore(_WAITING_FRAMES)
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._fault: BaseException | None = None
        with _output_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._work, name="recording", daemon=True)
        self._thread.start()

    def write(self, image: Image, time_s: float, tracks: Tracks) -> None:
        """Append a picture, which must not change any more, and its tracks; waits while the encoder lags behind."""
        self._put(lambda: self._write(image, time_s, tracks))

    def write_events(self, events: Sequence[RegionEvent]) -> None:
        """Append events of the pictures so far, whose frames count from the first of the recording."""
        if events:
            self._put(lambda: self._write_events(events))

    def close(self) -> None:
        """Write what is waiting, and complete the files."""
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()
        if self._fault is not None:
            raise self._fault

    def _put(self, write: Callable[[], None]) -> None:
        self._room.acquire()
        if self._fault is not None:
            raise self._fault
        self._waiting.put(write)

    def _work(self) -> None:
        try:
            with ExitStack() as stack:
                stack.callback(self._end_segment)
                while (write := self._waiting.get()) is not None:
                    write()
                    self._room.release()
        except BaseException as error:  # whatever it is, it belongs to the caller
            self._fault = error
            self._room.release()

    def _write(self, image: Image, time_s: float, tracks: Tracks) -> None:
        segment = self._segment
        if segment is not None and (image.shape != segment.size or time_s - segment.start_s >= self._segment_s):
            self._end_segment()
        if self._segment is None:
            names = self._next_names()
            self.files += names.all
            self._segment = _Segment(names, image, time_s, self._crf, self._frames)
        self._frames += 1
        self._segment.write(image, time_s, tracks, classes=self._class_names is not None)

    def _write_events(self, events: Sequence[RegionEvent]) -> None:
        assert self._segment is not None, "events belong to pictures"
        self._segment.write_events(events, self._class_names)

    def _end_segment(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()

    def _next_names(self) -> _Names:
        for number in count(1):
            suffix = f"-{number}" if number > 1 else ""
            events = self.folder / f"events{suffix}.csv" if self._with_events else None
            names = _Names(self.folder / f"overlay{suffix}.mp4", self.folder / f"tracks{suffix}.txt", events)
            if not any(path.exists() for path in names.all):
                return names
        raise AssertionError("count() does not end")


@contextmanager
def _text(path: Path) -> Iterator[IO[str]]:
    """Open a new text, and close it."""
    with _output_errors(path), path.open("x", encoding="utf-8", newline="\n") as file:
        yield file


@contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        raise OutputError(f"{path}: cannot be written: {reason_of(error)}") from None
