"""Follow whatever moves before a webcam, in a window: ``python tools/webcam_demo.py [CAMERA | URL | FILE]``.

The pictures are always the newest: what the detector is too slow for is skipped, and the tracker knows the true
time of each. ``q`` quits.
"""

from __future__ import annotations

import sys

from tracker import TrackerError, load_config, track_live
from tracker.media.overlay import OverlayPainter
from tracker.media.window import Window


def main(source: str) -> None:
    config = load_config()
    painter = OverlayPainter(config.overlay)
    with Window("webcam demo") as window:
        for frame, tracks in track_live(source, config):
            window.show(painter.paint(frame, tracks))
            if window.poll() == "q":
                break


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "0")
    except TrackerError as error:
        sys.exit(f"error: {error}")
