"""Maps over a picture, as PNG: where objects are, how fast, which way, where they come and go, and what was unusual."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap, Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Rectangle
from scipy.ndimage import uniform_filter1d

from tracker.evaluation.heat import Doors, Heat
from tracker.structures import FloatArray, Image

WHAT = ("presence", "speed", "direction", "entries")
"""Kinds of maps."""

_DPI = 100
_SHORTEST_PX = 640  # of the width: smaller pictures are enlarged, so that the legend can be read
_PAPER, _TEXT, _QUIET = "#16181d", "#f2f3f5", "#a9afba"
_CAME, _WENT = "#3fd0c9", "#ffa24a"
_DIMMED = 0.62
_OPACITY = 0.8
_SMOOTHED_ROWS = 5
_ROUNDING = 1e-6
_ARROWS = 30  # along the longer side
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "text.color": _TEXT,
    "axes.edgecolor": _QUIET,
    "axes.labelcolor": _TEXT,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    "figure.facecolor": _PAPER,
    "axes.facecolor": _PAPER,
    "savefig.facecolor": _PAPER,
}


class _Map:
    """A picture with a strip below it for the legend; one pixel of the picture is ``zoom`` of the map's."""

    def __init__(self, size_px: tuple[int, int], image: Image | None, title: str, notes: str) -> None:
        width, height = size_px
        self.zoom = max(1.0, _SHORTEST_PX / width)
        self.text = 0.55 * np.sqrt(self.zoom * width / _SHORTEST_PX) + 0.45
        wide, high = self.zoom * width, self.zoom * height
        strip = 82 * self.text
        margin = (46 * self.text, 26 * self.text) if image is None else (0.0, 0.0)  # for the ticks of a blank map
        full = (wide + 1.5 * margin[0], high + strip + 1.5 * margin[1])
        self.figure = Figure(figsize=(full[0] / _DPI, full[1] / _DPI), dpi=_DPI)
        FigureCanvasAgg(self.figure)
        self._full = full
        bottom = strip + margin[1]
        self.axes = self.figure.add_axes((margin[0] / full[0], bottom / full[1], wide / full[0], high / full[1]))
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        if image is None:
            self.axes.tick_params(labelsize=8 * self.text, length=3)
            self.axes.grid(color="#2a2e36", linewidth=0.6)
            self.axes.set_axisbelow(True)
        else:
            grey = image.astype(np.float64) @ (0.114, 0.587, 0.299)
            soft = _DIMMED * (0.75 * grey[..., None] + 0.25 * image[..., ::-1])
            self.axes.imshow(soft.astype(np.uint8), extent=(0, width, height, 0), aspect="auto")
            self.axes.axis("off")
        self._write(14, strip - 24 * self.text, title, 11.5, _TEXT, "bold")
        self._write(14, strip - 42 * self.text, notes, 8.5, _QUIET, "normal")
        self.strip = strip

    def _write(self, x: float, y: float, text: str, size: float, color: str, weight: str) -> None:
        self.figure.text(
            x * self.text / self._full[0],
            y / self._full[1],
            text,
            fontsize=size * self.text,
            color=color,
            fontweight=weight,
            va="baseline",
        )

    def panel(self, right_px: float, bottom_px: float, width_px: float, height_px: float) -> Axes:
        """Return axes in the strip, placed from its right lower corner, in units of the text."""
        full, text = self._full, self.text
        return self.figure.add_axes(
            (
                (full[0] - (right_px + width_px) * text) / full[0],
                bottom_px * text / full[1],
                width_px * text / full[0],
                height_px * text / full[1],
            )
        )

    def scale(self, colors: Colormap, norm: Normalize, label: str, right_px: float = 22, width_px: float = 250) -> None:
        """Draw the colour scale."""
        panel = self.panel(right_px, 34, width_px, 12)
        bar = self.figure.colorbar(ScalarMappable(norm, colors), cax=panel, orientation="horizontal")
        ticks = norm.inverse(np.linspace(0.0, 1.0, 5))
        shown = [_rounded(float(tick)) for tick in ticks]
        bar.set_ticks(shown, labels=[f"{tick:g}" for tick in shown])
        bar.ax.tick_params(labelsize=8 * self.text, length=2, pad=2)
        bar.outline.set_visible(False)
        panel.set_title(label, fontsize=8.5 * self.text, color=_TEXT, loc="left", pad=4 * self.text)

    def png(self) -> bytes:
        """Return the drawing."""
        out = io.BytesIO()
        self.figure.savefig(out, format="png", dpi=_DPI, metadata={"Software": None})
        return out.getvalue()


