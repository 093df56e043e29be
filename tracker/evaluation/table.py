"""Scores for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from tracker.evaluation.scores import Evaluation, combine

_HEADINGS = {
    "hota": "HOTA",
    "det_a": "DetA",
    "ass_a": "AssA",
    "loc_a": "LocA",
    "mota": "MOTA",
    "idf1": "IDF1",
    "id_switches": "IDSW",
    "fragmentations": "Frag",
    "false_positives": "FP",
    "false_negatives": "FN",
}


def scores_dict(evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Return the scores by sequence and combined, in full precision, ready for JSON."""
    return {
        "sequences": {name: _by_heading(evaluation) for name, evaluation in evaluations.items()},
        "combined": _by_heading(combine(evaluations)),
    }


def scores_table(evaluations: Mapping[str, Evaluation]) -> Table:
    """Return a table that fits 80 columns: a row per sequence and, for more than one, all combined."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("sequence", overflow="fold")
    for heading in _HEADINGS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for name, evaluation in evaluations.items():
        table.add_row(Text(name), *_cells(evaluation))
    if len(evaluations) > 1:
        table.add_section()
        table.add_row("COMBINED", *_cells(combine(evaluations)), style="bold")
    return table


def _by_heading(evaluation: Evaluation) -> dict[str, float]:
    return {_HEADINGS[field]: value for field, value in asdict(evaluation.scores).items()}


def _cells(evaluation: Evaluation) -> list[str]:
    return [str(value) if isinstance(value, int) else f"{value:.2f}" for value in _by_heading(evaluation).values()]
