"""The mixture through time, one frame at a time: predict, E-step, M-step, birth, death.

:func:`step` is pure: state and detections go in, the new state and what was learned come out.
:class:`Tracker` is a thin holder of the state for those who feed frames in a loop.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from tracker.config import Config
from tracker.errors import ConfigurationError
from tracker.geometry import carried
from tracker.mixture.exclusive import (
    association_marginals,
    banked,
    independent_marginals,
    is_worth_claiming,
    most_probable_claims,
)
from tracker.mixture.kernels import kernel
from tracker.structures import TRACK, Detections, FloatArray, IntArray, Tracks
from tracker.tracking.appearance import (
    Looks,
    first_looks,
    learn_likeness,
    likeness_evidence,
    normalised,
    remember_looks,
    sure_without_looks,
)
from tracker.tracking.evidence import (
    Graph,
    Observed,
    cover_from_last_frame,
    cover_refined,
    detection_probability,
    log_density_at_mode,
    observe,
    pair_log_likelihoods,
    pair_log_odds,
    refine,
)
from tracker.tracking.holding import STILL, Holder, checked_affine, elapsed_tau
from tracker.tracking.lifecycle import (
    classes_seen,
    count_claimed,
    follow_chains,
    free_detections,
    learn_birth_scores,
    newborn,
    remember_centre,
    renew,
    scored_as_objects,
)
from tracker.tracking.motion import (
    TAU_PER_S,
    adapt,
    bring_to_step,
    edges,
    innovation_variances,
    learn_innovation_scale,
    predict,
    predicted_boxes,
    update,
)
from tracker.tracking.state import (
    ASSIGNMENT,
    CERTAIN,
    EXCLUSIVE,
    NO_FEATURES,
    PAIR,
    Record,
    Records,
    StepInfo,
    TrackerState,
    initial_state,
    parameters,
    room_for_step,
)
from tracker.tracking.uncertainty import ErrorLaws, continuity, error_covariances, error_laws


@kernel(inline="always")
def _responsibilities(
    row_start: IntArray, column: IntArray, log_odds: FloatArray, columns: int, kind: int, with_evidence: bool
) -> tuple[FloatArray, float]:
    """Return the responsibilities of all pairs and, where wanted, the log evidence."""
    if kind == EXCLUSIVE:
        return association_marginals(row_start, column, log_odds, columns, with_evidence)
    return independent_marginals(row_start, log_odds)


@kernel()
def advance(
    components: Records,
    scene_before: Records,
    counts_before: Records,
    chains: Records,
    boxes_xyxy: FloatArray,
    scores: FloatArray,
    labels: IntArray,
    looks: Looks | None,
    affine: FloatArray,
    tau: float,
    next_id: int,
    parameter: Records,
    alive: Records,
    scene: Records,
    counts: Records,
    links: Records,
    features_after: FloatArray,
) -> tuple[int, int, int, int, Records, float]:
    """Run one frame; see :func:`step`.

    The new components, scene, score counts and chains are written into ``alive`` (K + N,), ``scene`` (1,),
    ``counts`` (L + N,) and ``links`` (N,), the objects' features into ``features_after`` (K + N, D). The second of the
    ``parameter`` records (2,) is scratch. Where looks play no part, ``looks`` is None, what concerns them is not even
    compiled, and ``features_after`` is (0, 0).

    Returns
    -------
    How many components, classes and chains there are now, the next identity, the responsibilities, the log-likelihood.
    """
    parameter[1] = parameter[0]
    p = parameter[1]
    bring_to_step(p, tau)
    scene[0] = scene_before[0]
    observed = observe(boxes_xyxy, scores, labels, p)

    # Last frame's mixture, moved and widened, is the prior of this frame.
    predicted = alive[: len(components)]
    predict(components, scene_before, affine, tau, p, predicted)
    found = find(predicted, scene_before, scene, observed, looks, tau, p)
    graph, visible, detection, cover, sure, log_evidence = found

    # Birth and death: what nobody claims begins, what has no evidence ends.
    free, kind, classes, chosen = left_over(
        predicted, observed, graph, detection, counts_before, counts, chains, links, p
    )
    if looks is not None:
        learn_likeness(predicted, observed.detection, sure, looks, scene)
        remember_looks(predicted, cover, looks, tau, p, features_after)
    survivors = renew(predicted, p)
    newborn(observed, chosen, scene, kind, counts, next_id, p, alive[survivors:])
    if looks is not None:
        first_looks(alive, survivors, survivors + len(chosen), looks.seen, features_after)

    pairs, log_unseen = _noted(graph, observed.detection, visible)
    chained = len(free) if p.learn_birth_score else 0
    return survivors + len(chosen), classes, chained, next_id + len(chosen), pairs, log_evidence + log_unseen


@kernel()
def find(
    predicted: Records,
    scene_before: Records,
    scene: Records,
    observed: Observed,
    looks: Looks | None,
    tau: float,
    p: Record,
) -> tuple[Graph, FloatArray, IntArray, FloatArray, IntArray, float]:
    """Find all objects in the frame and move them there, in place, and learn what the scene is like.

    Returns
    -------
    The graph of responsibilities, P_D, who claims which detection, cover, who is sure, and the log evidence.
    """
    S = innovation_variances(predicted, scene, p)
    graph, visible, cover, sure, log_evidence = e_step(predicted, S, scene, observed, looks, p)
    row_start, column, beta = graph
    detection, confidence = _claim(row_start, column, beta, len(observed.scores), p)
    z = _innovations(predicted, S, observed.measured, detection)
    learn_innovation_scale(scene, z, detection, p)
    adapt(predicted, scene, z, confidence, observed.scores, detection, tau, p)
    _m_step(predicted, scene_before, observed, graph, detection, confidence, z, visible, tau, p)
    return graph, visible, detection, cover, sure, log_evidence


@kernel()
def left_over(
    predicted: Records,
    observed: Observed,
    graph: Graph,
    detection: IntArray,
    counts_before: Records,
    counts: Records,
    chains: Records,
    links: Records,
    p: Record,
) -> tuple[IntArray, IntArray, int, IntArray]:
    """Learn from what nobody claims which scores objects have.

    Returns
    -------
    Who is free, the class of each detection as a row of ``counts``, how many classes there are, who is to be born.
    """
    owner, share = _explained(graph, detection, len(observed.scores))
    free = free_detections(observed.grid, observed.labels, owner, share, p.veto_iou, p.class_agnostic != 0)
    kind, classes = classes_seen(observed.labels, counts_before, counts, p.birth_score)
    chosen = scored_as_objects(free, observed.scores, kind, counts)
    if p.learn_birth_score:
        count_claimed(counts[:classes], predicted, detection, observed.scores, kind)
        agnostic = p.class_agnostic != 0
        follow_chains(counts, chains, observed.grid.boxes_xyxy, observed.scores, kind, free, agnostic, links)
        learn_birth_scores(counts[:classes], p.birth_score)
    return free, kind, classes, chosen


@kernel(inline="always")
def e_step(
    predicted: Records, S: FloatArray, scene: Records, observed: Observed, looks: Looks | None, p: Record
) -> tuple[Graph, FloatArray, FloatArray, IntArray, float]:
    """Return the graph of responsibilities (row_start, column, beta), P_D, cover, who is sure, and the log evidence.

    The first round sees the prediction alone, the later ones what the other objects learned in the one before.
    """
    boxes = predicted_boxes(predicted, p.anchor)
    at_mode = log_density_at_mode(predicted, S, p)
    shift = np.zeros((len(predicted), 2))
    cover = cover_from_last_frame(predicted, boxes)
    informed, moved = False, True
    sure = np.empty(0, np.int64)
    shift_prior = scene[0].shift_prior.copy()
    for n in range(p.rounds):
        visible = detection_probability(predicted, cover, p)
        if moved:
            row_start, column, log_likelihood = pair_log_likelihoods(predicted, boxes, S, at_mode, shift, observed, p)
        log_odds = pair_log_odds(row_start, log_likelihood, visible)
        last = n + 1 == p.rounds
        if looks is not None:
            if last:
                sure = sure_without_looks(row_start, column, log_odds, len(observed.scores), p.sure_of_look)
            log_odds += likeness_evidence(row_start, column, predicted, observed.detection, looks, scene, p)
        beta, log_evidence = _responsibilities(
            row_start, column, log_odds, len(observed.scores), p.responsibilities, last
        )
        graph = (row_start, column, beta)
        if not last:
            for i in range(2):
                scene[0].shift_prior[i] = shift_prior[i]  # learned once a frame, from its last round
            moved = informed
            shift, informed = refine(predicted, S, scene, observed.measured, observed.scores, graph, p)
            moved = moved or informed
            if p.refined_hiding:
                cover = cover_refined(predicted, S, observed.measured, graph, p)
    return graph, visible, cover, sure, log_evidence


@kernel(inline="always")
def _claim(
    row_start: IntArray, column: IntArray, beta: FloatArray, columns: int, p: Record
) -> tuple[IntArray, FloatArray]:
    """Return the detection that shows each object, -1 for none, and the responsibility of that claim."""
    claim = most_probable_claims(row_start, column, beta, columns)
    if p.responsibilities == ASSIGNMENT:
        beta[:] = 0.0
        for k in range(len(claim)):
            if claim[k] >= 0:
                beta[claim[k]] = 1.0
    detection, confidence = np.empty(len(claim), np.int64), np.empty(len(claim))
    for k in range(len(claim)):
        detection[k], confidence[k] = -1, 0.0
        if is_worth_claiming(row_start, beta, k, claim[k], p.claim):
            detection[k], confidence[k] = column[claim[k]], beta[claim[k]]
    return detection, confidence


@kernel(inline="always")
def _innovations(predicted: Records, S: FloatArray, measured: FloatArray, detection: IntArray) -> FloatArray:
    """Return (K, 4) normalised innovations of the claimed detections; rows of objects without one are not set."""
    z = np.empty((len(predicted), 4))
    for k in range(len(predicted)):
        j = detection[k]
        if j >= 0:
            for i in range(4):
                z[k, i] = (measured[j, i] - predicted[k].mean[i]) / math.sqrt(S[k, i])
    return z


@kernel(inline="always")
def _explained(graph: Graph, detection: IntArray, columns: int) -> tuple[IntArray, FloatArray]:
    """Return (N,) who claims each detection, -1 for nobody, and (N,) the share that all components have in it."""
    row_start, column, beta = graph
    owner, share = np.empty(columns, np.int64), np.zeros(columns)
    owner[:] = -1
    for k in range(len(detection)):
        if detection[k] >= 0:
            owner[detection[k]] = k
        for e in range(row_start[k], row_start[k + 1]):
            share[column[e]] += beta[e]
    return owner, share


@kernel(inline="always")
def _noted(graph: Graph, frame_row: IntArray, visible: FloatArray) -> tuple[Records, float]:
    """Return the graph as records of :data:`PAIR`, and the log-probability that nobody is seen."""
    row_start, column, beta = graph
    pairs, log_unseen, unseen = np.empty(len(column), PAIR), 0.0, 1.0
    for k in range(len(visible)):
        log_unseen, unseen = banked(log_unseen, unseen * (1.0 - visible[k]))
        for e in range(row_start[k], row_start[k + 1]):
            pairs[e].row, pairs[e].column, pairs[e].responsibility = k, frame_row[column[e]], beta[e]
    return pairs, log_unseen + math.log(unseen)


@kernel(inline="always")
def _m_step(
    predicted: Records,
    scene: Records,
    observed: Observed,
    graph: Graph,
    detection: IntArray,
    confidence: FloatArray,
    z: FloatArray,
    visible: FloatArray,
    tau: float,
    p: Record,
) -> None:
    """Move every claimed object to its share of the detections, and keep the books of all, in place."""
    row_start, column, beta = graph
    measured, boxes = observed.measured, observed.grid.boxes_xyxy
    scores, frame_row = observed.scores, observed.detection
    innovation, claimed = np.empty(4), np.empty(4)
    remembered = math.exp(-tau / TAU_PER_S)
    for k in range(len(predicted)):
        c = predicted[k]
        absent = 1.0
        for e in range(row_start[k], row_start[k + 1]):
            absent -= beta[e]
        # 1 + sum of psi nu is 1 / (1 - sum of beta). Certainty would be absorbing: no later miss could take it back.
        there = c.existence * (1.0 - visible[k]) / max(absent, 1e-15)
        c.existence = min(max(there / (1.0 - c.existence + there), 1.0 - CERTAIN), CERTAIN)
        j = detection[k]
        c.detection, c.responsibility = -1, confidence[k]
        c.doubt *= remembered
        if j < 0:
            c.misses += 1
            c.missed_tau += tau
            continue
        mean = c.mean
        for i in range(4):
            claimed[i] = measured[j, i] - mean[i]
            innovation[i] = 0.0
            for e in range(row_start[k], row_start[k + 1]):
                innovation[i] += beta[e] * (measured[column[e], i] - mean[i])
        update(c, scene, innovation, claimed, p)
        c.detection = frame_row[j]
        c.doubt -= math.log(min(confidence[k], 1.0))
        c.hits += 1
        c.misses = 0
        c.missed_tau = 0.0
        c.score = scores[j]
        for i in range(4):
            c.box[i] = boxes[j, i]
            c.z[i] = z[k, i]
        remember_centre(c, boxes, j)


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
        When time does not increase, the map is not 2 x 3, finite and invertible, or the detections have no features
        where ``tracking.appearance`` asks for them, or others than before.
    """
    if config.tracking.appearance != "none":
        _demand_features(detections, config.tracking.appearance)
    return _step(state, detections, parameters(config), time_s, camera_affine)


