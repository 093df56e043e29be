"""The mixture through time, one frame at a time: predict, E-step, M-step, birth, death.

:func:`step` is pure: state and detections go in, the new state and what was learned come out.
:class:`Tracker` is a thin holder of the state for those who feed frames in a loop.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from tracker.config import Config
from tracker.mixture.exclusive import association_marginals, independent_marginals, most_probable_claims
from tracker.structures import Detections, FloatArray, IntArray, Tracks
from tracker.tracking.evidence import (
    cover_from_last_frame,
    cover_refined,
    detection_probability,
    pair_log_likelihoods,
    pair_log_odds,
    refine,
)
from tracker.tracking.lifecycle import (
    count_claimed,
    follow_chains,
    free_detections,
    learn_birth_score,
    newborn,
    remember_centre,
    renew,
)
from tracker.tracking.lookahead import Held, Window, hold
from tracker.tracking.motion import (
    TAU_PER_S,
    Z_LIMIT,
    adapt,
    innovation_variance,
    mean_to_box,
    measured_coordinates,
    predict,
    predicted_boxes,
    update,
)
from tracker.tracking.state import (
    ASSIGNMENT,
    EXCLUSIVE,
    Record,
    Records,
    StepInfo,
    TrackerState,
    initial_state,
    parameters,
)

LEAST_DETERMINANT = 1e-6
CERTAIN = 1.0 - 1e-6
"""Existence is never surer than this, nor its opposite."""
_STILL = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@njit(cache=True, error_model="numpy")
def _responsibilities(
    row_start: IntArray, column: IntArray, log_odds: FloatArray, columns: int, kind: int
) -> tuple[FloatArray, float]:
    """Return the responsibilities of all pairs and the log evidence (0 where the kind has none)."""
    if kind == EXCLUSIVE:
        return association_marginals(row_start, column, log_odds, columns)
    return independent_marginals(row_start, log_odds), 0.0


@njit(cache=True, error_model="numpy")
def _advance(
    components: Records,
    scene: Records,
    chains: Records,
    boxes_xyxy: FloatArray,
    scores: FloatArray,
    labels: IntArray,
    affine: FloatArray,
    tau: float,
    next_id: int,
    parameter: Records,
) -> tuple[Records, Records, Records, IntArray, IntArray, FloatArray, IntArray, FloatArray, float]:
    """Run one frame; see :func:`step`."""
    p = parameter[0]
    scene = scene.copy()
    heard = np.flatnonzero(scores >= p.score_floor)
    boxes_xyxy, scores, labels = boxes_xyxy[heard], scores[heard], labels[heard]
    measured = measured_coordinates(boxes_xyxy, p.anchor)

    # Last frame's mixture, moved and widened, is the prior of this frame.
    predicted = predict(components, scene, affine, tau, p)
    row_start, column, beta, visible, log_evidence = _e_step(predicted, scene, boxes_xyxy, measured, scores, labels, p)
    detection, confidence = _claim(row_start, column, beta, len(heard), p)
    z = _innovations(predicted, scene, measured, detection, p)
    prior_scene = scene.copy()
    adapt(predicted, scene, z, confidence, scores, detection, p)
    graph = (row_start, column, beta)
    _m_step(predicted, prior_scene, boxes_xyxy, measured, scores, graph, detection, confidence, z, visible, tau, p)

    # Birth and death: what nobody claims begins, what has no evidence ends.
    owner = np.full(len(heard), -1, np.int64)
    share = np.zeros(len(heard))
    for e in range(len(column)):
        share[column[e]] += beta[e]
    for k in range(len(predicted)):
        if detection[k] >= 0:
            owner[detection[k]] = k
    free = free_detections(boxes_xyxy, labels, owner, share, p.veto_iou, p.class_agnostic != 0)
    chosen = free[scores[free] >= scene[0].birth_score - 1e-9]
    if p.learn_birth_score:
        count_claimed(scene, predicted, detection, scores)
        chains = follow_chains(scene, chains, boxes_xyxy, scores, free)
        learn_birth_score(scene, p.birth_score)
    born = newborn(measured, boxes_xyxy, scores, labels, chosen, scene, next_id, p)
    alive, died = renew(predicted, born, p)
    for k in range(len(alive)):
        if alive[k].detection >= 0:
            alive[k].detection = heard[alive[k].detection]

    row = np.empty(len(column), np.int64)
    for k in range(len(predicted)):
        row[row_start[k] : row_start[k + 1]] = k
        log_evidence += math.log1p(-visible[k])
    return alive, scene, chains, row, heard[column], beta, died, z, log_evidence


@njit(cache=True, error_model="numpy")
def _e_step(
    predicted: Records,
    scene: Records,
    boxes_xyxy: FloatArray,
    measured: FloatArray,
    scores: FloatArray,
    labels: IntArray,
    p: Record,
) -> tuple[IntArray, IntArray, FloatArray, FloatArray, float]:
    """Return the responsibilities on their graph (row_start, column, beta), P_D, and the association's log evidence.

    The first round sees the prediction alone, the later ones what the other objects learned in the one before.
    """
    n = len(boxes_xyxy)
    shift = np.zeros((len(predicted), 2))
    cover = cover_from_last_frame(predicted, predicted_boxes(predicted, p.anchor))
    visible = detection_probability(predicted, cover, p)
    row_start, column, log_likelihood = pair_log_likelihoods(
        predicted, scene, shift, boxes_xyxy, measured, scores, labels, p
    )
    log_odds = pair_log_odds(row_start, log_likelihood, visible)
    beta, log_evidence = _responsibilities(row_start, column, log_odds, n, p.responsibilities)
    informed = False
    shift_prior = scene[0].shift_prior.copy()
    for _ in range(1, p.rounds):
        graph = (row_start, column, beta)
        scene[0].shift_prior[:] = shift_prior  # learned once a frame, from its last round
        shift, learned = refine(predicted, scene, measured, scores, graph, p)
        if p.refined_hiding:
            cover = cover_refined(predicted, scene, measured, graph, p)
            visible = detection_probability(predicted, cover, p)
        if learned or informed:
            informed = learned
            row_start, column, log_likelihood = pair_log_likelihoods(
                predicted, scene, shift, boxes_xyxy, measured, scores, labels, p
            )
        log_odds = pair_log_odds(row_start, log_likelihood, visible)
        beta, log_evidence = _responsibilities(row_start, column, log_odds, n, p.responsibilities)
    return row_start, column, beta, visible, log_evidence


@njit(cache=True, error_model="numpy")
def _claim(
    row_start: IntArray, column: IntArray, beta: FloatArray, columns: int, p: Record
) -> tuple[IntArray, FloatArray]:
    """Return the detection that shows each object, -1 for none, and the responsibility of that claim."""
    claim = most_probable_claims(row_start, column, beta, columns)
    if p.responsibilities == ASSIGNMENT:
        beta[:] = 0.0
        beta[claim[claim >= 0]] = 1.0
    detection = np.full(len(claim), -1, np.int64)
    confidence = np.zeros(len(claim))
    for k in range(len(claim)):
        if claim[k] >= 0 and beta[claim[k]] > p.claim:
            detection[k], confidence[k] = column[claim[k]], beta[claim[k]]
    return detection, confidence


@njit(cache=True, error_model="numpy")
def _innovations(
    predicted: Records, scene: Records, measured: FloatArray, detection: IntArray, p: Record
) -> FloatArray:
    """Return (K, 4) normalised innovations of the claimed detections, NaN where nothing was claimed."""
    z = np.full((len(predicted), 4), np.nan)
    for k in range(len(predicted)):
        if detection[k] >= 0:
            c = predicted[k]
            for i in range(4):
                S = innovation_variance(c, i, scene, p)
                z[k, i] = (measured[detection[k], i] - c.mean[i]) / math.sqrt(S)
    return z


@njit(cache=True, error_model="numpy")
def _m_step(
    predicted: Records,
    scene: Records,
    boxes_xyxy: FloatArray,
    measured: FloatArray,
    scores: FloatArray,
    graph: tuple[IntArray, IntArray, FloatArray],
    detection: IntArray,
    confidence: FloatArray,
    z: FloatArray,
    visible: FloatArray,
    tau: float,
    p: Record,
) -> None:
    """Move every claimed object to its share of the detections, and keep the books of all, in place."""
    row_start, column, beta = graph
    innovation, claimed = np.empty(4), np.empty(4)
    for k in range(len(predicted)):
        c = predicted[k]
        absent = 1.0
        for e in range(row_start[k], row_start[k + 1]):
            absent -= beta[e]
        # 1 + sum of psi nu is 1 / (1 - sum of beta). Certainty would be absorbing: no later miss could take it back.
        there = c.existence * (1.0 - visible[k]) / max(absent, 1e-15)
        c.existence = min(max(there / (1.0 - c.existence + there), 1.0 - CERTAIN), CERTAIN)
        j = detection[k]
        c.detection, c.responsibility = j, confidence[k]
        if j < 0:
            c.misses += 1
            c.missed_tau += tau
            continue
        for i in range(4):
            claimed[i] = measured[j, i] - c.mean[i]
            innovation[i] = 0.0
            for e in range(row_start[k], row_start[k + 1]):
                innovation[i] += beta[e] * (measured[column[e], i] - c.mean[i])
        update(c, scene, innovation, claimed, p)
        c.hits += 1
        c.misses = 0
        c.missed_tau = 0.0
        c.score = scores[j]
        c.box[:] = boxes_xyxy[j]
        for i in range(4):
            c.z[i] = min(max(z[k, i], -Z_LIMIT), Z_LIMIT)
        remember_centre(c, boxes_xyxy[j])


def step(
    state: TrackerState,
    detections: Detections,
    config: Config,
    *,
    time_s: float,
    camera_affine: ArrayLike | None = None,
) -> tuple[TrackerState, StepInfo]:
    """Carry the mixture through one frame.

    Parameters
    ----------
    state
        From :func:`tracker.tracking.state.initial_state` or an earlier step; not changed.
    detections
        What was seen in the frame.
    config
        The configuration.
    time_s
        Time of the frame in seconds.
    camera_affine
        (2, 3) map from the previous frame's pixels to this one's; None for a camera that stood still.

    Returns
    -------
    state, info
        The new state and what the step learned.

    Raises
    ------
    ValueError
        When time does not increase or the map is not 2 x 3, finite and invertible.
    """
    return _step(state, detections, parameters(config), time_s, camera_affine)


def _checked_affine(camera_affine: ArrayLike) -> FloatArray:
    affine = np.array(camera_affine, dtype=np.float64, order="C")
    if affine.shape != (2, 3) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:, :2])) < LEAST_DETERMINANT:
        raise ValueError(f"camera_affine is {affine.tolist()}; it must be 2 x 3, finite and invertible")
    return affine


def _step(
    state: TrackerState,
    detections: Detections,
    parameter: Records,
    time_s: float,
    camera_affine: ArrayLike | None,
) -> tuple[TrackerState, StepInfo]:
    # A plain float whatever was given: other types of scalar would compile the step again.
    time_s = float(time_s)
    if not math.isfinite(time_s):
        raise ValueError(f"time_s is {time_s}; it must be finite")
    elapsed_s = time_s - state.time_s if state.frame_index else 1.0 / TAU_PER_S
    if not elapsed_s > 0.0:
        raise ValueError(f"time_s is {time_s}; it must be later than the last frame's {state.time_s}")
    alive, scene, chains, row, column, beta, died, z, log_evidence = _advance(
        state.components,
        state.scene,
        state.chains,
        detections.boxes_xyxy,
        detections.scores,
        detections.classes,
        _STILL if camera_affine is None else _checked_affine(camera_affine),
        elapsed_s * TAU_PER_S,
        state.next_id,
        parameter,
    )
    born = alive["id"][len(state.components) - len(died) :]
    info = StepInfo(
        rows=row,
        columns=column,
        responsibilities=beta,
        log_likelihood=log_evidence,
        ids=state.components["id"],
        innovations=z,
        born=born,
        died=died,
    )
    new = TrackerState(
        components=alive,
        scene=scene,
        chains=chains,
        next_id=state.next_id + len(born),
        frame_index=state.frame_index + 1,
        time_s=time_s,
    )
    return new, info


@njit(cache=True, error_model="numpy")
def _report(
    components: Records, frame_index: int, coasting: bool, smoothed: bool, anchor: float
) -> tuple[IntArray, FloatArray, FloatArray, IntArray, IntArray, FloatArray, FloatArray, FloatArray, IntArray]:
    """Return the columns of :class:`Tracks` for the components to be reported."""
    rows = np.empty(len(components), np.int64)
    n = 0
    for k in range(len(components)):
        c = components[k]
        # Nothing can have been confirmed in the first two frames, and waiting would lose what is there.
        if coasting or (c.detection >= 0 and (c.status == 1 or frame_index <= 2)):
            rows[n] = k
            n += 1
    ids = np.empty(n, np.int64)
    boxes = np.empty((n, 4))
    scores = np.empty(n)
    labels = np.empty(n, np.int64)
    detections = np.empty(n, np.int64)
    covariances = np.zeros((n, 4, 4))
    existence = np.empty(n)
    responsibilities = np.empty(n)
    status = np.empty(n, np.int64)
    lever = anchor - 0.5
    for r in range(n):
        c = components[rows[r]]
        ids[r] = c.id
        scores[r] = c.score
        labels[r] = c.label
        detections[r] = c.detection
        existence[r] = c.existence
        responsibilities[r] = c.responsibility
        if c.status == 0:
            status[r] = 0
        else:
            status[r] = 1 if c.detection >= 0 else 2
        if c.detection >= 0 and not smoothed:
            boxes[r] = c.box
        else:
            mean_to_box(c.mean, anchor, boxes[r])
        # centre y = anchored y - (anchor - 1/2) height
        for i in range(4):
            covariances[r, i, i] = c.p00[i]
        covariances[r, 1, 1] += lever * lever * c.p00[3]
        covariances[r, 1, 3] = covariances[r, 3, 1] = -lever * c.p00[3]
    return ids, boxes, scores, labels, detections, covariances, existence, responsibilities, status


class Tracker:
    """Follow many objects: feed each frame's detections, get the objects with their identities.

    Parameters
    ----------
    config
        See :func:`tracker.load_config`; the defaults when left out.

    Examples
    --------
    >>> from tracker import Detections, Tracker
    >>> tracker = Tracker()
    >>> tracker.update(Detections([[10, 20, 50, 100]], scores=[0.9]), time_s=0.0).ids
    array([1])
    """

    __slots__ = ("_config", "_info", "_lag_frames", "_parameter", "_period_s", "_smoothed", "_state", "_window")

    def __init__(self, config: Config | None = None) -> None:
        self._config = Config() if config is None else config
        self._parameter = parameters(self._config)
        self._period_s = 1.0 / self._config.tracking.frame_rate_hz
        self._smoothed = self._config.tracking.smoothing == "online"
        self._lag_frames = self._config.tracking.lag_frames
        self._state = initial_state(self._config)
        self._info: StepInfo | None = None
        self._window: Window = ()

    def update(
        self,
        detections: Detections,
        time_s: float | None = None,
        camera_affine: ArrayLike | None = None,
    ) -> Tracks:
        """Take in one frame and return the objects seen in it, or in the frame ``tracking.lag_frames`` before.

        Parameters
        ----------
        detections
            What was seen in the frame; may be empty.
        time_s
            Time of the frame; the last frame's plus one period of ``tracking.frame_rate_hz`` when left out. A
            gap is a longer step, not several.
        camera_affine
            (2, 3) map from the previous frame's pixels to this one's.

        Returns
        -------
        Confirmed objects claimed in this frame (in the first two frames, tentative ones too). With
        ``tracking.lag_frames`` L above 0, those of the frame L updates ago, with the rows that the frames since
        have added (see :func:`tracker.tracking.lookahead.hold`); nobody for the first L updates.

        Raises
        ------
        ValueError
            When time does not increase or the map is not 2 x 3, finite and invertible.
        """
        if time_s is None:
            time_s = self._state.time_s + self._period_s if self._state.frame_index else 0.0
        self._state, self._info = _step(self._state, detections, self._parameter, time_s, camera_affine)
        tracks = self.tracks()
        if not self._lag_frames:
            return tracks
        everybody = self.tracks(coasting=True)
        affine = _STILL if camera_affine is None else _checked_affine(camera_affine)
        newest = Held(self._state.time_s, affine, everybody, np.isin(everybody.ids, tracks.ids))
        self._window = hold(self._window, newest, self._lag_frames)
        return self._window[0].report if len(self._window) > self._lag_frames else Tracks.empty()

    def flush(self) -> list[Tracks]:
        """Return the reports that still wait, oldest first, and hold none any more.

        There are as many as frames were taken in since the start or the last flush, but at most
        ``tracking.lag_frames``. The mixture goes on; what comes later adds nothing to these reports.
        """
        waiting = [held.report for held in self._window[-self._lag_frames :]]
        self._window = ()
        return waiting

    def tracks(self, coasting: bool = False) -> Tracks:
        """Return the objects of the newest frame; ``coasting`` adds those not seen in it and the tentative."""
        return Tracks(
            *_report(
                self._state.components,
                self._state.frame_index,
                coasting,
                self._smoothed,
                self._config.tracking.motion.anchor,
            )
        )

    def reset(self) -> None:
        """Forget everything, waiting reports too; identities begin at 1 again."""
        self._state = initial_state(self._config)
        self._info = None
        self._window = ()

    @property
    def state(self) -> TrackerState:
        """All of the mixture that is carried from frame to frame; assign an earlier one to go back to it.

        Waiting reports are not part of it. They speak of the frames that are left when a state is assigned, and
        are dropped then: :meth:`flush` before, to have them.
        """
        return self._state

    @state.setter
    def state(self, state: TrackerState) -> None:
        self._state = state
        self._window = ()

    @property
    def info(self) -> StepInfo | None:
        """What the last step learned; None before the first."""
        return self._info


def warm_up() -> None:
    """Compile what a frame needs, or load it from the cache of an earlier run."""
    tracker = Tracker()
    for _ in range(2):
        tracker.update(Detections([[0.0, 0.0, 10.0, 20.0]]), camera_affine=_STILL)
