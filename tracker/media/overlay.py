"""Drawing of tracks onto frames, and nothing else.

Everything is sized by the picture, so that the drawing is legible on 320 px and on 4K, and lines lie on a dark
casing, so that they are legible on light and on dark ground.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.config import OverlayConfig
from tracker.structures import FloatArray, Frame, Image, Status, Tracks

Color: TypeAlias = tuple[int, int, int]
"""Blue, green, red, each 0 to 255."""

_CASING: Color = (26, 22, 22)
_FAINT: Color = (150, 150, 150)
_CHI_SQUARE_95 = 5.991  # 95 % point, two degrees of freedom
_GOLDEN_RATIO = (math.sqrt(5.0) - 1.0) / 2.0
_OKLAB_TO_LMS_ROOTS = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_LMS_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)
_FADE_STEPS = 8
_FONT = cv2.FONT_HERSHEY_DUPLEX
_SUBPIXEL_BITS = 4


def track_color(track_id: int) -> Color:
    """Return the colour of an identity: the same in every frame and every run.

    Hues step by the golden ratio, which keeps consecutive ids apart, in OKLCH (Ottosson 2020), where no hue
    looks darker than another; three steps of lightness set apart ids whose hues come close.
    """
    hue = 2.0 * math.pi * ((track_id * _GOLDEN_RATIO) % 1.0)
    lightness = (0.74, 0.85, 0.66)[track_id % 3]
    chroma = 0.2
    while (rgb := _oklch_to_linear_rgb(lightness, chroma, hue)).min() < 0.0 or rgb.max() > 1.0:
        chroma -= 0.005
    encoded = np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb ** (1 / 2.4) - 0.055)
    red, green, blue = (round(255.0 * level) for level in encoded.tolist())
    return blue, green, red


class OverlayPainter:
    """Paints the tracks of successive frames; remembers where they were, for their trails.

    Parameters
    ----------
    config
        What is drawn.
    """

    def __init__(self, config: OverlayConfig) -> None:
        self._config = config
        self._trails: dict[int, deque[tuple[float, float, float]]] = {}
        self._colors: dict[int, Color] = {}
        self._labels: dict[tuple[str, bool], _Label] = {}

    def paint(self, frame: Frame, tracks: Tracks) -> Image:
        """Return a new image with the tracks drawn; frames come in the order of their times.

        Confirmed objects have full lines, coasting ones are dashed; tentative ones are thin and faint, without
        trail, ellipse and label.

        Raises
        ------
        ValueError
            When the frame has no image.
        """
        if frame.image is None:
            raise ValueError(f"frame {frame.index} has no image to paint on")
        image = frame.image.copy()
        pen = _Pen.for_size(image.shape[1], image.shape[0])
        shown = tracks.select(_overlaps(tracks.boxes_xyxy, image))
        if not self._config.coasting:
            shown = shown.select(shown.status != Status.COASTING)
        # Who stands lower in the picture is usually nearer: painted later, on top of the others.
        shown = shown.select(np.argsort(shown.boxes_xyxy[:, 3], kind="stable"))
        named = shown.select(shown.status != Status.TENTATIVE)
        self._colors = {i: self._colors.get(i) or track_color(i) for i in shown.ids.tolist()}

        if self._config.trail_s > 0.0:
            self._extend_trails(named, frame.time_s, pen)
            for track_id in named.ids.tolist():
                self._draw_trail(image, track_id, frame.time_s, pen)
        if self._config.boxes:
            for track_id, box, status in zip(shown.ids.tolist(), shown.boxes_xyxy, shown.status.tolist(), strict=True):
                _draw_box(image, box, Status(status), self._colors[track_id], pen)
        if self._config.ellipses:
            for track_id, box, covariance in zip(named.ids.tolist(), named.boxes_xyxy, named.covariances, strict=True):
                _draw_ellipse(image, box, covariance[:2, :2], self._colors[track_id], pen)
        if self._config.labels:
            self._draw_labels(image, named, pen)
        return image

    def _extend_trails(self, tracks: Tracks, time_s: float, pen: _Pen) -> None:
        """Add the feet of every box to its trail; drop what is older than the trail's length."""
        left, _, right, bottom = tracks.boxes_xyxy.T
        for track_id, x, y in zip(tracks.ids.tolist(), ((left + right) / 2).tolist(), bottom.tolist(), strict=True):
            trail = self._trails.setdefault(track_id, deque())
            # The newest point slides along until it is worth a point of its own.
            if len(trail) > 1 and math.dist(trail[-1][1:], trail[-2][1:]) < pen.trail_spacing_px:
                trail.pop()
            trail.append((time_s, x, y))
        oldest_s = time_s - self._config.trail_s
        for trail in self._trails.values():
            while trail and trail[0][0] < oldest_s:
                trail.popleft()
        self._trails = {track_id: trail for track_id, trail in self._trails.items() if trail}

    def _draw_trail(self, image: Image, track_id: int, time_s: float, pen: _Pen) -> None:
        points = np.array(self._trails[track_id])
        if len(points) < 2:
            return
        # Each segment is as old as its older end.
        freshness = 1.0 - (time_s - points[:-1, 0]) / self._config.trail_s
        _draw_fading_line(image, points[:, 1:], freshness, self._colors[track_id], pen)

    def _draw_labels(self, image: Image, tracks: Tracks, pen: _Pen) -> None:
        labels: dict[tuple[str, bool], _Label] = {}
        for track_id, class_, status, box in zip(
            tracks.ids.tolist(), tracks.classes.tolist(), tracks.status.tolist(), tracks.boxes_xyxy, strict=True
        ):
            text = f"{track_id} c{class_}" if class_ else f"{track_id}"
            hollow = status == Status.COASTING
            key = (text, hollow)
            labels[key] = self._labels.get(key) or _Label.of_text(text, self._colors[track_id], hollow, pen)
            labels[key].paste(image, box, pen)
        self._labels = labels


