"""``track live`` as it is installed: real streams, real signals, and a kill that nothing can catch."""

from __future__ import annotations

import os
import pty
import resource
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av
import numpy as np
import pytest
from streams import PATIENCE_S, PictureServer, eventually, jpeg

from tracker.formats.motchallenge import read_detections

TRACK = Path(sys.executable).with_name("track")
FRAMES = 30  # of the clip
Track = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def camera(images: list[np.ndarray]) -> Iterator[PictureServer]:
    """Return a stream of the clip's pictures, again and again, about a hundred a second."""
    over = threading.Event()
    pictures = [jpeg(image) for image in images]

    def film() -> None:
        number = 0
        while not over.wait(0.01):
            server.send(pictures[number % len(pictures)])
            number += 1

    with PictureServer() as server:
        server.send(pictures[0])
        thread = threading.Thread(target=film)
        thread.start()
        yield server
        over.set()
        thread.join()


@contextmanager
def live(*arguments: str | Path, **options: object) -> Iterator[subprocess.Popen[str]]:
    command = [TRACK, "live", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **{**pipes, **options}) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def frames_in(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def seconds_in(path: Path) -> float:
    """Return the time of the last picture that can be played; 0 while there is none."""
    try:
        with av.open(str(path)) as container:
            return max(frame.time or 0.0 for frame in container.decode(video=0))
    except (OSError, ValueError, av.FFmpegError):
        return 0.0


def fragments_in(path: Path) -> int:
    return path.read_bytes().count(b"moof") if path.exists() else 0


def is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}health", timeout=PATIENCE_S) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError:
        return False


def last_row_frame(path: Path) -> int:
    return max(read_detections(path))


def test_a_file_is_recorded_as_it_is_replayed(track: Track, cwd: Path, clip: Path, recorded: Path) -> None:
    done = track("live", "--camera", clip, "--detections", recorded, "--record", "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1" in done.stdout
    assert sorted(path.name for path in (cwd / "out").iterdir()) == ["overlay.mp4", "tracks.txt"]
    frames = frames_in(cwd / "out" / "overlay.mp4")
    # On a busy machine some pictures may come too late.
    assert FRAMES // 2 <= frames <= FRAMES
    assert frames - 2 <= last_row_frame(cwd / "out" / "tracks.txt") <= frames


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_completes_the_files(number: signal.Signals, camera: PictureServer, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with live("--camera", camera.url, "--record", folder) as process:
        eventually(lambda: fragments_in(folder / "overlay.mp4") >= 1)
        process.send_signal(number)
        out, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + number
    assert errors == ""
    assert "overlay.mp4" in "".join(out.split())
    assert frames_in(folder / "overlay.mp4") >= last_row_frame(folder / "tracks.txt") > 0


def test_a_recording_survives_kill_9(camera: PictureServer, tmp_path: Path) -> None:
    video, rows = tmp_path / "overlay.mp4", tmp_path / "tracks.txt"

    def is_written_as_it_goes() -> bool:
        """Rows keep up with the pictures, but for a round of the clip: it begins with pictures of nobody."""
        if not rows.exists() or not rows.read_bytes():
            return False
        return seconds_in(video) >= 1.5 and last_row_frame(rows) >= frames_in(video) - FRAMES

    with live("--camera", camera.url, "--record", tmp_path) as process:
        eventually(is_written_as_it_goes)
        before = rows.read_bytes()
        process.kill()
        process.wait(PATIENCE_S)
    assert process.returncode == -signal.SIGKILL
    assert seconds_in(video) >= 1.5
    assert rows.read_bytes().startswith(before)
    assert rows.read_bytes().endswith(b"\n")


def test_a_full_disk_ends_the_run_with_whole_files(camera: PictureServer, tmp_path: Path) -> None:
    limit = 400_000
    with live(
        *("--camera", camera.url, "--record", tmp_path, "--set", "overlay.crf=0"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    ) as process:
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    reason = f"{tmp_path}/overlay.mp4: cannot be written: file too large"
    assert errors.splitlines() == [
        f"recording stopped: {reason}; what was written before is kept",
        f"error: the recording ended early: {reason}",
    ]
    frames_in(tmp_path / "overlay.mp4")


def test_a_stream_that_comes_back_is_followed_again(camera: PictureServer, tmp_path: Path) -> None:
    rows = tmp_path / "tracks.txt"
    with live("--camera", camera.url, "--record", tmp_path, "--set", "live.backoff_s=0.05") as process:
        eventually(lambda: rows.exists() and rows.stat().st_size > 500)
        camera.hang_up()
        assert process.stderr is not None
        assert process.stderr.readline().endswith("; trying to reconnect\n")
        assert process.stderr.readline() == f"{camera.url}: connected again\n"
        before = rows.stat().st_size
        eventually(lambda: rows.stat().st_size > before)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130


BAD_INPUT = {
    "no camera": (["--camera", "99"], "error: camera 99: not connected; cameras at hand: "),
    "no such file": (["--camera", "nothing.mp4"], "error: nothing.mp4: no such video file or folder of images"),
    "nobody listens": (["--camera", "http://127.0.0.1:9/"], "error: http://127.0.0.1:9/: cannot be opened: "),
    "a stream with recorded detections": (
        ["--camera", "rtsp://127.0.0.1:9/", "--detections", "boxes.txt"],
        "error: rtsp://127.0.0.1:9/: is not a file; ",
    ),
    "a look-ahead": (["--set", "tracking.lag_frames=5"], "error: tracking.lag_frames is 5; live it must be 0"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_gets_one_line(case: str, track: Track, cwd: Path) -> None:
    arguments, words = BAD_INPUT[case]
    done = track("live", *arguments, "--record", "out")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(words)
    assert list(cwd.iterdir()) == []


@pytest.mark.parametrize("display", [None, ":7654"])
def test_without_a_display_a_window_is_refused_in_one_line(display: str | None, track: Track, clip: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in {"DISPLAY", "WAYLAND_DISPLAY"}}
    if display is not None:
        environment["DISPLAY"] = display
    done = track("live", "--camera", clip, "--show", env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: no window: ")
    assert line.endswith("--serve shows the picture in a browser, --record keeps it")


def test_a_token_goes_with_a_page(track: Track, clip: Path) -> None:
    done = track("live", "--camera", clip, "--token", "secret")
    assert done.returncode == 2
    assert "goes with --serve" in done.stderr


def test_a_terminal_shows_how_it_is_going(camera: PictureServer) -> None:
    terminal, end = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with live("--camera", camera.url, stderr=end, env=environment) as process:
        os.close(end)
        shown = b""
        while b"running" not in shown:
            shown += os.read(terminal, 4096)
        process.send_signal(signal.SIGINT)
        with suppress(OSError):  # as which Linux reports that the other side was closed
            while os.read(terminal, 4096):  # a terminal that takes no more would hold the command up
                pass
        process.communicate(timeout=PATIENCE_S)
    os.close(terminal)
    assert b"frames/s  latency" in shown
    assert process.returncode == 130


def test_a_page_is_served_beside_the_loop(camera: PictureServer) -> None:
    pytest.importorskip("uvicorn")
    pytest.importorskip("starlette")
    with live("--camera", camera.url, "--serve", "0") as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("page: http://127.0.0.1:")
        eventually(lambda: is_healthy(line.split()[1]))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 143
