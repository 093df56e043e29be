"""Follow whatever moves before a webcam, in a window: ``python tools/webcam_demo.py [CAMERA | URL | FILE]``.

The pictures are always the newest: what the detector is too slow for is skipped, and the tracker knows the true
time of each. ``q`` quits.
"""

from __future__ import annotations

import sys

import cv2
import numpy as np

from tracker import TrackerError, load_config, track_live

PALETTE = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_HSV)[:, 0].tolist()


def main(source: str) -> None:
    for frame, tracks in track_live(source, load_config()):
        image = frame.image.copy()
        for track_id, box in zip(tracks.ids.tolist(), tracks.boxes_xyxy.round().astype(int).tolist(), strict=True):
            left, top, right, bottom = box
            color = PALETTE[track_id * 97 % 256]
            cv2.rectangle(image, (left, top), (right, bottom), color, 2)
            cv2.putText(image, str(track_id), (left, top - 5), cv2.FONT_HERSHEY_DUPLEX, 0.6, color)
        cv2.imshow("webcam demo", image)
        if cv2.waitKey(1) == ord("q"):
            break


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "0")
    except TrackerError as error:
        sys.exit(f"error: {error}")
