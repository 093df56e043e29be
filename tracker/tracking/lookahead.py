"""A short look-ahead: reports that wait a few frames and use what was learned meanwhile.

The mixture itself is the same with and without. Two things become known while a report waits, both by the same
model: that a tentative object is one, and where an object was between two claims. Reports given at once are
never withdrawn or changed; rows are only added to them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tracker.geometry import carried
from tracker.structures import FloatArray, IntArray, Status, Tracks


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A frame whose report waits.

    Parameters
    ----------
    time_s
        Time of the frame.
    camera_affine
        (2, 3) map from the previous frame's pixels to this one's.
    tracks
        All objects of the frame, in ascending order of their identities: those seen, coasting and tentative.
    reported
        (n,) which of them the report contains.
    """

    time_s: float
    camera_affine: FloatArray
    tracks: Tracks
    reported: NDArray[np.bool_]

    @property
    def report(self) -> Tracks:
        """The objects reported for the frame, as far as they are known now."""
        return self.tracks.select(self.reported)


Window: TypeAlias = tuple[Held, ...]
"""Consecutive frames, oldest first."""


def hold(window: Window, newest: Held, lag_frames: int) -> Window:
    """Add a frame to the window and tell the frames before what it has taught.

    Births: an object confirmed in the newest frame is reported from its first detection on.

    Gaps: an object claimed in frames 0 and 1, at most ``lag_frames`` + 1 frames apart, and in none between is
    reported in those between at its conditional mean given both claims. With w = (t - t0) / (t1 - t0), in the
    pixels of one frame,

        box = (1 - w) box0 + w box1,   covariance = (1 - w) P0 + w P1 + w (1 - w) C,

    the uncertainty of both claims and that of a bridge between them: a random walk pinned at both ends has
    w (1 - w) of its free spread, for which C, the covariance of the object coasting in that frame, stands. Its
    existence and continuity are those at the second claim, since nothing that was gone comes back.

    Parameters
    ----------
    window
        The frames before: what this function returned, or () at the start.
    newest
        The frame to add.
    lag_frames
        Frames that a report waits.

    Returns
    -------
    The last ``lag_frames`` + 1 frames. When there are so many, the report of the oldest is final; it stays in
    the window once more since a gap of ``lag_frames`` frames may follow it.
    """
    frames = [*window, newest]
    if window:
        now, before = newest.tracks, window[-1].tracks
        seen = now.ids[now.detection_indices >= 0]
        proven = np.intersect1d(now.ids[now.status == Status.CONFIRMED], before.ids[before.status == Status.TENTATIVE])
        returned = np.intersect1d(seen, before.ids[before.status == Status.COASTING])
        if len(proven):
            _report_births(frames, proven)
        if len(returned):
            _bridge_gaps(frames, returned)
    return tuple(frames[-(lag_frames + 1) :])


def _report_births(frames: list[Held], ids: IntArray) -> None:
    for n, held in enumerate(frames):
        born = np.isin(held.tracks.ids, ids) & ~held.reported
        if born.any():
            status = np.where(born, Status.CONFIRMED, held.tracks.status)
            frames[n] = replace(held, tracks=replace(held.tracks, status=status), reported=held.reported | born)


def _bridge_gaps(frames: list[Held], returned: IntArray) -> None:
    """Report the objects in the frames since their claim before the newest, as far as the window reaches back."""
    newest = frames[-1]
    to_newest = [np.eye(3)]
    for n in range(len(frames) - 2, -1, -1):
        to_newest.append(to_newest[-1] @ np.vstack([frames[n + 1].camera_affine, [0.0, 0.0, 1.0]]))
    to_newest.reverse()
    for n in range(len(frames) - 2, -1, -1):
        first = frames[n]
        ids = np.intersect1d(returned, first.tracks.ids[first.tracks.detection_indices >= 0])
        if len(ids):
            start = _carried(first.tracks.select(_rows(first, ids)), to_newest[n])
            end = newest.tracks.select(_rows(newest, ids))
            for m in range(n + 1, len(frames) - 1):
                w = (frames[m].time_s - first.time_s) / (newest.time_s - first.time_s)
                frames[m] = _bridged(frames[m], start, end, w, np.linalg.inv(to_newest[m]))
            returned = np.setdiff1d(returned, ids)
        if not len(returned):
            return


def _bridged(held: Held, start: Tracks, end: Tracks, w: float, to_held: NDArray[np.floating]) -> Held:
    """Report objects between two claims, both given in the pixels from which ``to_held`` maps."""
    between = _carried(
        replace(
            end,
            boxes_xyxy=(1.0 - w) * start.boxes_xyxy + w * end.boxes_xyxy,
            covariances=(1.0 - w) * start.covariances + w * end.covariances,
        ),
        to_held,
    )
    rows = _rows(held, end.ids)
    boxes, covariances = held.tracks.boxes_xyxy.copy(), held.tracks.covariances.copy()
    scores, existence = held.tracks.scores.copy(), held.tracks.existence.copy()
    continuity = held.tracks.continuity.copy()
    reported = held.reported.copy()
    boxes[rows] = between.boxes_xyxy
    covariances[rows] = between.covariances + w * (1.0 - w) * covariances[rows]
    scores[rows] = (1.0 - w) * start.scores + w * end.scores
    existence[rows] = end.existence
    continuity[rows] = end.continuity
    reported[rows] = True
    tracks = replace(
        held.tracks,
        boxes_xyxy=boxes,
        scores=scores,
        covariances=covariances,
        existence=existence,
        continuity=continuity,
    )
    return replace(held, tracks=tracks, reported=reported)


def _carried(tracks: Tracks, affine: NDArray[np.floating]) -> Tracks:
    """Carry boxes and covariances by a (3, 3) affine map: centres by the map, sizes by its scale."""
    determinant = abs(np.linalg.det(affine[:2, :2]))
    return replace(tracks, boxes_xyxy=carried(tracks.boxes_xyxy, affine), covariances=tracks.covariances * determinant)


def _rows(held: Held, ids: IntArray) -> IntArray:
    return np.searchsorted(held.tracks.ids, ids)
