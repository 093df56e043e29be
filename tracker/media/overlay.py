"""Drawing of tracks onto frames, and nothing else.

Everything is sized by the picture, so that the drawing is legible on 320 px and on 4K, and lines lie on a dark
casing, so that they are legible on light and on dark ground.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.classes import class_text
from tracker.config import OverlayConfig
from tracker.media.ellipses import ellipses_of
from tracker.media.ink import CASING, FONT
from tracker.media.region_painter import RegionPainter
from tracker.media.regions import Area, Line, RegionCount
from tracker.structures import FloatArray, Frame, Image, Status, Tracks
from tracker.tracking.forecast import Fans

Color: TypeAlias = tuple[int, int, int]
"""Blue, green, red, each 0 to 255."""

_FAINT: Color = (150, 150, 150)
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
_FADE_STEPS = 4
_FAN_OPACITY = 0.45
_CIRCLE = np.stack([trig(np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)) for trig in (np.cos, np.sin)], axis=1)
_SMOOTHING_ROUNDS = 3
_SAMPLED = np.linspace(0.0, 1.0, 6)  # where along a line its ground is looked at
_MOST_DASHES = 4
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
    class_names
        Names of classes by label; a label is written as it is where it has none.
    regions
        What lies beneath the tracks, in the order of its counts.
    """

    def __init__(
        self,
        config: OverlayConfig,
        class_names: Mapping[int, str] | None = None,
        regions: Sequence[Area | Line] = (),
    ) -> None:
        self._config = config
        self._regions = RegionPainter(regions)
        self._class_names = class_names
        self._trails: dict[int, list[tuple[float, float, float]]] = {}
        self._colors: dict[int, Color] = {}
        self._inks: dict[int, _Inks] = {}
        self._labels: dict[tuple[str, bool], _Label] = {}

    def paint(
        self, frame: Frame, tracks: Tracks, counts: Sequence[RegionCount] = (), fans: Fans | None = None
    ) -> Image:
        """Return a new image with the tracks drawn, and each region with its count; frames come in order of time.

        Confirmed objects have full lines, coasting ones are dashed; tentative ones are thin and faint, without
        trail, ellipse, label and fan. Fans lie beneath all tracks.

        Raises
        ------
        ValueError
            When the frame has no image.
        """
        if frame.image is None:
            raise ValueError(f"frame {frame.index} has no image to paint on")
        image = frame.image.copy()
        self._regions.paint(image, counts)
        pen = _Pen.for_size(image.shape[1], image.shape[0])
        rows = np.flatnonzero(self._is_shown(tracks, image))
        # Who stands lower in the picture is usually nearer: painted later, on top of the others.
        shown = tracks.select(rows[np.argsort(tracks.boxes_xyxy[rows, 3], kind="stable")])
        named = shown.select(shown.status != Status.TENTATIVE)
        self._colors = {i: self._colors.get(i) or track_color(i) for i in shown.ids.tolist()}

        if fans is not None:
            sides_px = (named.boxes_xyxy[:, 2:] - named.boxes_xyxy[:, :2]).max(axis=1, initial=0.0)
            _, shown_rows, fan_rows = np.intersect1d(named.ids, fans.ids, assume_unique=True, return_indices=True)
            for row, side_px in zip(fan_rows.tolist(), sides_px[shown_rows].tolist(), strict=True):
                _draw_fan(image, fans, row, side_px, self._colors[int(fans.ids[row])], pen)
        if self._config.trail_s > 0.0:
            self._extend_trails(named, frame.time_s, pen)
            self._draw_trails(image, named, frame.time_s, pen)
        if self._config.boxes:
            corners = np.rint(_near(shown.boxes_xyxy.reshape(-1, 2), image)).astype(int).reshape(-1, 4)
            self._inks = {
                i: self._inks.get(i) or _Inks.of_color(color, image.shape[1], pen) for i, color in self._colors.items()
            }
            for track_id, box, status in zip(shown.ids.tolist(), corners.tolist(), shown.status.tolist(), strict=True):
                _draw_box(image, box, status, self._inks[track_id], pen)
        if self._config.ellipses:
            _draw_ellipses(image, named, [self._colors[track_id] for track_id in named.ids.tolist()], pen)
        if self._config.labels:
            self._draw_labels(image, named, pen)
        return image

    def _is_shown(self, tracks: Tracks, image: Image) -> NDArray[np.bool_]:
        """Tell which tracks are in the picture, at least in part, and wanted."""
        left, top, right, bottom = tracks.boxes_xyxy.T
        inside = (right > 0) & (bottom > 0) & (left < image.shape[1]) & (top < image.shape[0])
        return inside if self._config.coasting else inside & (tracks.status != Status.COASTING)

    def _extend_trails(self, tracks: Tracks, time_s: float, pen: _Pen) -> None:
        """Add the feet of every box to its trail; drop what is older than the trail's length."""
        left, _, right, bottom = tracks.boxes_xyxy.T
        for track_id, x, y in zip(tracks.ids.tolist(), ((left + right) / 2).tolist(), bottom.tolist(), strict=True):
            trail = self._trails.setdefault(track_id, [])
            # The newest point slides along until it is worth a point of its own.
            if len(trail) > 1 and math.dist(trail[-1][1:], trail[-2][1:]) < pen.trail_spacing_px:
                trail.pop()
            trail.append((time_s, x, y))
        oldest_s = time_s - self._config.trail_s
        for trail in self._trails.values():
            while trail and trail[0][0] < oldest_s:
                del trail[0]
        self._trails = {track_id: trail for track_id, trail in self._trails.items() if trail}

    def _draw_trails(self, image: Image, tracks: Tracks, time_s: float, pen: _Pen) -> None:
        """Draw trails that taper and fade in steps: a line for each piece of a trail that is in one step.

        A line is opaque, in a mixture of the track's colour and of what it covers on average: for lines this thin
        that looks like transparency, at a fraction of the cost of weighing every pixel.
        """
        ids = [track_id for track_id in tracks.ids.tolist() if len(self._trails[track_id]) > 1]
        if not ids:
            return
        trails = [self._trails[track_id] for track_id in ids]
        lengths = np.array([len(trail) for trail in trails])
        time_and_place = np.array(list(chain.from_iterable(trails)))
        owner = np.repeat(np.arange(len(ids)), lengths)
        is_last = np.append(owner[1:] != owner[:-1], True)
        points = _near(_smoothed(time_and_place[:, 1:], is_last), image)
        # Segments go from a point to the next of its trail; they are as old as their older end.
        segments = np.flatnonzero(~is_last)
        freshness = 1.0 - (time_s - time_and_place[segments, 0]) / self._config.trail_s
        step = np.maximum(np.ceil(_FADE_STEPS * freshness).astype(int), 1)
        first = np.flatnonzero(np.diff(owner[segments] * (_FADE_STEPS + 1) + step, prepend=0))
        starts, ends = segments[first], segments[np.append(first[1:], len(segments)) - 1] + 1

        opacity = step[first] / _FADE_STEPS
        own = np.array([self._colors[track_id] for track_id in ids])[owner[starts]]
        covered = _colors_at(image, points[starts + np.multiply.outer(_SAMPLED, ends - starts).astype(int)])
        inks = np.rint(opacity[:, None] * own + (1.0 - opacity[:, None]) * covered.mean(axis=0)).astype(int)
        widths_px = np.rint(pen.line_px * (0.5 + opacity)).astype(int)
        fixed = _fixed_point(points)
        for start, end, ink, width_px in zip(
            starts.tolist(), ends.tolist(), inks.tolist(), widths_px.tolist(), strict=True
        ):
            cv2.polylines(image, [fixed[start : end + 1]], False, ink, width_px, cv2.LINE_8, _SUBPIXEL_BITS)

    def _draw_labels(self, image: Image, tracks: Tracks, pen: _Pen) -> None:
        labels: dict[tuple[str, bool], _Label] = {}
        for track_id, class_, status, box in zip(
            tracks.ids.tolist(),
            tracks.classes.tolist(),
            tracks.status.tolist(),
            tracks.boxes_xyxy.tolist(),
            strict=True,
        ):
            text = f"{track_id} {class_text(class_, self._class_names)}".rstrip()
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
            trail_spacing_px=max(2.0, 7.0 * unit),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Inks:
    """Pixels to draw boxes from: copying them is several times as fast as setting pixel by pixel.

    ``full``, ``faint`` and ``casing`` are rows (width, 3) as wide as the picture, ``across`` is a cut (n, 3)
    through a line and its casing.
    """

    full: Image
    faint: Image
    casing: Image
    across: Image

    @classmethod
    def of_color(cls, color: Color, width_px: int, pen: _Pen) -> Self:
        full, faint, casing = (np.full((width_px, 3), ink, np.uint8) for ink in (color, _mixed(color, _FAINT), CASING))
        rim = [CASING] * pen.casing_px
        return cls(full, faint, casing, np.array([*rim, *[color] * pen.line_px, *rim], np.uint8))


