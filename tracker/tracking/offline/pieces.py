"""Tracks as pieces without gaps, in the pixels of frame 1: how they come from a table and go back to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tracker.formats.motchallenge import LEAST_SIZE_PX
from tracker.formats.table import TrackTable
from tracker.geometry import carried, ltwh_to_xyxy, xyxy_to_ltwh
from tracker.structures import FloatArray, IntArray

PART_COLUMNS = ("frames", "boxes", "scores", "labels", "imputed")


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Rows of one track in consecutive frames.

    Parameters
    ----------
    id
        Identity.
    labels
        (n,) classes.
    frames
        (n,) consecutive frame numbers.
    measured
        (n, 4) centre x, anchored y, width, height.
    scores
        (n,) scores.
    """

    id: int
    labels: IntArray
    frames: IntArray
    measured: FloatArray
    scores: FloatArray


Chain: TypeAlias = tuple[Piece, ...]
"""Pieces of one object in the order of time."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Rows of one track, in the pixels of frame 1.

    Parameters
    ----------
    id
        Identity.
    frames
        (n,) frame numbers.
    boxes
        (n, 4) centre x, anchored y, width, height.
    scores, labels
        (n,) scores and classes.
    imputed
        (n,) whether the row was filled in.
    """

    id: int
    frames: IntArray
    boxes: FloatArray
    scores: FloatArray
    labels: IntArray
    imputed: NDArray[np.bool_]


def cumulative_maps(camera_motion: Mapping[int, FloatArray], last_frame: int) -> FloatArray:
    """Return (last_frame + 1, 3, 3) maps from each frame's pixels to those of frame 1."""
    maps = np.tile(np.eye(3), (last_frame + 1, 1, 1))
    for frame in range(2, last_frame + 1):
        affine = camera_motion.get(frame)
        maps[frame] = maps[frame - 1]
        if affine is not None:
            maps[frame] = maps[frame - 1] @ np.linalg.inv(np.vstack([affine, [0.0, 0.0, 1.0]]))
    return maps


def as_chains(table: TrackTable, maps: FloatArray | None, anchor: float) -> list[Chain]:
    """Return a chain for each track, cut where frames are missing, in the pixels of frame 1."""
    order = np.lexsort((table.frames, table.ids))
    frames, ids = table.frames[order], table.ids[order]
    boxes = table.boxes_ltwh[order]
    if maps is not None:
        boxes = xyxy_to_ltwh(carried(ltwh_to_xyxy(boxes), maps[frames]))
    measured = np.column_stack(
        [boxes[:, 0] + boxes[:, 2] / 2.0, boxes[:, 1] + anchor * boxes[:, 3], boxes[:, 2], boxes[:, 3]]
    )
    scores, labels = table.scores[order], table.classes[order]
    cuts = np.flatnonzero((np.diff(ids) != 0) | (np.diff(frames) != 1)) + 1
    chains: dict[int, list[Piece]] = {}
    for rows in np.split(np.arange(len(ids)), cuts):
        piece = Piece(int(ids[rows[0]]), labels[rows], frames[rows], measured[rows], scores[rows])
        chains.setdefault(piece.id, []).append(piece)
    return [tuple(chain) for chain in chains.values()]


def observed_part(chain: Chain) -> Part:
    """Return the rows of a chain as they were observed."""
    frames = np.concatenate([piece.frames for piece in chain])
    return Part(
        chain[0].id,
        frames,
        np.concatenate([piece.measured for piece in chain]),
        np.concatenate([piece.scores for piece in chain]),
        np.concatenate([piece.labels for piece in chain]),
        np.zeros(len(frames), np.bool_),
    )


def table_of(
    parts: Sequence[Part], class_names: Mapping[int, str], maps: FloatArray | None, anchor: float
) -> TrackTable:
    """Return the rows of all tracks in the pixels of their own frames."""
    if not parts:
        return TrackTable([], [], np.empty((0, 4)), class_names=class_names)
    frames, boxes, scores, labels, imputed = (
        np.concatenate([getattr(part, name) for part in parts]) for name in PART_COLUMNS
    )
    sizes = np.maximum(boxes[:, 2:], LEAST_SIZE_PX)
    ltwh = as_ltwh(np.column_stack([boxes[:, :2], sizes]), anchor)
    if maps is not None:
        ltwh = xyxy_to_ltwh(carried(ltwh_to_xyxy(ltwh), np.linalg.inv(maps)[frames]))
        ltwh[:, 2:] = np.maximum(ltwh[:, 2:], LEAST_SIZE_PX)
    ids = np.concatenate([np.full(len(part.frames), part.id) for part in parts])
    return TrackTable(frames, ids, ltwh, scores, labels, imputed=imputed, class_names=class_names).sorted()


def as_ltwh(measured: FloatArray, anchor: float) -> FloatArray:
    """Return (n, 4) left, top, width, height of boxes given by centre x, anchored y, width, height."""
    x, y, width, height = measured.T
    return np.column_stack([x - width / 2.0, y - anchor * height, width, height])
