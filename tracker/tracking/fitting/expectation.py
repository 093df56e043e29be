"""The E-step over a recording: a run of the tracker, and what the M-step needs of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.config import Config
from tracker.geometry import xyxy_to_ltwh
from tracker.mixture.kernels import kernel
from tracker.structures import Detections, FloatArray, IntArray
from tracker.tracking.evidence import observe, score_logits
from tracker.tracking.fitting.ownership import (
    NEAR_POSITION,
    NEAR_SIZE,
    History,
    Owned,
    settled_frames,
    starts_of,
    watched_s,
)
from tracker.tracking.motion import TAU_PER_S, bring_to_step, innovation_variances, measured_coordinates, predict
from tracker.tracking.online import Tracker, e_step
from tracker.tracking.state import Records, StepInfo, parameters

_PROVEN_HITS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Explained(Owned):
    """What an E-step over one recording learned.

    Parameters
    ----------
    evidence
        Log-likelihood ratio of all frames against clutter alone; what comes after the last detection of an object
        is left out, as it may not have been there any more.
    log_scales
        Sum of log g over the detections that were heard.
    deaths, lifetime_tau
        Objects that ended before the recording did, and the time that objects lived, in 1/25 s.
    birth_scores
        Birth threshold that the tracker had learned by the end, one for each class.
    """

    evidence: float
    log_scales: float
    deaths: int
    lifetime_tau: float
    birth_scores: FloatArray


def of_boxes_at_once(config: Config) -> Config:
    """Return the configuration for a run without pictures whose reports come at once."""
    changed = {"lag_frames": 0, "appearance": "none"}
    return config.model_copy(update={"tracking": config.tracking.model_copy(update=changed)})


def explain(frames: Sequence[Detections], frame_rate_hz: float, config: Config) -> Explained:
    """Run the tracker over a recording and keep what the M-step needs: the E-step.

    Parameters
    ----------
    frames
        The detections of each frame, empty ones too; at least one.
    frame_rate_hz
        Frames per second.
    config
        The configuration.
    """
    tracker, parameter = Tracker(of_boxes_at_once(config)), parameters(config)
    tau = TAU_PER_S / frame_rate_hz
    book = _Book(config.tracking.motion.anchor, config.tracking.association.score_floor)
    for n, detections in enumerate(frames, 1):
        before = tracker.state
        seen = _look(
            before.components,
            before.scene,
            detections.boxes_xyxy,
            detections.scores,
            detections.classes,
            tau if before.frame_index else 1.0,
            parameter,
        )
        tracker.update(detections, time_s=n / frame_rate_hz)
        assert tracker.info is not None
        book.enter(detections, tracker.info, *seen)
    return book.closed(tau, config, tracker.state.score_counts["birth_score"].copy())


@kernel()
def _look(
    components: Records,
    scene: Records,
    boxes_xyxy: FloatArray,
    scores: FloatArray,
    labels: IntArray,
    tau: float,
    parameter: Records,
) -> tuple[FloatArray, FloatArray, float, float]:
    """Return what the E-step of a frame sees and does not tell.

    Returns
    -------
    (K,) P_D of each object, (N',) share that objects have in each heard detection, the sum of what is left of the
    detections near objects, and the volume that was searched for it.
    """
    parameter[1] = parameter[0]
    p = parameter[1]
    bring_to_step(p, tau)
    own = scene.copy()
    observed = observe(boxes_xyxy, scores, labels, p)
    predicted = np.empty_like(components)
    predict(components, own, np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), tau, p, predicted)
    S = innovation_variances(predicted, own, p)
    graph, visible, _, _, _ = e_step(predicted, S, own, observed, None, p)
    _, column, beta = graph
    share = np.zeros(len(observed.scores))
    for e in range(len(column)):
        share[column[e]] += beta[e]
    count, volume = 0.0, 0.0
    for k in range(len(predicted)):
        c = predicted[k]
        if c.misses > 0 or c.hits < _PROVEN_HITS:
            continue
        volume += 16.0 * NEAR_POSITION**2 * NEAR_SIZE**2
        for j in range(len(share)):
            near = True
            for i in range(4):
                reach = NEAR_POSITION if i < 2 else NEAR_SIZE
                if abs(observed.measured[j, i] - c.mean[i]) > reach * c.scale:
                    near = False
            if near:
                count += 1.0 - share[j]
    return visible, share, count, volume


class _Book:
    """What is written down frame by frame during an E-step."""

    def __init__(self, anchor: float, score_floor: float) -> None:
        self._anchor, self._score_floor = anchor, score_floor
        self._detections = self._pairs = self._row = 0
        self._evidence = self._near_count = self._near_volume = 0.0
        self._columns: dict[str, list[NDArray[Any]]] = {}

    def _write(self, **columns: NDArray[Any]) -> None:
        for name, values in columns.items():
            self._columns.setdefault(name, []).append(values)

    def enter(
        self,
        detections: Detections,
        info: StepInfo,
        visible: FloatArray,
        share: FloatArray,
        near_count: float,
        near_volume: float,
    ) -> None:
        before, after = info.before, info.after
        survives = np.isin(before["id"], after["id"])
        claim, confidence = np.full(len(before), -1), np.zeros(len(before))
        old = after[: np.count_nonzero(survives)]
        claim[survives] = np.where(old["detection"] >= 0, old["detection"] + self._detections, -1)
        confidence[survives] = old["responsibility"]
        heard = detections.scores >= self._score_floor
        self._write(
            measured=measured_coordinates(detections.boxes_xyxy, self._anchor),
            scores=detections.scores,
            rows=np.array([len(before)]),
            id=before["id"],
            claim=claim,
            confidence=confidence,
            survives=survives,
            confirmed=before["status"] == 1,
            visible=visible,
            pairs=np.bincount(info.rows, minlength=len(before)),
            pair_detection=info.columns + self._detections,
            pair_share=info.responsibilities,
            births=np.array([len(after) - len(old)]),
            born=after["detection"][len(old) :] + self._detections,
            heard_scores=detections.scores[heard],
            heard_shares=np.minimum(share, 1.0),
            heard_sizes=xyxy_to_ltwh(detections.boxes_xyxy)[heard, 2:],
        )
        self._detections += len(detections)
        self._evidence += info.log_likelihood
        self._near_count += near_count
        self._near_volume += near_volume

    def closed(self, tau: float, config: Config, birth_scores: FloatArray) -> Explained:
        c = {name: np.concatenate(parts) for name, parts in self._columns.items()}
        history = History(
            tau=np.concatenate([[1.0], np.full(len(c["rows"]) - 1, tau)]),
            measured=c["measured"],
            scores=c["scores"],
            row_start=starts_of(c["rows"]),
            claim=c["claim"],
            confidence=c["confidence"],
            survives=c["survives"],
            pair_start=starts_of(c["pairs"]),
            pair_detection=c["pair_detection"],
            pair_share=c["pair_share"],
            born_start=starts_of(c["births"]),
            born=c["born"],
        )
        _, first_row, object_ = np.unique(c["id"], return_index=True, return_inverse=True)
        row = np.arange(len(object_))
        frame_of_row = np.repeat(np.arange(len(c["rows"])), c["rows"])
        confirmed = np.zeros(len(first_row), np.bool_)
        confirmed[object_[c["confirmed"]]] = True
        late = frame_of_row[first_row] > settled_frames(tau)  # the first row is that of the frame after the birth
        last = np.full(object_.max(initial=-1) + 1, -1)
        claimed = c["claim"] >= 0
        np.maximum.at(last, object_[claimed], row[claimed])
        gone = row > last[object_]
        certain = c["confirmed"] & (row < last[object_])
        share = np.bincount(np.repeat(row, c["pairs"]), c["pair_share"], len(row)).astype(np.float64)
        association = config.tracking.association
        return Explained(
            history=history,
            evidence=self._evidence - float(np.log1p(-c["visible"][gone]).sum()),
            log_scales=float(np.log(c["heard_sizes"]).sum()) / 2.0,
            logits=score_logits(c["heard_scores"]),
            shares=c["heard_shares"],
            detected=share[certain],
            plainness=c["visible"][certain] / association.detection_probability,
            near_count=self._near_count,
            near_volume=self._near_volume,
            births=int(np.count_nonzero(confirmed & late)),
            watched_s=watched_s(len(c["rows"]), tau),
            clutter=max(float((1.0 - c["heard_shares"]).sum()) - np.count_nonzero(confirmed), 0.0),
            deaths=int(np.count_nonzero(c["confirmed"] & ~c["survives"])),
            lifetime_tau=tau * int(np.count_nonzero(c["confirmed"] & ~gone)),
            birth_scores=birth_scores,
        )
