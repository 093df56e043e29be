"""Scores for people and for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
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
    "recall": "Rcl",
    "precision": "Prec",
    "motp": "MOTP",
    "mostly_tracked": "MT",
    "partly_tracked": "PT",
    "mostly_lost": "ML",
    "id_recall": "IDR",
    "id_precision": "IDP",
    "det_re": "DetRe",
    "det_pr": "DetPr",
    "ass_re": "AssRe",
    "ass_pr": "AssPr",
}
"""What people call the fields of the scores and of their details."""

SHOWN = tuple(HEADINGS.values())[:10]
"""What is shown unless all is asked for."""
DETAILS = tuple(HEADINGS.values())[10:]
"""The rest."""

COUNTED_FAULTS = ("IDSW", "Frag", "FP", "FN", "ML")
"""Headings under which less is better."""

_COUNTS = (*COUNTED_FAULTS, "MT", "PT")
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


def scores_table(
    evaluations: Mapping[str, Evaluation], intervals: Intervals | None = None, headings: Sequence[str] = SHOWN
) -> Table:
    """Return a table that fits 80 columns: a row per sequence and, for more than one, all combined."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("sequence", overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    sequences = len(evaluations)
    for number, (name, figures) in enumerate(_rows(evaluations, intervals)):
        if number == sequences:
            table.add_section()
        cells = [_rounded(figures[heading]) for heading in headings]
        table.add_row(Text(name), *cells, style="bold" if number == sequences else None)
    return table


def scores_csv(evaluations: Mapping[str, Evaluation], intervals: Intervals | None = None) -> str:
    """Return all figures of the rows of :func:`scores_table` as CSV, in full precision."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["sequence", *HEADINGS.values()])
    writer.writerows([name, *figures.values()] for name, figures in _rows(evaluations, intervals))
    return text.getvalue()


def scores_markdown(
    evaluations: Mapping[str, Evaluation], intervals: Intervals | None = None, headings: Sequence[str] = SHOWN
) -> str:
    """Return the rows of :func:`scores_table` as a Markdown table."""
    lines = [["sequence", *headings], ["---", *["---:"] * len(headings)]]
    for name, figures in _rows(evaluations, intervals):
        lines.append([name.replace("|", "\\|"), *(_rounded(figures[heading]) for heading in headings)])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def by_heading(evaluation: Evaluation) -> dict[str, float]:
    """Return the scores by what people call them."""
    figures = asdict(evaluation.scores) | asdict(evaluation.details)
    return {HEADINGS[field]: value for field, value in figures.items()}


def _rows(evaluations: Mapping[str, Evaluation], intervals: Intervals | None) -> list[tuple[str, dict[str, float]]]:
    """Return what the tables show: sequences, for more than one all combined, and the ends of the intervals."""
    rows = [(name, by_heading(evaluation)) for name, evaluation in evaluations.items()]
    if len(evaluations) > 1:
        rows.append(("COMBINED", by_heading(combine(evaluations))))
    if intervals is not None:
        rows += [
            (
                name,
                {
                    HEADINGS[field]: round(ends[end]) if HEADINGS[field] in _COUNTS else ends[end]
                    for field, ends in intervals.items()
                },
            )
            for end, name in enumerate(_ENDS)
        ]
    return rows


def _rounded(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.2f}"
