"""Tracks made better once the future is known: linked, pruned, smoothed, and their gaps filled.

The input is tracks alone, as any result file holds them. Four pieces, each of which can be switched off:

link
    A track that ends and one that begins later may be one object. From both sides a Gaussian is carried to the
    middle of the gap; how well the two agree, against the chance that somebody else was born there, gives the
    log odds of each pair, and one global assignment chooses among all pairs.
prune
    Tracks whose scores add up to little evidence go.
smooth
    Rauch-Tung-Striebel, with the noise of detector and motion learned from the tracks' own second differences.
fill
    A gap is filled where it probably is one object's and where bridges as long as this one, laid over stretches
    in which objects *were* seen, meet them. The bridge is a random walk pinned at both smoothed ends.

All lengths are in units of the object's scale g = sqrt(width x height) and all times are real, as in
:mod:`tracker.tracking.motion`. The numbers in capitals were fitted on real tracks with truth, once for all kinds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tracker.config import Config
from tracker.formats.table import NOT_STATED, TrackTable
from tracker.geometry import (
    box_scales,
    carried,
    intersection_over_union_by_row,
    intersection_over_union_xyxy,
    ltwh_to_xyxy,
    xyxy_to_ltwh,
)
from tracker.structures import Detections, FloatArray, IntArray
from tracker.tracking.evidence import score_logits
from tracker.tracking.motion import TAU_PER_S

_END_FRAMES = 32  # frames beyond which a filter has forgotten
_LINK_WEIGHT = np.array([1.0, 0.4, 0.1, 0.1])
_LINK_VARIANCE = 0.3
_SIZE_SPREAD = np.array([0.0, 0.0, 0.05, 0.05])
_LINK_PRIOR = -1.7

_TYPICAL_DETECTOR = np.array([0.02, 0.02, 0.03, 0.03])
_TYPICAL_MOTION = np.array([0.02, 0.012, 0.02, 0.015])
_TYPICAL_COUNT = 50

_BIRTH_IOU = 0.3
_TAKEN_IOU = 0.7

_SURE_S = 1.0
_WEAK_QUANTILE = 0.1
_WEAK_AT_MOST = 0.6

_FILL = (0.46, 0.34, 0.23, -1.5)
_MET_IOU = 0.5
_LEAST_BRIDGES = 10
_LEAST_SMOOTHING = 0.1  # where boxes stay as they are, a gap's ends still have some noise
_LEAST_SIZE_PX = 0.01
_STEP = np.array([[1.0, 1.0], [0.0, 1.0]])
_KICK = np.array([[0.25, 0.5], [0.5, 1.0]])  # white-noise acceleration over one frame


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """Standard deviations in units of g, for centre x, anchored y, width and height.

    Parameters
    ----------
    measurement
        (4,) of a box.
    process
        (4,) of the change of velocity from one frame to the next, per frame.
    initial_velocity
        Of a velocity of which nothing is known, per frame.
    """

    measurement: FloatArray
    process: FloatArray
    initial_velocity: float


@dataclass(frozen=True, slots=True, eq=False)
class Smoothed:
    """Posterior of a track's states, one for each frame from its first to its last.

    Parameters
    ----------
    means
        (F, 4, 2) position and velocity per frame of each coordinate.
    covariances
        (F, 4, 2, 2) of the same.
    """

    means: FloatArray
    covariances: FloatArray


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


def refine(
    table: TrackTable,
    config: Config,
    *,
    frame_rate_hz: float,
    detections: Mapping[int, Detections] | None = None,
    camera_motion: Mapping[int, FloatArray] | None = None,
) -> TrackTable:
    """Return better tracks, as ``config.tracking.offline`` says, ordered by frame and id.

    Parameters
    ----------
    table
        Tracks; rows marked as imputed are not used, and rows to be ignored are left out.
    config
        The configuration.
    frame_rate_hz
        Frames per second.
    detections
        By frame number, what the tracks were made from: a track then begins with the detection that its birth
        had to wait for.
    camera_motion
        By frame number, the (2, 3) affine from the previous frame's pixels to the frame's.

    Returns
    -------
    TrackTable
        Rows that were filled in are marked as imputed, and the wider their posterior, the lower their score.
        Linked tracks bear the identity of the earliest.
    """
    offline, motion = config.tracking.offline, config.tracking.motion
    table = table.select(table.flags & ~table.imputed).sorted()
    if not len(table):
        return table
    tau = TAU_PER_S / frame_rate_hz
    if detections is not None:
        table = with_births(table, detections, camera_motion or {}, class_agnostic=config.tracking.class_agnostic)
    maps = None if camera_motion is None else cumulative_maps(camera_motion, int(table.frames.max()))
    chains = as_chains(table, maps, motion.anchor)
    online = Noise(
        np.array(motion.measurement_noise), np.array(motion.process_noise) * tau, motion.initial_velocity * tau
    )
    if offline.link:
        longest_frames = offline.longest_link_s * frame_rate_hz
        chains = linked(chains, online, longest_frames, class_agnostic=config.tracking.class_agnostic)
    if offline.prune > 0.0:
        chains = pruned(chains, offline.prune, frame_rate_hz)
    pieces = [piece for chain in chains for piece in chain]
    learned = learned_noise(pieces, tau)
    noise = replace(learned, measurement=learned.measurement * max(offline.smooth, _LEAST_SMOOTHING))
    bridges = Bridges(pieces, motion.anchor)
    parts = []
    for chain in chains:
        gaps = filled_gaps(chain, online, bridges, tau) if offline.fill else []
        if offline.smooth > 0.0 or gaps:
            parts.append(_completed(chain, noise, gaps, bridges, smooth=offline.smooth > 0.0))
        else:
            parts.append(_observed(chain))
    return _table(parts, table.class_names, maps, motion.anchor)


def with_births(
    table: TrackTable,
    detections: Mapping[int, Detections],
    camera_motion: Mapping[int, FloatArray],
    *,
    class_agnostic: bool,
) -> TrackTable:
    """Let each track begin with the detection a frame before its first row, where one overlaps it that is nobody's.

    Of its class, where both are stated, unless objects may change class; the camera's motion between the two frames is
    taken out.
    """
    any_class = class_agnostic or not any(found.classes.any() for found in detections.values())
    order = np.lexsort((table.frames, table.ids))
    first = order[np.flatnonzero(np.diff(table.ids[order], prepend=table.ids[order[0]] - 1))]
    boxes_xyxy = ltwh_to_xyxy(table.boxes_ltwh)
    born: list[tuple[int, int, FloatArray, float]] = []
    for frame in np.unique(table.frames[first]).tolist():
        found = detections.get(frame - 1)
        if found is None or not len(found):
            continue
        rows = first[table.frames[first] == frame]
        taken = boxes_xyxy[table.frames == frame - 1]
        moved = carried(found.boxes_xyxy, camera_motion[frame]) if frame in camera_motion else found.boxes_xyxy
        overlap = intersection_over_union_xyxy(boxes_xyxy[rows], moved)
        overlap[:, intersection_over_union_xyxy(found.boxes_xyxy, taken).max(axis=1, initial=0.0) > _TAKEN_IOU] = 0.0
        labels = table.classes[rows][:, None]
        overlap[(labels != found.classes) & (labels != NOT_STATED) & (not any_class)] = 0.0
        from scipy.optimize import linear_sum_assignment

        for i, j in zip(*linear_sum_assignment(overlap, maximize=True), strict=True):
            if overlap[i, j] > _BIRTH_IOU:
                born.append((int(rows[i]), frame - 1, found.boxes_xyxy[j], float(found.scores[j])))
    if not born:
        return table
    rows = np.array([row for row, *_ in born])
    return TrackTable(
        np.concatenate([table.frames, [frame for _, frame, *_ in born]]),
        np.concatenate([table.ids, table.ids[rows]]),
        np.concatenate([table.boxes_ltwh, xyxy_to_ltwh(np.array([box for *_, box, _ in born]))]),
        np.concatenate([table.scores, [score for *_, score in born]]),
        np.concatenate([table.classes, table.classes[rows]]),
        class_names=table.class_names,
    ).sorted()


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


def smoothed(frames: IntArray, measured: FloatArray, noise: Noise) -> Smoothed:
    """Smooth one track (Rauch, Tung and Striebel 1965) by filterpy; frames without a row are inferred.

    Each coordinate has position and velocity, x_f = [[1, 1], [0, 1]] x_(f-1) + white-noise acceleration. The noise
    of a frame goes with the object's scale in it, between rows with its geometric interpolation.

    Parameters
    ----------
    frames
        (n,) ascending frame numbers.
    measured
        (n, 4) boxes in them.
    noise
        Standard deviations.
    """
    from filterpy.kalman import KalmanFilter

    every = np.arange(frames[0], frames[-1] + 1)
    g = np.exp(np.interp(every, frames, np.log(box_scales(measured))))[:, None]
    R = (noise.measurement * g) ** 2
    q = (noise.process * g) ** 2
    kalman = KalmanFilter(dim_x=8, dim_z=4)
    kalman.F = np.kron(np.eye(4), _STEP)
    kalman.H = np.kron(np.eye(4), [[1.0, 0.0]])
    kalman.x = np.kron(measured[0], [1.0, 0.0])
    kalman.P = np.diag(np.column_stack([R[0], np.full(4, (noise.initial_velocity * g[0, 0]) ** 2)]).ravel())
    means, covariances = kalman.x[None], kalman.P[None]
    if len(every) > 1:
        rows: list[FloatArray | None] = [None] * len(every)
        for row, frame in enumerate(frames.tolist()):
            rows[frame - every[0]] = measured[row]
        Qs = [np.kron(np.diag(variances), _KICK) for variances in q]
        later, later_covariances, _, _ = kalman.batch_filter(rows[1:], Qs=Qs[1:], Rs=[np.diag(r) for r in R[1:]])
        means = np.concatenate([means, later])
        covariances = np.concatenate([covariances, later_covariances])
        means, covariances, _, _ = kalman.rts_smoother(means, covariances, Qs=Qs)
    blocks = covariances.reshape(-1, 4, 2, 4, 2)
    return Smoothed(means.reshape(-1, 4, 2), np.stack([blocks[:, i, :, i] for i in range(4)], axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """One end of each of some pieces.

    Parameters
    ----------
    frames
        (P,) frame of the end.
    scales
        (P,) g there.
    means, covariances
        (P, 4, 2) and (P, 4, 2, 2) state there, given the piece.
    """

    frames: IntArray
    scales: FloatArray
    means: FloatArray
    covariances: FloatArray

    def select(self, rows: IntArray) -> Ends:
        """Return the chosen ends."""
        return Ends(self.frames[rows], self.scales[rows], self.means[rows], self.covariances[rows])


def starts_and_ends(pieces: Sequence[Piece], noise: Noise) -> tuple[Ends, Ends]:
    """Return the first and the last state of each piece, given its nearest rows."""
    starts, ends = [], []
    for piece in pieces:
        head = smoothed(piece.frames[:_END_FRAMES], piece.measured[:_END_FRAMES], noise)
        tail = head
        if len(piece.frames) > _END_FRAMES:
            tail = smoothed(piece.frames[-_END_FRAMES:], piece.measured[-_END_FRAMES:], noise)
        g = box_scales(piece.measured)
        starts.append((piece.frames[0], g[0], head.means[0], head.covariances[0]))
        ends.append((piece.frames[-1], g[-1], tail.means[-1], tail.covariances[-1]))
    first, last = (Ends(*(np.array(column) for column in zip(*side, strict=True))) for side in (starts, ends))
    return first, last


def link_log_odds(ends: Ends, starts: Ends) -> FloatArray:
    """Return (P,) log odds that what ended is what began later, against somebody else's birth, row by row.

    Both are carried to the middle of the gap. With e their difference there and S the variance of it,

        log odds = prior + sum over coordinates of w [-log(1 + e^2 / s^2) - log s],   s^2 = .3 S + spread^2,

    a Cauchy density: heavy tails as online, for people turn while nobody looks.
    """
    half = ((starts.frames - ends.frames) / 2.0)[:, None]
    e = (starts.means[..., 0] - half * starts.means[..., 1]) - (ends.means[..., 0] + half * ends.means[..., 1])
    S = _variance_after(ends.covariances, half) + _variance_after(starts.covariances, -half)
    g = np.sqrt(ends.scales * starts.scales)[:, None]
    variance = _LINK_VARIANCE * S / g**2 + _SIZE_SPREAD**2
    evidence = -np.log1p((e / g) ** 2 / variance) - np.log(variance) / 2.0
    return _LINK_PRIOR + evidence @ _LINK_WEIGHT


def linked(
    chains: Sequence[Chain], noise: Noise, longest_frames: float, *, class_agnostic: bool = False
) -> list[Chain]:
    """Join chains that are one object: the assignment of ends to later beginnings with the greatest sum of log odds.

    Parameters
    ----------
    chains
        Tracks.
    noise
        For the states at the ends.
    longest_frames
        Greatest number of frames from an end to a beginning.
    class_agnostic
        Whether an object may change its class.
    """
    if len(chains) < 2:
        return list(chains)
    starts, _ = starts_and_ends([chain[0] for chain in chains], noise)
    _, ends = starts_and_ends([chain[-1] for chain in chains], noise)
    gap = starts.frames[None, :] - ends.frames[:, None]
    possible = (gap > 0) & (gap <= longest_frames)
    if not class_agnostic:
        possible &= np.array([c[0].labels[0] for c in chains]) == np.array([c[-1].labels[-1] for c in chains])[:, None]
    a, b = np.nonzero(possible)
    odds = link_log_odds(ends.select(a), starts.select(b))
    likely = odds > 0.0
    following = dict(_best_assignment(a[likely], b[likely], odds[likely], len(chains)))
    heads = sorted(set(range(len(chains))) - set(following.values()))
    joined = []
    for head in heads:
        chain, here = chains[head], head
        while here in following:
            here = following[here]
            chain += chains[here]
        joined.append(chain)
    return joined


def pruned(chains: Sequence[Chain], least_evidence: float, frame_rate_hz: float) -> list[Chain]:
    """Drop the tracks whose evidence, the sum of log odds of their scores against a weak score, is below the least.

    Every detector scales its scores its own way: a weak score is the lowest tenth of those of tracks that last a
    second or more, but at most .6. Tracks without scores in [0, 1] are all kept.
    """
    scores = [np.concatenate([piece.scores for piece in chain]) for chain in chains]
    everything = np.concatenate(scores)
    if not np.all((everything >= 0.0) & (everything <= 1.0)):
        return list(chains)
    sure = [own for own in scores if len(own) >= _SURE_S * frame_rate_hz] or scores
    weak = min(float(np.quantile(np.concatenate(sure), _WEAK_QUANTILE)), _WEAK_AT_MOST)
    limit = score_logits(np.array(weak))
    return [
        chain
        for chain, own in zip(chains, scores, strict=True)
        if own.min() == own.max() == everything.max() or np.sum(score_logits(own) - limit) >= least_evidence
    ]


def learned_noise(pieces: Sequence[Piece], tau: float) -> Noise:
    """Learn the noise of detector and motion from the second differences d of the tracks, by moments.

    Under the motion model the autocovariances of d are

        c0 = 6 r^2 + q^2 / 2,   c1 = -4 r^2 + q^2 / 4,   c2 = r^2,

    solved by least squares for r^2 and q^2 in each coordinate. Outliers are clipped at three robust standard
    deviations; values that detectors and people typically have count as much as fifty rows.
    """
    typical = _TYPICAL_DETECTOR**2, (_TYPICAL_MOTION * tau) ** 2
    design = np.array([[6.0, 0.5], [-4.0, 0.25], [1.0, 0.0]])
    moments = _TYPICAL_COUNT * (design @ np.stack(typical))
    count = _TYPICAL_COUNT
    bends = [np.diff(p.measured, 2, axis=0) / box_scales(p.measured)[1:-1, None] for p in pieces if len(p.frames) >= 5]
    if bends:
        everything = np.concatenate(bends)
        limit = 3.0 * 1.4826 * np.median(np.abs(everything), axis=0)
        count += len(everything)
        for bend in bends:
            d = np.clip(bend, -limit, limit)
            moments += [np.sum(d[: len(d) - lag] * d[lag:], axis=0) for lag in range(3)]
    moments /= count
    solution = np.linalg.lstsq(design, moments, rcond=None)[0]
    r2 = np.maximum(solution[0], 0.002 * moments[0])
    q2 = np.maximum(solution[1], 0.02 * moments[0])
    return Noise(np.sqrt(r2), np.sqrt(q2), 0.1 * tau)


class Bridges:
    """How well straight bridges meet objects, found by laying them over stretches in which objects were seen.

    Parameters
    ----------
    pieces
        The stretches.
    anchor
        Height of the point whose y their rows hold: 1 the bottom edge.
    """

    def __init__(self, pieces: Sequence[Piece], anchor: float) -> None:
        self._pieces, self._anchor = pieces, anchor
        self._known: dict[int, tuple[float, FloatArray]] = {}

    def over(self, gap_frames: int) -> tuple[float, FloatArray]:
        """Return how a bridge between rows so many frames apart fares in its middle.

        Returns
        -------
        float, (4,)
            The share that overlaps the object's box by more than half, 0 where too few were seen so long to
            tell, and the mean square of the error in units of g^2.
        """
        if gap_frames not in self._known:
            self._known[gap_frames] = self._laid(gap_frames)
        return self._known[gap_frames]

    def _laid(self, n: int) -> tuple[float, FloatArray]:
        overlaps, errors, half = [], [], n // 2
        for piece in self._pieces:
            if len(piece.frames) <= n:
                continue
            bridge = piece.measured[:-n] + half / n * (piece.measured[n:] - piece.measured[:-n])
            true = piece.measured[half : half + len(bridge)]
            overlaps.append(intersection_over_union_by_row(*(_ltwh(boxes, self._anchor) for boxes in (bridge, true))))
            errors.append((bridge - true) / box_scales(true)[:, None])
        if sum(map(len, overlaps)) < _LEAST_BRIDGES:
            return 0.0, np.zeros(4)
        return float(np.mean(np.concatenate(overlaps) > _MET_IOU)), np.mean(np.concatenate(errors) ** 2, axis=0)


def filled_gaps(chain: Chain, noise: Noise, bridges: Bridges, tau: float) -> list[int]:
    """Return which gaps of a chain are to be filled: those after its pieces of these numbers.

    A gap is filled where P(one object) P(a bridge of its length meets the object) is above one half. The former
    is a logistic function of the link's log odds, the gap's length and the length of the shorter piece.
    """
    if len(chain) < 2:
        return []
    starts, ends = starts_and_ends(chain, noise)
    before, after = np.arange(len(chain) - 1), np.arange(1, len(chain))
    odds = link_log_odds(ends.select(before), starts.select(after))
    gaps = []
    for n in before.tolist():
        frames = int(starts.frames[n + 1] - ends.frames[n])
        share, _ = bridges.over(frames)
        seen = min(len(chain[n].frames), len(chain[n + 1].frames))
        evidence = np.array([odds[n], np.log(frames * tau), np.log(seen * tau), 1.0])
        if share / (1.0 + np.exp(-evidence @ np.array(_FILL))) > 0.5:
            gaps.append(n)
    return gaps


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Rows of one track, in the pixels of frame 1."""

    id: int
    frames: IntArray
    boxes: FloatArray  # centre x, anchored y, width, height
    scores: FloatArray
    labels: IntArray
    imputed: NDArray[np.bool_]


