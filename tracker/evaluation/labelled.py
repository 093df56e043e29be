"""Detections whose truth is known: which is an object and whose, who was in view, what is left over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from tracker.config import Config
from tracker.evaluation.preparation import PREPARATION_IOU, prepare
from tracker.formats.table import TrackTable
from tracker.geometry import box_scales, ltwh_to_xyxy, xyxy_to_ltwh
from tracker.structures import Detections, FloatArray, IntArray
from tracker.tracking.evidence import LARGEST_COVER, score_logits
from tracker.tracking.fitting.ownership import (
    NEAR_POSITION,
    NEAR_SIZE,
    History,
    Owned,
    settled_frames,
    starts_of,
    watched_s,
)
from tracker.tracking.motion import TAU_PER_S, measured_coordinates


@dataclass(frozen=True, slots=True, eq=False)
class Labelled(Owned):
    """A recording with its truth: what :class:`~tracker.tracking.fitting.expectation.Explained` is without one."""

    @property
    def is_object(self) -> NDArray[np.bool_]:
        """(N,) whether each detection that counts covers an object."""
        return self.shares > 0.0


def label(frames: Sequence[Detections], truth: TrackTable, frame_rate_hz: float, config: Config) -> Labelled:
    """Match detections with the truth, frame by frame, at the largest sum of IoU from 0.5 on.

    What the rules of :func:`tracker.evaluation.preparation.prepare` forgive does not count.

    Parameters
    ----------
    frames
        The detections of each frame, from frame 1 on.
    truth
        The truth.
    frame_rate_hz
        Frames per second.
    config
        For the score below which detections are not heard, and what cover does to the detection probability.

    Raises
    ------
    CriteriaError
        When the classes do not fit the truth.
    """
    association, anchor = config.tracking.association, config.tracking.motion.anchor
    heard = [d.select(d.scores >= association.score_floor) for d in frames]
    counts = [len(d) for d in heard]
    boxes = np.concatenate([d.boxes_xyxy for d in heard])
    scores = np.concatenate([d.scores for d in heard])
    table = TrackTable(
        np.repeat(np.arange(1, len(heard) + 1), counts),
        np.concatenate([np.arange(n) for n in counts]),
        xyxy_to_ltwh(boxes),
        scores,
        np.concatenate([d.classes for d in heard]) if truth.class_names else None,
    )
    prepared = prepare(truth, table)
    measured = measured_coordinates(boxes, anchor)
    owner = np.full(len(boxes), -1)
    counted, detected, plainness = [], [], []
    near_count = near_volume = 0.0
    for rows, columns, overlap in zip(prepared.truth_rows, prepared.track_rows, prepared.similarity, strict=True):
        matched = np.zeros(len(rows))
        if overlap.size:
            matchable = np.where(overlap >= PREPARATION_IOU, overlap, 0.0)
            for i, j in zip(*linear_sum_assignment(matchable, maximize=True), strict=True):
                if overlap[i, j] >= PREPARATION_IOU:
                    matched[i], owner[columns[j]] = 1.0, truth.ids[rows[i]]
        counted.append(columns)
        detected.append(matched)
        true_boxes = truth.boxes_ltwh[rows]
        plainness.append(1.0 - association.hiding * np.minimum(_cover(true_boxes), LARGEST_COVER))
        near_count += _near(true_boxes, measured[columns[owner[columns] < 0]], anchor)
        near_volume += 16.0 * NEAR_POSITION**2 * NEAR_SIZE**2 * len(rows)
    tau = TAU_PER_S / frame_rate_hz
    history = true_history(table.frames, owner, measured, scores, len(frames), tau)
    rows_counted = np.concatenate(counted) if counted else np.empty(0, np.int64)
    return Labelled(
        history=history,
        logits=score_logits(scores[rows_counted]),
        shares=(owner[rows_counted] >= 0).astype(np.float64),
        detected=np.concatenate(detected) if detected else np.empty(0),
        plainness=np.concatenate(plainness) if plainness else np.empty(0),
        near_count=near_count,
        near_volume=near_volume,
        births=int(
            np.count_nonzero(np.repeat(np.arange(len(frames)), np.diff(history.born_start)) >= settled_frames(tau))
        ),
        watched_s=watched_s(len(frames), tau),
        clutter=float(np.count_nonzero(owner[rows_counted] < 0)),
    )


def true_history(
    frame: IntArray, owner: IntArray, measured: FloatArray, scores: FloatArray, frames: int, tau: float
) -> History:
    """Return the history of detections whose owners are known: certain responsibilities, no death before the last.

    Parameters
    ----------
    frame
        (N,) frame number of each detection, ascending, from 1.
    owner
        (N,) true identity, -1 for none; none twice in a frame.
    measured, scores
        (N, 4) coordinates and (N,) scores.
    frames
        How many frames there are.
    tau
        Length of a step in 1/25 s.
    """
    last = {int(owner[j]): int(frame[j]) for j in np.flatnonzero(owner >= 0)}
    alive: list[int] = []
    row_counts, born_counts = np.zeros(frames, np.int64), np.zeros(frames, np.int64)
    claim, survives, born = [], [], []
    starts = np.searchsorted(frame, np.arange(1, frames + 2))
    for t in range(frames):
        here = {int(owner[j]): j for j in range(starts[t], starts[t + 1]) if owner[j] >= 0}
        row_counts[t] = len(alive)
        claim += [here.get(identity, -1) for identity in alive]
        goes_on = [last[identity] > t + 1 for identity in alive]
        survives += goes_on
        new = [identity for identity in here if identity not in alive and last[identity] > t + 1]
        born += [here[identity] for identity in new]
        born_counts[t] = len(new)
        alive = [identity for identity, on in zip(alive, goes_on, strict=True) if on] + new
    claims = np.array(claim, np.int64)
    return History(
        tau=np.concatenate([[1.0], np.full(frames - 1, tau)]),
        measured=measured,
        scores=scores,
        row_start=starts_of(row_counts),
        claim=claims,
        confidence=(claims >= 0).astype(np.float64),
        survives=np.array(survives, np.bool_),
        pair_start=starts_of(claims >= 0),
        pair_detection=claims[claims >= 0],
        pair_share=np.ones(np.count_nonzero(claims >= 0)),
        born_start=starts_of(born_counts),
        born=np.array(born, np.int64),
    )


def _cover(boxes_ltwh: FloatArray) -> FloatArray:
    """Return (n,) the largest share of each box that one whose bottom edge lies lower covers."""
    low, high = boxes_ltwh[:, :2], boxes_ltwh[:, :2] + boxes_ltwh[:, 2:]
    shared = np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None])
    share = np.maximum(shared, 0.0).prod(axis=2) / boxes_ltwh[:, 2:].prod(axis=1)[:, None]
    nearer = high[None, :, 1] > high[:, None, 1]
    covered: FloatArray = np.where(nearer, share, 0.0).max(axis=1, initial=0.0)
    return covered


def _near(boxes_ltwh: FloatArray, measured: FloatArray, anchor: float) -> float:
    """Return how many pairs of a true box and a detection are near each other in the box space."""
    true = measured_coordinates(ltwh_to_xyxy(boxes_ltwh), anchor)
    reach = box_scales(boxes_ltwh)[:, None, None] * [
        NEAR_POSITION,
        NEAR_POSITION,
        NEAR_SIZE,
        NEAR_SIZE,
    ]
    return float((np.abs(measured[None] - true[:, None]) <= reach).all(axis=2).sum())