@dataclass(frozen=True, slots=True, eq=False)
class _Label:
    """A small picture with rounded corners: what it adds to the ground, and the ground's share, 0 to 255."""

    ink: Image
    ground_share: Image

    @classmethod
    def of_text(cls, text: str, color: Color, hollow: bool, pen: _Pen) -> Self:
        """Write in black or white, whichever stands out, on the colour; hollow: the colour on the casing's."""
        ground = CASING if hollow else color
        letters = color if hollow else max(((16, 16, 16), (255, 255, 255)), key=lambda c: _contrast(c, color))
        (_, digit_height), _ = cv2.getTextSize("0", FONT, 10.0, 1)
        scale = 10.0 * pen.digit_height_px / digit_height
        thickness = max(1, round(pen.digit_height_px / 12.0))
        (text_width, text_height), _ = cv2.getTextSize(text, FONT, scale, thickness)
        pad = round(0.45 * pen.digit_height_px)
        height, width = text_height + 2 * pad, text_width + 2 * pad
        ink = np.full((height, width, 3), ground, np.uint8)
        cv2.putText(ink, text, (pad, height - pad), FONT, scale, letters, thickness, cv2.LINE_AA)
        coverage = _rounded_rectangle(width, height, 0.3 * height)
        ground_share = np.repeat(255.0 * (1.0 - coverage), 3, axis=2)
        return cls(np.rint(ink * coverage).astype(np.uint8), np.rint(ground_share).astype(np.uint8))

    def paste(self, image: Image, box_xyxy: Sequence[float], pen: _Pen) -> None:
        """Set the label on the box's upper left corner, moved as far as needed to be in the picture."""
        height, width = self.ink.shape[:2]
        rim = pen.line_px / 2 + pen.casing_px
        left = min(max(round(box_xyxy[0] - rim), 0), max(image.shape[1] - width, 0))
        top = min(max(round(box_xyxy[1] - rim) - height, 0), max(image.shape[0] - height, 0))
        ground = image[top : top + height, left : left + width]
        rows, columns = ground.shape[:2]
        shining_through = cv2.multiply(ground, self.ground_share[:rows, :columns], scale=1 / 255)
        ground[:] = cv2.add(shining_through, self.ink[:rows, :columns])


