"""Live sources for tests: a loopback stream that sends what it is told to, and a clock that a test winds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue

import cv2
import numpy as np

from tracker.media.camera import Clock
from tracker.media.closing import Closing
from tracker.structures import Image

PATIENCE_S = 30.0


def picture(level: int, width_px: int = 96, height_px: int = 64) -> Image:
    """Return noise of this brightness: as a JPEG it has several kilobytes, as real pictures do."""
    noise = np.random.default_rng(level).integers(-20, 20, (height_px, width_px, 3))
    return np.clip(level + noise, 0, 255).astype(np.uint8)


def jpeg(image: Image) -> bytes:
    return cv2.imencode(".jpg", image)[1].tobytes()


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for something that has no event of its own."""
    pause = threading.Event()
    for _ in range(round(PATIENCE_S / 0.005)):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError("it did not come about")


class PictureServer(Closing):
    """An HTTP-MJPEG stream on the loopback for one client at a time; pictures that are sent wait for a client."""

    def __init__(self, port: int = 0) -> None:
        self._lock = threading.Lock()
        self._line: SimpleQueue[bytes | None] = SimpleQueue()
        self._served = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                line = outer._join()
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                try:
                    while (data := line.get()) is not None:
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                        self.wfile.write(head.encode() + data + b"\r\n")
                except ConnectionError:
                    pass

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def _join(self) -> SimpleQueue[bytes | None]:
        """Return the line for a new client; the one before, if there is one, is hung up on."""
        with self._lock:
            if self._served:
                self._line.put(None)
                self._line = SimpleQueue()
            self._served = True
            return self._line

    def send(self, *pictures: Image | bytes) -> None:
        with self._lock:
            for item in pictures:
                self._line.put(item if isinstance(item, bytes) else jpeg(item))

    def hang_up(self) -> None:
        """End the connection, after what has been sent before; what is sent from now on is for the next client."""
        with self._lock:
            self._line.put(None)
            self._line, self._served = SimpleQueue(), False

    def close(self) -> None:
        """Listen no more, and hang up."""
        self._server.shutdown()
        self._server.server_close()
        self.hang_up()
        self._thread.join()


class ManualClock(Clock):
    """Stands still until it is wound; remembers how long it was asked to wait."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 1000.0
        self._wound = threading.Condition()
        self.waits_s: list[float] = []
        self.in_a_hurry = False

    def now_s(self) -> float:
        return self._now_s

    def wind(self, seconds: float) -> None:
        with self._wound:
            self._now_s += seconds
            self._wound.notify_all()

    def wait(self, event: threading.Event, duration_s: float) -> bool:
        self.waits_s.append(duration_s)
        with self._wound:
            until_s = self._now_s + duration_s
            while not (event.is_set() or self.in_a_hurry or self._now_s >= until_s - 1e-9):
                self._wound.wait(0.01)
        return event.is_set()
