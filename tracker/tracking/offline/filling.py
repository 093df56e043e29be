"""Filling gaps: which of them, by bridges that are laid over stretches in which objects were seen, and with what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tracker.formats.motchallenge import LEAST_SIZE_PX
from tracker.geometry import box_scales, intersection_over_union_by_row
from tracker.structures import FloatArray
from tracker.tracking.offline.linking import link_log_odds, starts_and_ends
from tracker.tracking.offline.pieces import PART_COLUMNS, Chain, Part, Piece, as_ltwh, observed_part
from tracker.tracking.offline.smoothing import Noise, smoothed

_FILL = (0.46, 0.34, 0.23, -1.5)
_MET_IOU = 0.5
_LEAST_BRIDGES = 10


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
            overlaps.append(intersection_over_union_by_row(*(as_ltwh(boxes, self._anchor) for boxes in (bridge, true))))
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


def completed(chain: Chain, noise: Noise, gaps: Sequence[int], bridges: Bridges, *, smooth: bool) -> Part:
    """Return the smoothed rows of a chain and those of the gaps that are filled.

    With w = (f - f0) / (f1 - f0) in a gap from f0 to f1, and C the mean square error of bridges of its length,

        box = (1 - w) box0 + w box1,   covariance = (1 - w) P0 + w P1 + 4 w (1 - w) C.
    """
    observed = observed_part(chain)
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
            Part(
                observed.id,
                frames,
                between,
                scores * _overlap_at_one_sigma(between, variance),
                np.full(len(frames), observed.labels[before]),
                np.ones(len(frames), np.bool_),
            )
        )
    return Part(observed.id, *(np.concatenate([getattr(p, f) for p in parts]) for f in PART_COLUMNS))


def _overlap_at_one_sigma(boxes: FloatArray, variance: FloatArray) -> FloatArray:
    """Return (n,) IoU of each box with itself moved by one standard deviation in x and in y: 1 for a sure one."""
    kept = 1.0 - np.minimum(np.sqrt(variance[:, :2]) / np.maximum(boxes[:, 2:], LEAST_SIZE_PX), 1.0)
    shared = kept[:, 0] * kept[:, 1]
    return shared / (2.0 - shared)
