"""Where results go: the overlay video and the track file.

Both are written under a temporary name in the folder of the final file: what bears the final name is always
whole. The steps that end a sink can be taken apart, so that the files of one run appear together or not at all::

    sink.finish()     # close the temporary file; it is complete and playable, still under its temporary name
    sink.publish()    # give it its final name, replacing an earlier file (finishes first where needed)
    sink.discard()    # or: remove it

As a context manager a sink publishes when its block ends and discards when an exception leaves it, Ctrl-C
included; one that was published or discarded inside the block is left alone. To keep several files in step, or
to keep what was written before an interruption, finish and publish explicitly inside the block.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.codec.codec import UnknownCodecError

from tracker.errors import OutputError, reason_of
from tracker.formats.files import landing, partial_of
from tracker.formats.motchallenge import format_rows
from tracker.media.h264 import ENCODER, Ticks, describe, picture_of
from tracker.structures import Image, Tracks


class PendingFile(ABC):
    """A file being written under a temporary name; see the module for its life.

    Parameters
    ----------
    path
        The final name; its folder must exist.

    Raises
    ------
    OutputError
        From every method, when the folder or the file cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._target = landing(path)
        self._partial = partial_of(self._target)
        self._open = True
        self._pending = True
        self._whole = True
        with self._telling():
            self._partial.write_bytes(b"")

    @property
    def partial_path(self) -> Path:
        """The temporary file."""
        return self._partial

    def finish(self) -> None:
        """Complete and close the temporary file; nothing can be written afterwards."""
        if self._open:
            self._open = False
            with self._telling():
                try:
                    if self._whole:
                        self._complete()
                finally:
                    self._close()
        if not self._whole:
            raise OutputError(f"{self.path}: is not complete, for it could not be written earlier")

    def publish(self) -> None:
        """Finish, and give the file its final name; an earlier file of that name is replaced."""
        self.finish()
        if self._pending:
            with self._telling():
                self._partial.replace(self._target)
            self._pending = False

    def discard(self) -> None:
        """Remove the temporary file; a published file stays."""
        if self._open:
            self._open = False
            with suppress(OSError, av.FFmpegError):
                self._close()
        if self._pending:
            self._pending = False
            with self._telling():
                self._partial.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._pending:
                self.publish()
        finally:
            self.discard()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Turn what the system and libav raise into one line that names the final file."""
        try:
            yield
        except (OSError, av.FFmpegError) as error:
            self._whole = False
            raise OutputError(f"{self.path}: cannot be written: {reason_of(error)}") from None

    @abstractmethod
    def _complete(self) -> None:
        """Write what is held back."""

    @abstractmethod
    def _close(self) -> None:
        """Close the temporary file."""


class OverlayVideo(PendingFile):
    """An H.264 video that browsers and players accept: yuv420p, BT.709, index in front of the pictures.

    Parameters
    ----------
    path
        The final name.
    width_px, height_px
        Size of the images to come; odd sizes are made even by repeating the last column or row.
    frame_rate_hz
        Average rate, for the encoder's rate control; the time stamps are those of the frames.
    crf
        Quality: 0 lossless, 23 usual, 51 worst.

    Raises
    ------
    OutputError
        When the file cannot be written or the encoder refuses the size.
    """

    def __init__(self, path: str | Path, width_px: int, height_px: int, frame_rate_hz: float, crf: int) -> None:
        super().__init__(path)
        self._size_px = (width_px, height_px)
        self._ticks = Ticks()
        self._container = av.open(str(self._partial), "w", format="mp4", options={"movflags": "+faststart"})
        try:
            self._stream = self._container.add_stream(
                ENCODER,
                rate=Fraction(frame_rate_hz).limit_denominator(1001),
                options={"preset": "veryfast", "crf": str(crf)},
            )
            describe(self._stream, width_px, height_px)
            self._stream.codec_context.thread_type = "AUTO"  # slices alone, PyAV's choice, cost x264 size and speed
            with self._telling():
                # At once: a header that fails with the first frame is tried again by the next, and libav crashes.
                self._container.start_encoding()
        except UnknownCodecError:
            self.discard()
            raise OutputError(f"{self.path}: PyAV comes without {ENCODER}; its wheels have it") from None
        except OutputError:
            self.discard()
            raise

    def write(self, image: Image, time_s: float) -> None:
        """Append an image; the first one's time becomes 0.

        Parameters
        ----------
        image
            (height, width, 3) uint8, blue-green-red.
        time_s
            Time of the frame; times that do not increase by 1/90000 s are made to.

        Raises
        ------
        ValueError
            When the image has not the size announced, or the video is finished.
        OutputError
            When the file cannot be written.
        """
        height_px, width_px = image.shape[:2]
        if (width_px, height_px) != self._size_px:
            raise ValueError(f"image is {width_px}x{height_px} px; the video is {self._size_px} px")
        if not self._open:
            raise ValueError(f"{self.path} is finished; nothing can be added")
        picture = picture_of(image, self._ticks.of(time_s))
        with self._telling():
            self._container.mux(self._stream.encode(picture))

    def _complete(self) -> None:
        self._container.mux(self._stream.encode())

    def _close(self) -> None:
        self._container.close()


class TrackFile(PendingFile):
    """A MOTChallenge result file, row by row in the order of the frames.

    Parameters
    ----------
    path
        The final name.
    classes
        Whether to write the class of each object.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """

    def __init__(self, path: str | Path, *, classes: bool = False) -> None:
        super().__init__(path)
        self._classes = classes
        with self._telling():
            self._file = self._partial.open("w", encoding="utf-8", newline="\n")

    def write(self, frame_index: int, tracks: Tracks) -> None:
        """Append the rows of one frame.

        Raises
        ------
        OutputError
            When the file cannot be written.
        """
        with self._telling():
            self._file.write(format_rows(frame_index, tracks, classes=self._classes))

    def _complete(self) -> None:
        self._file.flush()

    def _close(self) -> None:
        self._file.close()
