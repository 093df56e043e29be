"""The refinement of tracks as a whole, and the pieces of it that need no model of motion: births and pruning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tracker.config import Config
from tracker.formats.table import NOT_STATED, TrackTable
from tracker.geometry import carried, intersection_over_union_xyxy, ltwh_to_xyxy, xyxy_to_ltwh
from tracker.structures import Detections, FloatArray
from tracker.tracking.evidence import score_logits
from tracker.tracking.motion import TAU_PER_S
from tracker.tracking.offline.filling import Bridges, completed, filled_gaps
from tracker.tracking.offline.linking import linked
from tracker.tracking.offline.pieces import Chain, as_chains, cumulative_maps, observed_part, table_of
from tracker.tracking.offline.smoothing import Noise, learned_noise

_BIRTH_IOU = 0.3
_TAKEN_IOU = 0.7

_SURE_S = 1.0
_WEAK_QUANTILE = 0.1
_WEAK_AT_MOST = 0.6

_LEAST_SMOOTHING = 0.1  # where boxes stay as they are, a gap's ends still have some noise


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
            parts.append(completed(chain, noise, gaps, bridges, smooth=offline.smooth > 0.0))
        else:
            parts.append(observed_part(chain))
    return table_of(parts, table.class_names, maps, motion.anchor)


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
