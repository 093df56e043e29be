"""What a detector is."""

from __future__ import annotations

from typing import Protocol

from tracker.structures import Detections, Image


class Detector(Protocol):
    """Anything that turns a picture into detections."""

    def detect(self, image: Image) -> Detections:
        """Return what is seen in ``image`` ((height, width, 3) uint8, blue-green-red)."""
        ...
