"""Detections made earlier, looked up by frame."""

from __future__ import annotations

from collections.abc import Mapping

from tracker.structures import Detections


class RecordedDetector:
    """Give out the detections of a file.

    Parameters
    ----------
    detections
        Detections by frame index, as :func:`tracker.formats.motchallenge.read_detections` returns them.
    """

    def __init__(self, detections: Mapping[int, Detections]) -> None:
        self._detections = dict(detections)

    def at(self, index: int) -> Detections:
        """Return the detections of frame ``index``; none where nothing is recorded."""
        return self._detections.get(index, Detections.empty())
