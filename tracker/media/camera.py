"""Live pictures: a camera, a network stream, or a file replayed at its own pace; always the newest.

A thread reads the source and keeps one picture, the newest. Whoever is too slow for all of them misses some, which
are counted, but never falls behind::

    with LiveCapture("rtsp://camera/stream", LiveConfig()) as capture:
        while not capture.ended:
            if (captured := capture.newest(timeout_s=0.1)) is not None:
                ...
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import av
import cv2
import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream

from tracker.config import LiveConfig
from tracker.errors import VideoError, reason_of
from tracker.media.closing import Closing
from tracker.media.sources import open_video, upright_bgr
from tracker.structures import Frame, Image

CaptureState: TypeAlias = Literal["connecting", "running", "paused", "stalled", "ended"]

_Picture: TypeAlias = tuple[float, Image | None]
"""Time in seconds, and the image; None for one that cannot be decoded."""

_DEVICES = Path("/dev")
_LEAST_STEP_S = 1e-3
_POLL_S = 0.05
_GRACE_S = 0.5  # a read that hangs in the network is not waited for at the end


class Clock:
    """Seconds that never go back, and how to wait for them.

    Parameters
    ----------
    speed
        Seconds of this clock per second; above 1 for simulations.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed

    def now_s(self) -> float:
        """Return the time."""
        return self._speed * time.monotonic()

    def wait(self, event: threading.Event, duration_s: float) -> bool:
        """Wait until ``event`` is set, but no longer than ``duration_s``; tell whether it is."""
        return event.wait(duration_s / self._speed)


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """A picture as it came.

    Parameters
    ----------
    frame
        Its index counts all pictures of the source, its time is that of its arrival since the capture began (for a
        file: its own time). Times strictly increase.
    after_outage
        True when no picture had come for longer than ``stall_s``: what was in view before may have gone.
    """

    frame: Frame
    after_outage: bool


