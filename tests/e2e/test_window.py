"""The window of ``track live --show`` on a virtual screen: what is on it, and what its keys do."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest
from streams import PATIENCE_S, PictureServer, eventually, picture

from tracker.structures import Image

TRACK = Path(sys.executable).with_name("track")
WIDTH_PX, HEIGHT_PX = 800, 600
pytestmark = pytest.mark.skipif(
    not (shutil.which("Xvfb") and shutil.which("xdotool")),
    reason="no virtual screen at hand (Debian's packages xvfb and xdotool)",
)


class Screen:
    """A virtual screen: its picture, and keys for the window on it."""

    def __init__(self, display: str, framebuffer: Path) -> None:
        self.environment = {**os.environ, "DISPLAY": display}
        self._framebuffer = framebuffer

    def image(self) -> Image:
        """Return what is on the screen (XWD format, which Xvfb keeps up to date)."""
        data = self._framebuffer.read_bytes()
        header = struct.unpack(">25I", data[:100])
        size, width, height, line_bytes, colors = header[0], header[4], header[5], header[12], header[19]
        pixels = np.frombuffer(data, np.uint8, height * line_bytes, size + 12 * colors)
        return pixels.reshape(height, line_bytes // 4, 4)[:, :width, :3].copy()

    def press(self, key: str) -> None:
        window = ["search", "--sync", "--onlyvisible", "--name", "^track "]
        subprocess.run(
            ["xdotool", *window, "windowfocus", "key", "--clearmodifiers", key],
            env=self.environment,
            check=True,
            timeout=PATIENCE_S,
        )


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    folder = tmp_path_factory.mktemp("screen")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-fbdir", str(folder), "-screen", "0", f"{WIDTH_PX}x{HEIGHT_PX}x24"]
    with subprocess.Popen(command, pass_fds=[writing], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        os.close(writing)
        with os.fdopen(reading) as told:
            number = told.readline().strip()
        yield Screen(f":{number}", folder / "Xvfb_screen0")
        server.terminate()


@pytest.fixture
def server() -> Iterator[PictureServer]:
    with PictureServer() as server:
        server.send(picture(200, 320, 240))
        yield server


@pytest.fixture
def shown(server: PictureServer, screen: Screen, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the command with a window, and wait until the first picture is on the screen."""
    command = [TRACK, "live", "--camera", server.url, "--show"]
    with subprocess.Popen(
        command, cwd=cwd, env=screen.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        looks = count()

        def is_shown() -> bool:
            if next(looks) % 100 == 99:  # a single picture is lost where a busy machine opens the stream twice
                server.send(picture(200, 320, 240))
            return has_level(screen, 200)

        try:
            eventually(is_shown)
            yield process
        finally:
            process.kill()


def has_level(screen: Screen, level: int) -> bool:
    """Tell whether a picture of this brightness is on the screen."""
    small = cv2.resize(screen.image(), (80, 60), interpolation=cv2.INTER_AREA).astype(int)
    return bool((np.abs(small - level).max(axis=2) < 12).mean() > 0.1)


def test_the_picture_is_shown_and_q_quits(shown: subprocess.Popen[str], screen: Screen, server: PictureServer) -> None:
    server.send(picture(120, 320, 240))
    eventually(lambda: has_level(screen, 120))
    screen.press("q")
    shown.communicate(timeout=PATIENCE_S)
    assert shown.returncode == 0


def test_s_saves_a_snapshot_and_d_shows_diagnostics(
    shown: subprocess.Popen[str], screen: Screen, cwd: Path, tmp_path: Path
) -> None:
    screen.press("s")
    eventually((cwd / "snapshot-1.png").exists)
    plain = screen.image()
    screen.press("d")
    eventually(lambda: bool((screen.image() != plain).any()))
    cv2.imwrite(str(tmp_path / "diagnostics.png"), screen.image())
    screen.press("s")
    eventually((cwd / "snapshot-2.png").exists)
    screen.press("q")
    _, errors = shown.communicate(timeout=PATIENCE_S)
    saved = cv2.imread(str(cwd / "snapshot-1.png"))
    np.testing.assert_array_equal(saved, cv2.imread(str(cwd / "snapshot-2.png")))
    assert saved is not None
    assert saved.shape == (240, 320, 3)
    assert "snapshot: snapshot-1.png" in errors


def test_space_pauses_and_goes_on(shown: subprocess.Popen[str], screen: Screen, server: PictureServer) -> None:
    before = screen.image()
    screen.press("space")
    eventually(lambda: bool((screen.image() != before).any()))  # the word "paused"
    server.send(picture(120, 320, 240))
    screen.press("space")
    eventually(lambda: has_level(screen, 120))
    shown.send_signal(signal.SIGTERM)
    shown.communicate(timeout=PATIENCE_S)
    assert shown.returncode == 143