def _demand_features(detections: Detections, appearance: str) -> None:
    if detections.features is None and len(detections):
        raise ValueError(
            f"tracking.appearance is {appearance}, but the detections have no features; "
            "Detections.with_features adds them"
        )


def _features(state: TrackerState, detections: Detections) -> FloatArray:
    """Return the features of the objects and of a frame's detections, (K + N, D), of length 1 or 0."""
    features, remembered = detections.features, state.features
    count, kept = len(detections.scores), remembered.shape[1]
    if features is None or not count:
        return np.concatenate([remembered, np.zeros((count, kept))])
    given = features.shape[1]
    if len(remembered) and kept and kept != given:
        raise ValueError(f"features have {given} columns; the tracker was given {kept} before, and cannot compare them")
    if kept != given:
        remembered = np.zeros((len(state.components), given))
    return np.concatenate([remembered, normalised(features)])


def _step(
    state: TrackerState,
    detections: Detections,
    parameter: Records,
    time_s: float,
    camera_affine: ArrayLike | None,
) -> tuple[TrackerState, StepInfo]:
    tau, time_s = elapsed_tau(state, time_s)
    affine, chains = STILL, state.chains
    if camera_affine is not None:
        affine = checked_affine(camera_affine)
        chains = chains.copy()
        chains["box"] = carried(chains["box"], affine)
    components, score_counts = state.components, state.score_counts
    alive, scene, counts, links = room_for_step(len(components), len(detections.scores), len(score_counts))
    looks, remembered = None, NO_FEATURES
    if detections.features is not None or len(state.features):
        features = _features(state, detections)
        looks, remembered = Looks(features[len(components) :], features[: len(components)]), np.empty_like(features)
    count, classes, chained, next_id, pairs, log_evidence = advance(
        components,
        state.scene,
        score_counts,
        chains,
        detections.boxes_xyxy,
        detections.scores,
        detections.classes,
        looks,
        affine,
        tau,
        state.next_id,
        parameter,
        alive,
        scene,
        counts,
        links,
        remembered,
    )
    new = TrackerState(
        alive[:count],
        scene,
        counts[:classes],
        links[:chained],
        remembered[:count],
        next_id,
        state.frame_index + 1,
        time_s,
    )
    return new, StepInfo(components, new.components, pairs, log_evidence, state.scene)