def _observed(chain: Chain) -> _Part:
    frames = np.concatenate([piece.frames for piece in chain])
    return _Part(
        chain[0].id,
        frames,
        np.concatenate([piece.measured for piece in chain]),
        np.concatenate([piece.scores for piece in chain]),
        np.concatenate([piece.labels for piece in chain]),
        np.zeros(len(frames), np.bool_),
    )


def _completed(chain: Chain, noise: Noise, gaps: Sequence[int], bridges: Bridges, *, smooth: bool) -> _Part:
    """Return the smoothed rows of a chain and those of the gaps that are filled.

    With w = (f - f0) / (f1 - f0) in a gap from f0 to f1, and C the mean square error of bridges of its length,

        box = (1 - w) box0 + w box1,   covariance = (1 - w) P0 + w P1 + 4 w (1 - w) C.
    """
    observed = _observed(chain)
    posterior = smoothed(observed.frames, observed.boxes, noise)
    rows = observed.frames - observed.frames[0]
    boxes = posterior.means[rows, :, 0] if smooth else observed.boxes
    parts = [replace(observed, boxes=boxes)]
    place = np.cumsum([len(piece.frames) for piece in chain])
    for n in gaps:
        before, after = place[n] - 1, place[n]
        f0, f1 = int(observed.frames[before]), int(observed.frames[after])
        frames = np.arange(f0 + 1, f1)
        w = ((frames - f0) / (f1 - f0))[:, None]
        between = (1.0 - w) * boxes[before] + w * boxes[after]
        P0, P1 = (posterior.covariances[rows[row], :, 0, 0] for row in (before, after))
        _, C = bridges.over(f1 - f0)
        variance = (1.0 - w) * P0 + w * P1 + 4.0 * w * (1.0 - w) * C * box_scales(between)[:, None] ** 2
        scores = ((1.0 - w) * observed.scores[before] + w * observed.scores[after])[:, 0]
        parts.append(
            _Part(
                observed.id,
                frames,
                between,
                scores * _overlap_at_one_sigma(between, variance),
                np.full(len(frames), observed.labels[before]),
                np.ones(len(frames), np.bool_),
            )
        )
    return _Part(observed.id, *(np.concatenate([getattr(p, f) for p in parts]) for f in _PART_COLUMNS))