def heat_map(
    heat: Heat,
    what: str,
    size_px: tuple[int, int],
    image: Image | None = None,
    *,
    notes: str = "",
    doors: Doors | None = None,
) -> bytes:
    """Return a map as PNG.

    Parameters
    ----------
    heat
        What is shown.
    what
        One of :data:`WHAT`.
    size_px
        Width and height of the picture.
    image
        The picture, blue-green-red, for the ground; an empty one with axes when left out.
    notes
        A line below the title.
    doors
        Typical places of coming and going, for ``entries``.
    """
    with mpl.rc_context(_STYLE):
        titles = {
            "presence": "Where objects are",
            "speed": "How fast they go",
            "direction": "Which way they go",
            "entries": "Where they come and go",
        }
        drawing = _Map(size_px, image, titles[what], notes)
        unit_px = unit_of(size_px)
        per_unit = (unit_px / heat.cell_px) ** 2
        presence = heat.presence_s * per_unit
        top = _high(presence)
        weight = np.clip(presence / top, 0.0, 1.0)
        if what == "presence":
            root, colors = PowerNorm(0.5, 0.0, top, clip=True), mpl.colormaps["inferno"]
            _lay(drawing.axes, heat, colors(root(presence)), _OPACITY * np.clip(2.6 * weight**0.5, 0.0, 1.0))
            drawing.scale(colors, root, f"object-seconds per {unit_px} x {unit_px} px")
            _square(drawing, unit_px, 300)
        elif what == "speed":
            speed = np.nan_to_num(heat.speed_px_s)
            norm, colors = Normalize(0.0, _high(speed[weight > 0.02]), clip=True), mpl.colormaps["viridis"]
            _lay(drawing.axes, heat, colors(norm(speed)), _OPACITY * np.clip(3.5 * weight**0.5, 0.0, 1.0))
            _arrows(drawing, heat, weight)
            drawing.scale(colors, norm, "mean speed, px/s; arrows: mean velocity")
        elif what == "direction":
            x, y = np.moveaxis(np.nan_to_num(heat.velocity_px_s), -1, 0)
            agree = np.hypot(x, y) / np.maximum(np.nan_to_num(heat.speed_px_s), 1e-9)
            angle = np.arctan2(y, x) / (2.0 * np.pi) % 1.0
            wheel = hue_wheel()
            _lay(drawing.axes, heat, wheel(angle), _OPACITY * agree * np.clip(3.5 * weight**0.5, 0.0, 1.0))
            _arrows(drawing, heat, weight)
            _wheel(drawing, wheel)
        else:
            both = max(_high(heat.entries * per_unit), _high(heat.exits * per_unit))
            for n, (density, color, label) in enumerate(((heat.exits, _WENT, "went"), (heat.entries, _CAME, "came"))):
                norm = Normalize(0.0, both, clip=True)
                share = norm(density * per_unit)
                colors = LinearSegmentedColormap.from_list(label, [_PAPER, color])
                solid = LinearSegmentedColormap.from_list(label, [color, color])
                _lay(drawing.axes, heat, solid(share), 0.9 * np.clip(share, 0.0, 1.0) ** 0.6)
                drawing.scale(colors, norm, f"{label}, per {unit_px} x {unit_px} px", 22 + 185 * n, 160)
            if doors is not None:
                _doors(drawing, doors)
        return drawing.png()


