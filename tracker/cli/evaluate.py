"""``track eval``: score tracks against ground truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from tracker.cli.common import one_line_errors


def evaluate(
    truth: Annotated[
        Path, typer.Option(metavar="PATH", help="Truth: a gt.txt, or a folder of SEQ/gt/gt.txt or SEQ.txt.")
    ],
    tracks: Annotated[
        Path, typer.Option(metavar="PATH", help="Results: a file, or a folder of SEQ.txt or SEQ/tracks.txt.")
    ],
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="N,N",
            help="Classes of the truth that are to be found.",
            show_default="1,3: pedestrian and car",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in full precision.")] = False,
) -> None:
    """Score tracks against ground truth: HOTA, MOTA, IDF1 and their parts.

    Example: track eval --truth gt.txt --tracks in-tracks/tracks.txt
    """
    try:
        chosen = None if classes is None else [int(label) for label in classes.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{classes} is not a list such as 1,3", param_hint="--classes") from None
    with one_line_errors():
        from tracker.evaluation.scores import EVALUATED_CLASSES, evaluate_folders, evaluate_sequence
        from tracker.evaluation.table import scores_dict, scores_table

        wanted = EVALUATED_CLASSES if chosen is None else chosen
        if truth.is_dir():
            with Console(stderr=True).status("reading") as status:
                evaluations = evaluate_folders(truth, tracks, wanted, lambda name: status.update(escape(name)))
        else:
            evaluations = {truth.stem: evaluate_sequence(truth, tracks, wanted)}
    if as_json:
        typer.echo(json.dumps(scores_dict(evaluations), indent=2))
    else:
        Console().print(scores_table(evaluations))