def _draw_box(image: Image, corners: Sequence[int], status: int, inks: _Inks, pen: _Pen) -> None:
    """Draw a box with crisp edges, on whole pixels: faster by far than smoothed lines, and kept by the codec."""
    left, top, right, bottom = corners
    columns, rows = [(left, right)], [(top, bottom)]
    if status == Status.TENTATIVE:
        thin_px = pen.line_px // 2
        _fill_columns(image, columns, (top, bottom), inks.faint, thin_px)
        _fill_rows(image, rows, (left, right), inks.faint[:thin_px], thin_px)
        return
    if status == Status.COASTING:
        columns, rows = _dashes(left, right, pen.dash_px), _dashes(top, bottom, pen.dash_px)
    # The upright sides bring their casing along; at the corners it must not lie on the level sides.
    _fill_columns(image, columns, (top, bottom), inks.casing, pen.line_px + 2 * pen.casing_px)
    _fill_rows(image, rows, (left, right), inks.across, pen.line_px)
    _fill_columns(image, columns, (top, bottom), inks.full, pen.line_px)


def _dashes(start_px: int, stop_px: int, dash_px: float) -> list[tuple[int, int]]:
    """Cut a side into dashes and gaps of about equal length, with a dash at either end and a few between."""
    count = min(max(1, round(((stop_px - start_px) / dash_px + 1.0) / 2.0)), _MOST_DASHES)
    pitch_px = (stop_px - start_px) / (2 * count - 1)
    ends = [round(start_px + k * pitch_px) for k in range(2 * count)]
    return list(zip(ends[::2], ends[1::2], strict=True))