_PART_COLUMNS = ("frames", "boxes", "scores", "labels", "imputed")


def _overlap_at_one_sigma(boxes: FloatArray, variance: FloatArray) -> FloatArray:
    """Return (n,) IoU of each box with itself moved by one standard deviation in x and in y: 1 for a sure one."""
    kept = 1.0 - np.minimum(np.sqrt(variance[:, :2]) / np.maximum(boxes[:, 2:], _LEAST_SIZE_PX), 1.0)
    shared = kept[:, 0] * kept[:, 1]
    return shared / (2.0 - shared)


def _table(
    parts: Sequence[_Part], class_names: Mapping[int, str], maps: FloatArray | None, anchor: float
) -> TrackTable:
    """Return the rows of all tracks in the pixels of their own frames."""
    if not parts:
        return TrackTable([], [], np.empty((0, 4)), class_names=class_names)
    frames, boxes, scores, labels, imputed = (
        np.concatenate([getattr(part, name) for part in parts]) for name in _PART_COLUMNS
    )
    sizes = np.maximum(boxes[:, 2:], _LEAST_SIZE_PX)
    ltwh = _ltwh(np.column_stack([boxes[:, :2], sizes]), anchor)
    if maps is not None:
        ltwh = xyxy_to_ltwh(carried(ltwh_to_xyxy(ltwh), np.linalg.inv(maps)[frames]))
        ltwh[:, 2:] = np.maximum(ltwh[:, 2:], _LEAST_SIZE_PX)
    ids = np.concatenate([np.full(len(part.frames), part.id) for part in parts])
    return TrackTable(frames, ids, ltwh, scores, labels, imputed=imputed, class_names=class_names).sorted()


