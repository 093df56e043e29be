"""``track convert``: bring tracks or truth from one format into another."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tracker.cli.evaluate import MapOption, pair
from tracker.cli.lines import tell
from tracker.errors import counted


class FormatName(StrEnum):
    """The formats that can be read and written."""

    MOT = "mot"
    MOT_TRUTH = "mot-truth"
    KITTI = "kitti"
    COCO = "coco"
    CVAT = "cvat"
    CSV = "csv"
    PARQUET = "parquet"


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="File to be read.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File to be written; an earlier one is replaced.")],
    from_: Annotated[
        FormatName | None,
        typer.Option("--from", help="Format of IN.", show_default="told by suffix and content"),
    ] = None,
    to: Annotated[
        FormatName | None,
        typer.Option("--to", help="Format of OUT.", show_default="told by suffix: .txt is mot, gt.txt mot-truth"),
    ] = None,
    sequence: Annotated[
        str | None, typer.Option(metavar="NAME", help="The sequence to convert, where IN holds several.")
    ] = None,
    renamed: MapOption = None,
) -> None:
    """Convert tracks or truth between MOTChallenge, KITTI, COCO for video, CVAT for video 1.1, CSV and Parquet.

    What the format of OUT cannot hold is said in one line.

    Example: track convert tracks.txt tracks.xml
    """
    names = dict(pair(text, "--map", "car=vehicle") for text in renamed or ())
    from tracker.errors import FormatError
    from tracker.formats.catalogue import FORMATS, format_for_output, read_tables, recognise, write_table
    from tracker.formats.files import check_outputs

    stating = f", or state one of {', '.join(FORMATS)} with --to"
    kind = to.value if to is not None else format_for_output(target, stating)
    check_outputs([(target, ())], [source])
    read_as = recognise(source) if from_ is None else from_.value
    tables = read_tables(source, read_as)
    if sequence is None and len(tables) > 1:
        held = ", ".join(sorted(tables))
        raise FormatError(source, None, f"holds {counted(len(tables), 'sequence')}; choose one with --sequence: {held}")
    if sequence is not None and sequence not in tables:
        raise FormatError(source, None, f"holds no sequence {sequence}; it has {', '.join(sorted(tables))}")
    name = sequence or next(iter(tables))
    table = tables[name]
    if unknown := table.without_class(names):
        there = ", ".join(table.stated_classes()) or "none"
        tell(f"note: {source}: --map finds no class {', '.join(unknown)}; stated are {there}")
    table = table.renamed(names)
    losses = [*FORMATS[read_as].unread(source), *write_table(target, table, kind, name)]
    if losses:
        tell(f"note: {target}: {FORMATS[kind].title} cannot hold {'; '.join(losses)}")
