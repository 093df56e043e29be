"""Scores for people and for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeAlias

from rich import box
from rich.table import Table
from rich.text import Text

from tracker.evaluation.scores import Evaluation, combine

Intervals: TypeAlias = Mapping[str, tuple[float, float]]
"""By field of the scores, in their order, the ends of the 95 % interval of the combined figure."""

HEADINGS = {
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
"""What people call the fields of the scores."""

COUNTED_FAULTS = ("IDSW", "Frag", "FP", "FN")
"""Headings under which less is better."""

_ENDS = ("2.5 %", "97.5 %")


def scores_dict(evaluations: Mapping[str, Evaluation], intervals: Intervals | None = None) -> dict[str, Any]:
    """Return the scores by sequence and combined, in full precision, ready for JSON."""
    tree: dict[str, Any] = {
        "sequences": {name: by_heading(evaluation) for name, evaluation in evaluations.items()},
        "combined": by_heading(combine(evaluations)),
    }
    if intervals is not None:
        tree["intervals"] = {HEADINGS[field]: list(ends) for field, ends in intervals.items()}
    return tree


def scores_table(evaluations: Mapping[str, Evaluation], intervals: Intervals | None = None) -> Table:
    """Return a table that fits 80 columns: a row per sequence and, for more than one, all combined."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("sequence", overflow="fold")
    for heading in HEADINGS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    sequences = len(evaluations)
    for number, (name, cells) in enumerate(_rows(evaluations, intervals)):
        if number == sequences:
            table.add_section()
        table.add_row(Text(name), *map(_rounded, cells), style="bold" if number == sequences else None)
    return table


def scores_csv(evaluations: Mapping[str, Evaluation], intervals: Intervals | None = None) -> str:
    """Return the rows of :func:`scores_table` as CSV, in full precision."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["sequence", *HEADINGS.values()])
    writer.writerows([name, *cells] for name, cells in _rows(evaluations, intervals))
    return text.getvalue()


def scores_markdown(evaluations: Mapping[str, Evaluation], intervals: Intervals | None = None) -> str:
    """Return the rows of :func:`scores_table` as a Markdown table."""
    lines = [["sequence", *HEADINGS.values()], ["---", *["---:"] * len(HEADINGS)]]
    for name, cells in _rows(evaluations, intervals):
        lines.append([name.replace("|", "\\|"), *map(_rounded, cells)])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def by_heading(evaluation: Evaluation) -> dict[str, float]:
    """Return the scores by what people call them."""
    return {HEADINGS[field]: value for field, value in asdict(evaluation.scores).items()}


def _rows(evaluations: Mapping[str, Evaluation], intervals: Intervals | None) -> list[tuple[str, list[float]]]:
    """Return what the tables show: sequences, for more than one all combined, and the ends of the intervals."""
    rows = [(name, list(by_heading(evaluation).values())) for name, evaluation in evaluations.items()]
    if len(evaluations) > 1:
        rows.append(("COMBINED", list(by_heading(combine(evaluations)).values())))
    if intervals is not None:
        rows += [
            (
                name,
                [
                    round(ends[end]) if HEADINGS[field] in COUNTED_FAULTS else ends[end]
                    for field, ends in intervals.items()
                ],
            )
            for end, name in enumerate(_ENDS)
        ]
    return rows


def _rounded(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.2f}"