def _fill_columns(
    image: Image, spans: Sequence[tuple[int, int]], edges: tuple[int, int], ink: Image, width_px: int
) -> None:
    """Fill spans of columns along a box's upper and lower edge, ``width_px`` high, from a row of pixels."""
    before, after = width_px // 2, (width_px + 1) // 2
    for start, stop in spans:
        columns = slice(max(start - before, 0), max(stop + after, 0))
        for y in edges:
            ground = image[max(y - before, 0) : max(y + after, 0), columns]
            ground[:] = ink[: ground.shape[1]]


def _fill_rows(
    image: Image, spans: Sequence[tuple[int, int]], edges: tuple[int, int], ink: Image, width_px: int
) -> None:
    """Fill spans of rows, ``width_px`` longer, along a box's left and right edge from the pixels across it."""
    before, after = len(ink) // 2, (len(ink) + 1) // 2
    for start, stop in spans:
        rows = slice(max(start - width_px // 2, 0), max(stop + (width_px + 1) // 2, 0))
        for x in edges:
            ground = image[rows, max(x - before, 0) : max(x + after, 0)]
            ground[:] = ink[max(before - x, 0) :][: ground.shape[1]]


def _draw_ellipses(image: Image, tracks: Tracks, colors: Sequence[Color], pen: _Pen) -> None:
    """Draw each object's ellipse about the middle of its box."""
    covariances, radii = ellipses_of(tracks)
    rows = np.flatnonzero(radii)
    if not len(rows):
        return
    colors, boxes_xyxy = [colors[row] for row in rows.tolist()], tracks.boxes_xyxy[rows]
    covariances = covariances[rows] * radii[rows, None, None] ** 2
    # The Cholesky factor maps a circle onto the ellipse of equal Mahalanobis distance.
    xx = np.sqrt(np.maximum(covariances[:, 0, 0], 1e-12))
    yx = covariances[:, 0, 1] / xx
    yy = np.sqrt(np.maximum(covariances[:, 1, 1] - yx**2, 0.0))
    longest_px = max(xx.max(), np.hypot(yx, yy).max())
    angle = np.linspace(0.0, 2.0 * np.pi, min(20 + int(longest_px / 6.0), 72), endpoint=False)
    x, y = np.cos(angle), np.sin(angle)
    offsets = np.stack([xx[:, None] * x, yx[:, None] * x + yy[:, None] * y], axis=2)
    outward = offsets / np.maximum(np.hypot(offsets[..., 0], offsets[..., 1]), 1e-6)[..., None]
    centers = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    core_px = max(1, pen.line_px - 2)
    half_px = core_px / 2
    # For each ellipse the outer and the inner edge of its casing and of its line: (n, 4, corners, 2).
    edges = np.array([half_px + 1.0, -half_px - 1.0, half_px, -half_px])[:, None, None]
    lines = (centers[:, None] + offsets)[:, None] + edges * outward[:, None]
    rings = _fixed_point(_near(lines, image))
    for ring, color in zip(rings, colors, strict=True):
        cv2.fillPoly(image, [ring[0], ring[1]], CASING, cv2.LINE_8, _SUBPIXEL_BITS)
        cv2.fillPoly(image, [ring[2], ring[3]], color, cv2.LINE_8, _SUBPIXEL_BITS)


def _draw_fan(image: Image, fans: Fans, row: int, side_px: float, color: Color, pen: _Pen) -> None:
    """Lay the bands of one object over the ground, the widest palest, each thinner the farther ahead it looks.

    A band is what its ellipses sweep: the hulls of each with the next, from a point under the object on; along their
    middle goes a line. Where a place is known no better than to a whole object, a band would only hide the picture:
    it ends there.
    """
    steps = int(np.logical_and.accumulate(fans.axes[:, row].max(axis=(0, 2)) <= side_px / 2.0).sum())
    if not steps:
        return
    centres = fans.centres[row, :steps]
    spread = fans.axes[:, row, :steps, None] * _CIRCLE  # (S, T, corners, 2)
    rings = centres[:, None] + spread
    low = np.clip(np.floor(rings.min(axis=(0, 1, 2))), 0, image.shape[1::-1]).astype(int)
    high = np.clip(np.ceil(rings.max(axis=(0, 1, 2))) + 1, 0, image.shape[1::-1]).astype(int)
    if not (high > low).all():
        return
    cover = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
    rings = np.rint(_near(rings - low, image)).astype(np.int32)
    for rank, band in enumerate(np.argsort(-fans.shares).tolist()):
        for t in range(steps - 1, -1, -1):  # what is nearer in time, and likelier, lies on top
            hull = cv2.convexHull(np.concatenate([rings[band, t], rings[band, max(t - 1, 0)]]))
            fresh = 1.0 - 0.6 * t / steps
            cv2.fillConvexPoly(cover, hull, round(255.0 * _FAN_OPACITY * (rank + fresh) / len(fans.shares)))
    ground = image[low[1] : high[1], low[0] : high[0]]
    through = cv2.multiply(ground, cv2.cvtColor(cv2.bitwise_not(cover), cv2.COLOR_GRAY2BGR), scale=1 / 255)
    ink = cv2.merge([cv2.convertScaleAbs(cover, alpha=level / 255) for level in color])
    ground[:] = cv2.add(through, ink)
    middle = _fixed_point(_near(centres, image))
    for width_px, line in ((pen.line_px + 2, CASING), (pen.line_px, color)):
        cv2.polylines(image, [middle], False, line, width_px, cv2.LINE_AA, _SUBPIXEL_BITS)


def _smoothed(points: FloatArray, is_last: NDArray[np.bool_]) -> FloatArray:
    """Take the jitter of boxes out of trails, in one array one after the other; their ends stay."""
    share = 0.25 * ~(is_last[1:-1] | is_last[:-2])[:, None]
    points = points.copy()
    for _ in range(_SMOOTHING_ROUNDS):
        points[1:-1] += share * (points[:-2] - 2.0 * points[1:-1] + points[2:])
    return points


def _colors_at(image: Image, points: FloatArray) -> Image:
    """Return the colours (..., 3) of the pixels nearest to points (..., 2)."""
    x, y = points[..., 0].astype(int), points[..., 1].astype(int)
    return image[y.clip(0, image.shape[0] - 1), x.clip(0, image.shape[1] - 1)]


def _fixed_point(points: FloatArray) -> NDArray[np.int32]:
    return np.rint(points * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def _near(points: FloatArray, image: Image) -> FloatArray:
    """Bring far points near the picture, still outside it: OpenCV's coordinates have a limit."""
    height_px, width_px = image.shape[:2]
    return np.clip(points, -1.0 * max(width_px, height_px), 2.0 * max(width_px, height_px))


def _rounded_rectangle(width_px: int, height_px: int, radius_px: float) -> FloatArray:
    """Return the share, 0 to 1, in which each pixel lies inside (height, width, 1)."""
    x = np.abs(np.arange(width_px) + 0.5 - width_px / 2) - (width_px / 2 - radius_px)
    y = np.abs(np.arange(height_px) + 0.5 - height_px / 2) - (height_px / 2 - radius_px)
    outside = np.hypot(np.maximum(x, 0.0), np.maximum(y, 0.0)[:, None]) - radius_px
    return np.asarray(np.clip(0.5 - outside, 0.0, 1.0))[..., None]


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
