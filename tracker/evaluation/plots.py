"""Figures of the report, as SVG that takes its colours from the page: one drawing serves light, dark and paper."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tracker.evaluation.consistency import (
    LEVELS,
    POSITION_COORDINATES,
    Consistency,
    held_shares,
    reliability,
)
from tracker.evaluation.diagnosis import Recall
from tracker.structures import FloatArray

_TEXT, _QUIET, _GRID = "#010101", "#020202", "#030303"
_SERIES = ("#040404", "#050505", "#060606", "#070707", "#080808", "#090909")
_VARIABLES = {
    _TEXT: "var(--text)",
    _QUIET: "var(--quiet)",
    _GRID: "var(--line)",
    **{color: f"var(--series-{number})" for number, color in enumerate(_SERIES, 1)},
}
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)))
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be read, searched and copied
    "svg.hashsalt": "report",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": _TEXT,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _QUIET,
    "axes.titlecolor": _TEXT,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.7,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
_FEWEST_CLAIMS = 10  # a bin of fewer says nothing

MOST_RESULTS = len(_SERIES)
"""How many results can be told apart."""
_PANEL_IN = (3.3, 2.6)


def hota_figures(name: str, curves: Mapping[str, Mapping[str, FloatArray]], thresholds: FloatArray) -> list[str]:
    """Return HOTA, DetA and AssA over the overlap that a hit needs, a line for each result.

    Parameters
    ----------
    name
        Prefix of the drawings' element ids, which must differ between the figures of a page.
    curves
        By result, the fields ``HOTA``, ``DetA`` and ``AssA`` as shares at the thresholds.
    thresholds
        (T,) overlaps.
    """
    drawings = []
    for field in ("HOTA", "DetA", "AssA"):
        with mpl.rc_context(_STYLE):
            figure, panel = _panel(field)
            for number, fields in enumerate(curves.values()):
                panel.plot(thresholds, 100 * fields[field], **_line(number))
            panel.set(xlabel="overlap that a hit needs (IoU)", xlim=(0, 1), ylim=(0, 100))
            drawings.append(_svg(figure, f"{name}-{field}"))
    return drawings


def recall_figures(
    name: str, recalls: Mapping[str, Mapping[str, Recall]], given: Mapping[str, Mapping[str, Recall]]
) -> list[str]:
    """Return recall by each circumstance, bars side by side for each result.

    Parameters
    ----------
    name
        As for :func:`hota_figures`.
    recalls
        By circumstance and result.
    given
        By circumstance and result, recall of the detections where they are known: a line across the bar.
    """
    drawings = []
    for circumstance, by_result in recalls.items():
        with mpl.rc_context(_STYLE):
            figure, panel = _panel(circumstance.capitalize())
            width = 0.84 / len(by_result)
            for number, (result, recall) in enumerate(by_result.items()):
                places = np.arange(len(recall.counts)) + (number - (len(by_result) - 1) / 2) * width
                panel.bar(places, np.nan_to_num(recall.shares), 0.9 * width, color=_SERIES[number])
                if result in given[circumstance]:
                    reach = 0.55 * width
                    shares = given[circumstance][result].shares
                    panel.hlines(shares, places - reach, places + reach, color=_TEXT, linewidth=1.8)
            edges = next(iter(by_result.values())).edges
            panel.set_xticks(
                np.arange(len(edges)) - 0.5,
                [f"{edge:.2f}".rstrip("0").rstrip(".") if edge < 10 else f"{edge:.0f}" for edge in edges],
            )
            panel.set(xlabel=CIRCUMSTANCES[circumstance], ylim=(0, 1))
            panel.yaxis.set_major_formatter(PercentFormatter(1.0))
            panel.grid(visible=False, axis="x")
            drawings.append(_svg(figure, f"{name}-{circumstance}"))
    return drawings


def consistency_figures(name: str, results: Mapping[int, Consistency]) -> list[str]:
    """Return ellipses of innovations and of errors against their levels, and identities against their probability.

    Parameters
    ----------
    name
        As for :func:`hota_figures`.
    results
        By number of the result, from 0.
    """
    with mpl.rc_context(_STYLE):
        innovation_figure, innovations = _panel("Innovations of the position")
        ellipse_figure, ellipses = _panel("Ellipses of the position")
        same_figure, same = _panel("Same object as a second ago")
        levels = np.linspace(0.02, 0.98, 49)
        for number, result in results.items():
            color = _SERIES[number]
            for panel, squares in (
                (innovations, result.position_innovations_squared),
                (ellipses, result.position_errors_squared),
            ):
                if len(squares):
                    held, marks = (held_shares(squares, POSITION_COORDINATES, at) for at in (levels, LEVELS))
                    panel.plot(levels, held, **_line(number))
                    panel.plot(LEVELS, marks, linestyle="none", marker="o", color=color, markersize=4)
            if len(result.continuity):
                bars = reliability(result.continuity, result.identities_kept)
                enough = bars.counts >= _FEWEST_CLAIMS
                same.plot(bars.promised[enough], bars.kept[enough], marker="o", markersize=4, **_line(number))
        for panel in (innovations, ellipses, same):
            panel.plot([0, 1], [0, 1], color=_TEXT, linewidth=1.0)
            panel.set(xlim=(0, 1), ylim=(0, 1.02))
            panel.xaxis.set_major_formatter(PercentFormatter(1.0))
            panel.yaxis.set_major_formatter(PercentFormatter(1.0))
        innovations.set(xlabel="promised share", ylabel="holds the detections")
        ellipses.set(xlabel="promised share", ylabel="holds the truth")
        same.set(xlabel="promised probability", ylabel="is the same")
        drawings = {"innovations": innovation_figure, "ellipses": ellipse_figure, "continuity": same_figure}
        return [_svg(figure, f"{name}-{part}") for part, figure in drawings.items()]


CIRCUMSTANCES = {
    "size": "root of the area, px",
    "speed": "own sizes per frame",
    "crowding": "overlap with the nearest (IoU)",
}
"""By circumstance, what is measured and in which unit."""


def _panel(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_PANEL_IN, layout="constrained")
    FigureCanvasSVG(figure)
    panel = figure.subplots()
    panel.set_title(title)
    return figure, panel


def _line(number: int) -> dict[str, Any]:
    return {
        "color": _SERIES[number],
        "linestyle": _DASHES[number],
        "linewidth": 1.8,
    }


def _svg(figure: Figure, name: str) -> str:
    """Return the drawing for use inside a page: no prologue, its own names, the page's font and colours."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = text.getvalue()
    svg = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", svg[svg.index("<svg") :], count=1, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r" font-family: [^;]*;", "", svg)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, variable)
    # The page gives size and meaning.
    return re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', svg, count=1)
