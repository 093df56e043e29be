"""Measure the live loop: latency, several streams, memory over a long run.

    python tools/live_benchmark.py latency [--seconds S] [--show] [--record]
    python tools/live_benchmark.py streams [--counts 1 4 8] [--seconds S] [--size 1280x720] [--rate HZ]
    python tools/live_benchmark.py memory [--minutes M] [--speed X]

``latency`` and ``streams`` follow a scene of walking blocks that a process of its own serves as HTTP-MJPEG on the
loopback, every picture at its time; every stream is followed by a process of its own. ``memory`` lets one process
follow a simulated camera on a clock that runs faster.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import cv2
import numpy as np

from tracker import load_config
from tracker.app.hub import LiveStats
from tracker.app.live import LiveJob, run_live
from tracker.app.warming import warm_up
from tracker.media import camera
from tracker.media.camera import Clock
from tracker.structures import Image

LOOP_FRAMES = 240
OBJECTS = 12


def scene(width_px: int, height_px: int) -> list[Image]:
    """Return a loop of pictures: blocks walk over a still, textured floor and back."""
    rng = np.random.default_rng(0)
    floor = cv2.resize(rng.integers(60, 120, (height_px // 8, width_px // 8, 3), np.uint8), (width_px, height_px))
    start = rng.uniform([0.05, 0.05], [0.85, 0.7], (OBJECTS, 2))
    reach = rng.uniform(-0.3, 0.3, (OBJECTS, 2))
    colors = rng.integers(130, 255, (OBJECTS, 3)).tolist()
    pictures = []
    for index in range(LOOP_FRAMES):
        image = floor.copy()
        swing = np.sin(2 * np.pi * index / LOOP_FRAMES)
        for place, color in zip((start + swing * reach).tolist(), colors, strict=True):
            left, top = int(place[0] * width_px), int(place[1] * height_px)
            right, bottom = left + width_px // 25, top + height_px // 6
            cv2.rectangle(image, (left, top), (right, bottom), color, -1)
        pictures.append(image)
    return pictures


def serve(size: tuple[int, int], rate_hz: float, told: SimpleQueue[int]) -> None:
    """Serve the scene to any number of clients, each picture at its time; runs until it is terminated."""
    pictures = [cv2.imencode(".jpg", image)[1].tobytes() for image in scene(*size)]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            began_s = time.monotonic()
            number = 0
            while True:
                time.sleep(max(0.0, began_s + number / rate_hz - time.monotonic()))
                data = pictures[number % LOOP_FRAMES]
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + data + b"\r\n")
                except ConnectionError:
                    return
                number += 1

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.put(server.server_port)
        server.serve_forever()


def follow(url: str, seconds: float, show: bool, record: bool, results: SimpleQueue[dict[str, float]]) -> None:
    """Follow a stream for a while and report the figures."""
    stop = threading.Event()
    began_s = time.monotonic()
    processor_s = 0.0

    def progress(stats: LiveStats) -> None:
        nonlocal processor_s
        if stats.processed == 1:
            processor_s = time.process_time()
        if time.monotonic() > began_s + seconds:
            stop.set()

    with tempfile.TemporaryDirectory() as folder:
        job = LiveJob(source=url, config=load_config())
        summary = run_live(job, show=show, record=Path(folder) if record else None, stop=stop, progress=progress)
    stats = summary.stats
    results.put(
        {
            "fps": stats.fps,
            "median_ms": summary.drawn_ms,
            "p99_ms": summary.drawn_p99_ms,
            "dropped_percent": 100.0 * stats.dropped / max(stats.captured, 1),
            "processor_ms": 1e3 * (time.process_time() - processor_s) / max(stats.processed, 1),
        }
    )


def measure(
    streams: int, size: tuple[int, int], rate_hz: float, seconds: float, show: bool = False, record: bool = False
) -> None:
    """Serve the scene, follow it in as many processes as there are streams, and print a line."""
    context = multiprocessing.get_context("spawn")
    told, results = context.SimpleQueue(), context.SimpleQueue()
    server = context.Process(target=serve, args=(size, rate_hz, told), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{told.get()}/"
    load = os.getloadavg()[0]
    followers = [context.Process(target=follow, args=(url, seconds, show, record, results)) for _ in range(streams)]
    for follower in followers:
        follower.start()
    figures = [results.get() for _ in followers]
    for follower in followers:
        follower.join()
    server.terminate()
    fps, median_ms, p99_ms, dropped, processor_ms = (
        [figure[name] for figure in figures]
        for name in ("fps", "median_ms", "p99_ms", "dropped_percent", "processor_ms")
    )
    print(
        f"{streams} x {size[0]}x{size[1]} at {rate_hz:g} Hz: {np.mean(fps):.1f} frames/s each, "
        f"capture to drawn {np.median(median_ms):.1f} ms median, {max(p99_ms):.1f} ms 99th percentile, "
        f"{np.mean(dropped):.1f} % dropped, {np.mean(processor_ms):.1f} ms processor time a frame (load {load:.1f})"
    )


class SimulatedCamera:
    """A camera whose pictures come at the pace of a fast clock."""

    def __init__(self, clock: Clock, pictures: list[Image], rate_hz: float, frames: int) -> None:
        self._clock = clock
        self._pictures = pictures
        self._rate_hz = rate_hz
        self._frames = frames

    def pictures(self) -> Iterator[tuple[float, Image]]:
        began_s = self._clock.now_s()
        never = threading.Event()
        for number in range(self._frames):
            due_s = began_s + number / self._rate_hz
            if (early_s := due_s - self._clock.now_s()) > 0.0:
                self._clock.wait(never, early_s)
            yield self._clock.now_s(), self._pictures[number % LOOP_FRAMES].copy()
        never.wait()  # a camera does not end

    def close(self) -> None:
        pass


def memory(minutes: float, speed: float, size: tuple[int, int], rate_hz: float) -> None:
    """Follow the simulated camera, and print the resident memory every tenth of the time."""
    clock = Clock(speed)
    pictures = scene(*size)
    frames = round(60.0 * minutes * rate_hz)
    camera._open_feed = lambda *_: SimulatedCamera(clock, pictures, rate_hz, frames)  # type: ignore[assignment]
    stop = threading.Event()
    warm_up()
    printed = 0

    def progress(stats: LiveStats) -> None:
        nonlocal printed
        if stats.captured >= printed * frames / 10:
            minute = stats.captured / rate_hz / 60.0
            print(
                f"minute {minute:5.1f}: {resident_mb():6.1f} MB resident, {stats.captured} captured, "
                f"{stats.processed} processed, {stats.identities} identities",
                flush=True,
            )
            printed += 1
        if stats.captured >= frames:
            stop.set()

    with tempfile.TemporaryDirectory() as folder:
        run_live(LiveJob(source="0", clock=clock), record=Path(folder), stop=stop, progress=progress)
    print(f"highest: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.1f} MB")


def resident_mb() -> float:
    """Return the memory that is resident now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def size_of(text: str) -> tuple[int, int]:
    width_px, height_px = text.split("x")
    return int(width_px), int(height_px)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("latency", "streams", "memory"):
        command = commands.add_parser(name)
        command.add_argument("--size", type=size_of, default=(320, 180) if name == "memory" else (1280, 720))
        command.add_argument("--rate", type=float, default=30.0)
        command.add_argument("--seconds", type=float, default=20.0)
        command.add_argument("--show", action="store_true")
        command.add_argument("--record", action="store_true")
        command.add_argument("--counts", type=int, nargs="+", default=[1, 4, 8])
        command.add_argument("--minutes", type=float, default=30.0)
        command.add_argument("--speed", type=float, default=10.0)
    arguments = parser.parse_args()
    if arguments.command == "memory":
        memory(arguments.minutes, arguments.speed, arguments.size, arguments.rate)
    elif arguments.command == "streams":
        for count in arguments.counts:
            measure(count, arguments.size, arguments.rate, arguments.seconds)
    else:
        measure(1, arguments.size, arguments.rate, arguments.seconds, arguments.show, arguments.record)


if __name__ == "__main__":
    main()
