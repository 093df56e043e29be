"""The tools end with one line, too, where what they are given cannot be used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["benchmark.py", "profile", "--video", "nope"], "error: nope: no such video file or folder of images"),
        (["benchmark.py", "speed", "--only", "pipeline", "--video", "nope"], "error: nope: no such video file"),
        (["benchmark.py", "speed", "--only", "pipeline"], "error: --only pipeline needs --video"),
        (["benchmark.py", "memory", "--video", "nope"], "error: nope: no such file or directory"),
        (["pixel_benchmark.py", "nope", "nope"], "error: nope: no such file or directory"),
        (["webcam_demo.py", "--show"], "error: no window: there is no display"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    screenless = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / arguments[0], *arguments[1:]],
        cwd=tmp_path,
        env={**screenless, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(said)