def _ltwh(measured: FloatArray, anchor: float) -> FloatArray:
    """Return (n, 4) left, top, width, height of boxes given by centre x, anchored y, width, height."""
    x, y, width, height = measured.T
    return np.column_stack([x - width / 2.0, y - anchor * height, width, height])


def _best_assignment(a: IntArray, b: IntArray, gain: FloatArray, count: int) -> list[tuple[int, int]]:
    """Return the one-to-one pairs among (a, b) with the greatest sum of gains, all above 0; nobody needs a partner."""
    if not len(a):
        return []
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    # Each row may instead take a column of its own, at gain 0; costs must not be 0, which a sparse array leaves out.
    alone = np.arange(count)
    base = gain.max() + 1.0
    costs = np.concatenate([base - gain, np.full(count, base)])
    rows, columns = np.concatenate([a, alone]), np.concatenate([b, count + alone])
    matched = min_weight_full_bipartite_matching(csr_array((costs, (rows, columns)), shape=(count, 2 * count)))
    return [(int(i), int(j)) for i, j in zip(*matched, strict=True) if j < count]


def _variance_after(covariances: FloatArray, frames: FloatArray) -> FloatArray:
    """Return (P, 4) the variance of m + t v."""
    return covariances[..., 0, 0] + 2.0 * frames * covariances[..., 0, 1] + frames**2 * covariances[..., 1, 1]
