"""Learning the tracker's numbers from recordings: the statistics of an E-step over whole sequences, and the M-step.

The model is the tracker's own. In each frame an object k is detected with probability P_D,k; its box has the
density L of :mod:`tracker.tracking.evidence` around the prediction, its score the density p1. What no object
explains, clutter and first detections of new objects alike, is a Poisson process of density c per unit of the box
space in units of g, with scores of density p0. The tracker knows p1/p0 alone, a power of the score's odds; with
the scores' own distribution m, which is left free, both densities follow (the exponential tilt of Anderson 1972):

    p0(s) ~ m(s) / (1 - pi + pi p1/p0(s)),    pi the share of objects among the detections.

The E-step is a run of the tracker, which leaves the responsibilities of all pairs. The M-step maximises the
expected log-likelihood, part by part, each with a prior that stands at the configuration one started from and
weighs as much as a stated number of observations:

- noise: with the responsibilities given, the whole recording is filtered anew for each trial of the noise, with the
  tracker's own prediction, update and adaptation, so that tails, damping and adaptation are as they will be;
- P_D and clutter: counts;
- score: logistic regression of the responsibilities on the log odds of the score.

For who owns a detection it is all one whether what no object explains is clutter or the first of a new object: the
two have one density, c. How many of each there are is counted besides, and said. Which of them begins an object the
tracker decides by the score, as it learns to while it runs.

References
----------
- Dempster, Laird and Rubin, Maximum Likelihood from Incomplete Data via the EM Algorithm, JRSS B 39, 1977.
- Anderson, Separate Sample Logistic Discrimination, Biometrika 59, 1972.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from tracker.config import Config
from tracker.geometry import xyxy_to_ltwh
from tracker.mixture.kernels import kernel
from tracker.mixture.logistic import logit
from tracker.structures import Detections, FloatArray, IntArray
from tracker.tracking.evidence import (
    HIGHEST_DETECTION_PROBABILITY,
    HIGHEST_SCORE,
    LOWEST_DETECTION_PROBABILITY,
    LOWEST_SCORE,
    observe,
    score_logits,
)
from tracker.tracking.lifecycle import HIGHEST_BIRTH_SCORE, LOWEST_BIRTH_SCORE
from tracker.tracking.motion import (
    TAU_PER_S,
    adapt,
    box_scale,
    bring_to_step,
    innovation_variances,
    measured_coordinates,
    measurement_variance,
    predict,
    update,
)
from tracker.tracking.online import Tracker, e_step
from tracker.tracking.state import COMPONENT, SCENE, Record, Records, StepInfo, parameters

NEAR_POSITION = 1.0
NEAR_SIZE = 0.5
"""Half the sides, in units of g, of the part of the box space around an object in which clutter is counted."""
_PROVEN_HITS = 3
SETTLED_S = 1.0
"""Who is found before this time of a recording was there when it began, and counts as no birth."""


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """Which object had which share of which detection throughout a recording: what an E-step leaves for filtering.

    Objects of a frame are a row each, in the order in which the tracker holds them: who survives keeps its
    place, who is born comes last.

    Parameters
    ----------
    tau
        (F,) length of each frame's step in 1/25 s.
    measured
        (N, 4) centre x, anchored y, width, height of all detections.
    scores
        (N,) their scores.
    row_start
        (F + 1,) first row of each frame.
    claim
        (R,) detection that the row's object claims, -1 for none.
    confidence
        (R,) responsibility of that claim.
    survives
        (R,) whether the object goes on.
    pair_start
        (R + 1,) first pair of each row.
    pair_detection, pair_share
        (E,) detection and responsibility of each pair.
    born_start
        (F + 1,) first birth of each frame.
    born
        (B,) detections that objects began with.
    """

    tau: FloatArray
    measured: FloatArray
    scores: FloatArray
    row_start: IntArray
    claim: IntArray
    confidence: FloatArray
    survives: NDArray[np.bool_]
    pair_start: IntArray
    pair_detection: IntArray
    pair_share: FloatArray
    born_start: IntArray
    born: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Owned:
    """What it tells of one recording that its detections have owners, by responsibilities or by the truth.

    Parameters
    ----------
    history
        Who had which share of what.
    logits
        (N,) log odds of the scores of the detections that count.
    shares
        (N,) share that objects have in each of them.
    detected, plainness
        (V,) by object and frame in which it was certainly there: its share of a detection, and the factor on P_D
        that cover and absence leave it.
    near_count, near_volume
        Detections around objects that are nobody's, and the volume of the box space in which they were counted.
    births, watched_s
        Objects that began after the first second, and the time from then on.
    clutter
        Detections that no object has, nor began with.
    """

    history: History
    logits: FloatArray
    shares: FloatArray
    detected: FloatArray
    plainness: FloatArray
    near_count: float
    near_volume: float
    births: int
    watched_s: float
    clutter: float

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.history.tau)


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
            row_start=_starts(c["rows"]),
            claim=c["claim"],
            confidence=c["confidence"],
            survives=c["survives"],
            pair_start=_starts(c["pairs"]),
            pair_detection=c["pair_detection"],
            pair_share=c["pair_share"],
            born_start=_starts(c["births"]),
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


def settled_frames(tau: float) -> int:
    """Return how many frames at the beginning of a recording tell of no births; ``tau`` is the step in 1/25 s."""
    return round(SETTLED_S * TAU_PER_S / tau)


def watched_s(frames: int, tau: float) -> float:
    """Return for how long a recording of so many frames tells of births, in seconds."""
    return max(0, frames - settled_frames(tau)) * tau / TAU_PER_S


def _starts(counts: IntArray) -> IntArray:
    return np.concatenate([[0], np.cumsum(counts)])


@kernel()
def _filtered(
    tau: FloatArray,
    measured: FloatArray,
    scores: FloatArray,
    row_start: IntArray,
    claim: IntArray,
    confidence: FloatArray,
    survives: NDArray[np.bool_],
    pair_start: IntArray,
    pair_detection: IntArray,
    pair_share: FloatArray,
    born_start: IntArray,
    born: IntArray,
    parameter: Records,
) -> float:
    """Filter a recording with given responsibilities and return the log density of the boxes, weighted by them."""
    scene = np.zeros(1, SCENE)
    scene[0].process_position = scene[0].process_size = 1.0
    scene[0].measurement_position = scene[0].measurement_size = 1.0
    room = 0
    for t in range(len(tau)):
        room = max(room, row_start[t + 1] - row_start[t] + born_start[t + 1] - born_start[t])
    components, predicted = np.zeros(room, COMPONENT), np.zeros(room, COMPONENT)
    blank = np.zeros(1, COMPONENT)
    still = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    z, detection, innovation, claimed = np.empty((room, 4)), np.empty(room, np.int64), np.empty(4), np.empty(4)
    total = 0.0
    for t in range(len(tau)):
        parameter[1] = parameter[0]
        p = parameter[1]
        bring_to_step(p, tau[t])
        first, count = row_start[t], row_start[t + 1] - row_start[t]
        moved = predicted[:count]
        predict(components[:count], scene, still, tau[t], p, moved)
        S = innovation_variances(moved, scene, p)
        for k in range(count):
            c = moved[k]
            detection[k] = claim[first + k]
            for e in range(pair_start[first + k], pair_start[first + k + 1]):
                for i in range(4):
                    off = measured[pair_detection[e], i] - c.mean[i]
                    total += pair_share[e] * _log_density(off, S[k, i], c.scale, i, p)
            if detection[k] >= 0:
                for i in range(4):
                    z[k, i] = (measured[detection[k], i] - c.mean[i]) / math.sqrt(S[k, i])
        before = scene.copy()
        adapt(moved, scene, z[:count], confidence[first : first + count], scores, detection[:count], tau[t], p)
        kept = 0
        for k in range(count):
            c = moved[k]
            j = detection[k]
            if j < 0:
                c.misses += 1
                c.missed_tau += tau[t]
            else:
                for i in range(4):
                    claimed[i] = measured[j, i] - c.mean[i]
                    innovation[i] = 0.0
                    for e in range(pair_start[first + k], pair_start[first + k + 1]):
                        innovation[i] += pair_share[e] * (measured[pair_detection[e], i] - c.mean[i])
                    c.z[i] = z[k, i]
                update(c, before, innovation, claimed, p)
                c.hits += 1
                c.misses = 0
                c.missed_tau = 0.0
            if survives[first + k]:
                components[kept] = c
                kept += 1
        for b in range(born_start[t], born_start[t + 1]):
            components[kept] = blank[0]
            c = components[kept]
            j = born[b]
            c.hits = 1
            c.scale = box_scale(measured[j, 2], measured[j, 3])
            for i in range(4):
                c.mean[i] = measured[j, i]
                c.p00[i] = measurement_variance(i, c.scale, scene, p)
                c.p11[i] = (p.initial_velocity * c.scale) ** 2
            kept += 1
    return total


SECTIONS: Mapping[str, tuple[str, ...]] = {
    "motion": ("measurement_noise", "process_noise", "initial_velocity"),
    "association": ("detection_probability", "clutter_density", "score_neutral", "score_weight"),
    "lifecycle": ("birth_score", "survival"),
}
"""Where in ``tracking`` each number that can be learned stands."""


def numbers_of(config: Config) -> dict[str, Any]:
    """Return what can be learned as a configuration states it, by dotted key."""
    keys = (f"tracking.{section}.{name}" for section, names in SECTIONS.items() for name in names)
    return {key: number_of(config, key) for key in keys}


def number_of(config: Config, key: str) -> Any:
    """Return what stands under a dotted key of three parts, such as ``tracking.motion.anchor``."""
    return attrgetter(key)(config)


def with_numbers(config: Config, numbers: Mapping[str, Any]) -> Config:
    """Return the configuration with other values under the dotted keys, all of them in ``tracking``."""
    tracking = config.tracking
    for key, value in numbers.items():
        _, *section, name = key.split(".")
        if not section:
            tracking = tracking.model_copy(update={name: value})
            continue
        changed = getattr(tracking, section[0]).model_copy(update={name: value})
        tracking = tracking.model_copy(update={section[0]: changed})
    return config.model_copy(update={"tracking": tracking})


def filtered_log_likelihood(histories: Iterable[History], config: Config) -> float:
    """Return the log density of all boxes given the past and the responsibilities, but for a constant.

    The recordings are filtered as the tracker does it, adaptation and all; only who explains what is given.
    """
    parameter = parameters(config)
    return sum(_filtered(*_arrays(h), parameter) for h in histories)  # type: ignore[call-arg, misc]


def _arrays(history: History) -> tuple[NDArray[Any], ...]:
    return tuple(getattr(history, field.name) for field in fields(history))


def fitted_noise(
    histories: Sequence[History], config: Config, prior: Config, prior_weight: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the noise under which the given responsibilities are most probable, and the errors of it.

    Each of the nine standard deviations in its turn is searched on a logarithmic scale, with steps that grow while
    they help and shrink when none does.

    Returns
    -------
    numbers
        By dotted key.
    errors
        By dotted key, relative standard errors, from the curvature at the maximum.
    """
    centre = _log_noise(prior)

    def objective(x: FloatArray) -> float:
        fit = filtered_log_likelihood(histories, with_numbers(config, _noise_numbers(np.exp(x))))
        # n observations tell the log of a standard deviation with the variance 1 / 2n.
        return fit - prior_weight * float(((x - centre) ** 2).sum())

    x = _log_noise(config)
    best = objective(x)
    step = np.full(len(x), _FIRST_STEP)
    while (step > _LAST_STEP).any():
        for i in range(len(x)):
            for sign in (1.0, -1.0):
                trial = x.copy()
                trial[i] = np.clip(trial[i] + sign * step[i], *_NOISE_RANGE)
                value = objective(trial)
                if value > best:
                    x, best = trial, value
                    step[i] *= _GROWTH
                    break
            else:
                step[i] *= _SHRINKAGE
    return _noise_numbers(np.exp(x)), _noise_numbers(_curvature_errors(objective, x, best))


