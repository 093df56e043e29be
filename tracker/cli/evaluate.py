"""``track eval``: score tracks against ground truth."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tracker.cli.common import counting_bar
from tracker.cli.lines import show, tell

if TYPE_CHECKING:
    from tracker.evaluation.preparation import Criteria

UNMET = 1


class ProtocolName(StrEnum):
    """Whose rules hold."""

    OPEN = "open"
    MOT17 = "mot17"
    MOT20 = "mot20"
    KITTI = "kitti"


MapOption = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="OLD=NEW", help="Rename a class, e.g. car=vehicle; equal names merge. Repeatable."),
]
ProtocolOption = Annotated[
    ProtocolName, typer.Option(help="Rules for what is ignored: our own, or those of a benchmark.")
]


def evaluate(
    truth: Annotated[
        Path,
        typer.Option(
            metavar="PATH",
            help="Truth: a file of any format of `track convert`; or a folder of SEQ/gt/gt.txt (MOTChallenge, "
            "DanceTrack), label_02/SEQ.txt (KITTI) or SEQ.*.",
        ),
    ],
    tracks: Annotated[
        Path,
        typer.Option(
            metavar="PATH", help="Results: a file; or a folder of SEQ.txt, data/SEQ.txt, SEQ/tracks.txt or SEQ.*."
        ),
    ],
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS,...",
            help="Classes that are to be found, by number or name.",
            show_default="1,3 (pedestrian and car), or all where classes have names",
        ),
    ] = None,
    renamed: MapOption = None,
    protocol: ProtocolOption = ProtocolName.OPEN,
    iou: Annotated[
        float, typer.Option(metavar="X", help="IoU from which MOTA and IDF1 count a hit; HOTA has its own.")
    ] = 0.5,
    bootstrap: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Give 95 % intervals of the combined figures from N resamples of the sequences."
        ),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Exit with 1 unless the combined figure is at least VALUE (at most, for IDSW, Frag, FP, FN and ML). "
            "Repeatable.",
        ),
    ] = None,
    show_all: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Show recall, precision, MOTP, identities tracked and lost, and the parts of IDF1 and HOTA too.",
        ),
    ] = False,
    as_json: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE|-", help="Write all figures as JSON; - to print it."),
    ] = None,
    as_csv: Annotated[
        str | None,
        typer.Option("--csv", metavar="FILE|-", help="Write all figures as CSV; - to print it."),
    ] = None,
    as_markdown: Annotated[
        str | None, typer.Option("--markdown", metavar="FILE|-", help="Write a Markdown table; - to print it.")
    ] = None,
) -> None:
    """Score tracks against ground truth: HOTA, MOTA, IDF1 and their parts.

    Example: track eval --truth gt.txt --tracks in-tracks/tracks.txt
    """
    criteria = criteria_of(classes, renamed, protocol, iou)
    if [as_json, as_csv, as_markdown].count("-") > 1:
        raise typer.BadParameter(
            "one of them can be printed, the others need a file", param_hint="--json --csv --markdown"
        )
    from tracker.evaluation.scores import bootstrap as resample
    from tracker.evaluation.scores import combine
    from tracker.evaluation.sequences import evaluate_paths, files_of
    from tracker.evaluation.table import (
        DETAILS,
        HEADINGS,
        SHOWN,
        by_heading,
        scores_csv,
        scores_dict,
        scores_markdown,
        scores_table,
    )
    from tracker.formats.files import check_outputs, write_whole

    demands = _demands(require or ())
    check_outputs(
        [(Path(file), ()) for file in (as_json, as_csv, as_markdown) if file not in (None, "-")],
        [*files_of(truth, True), *files_of(tracks, False)],
    )
    with counting_bar(with_time=True) as on_sequence:
        evaluations = evaluate_paths(
            truth, tracks, criteria, processes=os.cpu_count() or 1, on_sequence=on_sequence, notice=tell
        )
    if bootstrap is not None and len(evaluations) < 2:
        raise typer.BadParameter("there is one sequence; a bootstrap needs at least 2", param_hint="--bootstrap")
    intervals = None if bootstrap is None else resample(evaluations, bootstrap)

    headings = tuple(HEADINGS.values()) if show_all else SHOWN
    for file, text in (
        (as_json, json.dumps(scores_dict(evaluations, intervals), indent=2) + "\n"),
        (as_csv, scores_csv(evaluations, intervals)),
        (as_markdown, scores_markdown(evaluations, intervals, headings)),
    ):
        if file == "-":
            show(text.removesuffix("\n"))
        elif file is not None:
            write_whole(file, text.encode())
    if "-" not in (as_json, as_csv, as_markdown):
        show(scores_table(evaluations, intervals))
        if show_all:
            show("")
            show(scores_table(evaluations, intervals, DETAILS))
    unmet = _unmet(by_heading(combine(evaluations)), demands)
    for line in unmet:
        tell(line)
    if unmet:
        raise typer.Exit(UNMET)


def criteria_of(classes: str | None, renamed: Sequence[str] | None, protocol: ProtocolName, iou: float) -> Criteria:
    """Return what ``--classes``, ``--map``, ``--protocol`` and ``--iou`` ask for; an error names the option."""
    chosen = None if classes is None else tuple(token.strip() for token in classes.split(","))
    if chosen is not None and not all(chosen):
        raise typer.BadParameter(f"{classes!r} is not a list such as 1,3 or car,van", param_hint="--classes")
    names = dict(pair(text, "--map", "car=vehicle") for text in renamed or ())
    from tracker.evaluation.preparation import Criteria, CriteriaError

    try:
        return Criteria(chosen, names, protocol.value, iou)
    except CriteriaError as error:
        raise typer.BadParameter(str(error)) from None


def pair(text: str, option: str, example: str) -> tuple[str, str]:
    """Return the two sides of ``OLD=NEW``; an error names the option."""
    left, equals, right = (part.strip() for part in text.partition("="))
    if not (left and equals and right):
        raise typer.BadParameter(f"{text!r} is not of the form {example}", param_hint=option)
    return left, right


def _demands(texts: Sequence[str]) -> list[tuple[str, float]]:
    """Return headings and the figures that are asked of them."""
    from tracker.evaluation.table import HEADINGS

    heading_of = {heading.casefold(): heading for heading in HEADINGS.values()}
    demands = []
    for text in texts:
        name, value = pair(text, "--require", "HOTA=60")
        if name.casefold() not in heading_of:
            raise typer.BadParameter(f"{name} is none of {', '.join(heading_of.values())}", param_hint="--require")
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if math.isnan(number):
            raise typer.BadParameter(f"{value!r} is not a number", param_hint="--require")
        demands.append((heading_of[name.casefold()], number))
    return demands


def _unmet(figures: dict[str, float], demands: list[tuple[str, float]]) -> list[str]:
    """Return a line for each demand that the figures do not meet."""
    from tracker.evaluation.table import COUNTED_FAULTS

    lines = []
    for name, wanted in demands:
        got = figures[name]
        if name in COUNTED_FAULTS and got > wanted:
            lines.append(f"{name} is {got:g}; at most {wanted:g} is required")
        elif name not in COUNTED_FAULTS and got < wanted:
            lines.append(f"{name} is {got:.3f}; at least {wanted:g} is required")
    return lines
