"""What a detection looks like, by its colours: histograms over horizontal stripes of its box.

Pixels are sampled on a grid over the inner part of the box, so that the work does not depend on its size, and left out
where a nearer detection, one whose bottom edge lies lower, covers them. A pixel's share of colour, by its chroma, goes
to bins of hue and value, the rest to bins of grey, each shared between the two nearest. What is kept is the root of
the shares, whose inner product with another's is the Bhattacharyya coefficient.
"""

from __future__ import annotations

import math

import numpy as np

from tracker.mixture.kernels import kernel
from tracker.structures import Detections, FloatArray, Image, IntArray

STRIPES = 4
HUES = 8
VALUES = 2
GREYS = 8
_ROWS, _COLUMNS = 8, 12  # samples in a stripe
_INNER_WIDTH, _INNER_HEIGHT = 0.7, 0.94  # shares of the box; what is beyond is background mostly
_FULL_CHROMA = 25.0  # grey levels from which a pixel is nothing but colour


def histogram_features(image: Image, detections: Detections, *, score_floor: float, least_visible: float) -> FloatArray:
    """Return (N, D) histograms of the detections' colours.

    Parameters
    ----------
    image
        (height, width, 3) uint8, blue-green-red.
    detections
        Whose looks are wanted.
    score_floor
        Detections with lower scores cover nothing and get zeros.
    least_visible
        Share of a box, within the picture and not covered, below which a detection gets zeros.
    """
    return _histograms(image, detections.boxes_xyxy, detections.scores, score_floor, least_visible)


def visible_shares(size_px: tuple[int, int], detections: Detections, *, score_floor: float) -> FloatArray:
    """Return (N,) the share of the inner part of each box that is in a (width, height) picture and not covered.

    Detections with lower scores than ``score_floor`` cover nothing and have none.
    """
    return _visible_shares(*size_px, detections.boxes_xyxy, detections.scores, score_floor)


@kernel(nogil=True)
def colour_shares(colours_bgr: FloatArray) -> FloatArray:
    """Return (M, D) how much of each colour, hue by hue the values and then the greys, is in (M, 3) colours 0..255."""
    shares = np.zeros((len(colours_bgr), HUES * VALUES + GREYS))
    for n in range(len(colours_bgr)):
        _count_pixel(colours_bgr[n, 0], colours_bgr[n, 1], colours_bgr[n, 2], shares[n])
    return shares


@kernel(nogil=True)
def _nearer(boxes: FloatArray, scores: FloatArray, score_floor: float, j: int) -> IntArray:
    """Return the detections that may cover a part of detection ``j``."""
    nearer = np.empty(len(boxes), np.int64)
    count = 0
    for other in range(len(boxes)):
        if (
            scores[other] >= score_floor
            and boxes[other, 3] > boxes[j, 3]
            and boxes[other, 1] < boxes[j, 3]
            and boxes[other, 0] < boxes[j, 2]
            and boxes[other, 2] > boxes[j, 0]
        ):
            nearer[count] = other
            count += 1
    return nearer[:count]


@kernel(nogil=True)
def _sample(
    boxes: FloatArray, j: int, row: int, column: int, width: int, height: int, nearer: IntArray
) -> tuple[int, int]:
    """Return the pixel (y, x) of a place in the grid over box ``j``, (-1, -1) where it is outside or covered."""
    x = boxes[j, 0] + (boxes[j, 2] - boxes[j, 0]) * (0.5 + _INNER_WIDTH * ((column + 0.5) / _COLUMNS - 0.5))
    y = boxes[j, 1] + (boxes[j, 3] - boxes[j, 1]) * (0.5 + _INNER_HEIGHT * ((row + 0.5) / (STRIPES * _ROWS) - 0.5))
    if not (0.0 <= x < width and 0.0 <= y < height):
        return -1, -1
    for other in nearer:
        if boxes[other, 0] <= x < boxes[other, 2] and boxes[other, 1] <= y < boxes[other, 3]:
            return -1, -1
    return int(y), int(x)


@kernel(nogil=True)
def _visible_shares(width: int, height: int, boxes: FloatArray, scores: FloatArray, score_floor: float) -> FloatArray:
    shares = np.zeros(len(boxes))
    for j in range(len(boxes)):
        if scores[j] < score_floor:
            continue
        nearer = _nearer(boxes, scores, score_floor, j)
        for row in range(STRIPES * _ROWS):
            for column in range(_COLUMNS):
                if _sample(boxes, j, row, column, width, height, nearer)[0] >= 0:
                    shares[j] += 1.0
        shares[j] /= STRIPES * _ROWS * _COLUMNS
    return shares


@kernel(nogil=True)
def _histograms(
    image: Image, boxes: FloatArray, scores: FloatArray, score_floor: float, least_visible: float
) -> FloatArray:
    height, width = image.shape[0], image.shape[1]
    length = HUES * VALUES + GREYS
    features = np.zeros((len(boxes), STRIPES * length))
    for j in range(len(boxes)):
        if scores[j] < score_floor:
            continue
        nearer = _nearer(boxes, scores, score_floor, j)
        visible = 0
        for stripe in range(STRIPES):
            bins = features[j, stripe * length : (stripe + 1) * length]
            count = 0
            for row in range(stripe * _ROWS, (stripe + 1) * _ROWS):
                for column in range(_COLUMNS):
                    y, x = _sample(boxes, j, row, column, width, height, nearer)
                    if y >= 0:
                        _count_pixel(float(image[y, x, 0]), float(image[y, x, 1]), float(image[y, x, 2]), bins)
                        count += 1
            for b in range(length):
                bins[b] = math.sqrt(bins[b] / (STRIPES * count)) if count > 0 else 0.0
            visible += count
        if visible < least_visible * STRIPES * _ROWS * _COLUMNS:
            features[j] = 0.0
    return features


@kernel(nogil=True)
def _count_pixel(blue: float, green: float, red: float, bins: FloatArray) -> None:
    """Add a pixel to a stripe's bins: hue by hue the values, then the greys."""
    value = max(blue, green, red)
    chroma = value - min(blue, green, red)
    colour = min(chroma / _FULL_CHROMA, 1.0)
    hue = 0.0  # in sixths of the circle
    if chroma > 0.0:
        if value == red:
            hue = (green - blue) / chroma
        elif value == green:
            hue = 2.0 + (blue - red) / chroma
        else:
            hue = 4.0 + (red - green) / chroma
        if hue < 0.0:
            hue += 6.0
    along = hue / 6.0 * HUES
    h = int(along)
    to_next = along - h
    low, high, to_high = _between(value, VALUES)
    for step in range(2):
        first = (h + step) % HUES * VALUES
        share = colour * (to_next if step == 1 else 1.0 - to_next)
        bins[first + low] += share * (1.0 - to_high)
        bins[first + high] += share * to_high
    low, high, to_high = _between(value, GREYS)
    bins[HUES * VALUES + low] += (1.0 - colour) * (1.0 - to_high)
    bins[HUES * VALUES + high] += (1.0 - colour) * to_high


@kernel(nogil=True)
def _between(value: float, bins: int) -> tuple[int, int, float]:
    """Return the two of some bins over 0..255 whose middles are nearest to a value, and the share of the higher."""
    at = value / 255.0 * bins - 0.5
    low = math.floor(at)
    return max(int(low), 0), min(int(low) + 1, bins - 1), at - low