@kernel()
def _report(components: Records, frame_index: int, coasting: bool, smoothed: bool, anchor: float) -> Records:
    """Return a row of :class:`Tracks` for each component to be reported."""
    rows = np.empty(len(components), TRACK)
    n = 0
    for k in range(len(components)):
        c = components[k]
        # Nothing can have been confirmed in the first two frames, and waiting would lose what is there.
        if not (coasting or (c.detection >= 0 and (c.status == 1 or frame_index <= 2))):
            continue
        r = rows[n]
        n += 1
        r.ids = c.id
        r.scores = c.score
        r.classes = c.label
        r.detection_indices = c.detection
        r.existence = c.existence
        r.responsibilities = c.responsibility
        if c.status == 0:
            r.status = 0
        else:
            r.status = 1 if c.detection >= 0 else 2
        if c.detection >= 0 and not smoothed:
            left, top, right, bottom = c.box[0], c.box[1], c.box[2], c.box[3]
        else:
            left, top, right, bottom = edges(c.mean[0], c.mean[1], c.mean[2], c.mean[3], anchor)
        r.boxes_xyxy[0], r.boxes_xyxy[1], r.boxes_xyxy[2], r.boxes_xyxy[3] = left, top, right, bottom
        r.component = k
    return rows[:n]


def _told_when_asked(state: TrackerState, laws: ErrorLaws, name: str, rows: Records) -> FloatArray:
    """Return what :class:`Tracks` works out late: most frames are never asked, and it takes as long as a step."""
    if name == "continuity":
        return continuity(state.components[rows["component"]], laws)
    return error_covariances(state, rows["component"], rows["boxes_xyxy"], laws)