def surprise_map(
    paths: Sequence[tuple[FloatArray, str]], size_px: tuple[int, int], image: Image | None = None, *, notes: str = ""
) -> bytes:
    """Return a map of unusual tracks as PNG.

    Parameters
    ----------
    paths
        By track, most surprising first, (n, 3) x, y and surprise 0 to 1 of its feet, and a label.
    size_px, image, notes
        As for :func:`heat_map`.
    """
    with mpl.rc_context(_STYLE):
        drawing = _Map(size_px, image, "What was unusual here", notes)
        shades = mpl.colormaps["plasma"](np.linspace(0.22, 1.0, 256))  # the darkest would be lost on the ground
        colors, norm = ListedColormap(shades.tolist(), "rare"), Normalize(0.0, 3.0, clip=True)
        text = drawing.text
        worst = [int(path[:, 2].argmax()) for path, _ in paths]
        for (path, _), row in reversed(list(zip(paths, worst, strict=True))):
            smooth = uniform_filter1d(path, min(_SMOOTHED_ROWS, len(path)), axis=0, mode="nearest")
            smooth[row] = path[row]  # what it is all about is not to be smoothed away
            drawing.axes.plot(*smooth[:, :2].T, color="#0b0c0f", linewidth=5.0 * text, alpha=0.6, zorder=3)
            pieces = np.stack([smooth[:-1, :2], smooth[1:, :2]], axis=1)
            drawing.axes.add_collection(
                LineCollection(
                    list(pieces), colors=colors(norm(smooth[1:, 2])), linewidths=3.0 * text, capstyle="round", zorder=3
                )
            )
        high_px, wide_px = 14.0 * text / drawing.zoom, 7.3 * text / drawing.zoom
        # Feet may be below the picture.
        dots = [np.clip(path[row, :2], 0.0, size_px) for (path, _), row in zip(paths, worst, strict=True)]
        taken = [(float(x), float(y), 0.5 * high_px) for x, y in dots]
        for (path, label), row, (x, y) in zip(paths, worst, dots, strict=True):
            # A track of one row is nothing but this.
            drawing.axes.plot(
                x,
                y,
                marker="o",
                markersize=6.5 * text,
                markerfacecolor=colors(norm(path[row, 2])),
                markeredgecolor=_TEXT,
                markeredgewidth=1.2 * text,
                clip_on=False,
                zorder=4,
            )
            half = 0.5 * wide_px * len(label)
            x_px = min(max(float(x), half + 4), max(size_px[0] - half - 4, half + 4))
            y_px = _free_height(x_px, float(y), half, high_px, size_px[1], taken)
            taken.append((x_px, y_px, half))
            drawing.axes.text(
                x_px,
                y_px,
                label,
                ha="center",
                va="center",
                fontsize=9 * text,
                fontweight="bold",
                zorder=5,
                path_effects=[patheffects.withStroke(linewidth=2.6 * text, foreground="#0b0c0f")],
            )
        panel = drawing.panel(40, 34, 250, 12)
        bar = drawing.figure.colorbar(ScalarMappable(norm, colors), cax=panel, orientation="horizontal")
        bar.set_ticks([0, 1, 2, 3], labels=["all", "1 in 10", "1 in 100", "1 in 1000"])
        bar.ax.tick_params(labelsize=8 * text, length=2, pad=2)
        bar.outline.set_visible(False)
        panel.set_title("as rare as, of what was seen here", fontsize=8.5 * text, color=_TEXT, loc="left", pad=4 * text)
        return drawing.png()


def _free_height(
    x: float, y: float, half: float, high: float, bottom: float, taken: Sequence[tuple[float, float, float]]
) -> float:
    """Return the y for a label of a place: the nearest above it, else below, that lies on nothing else.

    Parameters
    ----------
    x, half, high
        Centre, half the width, and the height of the label.
    y
        Of the place.
    bottom
        Height of the picture.
    taken
        Centre and half the width of what is there already, as high as the label.
    """
    above = np.arange(y - high, 0.5 * high, -0.5 * high)
    below = np.arange(y + high, bottom - 0.5 * high, 0.5 * high)
    near = (1.0 - _ROUNDING) * high  # a line apart is enough, however the numbers are rounded
    for candidate in (*above.tolist(), *below.tolist()):
        if not any(abs(candidate - at) < near and abs(x - beside) < half + other for beside, at, other in taken):
            return float(candidate)
    return min(max(y - high, high), bottom - high)


def unit_of(size_px: tuple[int, int]) -> int:
    """Return the side of the square that densities are told for: 1, 2 or 5 times a power of ten, about a 12th."""
    aim = max(size_px) / 12.0
    power = 10.0 ** np.floor(np.log10(aim))
    return max(1, round(power * max(step for step in (1, 2, 5) if step * power <= aim)))


def hue_wheel() -> ListedColormap:
    """Return colours around the circle that are equally light (Oklab, Ottosson 2020): no direction stands out."""
    angle = np.linspace(0.0, 2.0 * np.pi, 256, endpoint=False) + 0.5
    lightness, chroma = 0.76, 0.125
    a, b = chroma * np.cos(angle), chroma * np.sin(angle)
    roots = np.stack(
        [
            lightness + 0.3963377774 * a + 0.2158037573 * b,
            lightness - 0.1055613458 * a - 0.0638541728 * b,
            lightness - 0.0894841775 * a - 1.2914855480 * b,
        ]
    )
    linear = (
        np.array(
            [
                [4.0767416621, -3.3077115913, 0.2309699292],
                [-1.2684380046, 2.6097574011, -0.3413193965],
                [-0.0041960863, -0.7034186147, 1.7076147010],
            ]
        )
        @ roots**3
    ).clip(0.0, 1.0)
    rgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return ListedColormap(rgb.T.tolist(), "hue")


def _lay(axes: Axes, heat: Heat, colors: FloatArray, opacity: FloatArray) -> None:
    """Lay a coloured grid over the picture."""
    rgba = np.array(colors)
    rgba[..., 3] = np.clip(opacity, 0.0, 1.0)
    rows, columns = heat.presence_s.shape
    extent = (0.0, columns * heat.cell_px, rows * heat.cell_px, 0.0)
    axes.imshow(rgba, extent=extent, aspect="auto", interpolation="bilinear", zorder=2)


