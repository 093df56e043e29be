"""How well identities are kept where nobody knows the truth: hide what was surely followed, and see who comes back.

As in a cloze test, where words are left out of a text. The tracks of a run tell which detections belong together;
where an object was followed without a gap, its detections are taken away for a moment, and the recording is
tracked again: the object should come back as itself. Unlike the likelihood, this asks for what identities hang on.

References
----------
Taylor, Cloze Procedure: A New Tool for Measuring Readability, Journalism Quarterly 30, 1953.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracker.config import Config
from tracker.structures import Detections, IntArray
from tracker.tracking.fitting.expectation import of_boxes_at_once
from tracker.tracking.online import Tracker

_SETTLED_FRAMES = 3
"""Frames for which an object must have been followed before, and after the hidden ones until it is asked for."""
_APART_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Cloze:
    """Detections to be hidden, and pairs of detections that are one object, before and after.

    Parameters
    ----------
    hidden
        (H, 2) frame (from 0) and row of what is hidden.
    questions
        (Q, 4) frame and row before the gap, frame and row after it.
    """

    hidden: IntArray
    questions: IntArray


def identities(frames: Sequence[Detections], frame_rate_hz: float, config: Config) -> list[IntArray]:
    """Return for each frame (N,) the identity that each detection is reported as, -1 for none."""
    tracker = Tracker(of_boxes_at_once(config))
    found = []
    for n, detections in enumerate(frames, 1):
        tracks = tracker.update(detections, time_s=n / frame_rate_hz)
        ids = np.full(len(detections), -1)
        ids[tracks.detection_indices] = tracks.ids
        found.append(ids)
    return found


def clozes(known: Sequence[IntArray], frame_rate_hz: float, gap_s: float, seed: int) -> Cloze:
    """Return what to hide of tracks that are known: moments of this length, each object about once a second.

    Parameters
    ----------
    known
        From :func:`identities`.
    frame_rate_hz
        Frames per second.
    gap_s
        Length of the moments, at least one frame.
    seed
        Of where an object's first moment lies.
    """
    rng = np.random.default_rng(seed)
    gap, apart = max(1, round(gap_s * frame_rate_hz)), max(1, round(_APART_S * frame_rate_hz))
    frame = np.repeat(np.arange(len(known)), [len(ids) for ids in known])
    row = np.concatenate([np.arange(len(ids)) for ids in known]) if known else np.empty(0, np.int64)
    ids = np.concatenate(known) if known else np.empty(0, np.int64)
    order = np.lexsort((frame, ids))
    order = order[ids[order] >= 0]
    frame, row, ids = frame[order], row[order], ids[order]
    breaks = np.flatnonzero((np.diff(ids) != 0) | (np.diff(frame) != 1)) + 1
    hidden, questions = [], []
    for piece in np.split(np.arange(len(ids)), breaks):
        at = _SETTLED_FRAMES + int(rng.integers(apart))
        while at + gap + _SETTLED_FRAMES <= len(piece):
            inside = piece[at : at + gap]
            last, back = piece[at - 1], piece[at + gap + _SETTLED_FRAMES - 1]
            hidden.append(np.column_stack([frame[inside], row[inside]]))
            questions.append((frame[last], row[last], frame[back], row[back]))
            at += gap + apart
    return Cloze(
        np.concatenate(hidden) if hidden else np.empty((0, 2), np.int64),
        np.array(questions, np.int64).reshape(-1, 4),
    )


def answers(frames: Sequence[Detections], frame_rate_hz: float, config: Config, cloze: Cloze) -> NDArray[np.bool_]:
    """Return (Q,) whether each object came back as itself.

    Parameters
    ----------
    frames
        The detections of each frame, nothing hidden.
    frame_rate_hz
        Frames per second.
    config
        The configuration that is tried.
    cloze
        From :func:`clozes`.
    """
    kept = [np.ones(len(detections), np.bool_) for detections in frames]
    for frame, row in cloze.hidden.tolist():
        kept[frame][row] = False
    shown = identities([d.select(k) for d, k in zip(frames, kept, strict=True)], frame_rate_hz, config)
    found = []
    for ids, keep in zip(shown, kept, strict=True):
        every = np.full(len(keep), -1)
        every[keep] = ids
        found.append(every)
    return np.array([found[f][r] >= 0 and found[f][r] == found[g][s] for f, r, g, s in cloze.questions.tolist()], bool)
