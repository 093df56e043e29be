"""What colours objects show: every blob is a distribution over place and colour.

A pixel of an object has a colour with the probabilities of its palette, one for each horizontal stripe of its box; a
pixel of clutter, or of somebody new, has the colours of the frame's whole foreground, p_0. In EM a blob's density at a
pixel is multiplied by the ratio of the two,

    q_nk = (sum_d c_nd p_k(d | stripe) / sum_d c_nd p_0(d))^weight,

with c_nd the share of colour d in the pixel. So two who walk through each other keep their own pixels, and who is
hidden does not live on another's. Palettes are counts of pixels that are surely the object's, n_d in a stripe, which
fade, on top of a Dirichlet prior of alpha frames at p_0:

    p_k(d) = (n_d + alpha p_0(d)) / (sum_d n_d + alpha).

Of whom nothing is known the ratio is 1, and it is never below alpha / (sum_d n_d + alpha): looks do change.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tracker.config import PixelsConfig
from tracker.mixture.kernels import kernel
from tracker.structures import FloatArray, Foreground, IntArray
from tracker.tracking.motion import TAU_PER_S
from tracker.tracking.pixel_em import Shares

STRIPES = 4
"""Of a box, from its top: about head, chest, hips and legs of people."""

_SURE = 0.6  # responsibility from which a pixel shows its object's colours
_UNIFORM = 0.01  # share of a frame's foreground that has any colour


def palettes_for(features: FloatArray, objects: int, foreground: Foreground) -> FloatArray:
    """Return (K, STRIPES, D) the palettes of the objects, blank ones where nothing is remembered.

    Parameters
    ----------
    features
        (K, STRIPES D) of the state, or (0, 0) where it holds none.
    objects
        Number K.
    foreground
        What was seen now; it has D colours, or says nothing of them.

    Raises
    ------
    ValueError
        When the foreground has another number of colours than before.
    """
    kept = features.shape[1] // STRIPES if len(features) else 0
    given = kept if foreground.colours is None else foreground.colours.shape[1]
    if kept not in (0, given):
        raise ValueError(f"the foreground has {given} colours; the tracker was given {kept} before")
    return features.reshape(objects, STRIPES, kept) if kept else np.zeros((objects, STRIPES, given))


def colour_ratios(
    foreground: Foreground,
    start: IntArray,
    member: IntArray,
    boxes_xyxy: FloatArray,
    palettes: FloatArray,
    settings: PixelsConfig,
) -> FloatArray:
    """Return (E,) the ratio q of each pair of a pixel and a blob near to it; see the module.

    Parameters
    ----------
    foreground
        The pixels.
    start, member
        The pairs: point n is near to the blobs ``member[start[n]:start[n + 1]]``.
    boxes_xyxy
        (K, 4) where the blobs' stripes are.
    palettes
        (K, STRIPES, D).
    settings
        The configuration.
    """
    if foreground.colours is None or not len(foreground) or settings.colour_weight == 0.0:
        return np.ones(len(member))
    usual = _usual_colours(foreground)
    alpha = settings.colour_prior_frames
    ratio = _ratios(foreground.points_px, foreground.colours, usual, start, member, boxes_xyxy, palettes, alpha)
    return np.asarray(ratio**settings.colour_weight)


def learned_palettes(
    palettes: FloatArray,
    foreground: Foreground,
    shares: Shares,
    boxes_xyxy: FloatArray,
    whole_masses: FloatArray,
    seen: NDArray[np.bool_],
    tau: float,
    settings: PixelsConfig,
) -> FloatArray:
    """Return the palettes with what the frame has shown; those of objects that were not seen stay.

    Parameters
    ----------
    palettes
        (K, STRIPES, D); not changed.
    foreground, shares
        The pixels, and how EM has divided them.
    boxes_xyxy
        (K, 4) where the stripes are now.
    whole_masses
        (K,) how many pixels each object would show if nothing hid any.
    seen
        (K,) who was seen.
    tau
        Length of the step in 1/25 s.
    settings
        The configuration.
    """
    if foreground.colours is None:
        return palettes
    kept = math.exp(-tau / (TAU_PER_S * settings.colour_memory_s))
    learned = np.where(seen[:, None, None], kept, 1.0) * palettes
    _count(
        foreground.points_px,
        foreground.weights,
        foreground.colours,
        shares.start,
        shares.member,
        np.where(seen[shares.member], shares.responsibilities, 0.0),
        boxes_xyxy,
        whole_masses / STRIPES,
        learned,
    )
    return learned


def resemblance(
    foreground: Foreground,
    unexplained: FloatArray,
    silhouettes_xyxy: FloatArray,
    palettes: FloatArray,
    settings: PixelsConfig,
) -> FloatArray:
    """Return (K, J) nats by which the colours of silhouettes speak for objects that are sought.

    That is the mean log ratio over the pixels that nobody explains, times ``resemblance_weight``.

    Parameters
    ----------
    foreground
        The pixels.
    unexplained
        (M,) how many pixels of each point nobody explains.
    silhouettes_xyxy
        (J, 4) boxes.
    palettes
        (K, STRIPES, D) of those sought.
    settings
        The configuration.
    """
    K = len(palettes)
    nats = np.zeros((K, len(silhouettes_xyxy)))
    points = foreground.points_px
    for j, box in enumerate(silhouettes_xyxy):
        inside = np.flatnonzero((points >= box[:2]).all(axis=1) & (points <= box[2:]).all(axis=1))
        start = np.zeros(len(points) + 1, np.int64)
        start[inside + 1] = K
        ratio = colour_ratios(
            foreground,
            np.cumsum(start),
            np.tile(np.arange(K), len(inside)),
            np.tile(box, (K, 1)),
            palettes,
            settings,
        )
        log_ratio = np.log(ratio).reshape(len(inside), K)
        nats[:, j] = settings.resemblance_weight * (unexplained[inside] @ log_ratio) / unexplained[inside].sum()
    return nats


def _usual_colours(foreground: Foreground) -> FloatArray:
    """Return (D,) p_0: the colours of all the frame's foreground."""
    assert foreground.colours is not None
    counts = foreground.weights @ foreground.colours
    total = counts.sum()
    return np.asarray((counts + _UNIFORM * total / len(counts)) / ((1.0 + _UNIFORM) * total))