class LiveCapture(Closing):
    """A source that is read in a thread of its own; a context manager.

    A source that is lost is connected anew, after a wait that doubles with each attempt, for as long as it takes.

    Parameters
    ----------
    source
        The number of a camera, a URL that libav reads (``http://``, ``rtsp://``, ``udp://``, ...), or the path of
        a video file or folder of images, which is replayed at its own pace and then ends.
    config
        When a silent source counts as stalled or lost, and how long to wait before it is connected anew.
    clock
        The time of the pictures.
    notice
        Called, from the thread that reads, with each line that the user should see.

    Raises
    ------
    VideoError
        When the source cannot be opened at the first attempt.

    Attributes
    ----------
    replay
        True for a file.
    ended
        True once :meth:`newest` has found that nothing more will come.
    captured, dropped, corrupt, reconnects
        Pictures that came, those of them that were superseded before anybody took them, those that could not be
        decoded; and how often the source was lost and found.
    """

    def __init__(
        self,
        source: str,
        config: LiveConfig,
        clock: Clock | None = None,
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._source = source
        self._config = config
        self._clock = clock or Clock()
        self._notice = notice
        self._stop = threading.Event()
        self._news = threading.Condition()
        self._waiting: Captured | None = None
        self._fault: BaseException | None = None
        self._connected = True
        self._last_s = -_LEAST_STEP_S
        self._paused_at_s: float | None = None
        self._done = False
        self.ended = False
        self.captured = self.dropped = self.corrupt = self.reconnects = 0
        feed = self._open()
        self.replay = isinstance(feed, _FileFeed)
        self._origin_s = self._clock.now_s()
        self._thread = threading.Thread(target=self._work, args=(feed,), name="capture", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let go of the source."""
        self._stop.set()
        self._thread.join(_GRACE_S)

    def newest(self, timeout_s: float) -> Captured | None:
        """Return the newest picture that was not returned before; None when none comes in time.

        Raises
        ------
        VideoError
            When a file turns out to be unreadable.
        """
        with self._news:
            self._news.wait_for(lambda: self._waiting is not None or self._done, timeout_s)
            waiting, self._waiting = self._waiting, None
            self.ended = self._done and waiting is None
        if self.ended and self._fault is not None:
            raise self._fault
        return waiting

    def now_s(self) -> float:
        """Return the time on the scale of the frames' times."""
        paused_at_s = self._paused_at_s
        return (self._clock.now_s() if paused_at_s is None else paused_at_s) - self._origin_s

    def pause(self, paused: bool) -> None:
        """Let a file stand still, or go on where it stood; a camera knows no pause."""
        if not self.replay or paused == (self._paused_at_s is not None):
            return
        now_s = self._clock.now_s()
        if paused:
            self._paused_at_s = now_s
        else:
            assert self._paused_at_s is not None
            self._origin_s += now_s - self._paused_at_s
            self._paused_at_s = None

    @property
    def state(self) -> CaptureState:
        """How the source is doing."""
        if self.ended:
            return "ended"
        if not self._connected:
            return "connecting"
        if self._paused_at_s is not None:
            return "paused"
        if not self.captured:
            return "connecting"
        return "stalled" if self._silent() else "running"

    def _silent(self) -> bool:
        return not self.replay and self.now_s() - self._last_s > self._config.stall_s

    def _open(self) -> _Feed:
        return _open_feed(self._source, self._config, self._clock)

    def _work(self, feed: _Feed | None) -> None:
        try:
            while feed is not None:
                try:
                    self._read(feed)
                    reason = f"{self._source}: the stream ended"
                except VideoError as error:
                    if self.replay:
                        raise
                    reason = str(error)
                feed = None if self.replay else self._reconnect(reason)
        except BaseException as error:  # whatever it is, it belongs to whoever asks for pictures
            self._fault = error
        finally:
            with self._news:
                self._done = True
                self._news.notify_all()

    def _read(self, feed: _Feed) -> None:
        with closing(feed):
            for time_s, image in feed.pictures():
                if self.replay:
                    self._wait_until(time_s)
                if self._stop.is_set():
                    return
                self._deliver(time_s if self.replay else time_s - self._origin_s, image)
        if isinstance(feed, _FileFeed) and feed.loss is not None:
            self._notice(f"warning: {feed.loss}")

    def _wait_until(self, time_s: float) -> None:
        while not self._stop.is_set():
            if self._paused_at_s is not None:
                self._stop.wait(_POLL_S)
            elif (early_s := time_s - self.now_s()) > 0.0:
                self._clock.wait(self._stop, early_s)
            else:
                return

    def _deliver(self, time_s: float, image: Image | None) -> None:
        with self._news:
            self.captured += 1
            if image is None:
                self.corrupt += 1
                return
            outage = not self.replay and self.captured > 1 and time_s - self._last_s > self._config.stall_s
            # Whatever the clock does, time goes on.
            self._last_s = max(time_s, self._last_s + _LEAST_STEP_S)
            if self._waiting is not None:
                self.dropped += 1
                outage = outage or self._waiting.after_outage
            self._waiting = Captured(Frame(self.captured, self._last_s, image), outage)
            self._news.notify_all()

    def _reconnect(self, reason: str) -> _Feed | None:
        """Return the source, connected again; None when the capture is closed before."""
        if self._stop.is_set():
            return None
        self._connected = False
        self._notice(f"{reason}; trying to reconnect")
        wait_s = self._config.backoff_s
        while not self._clock.wait(self._stop, wait_s):
            try:
                feed = self._open()
            except VideoError:
                wait_s = min(2.0 * wait_s, self._config.longest_backoff_s)
                continue
            self.reconnects += 1
            self._connected = True
            self._notice(f"{self._source}: connected again")
            return feed
        return None


class _Feed(Protocol):
    """What differs between sources: an open one, read from here to its end."""

    def pictures(self) -> Iterator[_Picture]:
        """Yield pictures as they come; end, or raise a VideoError, when no more will."""

    def close(self) -> None:
        """Let go of it."""


def _open_feed(source: str, config: LiveConfig, clock: Clock) -> _Feed:
    if source.isdecimal():
        return _CameraFeed(int(source), clock)
    if "://" in source:
        return _StreamFeed(source, config.timeout_s, clock)
    return _FileFeed(Path(source))


class _CameraFeed:
    """A camera of this machine, by its number."""

    def __init__(self, index: int, clock: Clock) -> None:
        # OpenCV prints warnings of its own when it is asked for a camera that is not there.
        if sys.platform == "linux" and not (_DEVICES / f"video{index}").exists():
            found = ", ".join(sorted(path.name.removeprefix("video") for path in _DEVICES.glob("video*")))
            raise VideoError(f"camera {index}: not connected; cameras at hand: {found or 'none'}")
        self._index = index
        self._clock = clock
        self._camera = cv2.VideoCapture(index)
        if not self._camera.isOpened():
            raise VideoError(f"camera {index}: cannot be opened; another program may be using it")
        self._camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    def pictures(self) -> Iterator[_Picture]:
        while self._camera.grab():
            time_s = self._clock.now_s()
            decoded, image = self._camera.retrieve()
            yield time_s, np.asarray(image, np.uint8) if decoded else None
        raise VideoError(f"camera {self._index}: gives no more pictures")

    def close(self) -> None:
        self._camera.release()


class _StreamFeed:
    """A stream of the network, decoded by libav."""

    def __init__(self, url: str, timeout_s: float, clock: Clock) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._clock = clock
        options = {"rtsp_transport": "tcp"} if url.startswith("rtsp") else {}
        try:
            self._container = av.open(url, timeout=timeout_s, options=options)
        except (OSError, ValueError, av.FFmpegError) as error:
            raise VideoError(f"{url}: cannot be opened: {self._reason(error)}") from None
        stream = self._container.streams.best("video")
        if not isinstance(stream, VideoStream):
            self._container.close()
            raise VideoError(f"{url}: holds no video stream")
        if self._container.duration is not None:
            self._container.close()
            raise VideoError(f"{url}: is a recording, not a stream; fetch it and give the file")
        stream.thread_type = "SLICE"  # threads per frame would hold pictures back
        stream.codec_context.options = {"err_detect": "explode"}  # instead of pictures that are half grey
        self._stream = stream

    def pictures(self) -> Iterator[_Picture]:
        try:
            for packet in self._packets():
                time_s = self._clock.now_s()
                try:
                    frames = self._stream.decode(packet)
                except av.FFmpegError:
                    yield time_s, None
                    continue
                for frame in frames:
                    yield time_s, None if frame.is_corrupt else upright_bgr(frame)
        except (OSError, av.FFmpegError) as error:
            raise VideoError(f"{self._url}: reading stopped: {self._reason(error)}") from None

    def close(self) -> None:
        self._container.close()

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        """Yield packets; raise a VideoError when none comes for too long."""
        packets = self._container.demux(self._stream)
        while True:
            began_s = time.monotonic()
            packet = next(packets, None)
            if packet is None:
                return
            # Where a demuxer (RTSP's) gives up, it first hands out what it had left, and would wait as long again.
            if time.monotonic() - began_s >= self._timeout_s:
                raise VideoError(f"{self._url}: reading stopped: {self._silence}")
            yield packet

    @property
    def _silence(self) -> str:
        return f"nothing came for {self._timeout_s:g} s"

    def _reason(self, error: Exception) -> str:
        if isinstance(error, av.error.ExitError):
            return self._silence
        return reason_of(error)


class _FileFeed:
    """A video file or a folder of images; the times are its own."""

    def __init__(self, path: Path) -> None:
        self._video = open_video(path)

    @property
    def loss(self) -> str | None:
        """What could not be decoded, once all has been read."""
        return self._video.loss

    def pictures(self) -> Iterator[_Picture]:
        for frame in self._video:
            yield frame.time_s, frame.image

    def close(self) -> None:
        self._video.close()
