"""A window on the screen, for machines that have one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import cv2
import numpy as np

from tracker.errors import OutputError, reason_of
from tracker.media.closing import Closing
from tracker.media.ink import CASING, FONT
from tracker.structures import Image

_PROBE = "import cv2; cv2.namedWindow('probe', cv2.WINDOW_NORMAL); cv2.destroyAllWindows()"
_PROBE_S = 30.0
_SHARE_OF_FULL_HD = (1600, 900)
_INK = (235, 235, 235)


class Window(Closing):
    """A window that shows one picture after the other; a context manager, used from the main thread.

    Parameters
    ----------
    title
        What the window is called.

    Raises
    ------
    OutputError
        When there is no display, or OpenCV cannot open a window on it.
    """

    def __init__(self, title: str) -> None:
        _demand_display()
        # OpenCV's wheel comes without fonts, which Qt says again and again; our text is drawn into the picture.
        os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
        self._title = title
        self._size: tuple[int, int] | None = None
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | getattr(cv2, "WINDOW_GUI_NORMAL", 0))
        cv2.pollKey()

    def show(self, image: Image, lines: Sequence[str] = ()) -> None:
        """Show a picture (height, width, 3), with lines of text on it; the picture itself is not changed."""
        height_px, width_px = image.shape[:2]
        if (width_px, height_px) != self._size:
            self._size = width_px, height_px
            share = min(1.0, *(most / side for most, side in zip(_SHARE_OF_FULL_HD, self._size, strict=True)))
            cv2.resizeWindow(self._title, round(share * width_px), round(share * height_px))
        cv2.imshow(self._title, write_lines(image, lines) if lines else image)

    def poll(self) -> str | None:
        """Let the window work; return the key that was pressed, if any, or ``q`` when it was closed."""
        key = cv2.pollKey()
        if cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1 and self._size is not None:
            return "q"
        return None if key < 0 else chr(key & 0xFF)

    def close(self) -> None:
        """Take the window away."""
        cv2.destroyAllWindows()
        cv2.pollKey()


def write_lines(image: Image, lines: Sequence[str]) -> Image:
    """Return a copy of the image with lines of text on a dark panel in its upper left corner."""
    image = image.copy()
    unit_px = max(9.0, 0.018 * np.sqrt(image.shape[0] * image.shape[1]))
    (_, digit_px), _ = cv2.getTextSize("0", FONT, 10.0, 1)
    scale = 10.0 * 0.8 * unit_px / digit_px
    widths = [cv2.getTextSize(line, FONT, scale, 1)[0][0] for line in lines]
    panel = image[: round((1.6 * len(lines) + 1.0) * unit_px), : round(max(widths) + 2 * unit_px)]
    panel[:] = panel // 4 + np.array(CASING, np.uint8) * 3 // 4
    for row, line in enumerate(lines, 1):
        place = (round(unit_px), round((1.6 * row) * unit_px))
        cv2.putText(image, line, place, FONT, scale, _INK, 1, cv2.LINE_AA)
    return image


def save_snapshot(folder: Path, image: Image) -> Path:
    """Write the image as ``snapshot-N.png`` into the folder, N being the first number that is free; return the path.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    data = cv2.imencode(".png", image)[1].tobytes()
    for number in count(1):
        path = folder / f"snapshot-{number}.png"
        try:
            with path.open("xb") as file:
                file.write(data)
        except FileExistsError:
            continue
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {reason_of(error)}") from None
        return path
    raise AssertionError("count() does not end")


def _demand_display() -> None:
    """Raise unless a window can be opened.

    Without a display that answers, OpenCV does not raise but ends the process: a child tries first.
    """
    instead = "track live --serve shows the picture in a browser, --record keeps it"
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise OutputError(f"no window: there is no display (DISPLAY is not set); {instead}")
    try:
        probe = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, timeout=_PROBE_S, check=False)
    except subprocess.TimeoutExpired:
        raise OutputError(f"no window: the display does not answer; {instead}") from None
    if probe.returncode != 0:
        raise OutputError(f"no window: OpenCV cannot open a window on this display; {instead}")
