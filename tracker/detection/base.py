"""What a detector is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from tracker.structures import Detections, FloatArray, Foreground, Image


class Detector(Protocol):
    """Anything that turns a picture into detections."""

    def detect(self, image: Image) -> Detections:
        """Return what is seen in ``image`` ((height, width, 3) uint8, blue-green-red)."""
        ...


@runtime_checkable
class Segmenter(Protocol):
    """Anything that tells which pixels of a picture are of objects."""

    def segment(self, image: Image, occupied_xyxy: FloatArray) -> Foreground:
        """Return the foreground of ``image``, where (n, 4) boxes are known to be objects."""
        ...


@runtime_checkable
class NeuralDetector(Detector, Protocol):
    """A detector that knows its classes by name and may take several pictures at a time."""

    @property
    def class_names(self) -> Mapping[int, str]:
        """Names of the classes to be found, by label; empty where they are not known."""
        ...

    @property
    def batch_frames(self) -> int:
        """How many pictures :meth:`detect_batch` takes to advantage."""
        ...

    def detect_batch(self, images: Sequence[Image]) -> list[Detections]:
        """Return what is seen in each of several images."""
        ...