def fitted_detection_probability(
    detected: FloatArray, plainness: FloatArray, prior: float, prior_weight: float
) -> tuple[float, float]:
    """Return P_D of an object in plain view and its standard error.

    Parameters
    ----------
    detected
        (V,) share of a detection that each visible object had.
    plainness
        (V,) factor on P_D that cover left it.
    prior, prior_weight
        What counts as so many objects more, in plain view, of which this share was detected.
    """

    def loss(probability: float) -> float:
        visible = np.clip(probability * plainness, *_VISIBLE_RANGE)
        here = detected @ np.log(visible) + (1.0 - detected) @ np.log1p(-visible)
        return -float(here + prior_weight * (prior * math.log(probability) + (1.0 - prior) * math.log1p(-probability)))

    value = float(minimize_scalar(loss, bounds=_VISIBLE_RANGE, method="bounded", options={"xatol": 1e-5}).x)
    return value, math.sqrt(value * (1.0 - value) / max(len(detected) + prior_weight, 1.0))


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a score says: log odds that its detection is an object = offset + weight x log odds of the score.

    Parameters
    ----------
    offset, weight
        The coefficients.
    share
        Share of objects among the detections it was learned from.
    offset_error, weight_error
        Standard errors.
    """

    offset: float
    weight: float
    share: float
    offset_error: float
    weight_error: float

    @property
    def neutral(self) -> float:
        """Score that is as probable of an object as of clutter."""
        return self.score_at(self.share)

    def score_at(self, probability: float) -> float:
        """Return the score at which a detection is an object with this probability."""
        odds = (logit(probability) - self.offset) / self.weight
        return 1.0 / (1.0 + math.exp(min(max(-odds, -_LARGEST_LOGIT), _LARGEST_LOGIT)))


def fitted_calibration(
    logits: FloatArray, shares: FloatArray, neutral: float, weight: float, prior_weight: float
) -> Calibration:
    """Return what scores say: logistic regression of the shares that objects have in the detections.

    Parameters
    ----------
    logits
        (N,) log odds of the scores.
    shares
        (N,) share that objects have in each detection: 0 or 1 where the truth is known.
    neutral, weight
        The configuration's, which are the prior.
    prior_weight
        Observations that the prior weighs.
    """
    share = float(np.clip(shares.mean(), *_SHARE_RANGE)) if len(shares) else 0.5
    centre = np.array([logit(share) - weight * logit(neutral), weight])
    precision = prior_weight / 4.0  # no observation tells more

    def loss(x: FloatArray) -> tuple[float, FloatArray]:
        odds = x[0] + x[1] * logits
        off = 1.0 / (1.0 + np.exp(-odds)) - shares
        value = np.logaddexp(0.0, odds).sum() - shares @ odds + precision / 2.0 * ((x - centre) ** 2).sum()
        return float(value), np.array([off.sum(), off @ logits]) + precision * (x - centre)

    x = minimize(loss, centre, jac=True, method="L-BFGS-B", bounds=[(None, None), _WEIGHT_RANGE]).x
    probability = 1.0 / (1.0 + np.exp(-(x[0] + x[1] * logits)))
    information = probability * (1.0 - probability)
    crossed = float(information @ logits)
    hessian = np.array([[information.sum(), crossed], [crossed, information @ logits**2]]) + precision * np.eye(2)
    errors = np.sqrt(np.diag(np.linalg.pinv(hessian)))
    return Calibration(float(x[0]), float(x[1]), share, float(errors[0]), float(errors[1]))


@dataclass(frozen=True, slots=True)
class Fit:
    """Numbers and how sure they are.

    Parameters
    ----------
    numbers
        By dotted key.
    errors
        By dotted key, standard errors, nan where a single value tells none; those of noise as shares of the number.
    """

    numbers: Mapping[str, Any]
    errors: Mapping[str, Any]


def maximise(explained: Sequence[Explained], config: Config, prior: Config, prior_weight: float, volume: float) -> Fit:
    """Return the numbers that the E-step's responsibilities make most probable: the M-step.

    Parameters
    ----------
    explained
        The E-step, one for each recording.
    config
        The configuration it was run with.
    prior
        The configuration that the prior stands at.
    prior_weight
        Observations that the prior weighs.
    volume
        From :func:`clutter_volume`.
    """
    unexplained = sum(float((1.0 - e.shares).sum()) for e in explained)
    room = volume * sum(e.frames for e in explained)
    return fitted_numbers(explained, unexplained, room, config, prior, prior_weight)[0]


def fitted_numbers(
    owned: Sequence[Owned], unowned: float, room: float, config: Config, prior: Config, prior_weight: float
) -> tuple[Fit, Calibration]:
    """Return noise, P_D, clutter and what scores say, most probable where it is known whose each detection is.

    Parameters
    ----------
    owned
        The recordings.
    unowned, room
        Detections that are nobody's, and the volume of the box space over which they were counted.
    config, prior, prior_weight
        See :func:`maximise`.

    Returns
    -------
    fit
        The numbers.
    calibration
        What scores say, in its own words.
    """
    before = prior.tracking.association
    numbers, errors = fitted_noise([one.history for one in owned], config, prior, prior_weight)
    detection = fitted_detection_probability(
        np.concatenate([one.detected for one in owned]),
        np.concatenate([one.plainness for one in owned]),
        before.detection_probability,
        prior_weight,
    )
    clutter = (unowned + prior_weight) / (room + prior_weight / before.clutter_density)
    calibration = fitted_calibration(
        np.concatenate([one.logits for one in owned]),
        np.concatenate([one.shares for one in owned]),
        before.score_neutral,
        before.score_weight,
        prior_weight,
    )
    numbers |= score_numbers(calibration) | {_DETECTION: detection[0], _CLUTTER: clutter}
    errors |= score_errors(calibration) | {
        _DETECTION: detection[1],
        _CLUTTER: clutter / math.sqrt(unowned + prior_weight + 1.0),
    }
    return Fit(numbers, errors), calibration


def lifecycle(explained: Sequence[Explained], prior: Config, prior_weight: float) -> Fit:
    """Return what the likelihood of detections does not tell: the birth threshold and the rate of deaths.

    The threshold is where the tracker's own learning arrived, the mean over recordings and classes.
    """
    before = prior.tracking.lifecycle
    learned = np.concatenate([e.birth_scores for e in explained])
    weight = sum(len(e.shares) for e in explained) / max(len(learned), 1)
    birth = (weight * learned.sum() + prior_weight * before.birth_score) / (weight * len(learned) + prior_weight)
    deaths, lifetime = sum(e.deaths for e in explained), sum(e.lifetime_tau for e in explained)
    # The prior weighs one death: how long objects stay is a matter of the place, and the default knows nothing of it.
    rate = (deaths + 1.0) / (lifetime + 1.0 / (1.0 - before.survival))
    return Fit(
        {_BIRTH: float(np.clip(birth, LOWEST_BIRTH_SCORE, HIGHEST_BIRTH_SCORE)), _SURVIVAL: 1.0 - rate},
        {
            _BIRTH: float(learned.std(ddof=1)) / math.sqrt(len(learned)) if len(learned) > 1 else math.nan,
            _SURVIVAL: rate / math.sqrt(deaths + 1.0),
        },
    )


@dataclass(frozen=True, slots=True)
class Rates:
    """What comes from nowhere, taken apart: the clutter density of the configuration is that of both.

    Parameters
    ----------
    births_per_s, births_error
        New objects per second, and the standard error.
    clutter_per_frame, clutter_error
        Detections per frame that belong to no object, old or new, and the standard error.
    """

    births_per_s: float
    births_error: float
    clutter_per_frame: float
    clutter_error: float


def rates(births: int, watched_s: float, clutter: float, frames: int) -> Rates:
    """Return the rates of two Poisson processes from what was counted, and in how many seconds and frames it was."""
    return Rates(
        births / watched_s if watched_s > 0.0 else 0.0,
        math.sqrt(max(births, 1)) / watched_s if watched_s > 0.0 else math.inf,
        clutter / frames,
        math.sqrt(max(clutter, 1.0)) / frames,
    )


def rates_of(owned: Iterable[Owned]) -> Rates:
    """Return the rates over several recordings."""
    counts = [(one.births, one.watched_s, one.clutter, one.frames) for one in owned]
    return rates(*map(sum, zip(*counts, strict=True)))


def score_numbers(calibration: Calibration) -> dict[str, Any]:
    """Return a calibration in the words of the configuration, by dotted key."""
    return {_NEUTRAL: float(np.clip(calibration.neutral, LOWEST_SCORE, HIGHEST_SCORE)), _WEIGHT: calibration.weight}


def score_errors(calibration: Calibration) -> dict[str, Any]:
    """Return the standard errors of :func:`score_numbers`."""
    neutral = calibration.neutral
    return {
        _NEUTRAL: neutral * (1.0 - neutral) * calibration.offset_error / calibration.weight,
        _WEIGHT: calibration.weight_error,
    }


def clutter_volume(explained: Iterable[Explained], clutter_density: float) -> float:
    """Return the volume per frame, in units of g, over which unexplained detections are as dense as near objects.

    Where no object was followed long enough to look around it, the configured density is believed.
    """
    everything = list(explained)
    count, volume = sum(e.near_count for e in everything), sum(e.near_volume for e in everything)
    unexplained = sum(float((1.0 - e.shares).sum()) for e in everything)
    density = (count + 1.0) / (volume + 1.0 / clutter_density)
    return max(unexplained, 1.0) / density / max(sum(e.frames for e in everything), 1)


def log_likelihood(explained: Iterable[Explained], config: Config, volume: float) -> float:
    """Return the approximate log-likelihood of all detections, in nats, but for what no number can change.

    The tracker's evidence is a ratio against clutter alone. What clutter alone would be worth is added, for it
    moves with the numbers too: with c the clutter density, V the volume, F frames and N detections,

        sum of [log c - 4 log g + log p0(score)] - c V F.

    The share of objects among the detections, which p0 depends on, is chosen to fit best. Where the power of the
    odds is not yet a ratio of two densities, as before the first M-step, its constant counts as one of c.
    """
    everything = list(explained)
    association = config.tracking.association
    logits = np.concatenate([e.logits for e in everything])
    room = volume * sum(e.frames for e in everything)
    neutral = logit(association.score_neutral)
    ratio = np.exp(association.score_weight * (logits - neutral))

    def loss(share: float) -> float:
        clutter = 1.0 / (1.0 - share + share * ratio)
        density = association.clutter_density * clutter.sum() / (ratio @ clutter)
        return float(density * room - len(ratio) * math.log(density / clutter.sum()) - np.log(clutter).sum())

    alone = 0.0
    if len(logits):
        alone = -float(minimize_scalar(loss, bounds=_SHARE_RANGE, method="bounded").fun)
    return sum(e.evidence - 4.0 * e.log_scales for e in everything) + alone


_DETECTION, _CLUTTER, _NEUTRAL, _WEIGHT = (
    f"tracking.association.{name}"
    for name in ("detection_probability", "clutter_density", "score_neutral", "score_weight")
)
_BIRTH, _SURVIVAL = (f"tracking.lifecycle.{name}" for name in ("birth_score", "survival"))
_MEASUREMENT, _PROCESS, _VELOCITY = (f"tracking.motion.{name}" for name in SECTIONS["motion"])
_FIRST_STEP, _LAST_STEP, _GROWTH, _SHRINKAGE = 0.4, 0.02, 1.4, 0.5
_NOISE_RANGE = (math.log(1e-4), math.log(2.0))
_VISIBLE_RANGE = (LOWEST_DETECTION_PROBABILITY, HIGHEST_DETECTION_PROBABILITY)
_SHARE_RANGE = (0.001, 0.999)
_WEIGHT_RANGE = (0.05, 5.0)
_LARGEST_LOGIT = 30.0


def _curvature_errors(objective: Callable[[FloatArray], float], x: FloatArray, at_x: float) -> FloatArray:
    h = 0.1
    errors = np.empty(len(x))
    for i in range(len(x)):
        d = np.zeros(len(x))
        d[i] = h
        second = (objective(x + d) - 2.0 * at_x + objective(x - d)) / h**2
        errors[i] = 1.0 / math.sqrt(-second) if second < 0.0 else math.inf
    return errors


def _log_noise(config: Config) -> FloatArray:
    motion = config.tracking.motion
    return np.log([*motion.measurement_noise, *motion.process_noise, motion.initial_velocity])


def _noise_numbers(values: FloatArray) -> dict[str, Any]:
    v = values.tolist()
    return {_MEASUREMENT: tuple(v[:4]), _PROCESS: tuple(v[4:8]), _VELOCITY: v[8]}


@kernel()
def _log_density(off: float, S: float, scale: float, i: int, p: Record) -> float:
    """Return the log of the tracker's density of coordinate i, in units of g, but for a constant."""
    nu = p.degrees_of_freedom[i]
    tails = (nu + 1.0) / 2.0 * math.log1p(off * off / (S * nu))
    return -p.coordinate_weight[i] * (tails + 0.5 * math.log(S / (scale * scale)))
