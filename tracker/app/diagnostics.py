"""What a run tells of itself for a later report: the tracker's promises, and the detections it was given."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tracker.formats.diagnostics import HEADER, Diagnostics, format_diagnostics
from tracker.geometry import xyxy_to_cxywh, xyxy_to_ltwh
from tracker.media.sinks import PendingFile
from tracker.structures import Detections
from tracker.tracking.online import Tracker
from tracker.tracking.pixels import PixelTracker


class TextFile(PendingFile):
    """A text that grows by pieces.

    Parameters
    ----------
    path
        The final name.
    heading
        What stands at the top.

    Raises
    ------
    OutputError
        From every method, when the file cannot be written.
    """

    def __init__(self, path: str | Path, heading: str = "") -> None:
        super().__init__(path)
        with self._telling():
            self._file = self._partial.open("w", encoding="utf-8", newline="\n")
            self._file.write(heading)

    def write(self, text: str) -> None:
        """Append a piece."""
        with self._telling():
            self._file.write(text)

    def _complete(self) -> None:
        self._file.flush()

    def _close(self) -> None:
        self._file.close()


def diagnostics_file(path: Path) -> TextFile:
    """Return the file for the rows of :func:`diagnostic_rows`."""
    return TextFile(path, HEADER)


def diagnostic_rows(frame_index: int, tracker: Tracker | PixelTracker) -> str:
    """Return a row for each confirmed object that claimed a detection in the newest frame and was there before it.

    Parameters
    ----------
    frame_index
        The frame's number.
    tracker
        After the frame.
    """
    info = tracker.info
    if info is None:
        return ""
    after = info.after
    rows = after[(after["detection"] >= 0) & (after["status"] == 1) & np.isin(after["id"], info.before["id"])]
    tracks = tracker.tracks()
    told = tracks.select(np.isin(tracks.ids, rows["id"]))
    n = len(rows)
    return format_diagnostics(
        Diagnostics(
            np.full(n, frame_index),
            rows["id"],
            rows["z"],
            xyxy_to_cxywh(told.boxes_xyxy),
            np.diagonal(told.covariances, axis1=1, axis2=2),
            told.existence,
            told.responsibilities,
            told.continuity,
            np.full(n, tracker.state.time_s),
        )
    )


def detection_rows(frame_index: int, detections: Detections) -> str:
    """Return the frame's detections as MOTChallenge rows, without classes."""
    return "".join(
        f"{frame_index},-1,{left:.2f},{top:.2f},{width:.2f},{height:.2f},{score:.4f},-1,-1,-1\n"
        for (left, top, width, height), score in zip(
            xyxy_to_ltwh(detections.boxes_xyxy).tolist(), detections.scores.tolist(), strict=True
        )
    )