@kernel(inline="always")
def _stripe(y: float, top: float, bottom: float) -> int:
    return min(max(int((y - top) / (bottom - top) * STRIPES), 0), STRIPES - 1)


@kernel()
def _ratios(
    points: FloatArray,
    colours: FloatArray,
    usual: FloatArray,
    start: IntArray,
    member: IntArray,
    boxes_xyxy: FloatArray,
    palettes: FloatArray,
    alpha: float,
) -> FloatArray:
    """Return (E,) ratios of a pixel's colours under the palettes of the blobs to those under p_0."""
    K, D = len(palettes), colours.shape[1]
    total = np.full((K, STRIPES), alpha)
    for k in range(K):
        for s in range(STRIPES):
            for d in range(D):
                total[k, s] += palettes[k, s, d]
    ratio = np.empty(len(member))
    for n in range(len(points)):
        expected = 0.0
        for d in range(D):
            expected += colours[n, d] * usual[d]
        for e in range(start[n], start[n + 1]):
            k = member[e]
            s = _stripe(points[n, 1], boxes_xyxy[k, 1], boxes_xyxy[k, 3])
            own = 0.0
            for d in range(D):
                own += colours[n, d] * palettes[k, s, d]
            ratio[e] = (own / expected + alpha) / total[k, s]
    return ratio


@kernel()
def _count(
    points: FloatArray,
    weights: FloatArray,
    colours: FloatArray,
    start: IntArray,
    member: IntArray,
    responsibilities: FloatArray,
    boxes_xyxy: FloatArray,
    whole: FloatArray,
    palettes: FloatArray,
) -> None:
    """Add what surely is an object's to its palette, in place; a stripe that shows all of its pixels counts 1."""
    for n in range(len(points)):
        for e in range(start[n], start[n + 1]):
            if responsibilities[e] < _SURE:
                continue
            k = member[e]
            s = _stripe(points[n, 1], boxes_xyxy[k, 1], boxes_xyxy[k, 3])
            share = weights[n] * responsibilities[e] / whole[k]
            for d in range(colours.shape[1]):
                palettes[k, s, d] += share * colours[n, d]
