"""What a live loop publishes, made by hand."""

from __future__ import annotations

import numpy as np

from tracker.structures import Status, Tracks


def tracks_of(*ids: int, status: Status = Status.CONFIRMED) -> Tracks:
    """Return objects of 10 x 20 px in a row, each 5 px to the right of and 3 px below the one before."""
    n = len(ids)
    left_top = np.arange(n, dtype=float)[:, None] * (5.0, 3.0)
    return Tracks(
        ids=np.array(ids, np.int64),
        boxes_xyxy=np.hstack([left_top, left_top + np.array([10.0, 20.0])]),
        scores=np.full(n, 0.9),
        classes=np.zeros(n, np.int64),
        detection_indices=np.arange(n),
        covariances=np.tile(np.eye(4), (n, 1, 1)),
        existence=np.ones(n),
        responsibilities=np.ones(n),
        status=np.full(n, status, np.int64),
        continuity=np.ones(n),
    )