@dataclass(frozen=True, slots=True)
class _Pen:
    """Sizes for one size of picture."""

    line_px: int
    casing_px: int
    dash_px: float
    digit_height_px: float
    trail_spacing_px: float

    @classmethod
    def for_size(cls, width_px: int, height_px: int) -> Self:
        unit = math.sqrt(width_px * height_px) / 1000.0
        return cls(
            line_px=max(2, round(0.6 + 2.1 * unit)),
            casing_px=max(1, round(0.6 * unit)),
            dash_px=max(4.0, 9.0 * unit),
            digit_height_px=max(8.0, 3.0 + 7.0 * unit),
            trail_spacing_px=max(1.5, 5.0 * unit),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Label:
    """A small picture with rounded corners: colour (h, w, 3) and coverage (h, w, 1), 0 to 256."""

    ink: NDArray[np.uint16]
    coverage: NDArray[np.uint16]

    @classmethod
    def of_text(cls, text: str, color: Color, hollow: bool, pen: _Pen) -> Self:
        """Write in black or white, whichever stands out, on the colour; hollow: the colour on the casing's."""
        ground = _CASING if hollow else color
        letters = color if hollow else max(((16, 16, 16), (255, 255, 255)), key=lambda c: _contrast(c, color))
        (_, digit_height), _ = cv2.getTextSize("0", _FONT, 10.0, 1)
        scale = 10.0 * pen.digit_height_px / digit_height
        thickness = max(1, round(pen.digit_height_px / 12.0))
        (text_width, text_height), _ = cv2.getTextSize(text, _FONT, scale, thickness)
        pad = round(0.45 * pen.digit_height_px)
        height, width = text_height + 2 * pad, text_width + 2 * pad
        ink = np.full((height, width, 3), ground, np.uint8)
        cv2.putText(ink, text, (pad, height - pad), _FONT, scale, letters, thickness, cv2.LINE_AA)
        coverage = _rounded_rectangle(width, height, 0.3 * height)
        return cls(ink.astype(np.uint16), coverage)

    def paste(self, image: Image, box_xyxy: FloatArray, pen: _Pen) -> None:
        """Set the label on the box's upper left corner, moved as far as needed to be in the picture."""
        height, width = self.ink.shape[:2]
        rim = pen.line_px / 2 + pen.casing_px
        left = min(max(round(box_xyxy[0] - rim), 0), max(image.shape[1] - width, 0))
        top = min(max(round(box_xyxy[1] - rim) - height, 0), max(image.shape[0] - height, 0))
        ground = image[top : top + height, left : left + width]
        rows, columns = ground.shape[:2]
        ink, coverage = self.ink[:rows, :columns], self.coverage[:rows, :columns]
        ground[:] = (ink * coverage + ground * (256 - coverage)) >> 8


def _draw_box(image: Image, box_xyxy: FloatArray, status: Status, color: Color, pen: _Pen) -> None:
    """Draw a box with crisp edges, on whole pixels: faster by far than smoothed lines, and kept by the codec."""
    corners = np.round(_near(box_xyxy, image)).astype(int).tolist()
    left, top, right, bottom = corners
    if status is Status.TENTATIVE:
        _fill_sides(image, corners, [(left, right)], [(top, bottom)], pen.line_px // 2, _mixed(color, _FAINT))
        return
    columns, rows = [(left, right)], [(top, bottom)]
    if status is Status.COASTING:
        columns, rows = _dashes(left, right, pen.dash_px), _dashes(top, bottom, pen.dash_px)
    _fill_sides(image, corners, columns, rows, pen.line_px + 2 * pen.casing_px, _CASING)
    _fill_sides(image, corners, columns, rows, pen.line_px, color)


def _dashes(start_px: int, stop_px: int, dash_px: float) -> list[tuple[int, int]]:
    """Cut a side into dashes and gaps of about equal length, with a dash at either end."""
    count = max(1, round(((stop_px - start_px) / dash_px + 1.0) / 2.0))
    ends = np.round(np.linspace(start_px, stop_px, 2 * count)).astype(int).tolist()
    return list(zip(ends[::2], ends[1::2], strict=True))


def _fill_sides(
    image: Image,
    corners: Sequence[int],
    columns: Sequence[tuple[int, int]],
    rows: Sequence[tuple[int, int]],
    width_px: int,
    color: Color,
) -> None:
    """Fill the spans of columns and rows along a box's sides, ``width_px`` wide and centred on its edges."""
    before, after = width_px // 2, (width_px - 1) // 2
    left, top, right, bottom = corners
    for start, stop in columns:
        for y in (top, bottom):
            cv2.rectangle(image, (start - before, y - before), (stop + after, y + after), color, cv2.FILLED)
    for start, stop in rows:
        for x in (left, right):
            cv2.rectangle(image, (x - before, start - before), (x + after, stop + after), color, cv2.FILLED)


def _draw_ellipse(image: Image, box_xyxy: FloatArray, covariance: FloatArray, color: Color, pen: _Pen) -> None:
    """Draw where the box's centre lies with 95 % probability."""
    variances, axes = np.linalg.eigh(covariance)
    radii = np.sqrt(_CHI_SQUARE_95 * np.maximum(variances, 0.0))
    angle = np.linspace(0.0, 2.0 * np.pi, min(17 + int(radii[1] / 4.0), 73))
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    center = (box_xyxy[:2] + box_xyxy[2:]) / 2
    line = _near(center + (circle * radii) @ axes.T, image)
    core_px = max(1, pen.line_px - 2)
    _draw_line(image, line, _CASING, core_px + 1)
    _draw_line(image, line, color, core_px)


def _draw_fading_line(image: Image, points: FloatArray, opacity: FloatArray, color: Color, pen: _Pen) -> None:
    """Draw a line of (n, 2) points whose n - 1 segments have opacities that grow from 0 to 1."""
    points = _near(points, image)
    margin = pen.line_px + 1
    left, top = np.clip(np.floor(points.min(axis=0)).astype(int) - margin, 0, None).tolist()
    right, bottom = (np.ceil(points.max(axis=0)).astype(int) + margin + 1).tolist()
    ground = image[top:bottom, left:right]
    if ground.size == 0:
        return
    coverage = np.zeros(ground.shape[:2], np.uint8)
    step_of = np.ceil(opacity * _FADE_STEPS)
    first = np.searchsorted(step_of, np.arange(1, _FADE_STEPS + 2)).tolist()
    for step, (start, stop) in enumerate(pairwise(first), 1):
        if stop > start:
            fresh = step / _FADE_STEPS
            line = points[start : stop + 1] - (left, top)
            _draw_line(coverage, line, (round(255 * fresh),), max(1, round(pen.line_px * (0.5 + fresh))))
    share = cv2.cvtColor(coverage, cv2.COLOR_GRAY2BGR)
    ink = cv2.multiply(share, np.array([*color, 0.0]).reshape(4, 1), scale=1 / 255)
    ground[:] = cv2.add(cv2.multiply(ground, cv2.bitwise_not(share), scale=1 / 255), ink)


def _draw_line(image: Image, points: FloatArray, color: Color | tuple[int], thickness_px: int) -> None:
    fixed = np.round(points * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.polylines(image, [fixed], False, color, thickness_px, cv2.LINE_AA, _SUBPIXEL_BITS)


def _overlaps(boxes_xyxy: FloatArray, image: Image) -> NDArray[np.bool_]:
    """Tell which boxes are in the picture, at least in part."""
    left, top, right, bottom = boxes_xyxy.T
    return (right > 0) & (bottom > 0) & (left < image.shape[1]) & (top < image.shape[0])


def _near(points: FloatArray, image: Image) -> FloatArray:
    """Bring far points near the picture, still outside it: OpenCV's coordinates have a limit."""
    height_px, width_px = image.shape[:2]
    return np.clip(points, -1.0 * max(width_px, height_px), 2.0 * max(width_px, height_px))


def _rounded_rectangle(width_px: int, height_px: int, radius_px: float) -> NDArray[np.uint16]:
    """Return the share, 0 to 256, in which each pixel lies inside (height, width, 1)."""
    x = np.abs(np.arange(width_px) + 0.5 - width_px / 2) - (width_px / 2 - radius_px)
    y = np.abs(np.arange(height_px) + 0.5 - height_px / 2) - (height_px / 2 - radius_px)
    outside = np.hypot(np.maximum(x, 0.0), np.maximum(y, 0.0)[:, None]) - radius_px
    return np.round(256.0 * np.clip(0.5 - outside, 0.0, 1.0)).astype(np.uint16)[..., None]


def _mixed(a: Color, b: Color) -> Color:
    return (a[0] + b[0]) // 2, (a[1] + b[1]) // 2, (a[2] + b[2]) // 2


def _contrast(a: Color, b: Color) -> float:
    """Return the contrast ratio of WCAG 2, 1 to 21."""
    darker, lighter = sorted((_luminance(a), _luminance(b)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: Color) -> float:
    levels = np.array(color) / 255.0
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.0722, 0.7152, 0.2126))


def _oklch_to_linear_rgb(lightness: float, chroma: float, hue: float) -> FloatArray:
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    return np.asarray(_LMS_TO_RGB @ (_OKLAB_TO_LMS_ROOTS @ (lightness, a, b)) ** 3)
