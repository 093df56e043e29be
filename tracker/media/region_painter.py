"""Drawing of regions and their counts beneath the tracks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from tracker.media.ink import CASING, FONT
from tracker.media.regions import Area, Line, RegionCount, words_of
from tracker.structures import FloatArray, Image

_COLORS = ((255, 190, 60), (90, 200, 255), (140, 230, 120), (230, 140, 255))
"""Blue, green, red; in turn."""
_TINT = 0.16


class RegionPainter:
    """Paints regions, always the same, with counts that change.

    What does not change is made once, and labels only when their text changes: a frame costs little.

    Parameters
    ----------
    regions
        In the order of their counts.
    """

    def __init__(self, regions: Sequence[Area | Line]) -> None:
        self._regions = regions
        self._tints: list[tuple[slice, slice, Image]] | None = None
        self._labels: dict[str, Image] = {}

    def paint(self, image: Image, counts: Sequence[RegionCount]) -> None:
        """Paint onto ``image``, (height, width, 3) uint8; ``counts`` has an entry for each region."""
        if self._tints is None:
            self._tints = [
                _tint(region, color, image.shape)
                for region, color in zip(self._regions, self._colors(), strict=False)
                if isinstance(region, Area)
            ]
        for rows, columns, tint in self._tints:
            ground = image[rows, columns]
            cv2.add(ground, tint, dst=ground)
        line_px = max(2, round(math.sqrt(image.shape[0] * image.shape[1]) / 450.0))
        labels = {}
        for region, color, count in zip(self._regions, self._colors(), counts, strict=False):
            _draw_outline(image, region, color, line_px)
            text = f"{count.name}: {words_of(count, region)}"
            label = self._labels.get(text)
            labels[text] = _label(text, color, line_px) if label is None else label
            _paste(image, labels[text], _place_of_label(region))
        self._labels = labels

    def _colors(self) -> list[tuple[int, int, int]]:
        return [_COLORS[n % len(_COLORS)] for n in range(len(self._regions))]


def _tint(region: Area, color: tuple[int, int, int], shape: tuple[int, ...]) -> tuple[slice, slice, Image]:
    """Return what an area adds to the picture, and where."""
    low = np.clip(np.floor(region.corners.min(axis=0)), 0, shape[1::-1]).astype(int)
    high = np.clip(np.ceil(region.corners.max(axis=0)), 0, shape[1::-1]).astype(int)
    tint = np.zeros((high[1] - low[1], high[0] - low[0], 3), np.uint8)
    if tint.size:
        light = [round(_TINT * level) for level in color]
        cv2.fillPoly(tint, [np.rint(region.corners - low).astype(np.int32)], light)
    return slice(low[1], high[1]), slice(low[0], high[0]), tint


def _draw_outline(image: Image, region: Area | Line, color: tuple[int, int, int], line_px: int) -> None:
    strokes = [np.rint(region.corners).astype(np.int32)] if isinstance(region, Area) else _arrow(region, 8.0 * line_px)
    for ink, width_px in ((CASING, line_px + 2), (color, line_px)):
        cv2.polylines(image, strokes, isinstance(region, Area), ink, width_px, cv2.LINE_8)


def _arrow(line: Line, length_px: float) -> list[np.ndarray]:
    """Return a line, and a short arrow on its middle that points to its right."""
    middle = (line.start + line.end) / 2.0
    along = (line.end - line.start) / np.linalg.norm(line.end - line.start)
    right = np.array([-along[1], along[0]])
    tip = middle + length_px * right
    barbs = [tip - 0.4 * length_px * (right + sign * along) for sign in (-1.0, 1.0)]
    strokes = ([line.start, line.end], [middle, tip], [barbs[0], tip, barbs[1]])
    return [np.rint(stroke).astype(np.int32) for stroke in strokes]


def _place_of_label(region: Area | Line) -> FloatArray:
    """Return where the label's lower left corner goes: an area's highest corner, a line's start."""
    return region.corners[np.argmin(region.corners[:, 1])] if isinstance(region, Area) else region.start


def _label(text: str, color: tuple[int, int, int], line_px: int) -> Image:
    scale = 0.22 * line_px
    (width, height), below = cv2.getTextSize(text, FONT, scale, 1)
    pad = line_px + 1
    label = np.full((height + below + 2 * pad, width + 2 * pad, 3), CASING, np.uint8)
    cv2.putText(label, text, (pad, pad + height), FONT, scale, color, max(1, line_px // 3), cv2.LINE_AA)
    return label


def _paste(image: Image, label: Image, place: FloatArray) -> None:
    """Copy a label into the picture, moved as far as needed to be in it."""
    height, width = label.shape[:2]
    left = min(max(round(place[0]), 0), max(image.shape[1] - width, 0))
    top = min(max(round(place[1]) - height, 0), max(image.shape[0] - height, 0))
    ground = image[top : top + height, left : left + width]
    ground[:] = label[: ground.shape[0], : ground.shape[1]]