class Tracker(Holder):
    """Follow many objects: feed each frame's detections, get the objects with their identities.

    Parameters
    ----------
    config
        See :func:`tracker.load_config`; the defaults when left out.

    Raises
    ------
    ConfigurationError
        When ``tracking.observations`` is ``pixels``, which :class:`tracker.PixelTracker` follows.

    Examples
    --------
    >>> from tracker import Detections, Tracker
    >>> tracker = Tracker()
    >>> tracker.update(Detections([[10, 20, 50, 100]], scores=[0.9]), time_s=0.0).ids
    array([1])
    """

    __slots__ = ("_anchor", "_appearance", "_laws", "_parameter", "_smoothed")

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config, initial_state())
        if self._config.tracking.observations != "boxes":
            raise ConfigurationError(
                "tracking.observations is pixels; Tracker follows boxes, tracker.PixelTracker pixels"
            )
        self._parameter = parameters(self._config)
        self._smoothed = self._config.tracking.smoothing == "online"
        self._anchor = self._config.tracking.motion.anchor
        self._appearance = self._config.tracking.appearance
        self._laws = error_laws(self._config)

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
        TypeError
            When the detections are none.
        ValueError
            When time does not increase, the map is not 2 x 3, finite and invertible, or the detections have no features
            where ``tracking.appearance`` asks for them, or others than before.
        """
        if not isinstance(detections, Detections):
            raise TypeError(f"detections is a {type(detections).__name__}; it must be Detections(boxes_xyxy, scores)")
        if self._appearance != "none":
            _demand_features(detections, self._appearance)
        if time_s is None:
            time_s = self._due_s()
        self._state, self._info = _step(self._state, detections, self._parameter, time_s, camera_affine)
        tracks = self.tracks()
        return self._hold_back(tracks, camera_affine) if self._lag_frames else tracks

    def tracks(self, coasting: bool = False) -> Tracks:
        """Return the objects of the newest frame; ``coasting`` adds those not seen in it and the tentative."""
        state = self._state
        rows = _report(state.components, state.frame_index, coasting, self._smoothed, self._anchor)
        return Tracks.of_rows(rows, partial(_told_when_asked, state, self._laws))