def _arrows(drawing: _Map, heat: Heat, weight: FloatArray) -> None:
    """Draw the mean velocity on a coarse grid, where there is any to speak of."""
    rows, columns = weight.shape
    step = max(1, round(max(rows, columns) / _ARROWS))
    r, c = (np.arange(step // 2, count, step) for count in (rows, columns))
    grid = np.ix_(r, c)
    shown = weight[grid] > 0.02
    velocity = heat.velocity_px_s[grid][shown]
    speed = np.hypot(*velocity.T)
    fast = np.percentile(speed, 95) if len(speed) else 1.0
    length = 1.5 * step * heat.cell_px * np.sqrt(np.minimum(speed / max(fast, 1e-9), 1.0))
    x, y = np.meshgrid((c + 0.5) * heat.cell_px, (r + 0.5) * heat.cell_px)
    along = velocity / np.maximum(speed, 1e-9)[:, None] * length[:, None]
    drawing.axes.quiver(
        x[shown] - along[:, 0] / 2,
        y[shown] - along[:, 1] / 2,
        along[:, 0],
        along[:, 1],
        angles="xy",
        scale_units="xy",
        scale=1.0,
        units="dots",
        width=1.5 * drawing.text,
        headwidth=4.2,
        headlength=4.6,
        headaxislength=4.0,
        color="white",
        edgecolor="#0b0c0f",
        linewidth=0.5 * drawing.text,
        zorder=4,
    )


def _wheel(drawing: _Map, wheel: Colormap) -> None:
    """Draw what the hues mean: the direction from the middle."""
    panel = drawing.panel(16, 8, 66, 66)
    axis = np.linspace(-1.0, 1.0, 161)
    x, y = np.meshgrid(axis, axis)
    colors = np.array(wheel(np.arctan2(y, x) / (2.0 * np.pi) % 1.0))
    radius = np.hypot(x, y)
    colors[..., 3] = np.clip(np.minimum(radius - 0.5, 1.0 - radius) * 40.0, 0.0, 1.0)
    panel.imshow(colors, extent=(-1, 1, 1, -1), interpolation="bilinear")
    panel.set(xlim=(-1.02, 1.02), ylim=(1.02, -1.02))
    panel.axis("off")
    for dx, dy in ((0.4, 0), (-0.4, 0), (0, 0.4), (0, -0.4)):
        panel.annotate("", (dx, dy), (0, 0), arrowprops={"arrowstyle": "->", "color": _QUIET, "lw": drawing.text})


def _square(drawing: _Map, unit_px: int, right_px: float) -> None:
    """Draw the square that densities are told for, as large as it is on the picture."""
    side = unit_px * drawing.zoom / drawing.text
    panel = drawing.panel(right_px, (82 - side) / 2, side, side)
    panel.add_patch(Rectangle((0.03, 0.03), 0.94, 0.94, fill=False, edgecolor=_QUIET, linewidth=1.2 * drawing.text))
    panel.set(xlim=(0, 1), ylim=(0, 1))
    panel.axis("off")


def _doors(drawing: _Map, doors: Doors) -> None:
    """Draw each door as the ellipse of two standard deviations, with how many came and went."""
    text = drawing.text
    for centre, covariance, came, went in zip(
        doors.centres, doors.covariances, doors.entries.tolist(), doors.exits.tolist(), strict=True
    ):
        values, vectors = np.linalg.eigh(covariance)
        width, height = 4.0 * np.sqrt(values)
        angle = float(np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0])))
        for color, line in (("#0b0c0f", 3.2), ("white", 1.3)):
            drawing.axes.add_patch(
                Ellipse(
                    (float(centre[0]), float(centre[1])),
                    float(width),
                    float(height),
                    angle=angle,
                    fill=False,
                    edgecolor=color,
                    linewidth=line * text,
                    linestyle=(0, (4, 2)) if color == "white" else "-",
                    zorder=4,
                )
            )
        low, high = drawing.axes.get_xlim()
        drawing.axes.annotate(
            f"{came} came, {went} went",
            (float(np.clip(centre[0], low, high)), float(centre[1])),
            ha="left" if centre[0] < 0.15 * high else "right" if centre[0] > 0.85 * high else "center",
            va="center",
            fontsize=9 * text,
            fontweight="bold",
            zorder=5,
            path_effects=[patheffects.withStroke(linewidth=2.6 * text, foreground="#0b0c0f")],
        )


def _high(values: FloatArray) -> float:
    """Return the top of a colour scale: what one in two hundred of the cells with something exceeds."""
    some = values[values > 1e-3 * values.max(initial=0.0)]
    return float(np.percentile(some, 99.5)) if len(some) else 1.0


def _rounded(value: float) -> float:
    """Return the value with two digits."""
    return float(f"{value:.2g}")
