"""The installed command, and small clips for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

TRACK = Path(sys.executable).with_name("track")
WIDTH_PX, HEIGHT_PX, RATE_HZ, FRAMES = 96, 64, 10, 30


@pytest.fixture(scope="session", autouse=True)
def compiled() -> None:
    """Compile before any command is started, so that each finds the cache.

    The import waits until here: the folder of the cache is settled after this file is read.
    """
    from tracker.app.warming import warm_up

    warm_up()


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    """Return the empty folder in which the command runs."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    return folder


@pytest.fixture
def track(cwd: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs the command to its end."""

    def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [TRACK, *map(str, arguments)],
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            **options,  # type: ignore[call-overload]
        )

    return run


@pytest.fixture(scope="session")
def images() -> list[np.ndarray]:
    """Return the frames of a clip: a bright block walks over a still, noisy floor."""
    floor = np.random.default_rng(7).integers(60, 90, (HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    frames = []
    for index in range(FRAMES):
        image = floor.copy()
        image[20:50, 2 * index : 2 * index + 14] = (40, 220, 240)
        frames.append(image)
    return frames


@pytest.fixture(scope="session")
def make_clip(images: list[np.ndarray]) -> Callable[[Path, str], Path]:
    """Return a function that writes the clip; the file's suffix names the container."""

    def make(path: Path, codec: str) -> Path:
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=RATE_HZ)
            stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
            for index, image in enumerate(images):
                frame = av.VideoFrame.from_ndarray(image, "bgr24")
                frame.pts, frame.time_base = index, Fraction(1, RATE_HZ)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return make


@pytest.fixture(scope="session")
def clip(make_clip: Callable[[Path, str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the clip as a video file."""
    return make_clip(tmp_path_factory.mktemp("clip") / "block.mp4", "libx264")


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with the block's box in every frame of the clip."""
    path = tmp_path_factory.mktemp("recorded") / "boxes.txt"
    path.write_text("".join(f"{n},-1,{2 * n - 2},20,14,30,0.9\n" for n in range(1, FRAMES + 1)))
    return path
