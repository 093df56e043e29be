"""Linking: a track that ends and one that begins later, where they probably are one object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tracker.geometry import box_scales
from tracker.structures import FloatArray, IntArray
from tracker.tracking.offline.pieces import Chain, Piece
from tracker.tracking.offline.smoothing import Noise, smoothed

_END_FRAMES = 32  # frames beyond which a filter has forgotten
_LINK_WEIGHT = np.array([1.0, 0.4, 0.1, 0.1])
_LINK_VARIANCE = 0.3
_SIZE_SPREAD = np.array([0.0, 0.0, 0.05, 0.05])
_LINK_PRIOR = -1.7


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


def _variance_after(covariances: FloatArray, frames: FloatArray) -> FloatArray:
    """Return (P, 4) the variance of m + t v."""
    return covariances[..., 0, 0] + 2.0 * frames * covariances[..., 0, 1] + frames**2 * covariances[..., 1, 1]


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
    following = dict(best_assignment(a[likely], b[likely], odds[likely], len(chains)))
    heads = sorted(set(range(len(chains))) - set(following.values()))
    joined = []
    for head in heads:
        chain, here = chains[head], head
        while here in following:
            here = following[here]
            chain += chains[here]
        joined.append(chain)
    return joined


def best_assignment(a: IntArray, b: IntArray, gain: FloatArray, count: int) -> list[tuple[int, int]]:
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
