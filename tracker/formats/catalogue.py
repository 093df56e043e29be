"""All formats of tracks and truth: which one a file has, what each can hold, reading and writing by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tracker.errors import FormatError, OutputError, counted, reason_of
from tracker.formats.coco import format_coco, read_coco
from tracker.formats.columns import format_csv, format_parquet, read_csv, read_parquet
from tracker.formats.cvat import format_cvat, read_cvat
from tracker.formats.files import write_whole
from tracker.formats.kitti import DONT_CARE, format_kitti, read_kitti, read_kitti_detections
from tracker.formats.kitti import unread as unread_solids
from tracker.formats.motchallenge import format_tracks, format_truth, read_classed_detections, read_tracks, read_truth
from tracker.formats.motchallenge import unread as unread_columns
from tracker.formats.table import NOT_STATED, TrackTable
from tracker.formats.text import is_number
from tracker.structures import Detections

if TYPE_CHECKING:
    from tracker.config import ScoreScale

_HEAD_BYTES = 65536


@dataclass(frozen=True, slots=True, eq=False)
class Format:
    """A format of files.

    Parameters
    ----------
    title
        What people call it.
    read
        Returns the tables of a file by the name of the sequence.
    encode
        Returns the content of a file from the table, the name of the sequence and the path of the file to be.
    holds
        The fields of :class:`~tracker.formats.table.TrackTable` that are not lost, frames, ids and boxes aside.
    unread
        Returns what of a file no table holds, a phrase each.
    """

    title: str
    read: Callable[[Path], Mapping[str, TrackTable]]
    encode: Callable[[TrackTable, str, Path], bytes]
    holds: frozenset[str]
    unread: Callable[[Path], list[str]] = lambda _: []


def _sole(read: Callable[[Path], TrackTable]) -> Callable[[Path], Mapping[str, TrackTable]]:
    return lambda path: {path.stem: read(path)}


_ALL = frozenset({"scores", "classes", "class_names", "flags", "imputed", "visibility", "occlusions", "truncations"})

FORMATS: Mapping[str, Format] = {
    "mot": Format(
        "MOTChallenge tracks",
        _sole(read_tracks),
        lambda t, _, __: format_tracks(t).encode(),
        frozenset({"scores", "classes"}),
        lambda path: unread_columns(path, truth=False),
    ),
    "mot-truth": Format(
        "MOTChallenge truth",
        _sole(read_truth),
        lambda t, _, __: format_truth(t).encode(),
        frozenset({"classes", "flags", "visibility"}),
        lambda path: unread_columns(path, truth=True),
    ),
    "kitti": Format(
        "KITTI labels",
        _sole(read_kitti),
        lambda t, _, __: format_kitti(t).encode(),
        frozenset({"scores", "classes", "class_names", "flags", "occlusions", "truncations"}),
        unread_solids,
    ),
    "coco": Format("COCO for video", read_coco, lambda t, name, _: format_coco(t, name).encode(), _ALL),
    "cvat": Format(
        "CVAT for video",
        _sole(read_cvat),
        lambda t, name, _: format_cvat(t, name).encode(),
        frozenset({"classes", "class_names", "imputed", "occlusions"}),
    ),
    "csv": Format("CSV", _sole(read_csv), lambda t, _, __: format_csv(t).encode(), _ALL),
    "parquet": Format("Parquet", _sole(read_parquet), lambda t, _, path: format_parquet(t, path), _ALL),
}
"""The formats by the names that people give them."""

_BY_SUFFIX = {".json": "coco", ".xml": "cvat", ".csv": "csv", ".parquet": "parquet"}
SUFFIXES = (".txt", *_BY_SUFFIX)


def recognise(path: Path | str, truth: bool | None = None) -> str:
    """Tell the format of a file from its suffix and, for text, from its first row.

    Parameters
    ----------
    path
        The file.
    truth
        Whether MOTChallenge text is truth or tracks, which look alike; None to take a file called ``gt.txt``
        and one of nine columns for truth.

    Raises
    ------
    FormatError
        For a file that cannot be read or whose format is not known.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in (".json", ".xml", ".parquet"):
        return _BY_SUFFIX[suffix]
    row = _first_row(path)
    cells = [cell.strip() for cell in row.split(",")]
    if _is_kitti(row):
        return "kitti"
    if cells[0] and "," in row and not any(map(is_number, cells)):
        return "csv"
    if suffix not in (".txt", ".csv"):
        raise FormatError(path, None, f"is of no known format; known are {', '.join(FORMATS)}")
    if truth is None:
        truth = path.name == "gt.txt" or len(cells) == 9
    return "mot-truth" if truth else "mot"


def read_recorded(
    path: Path | str, score_scale: ScoreScale = "unit"
) -> tuple[dict[int, Detections], dict[int, str] | None]:
    """Read detections: MOTChallenge text, or KITTI labels, which are recognised by their first row.

    Parameters
    ----------
    path
        The file.
    score_scale
        What its scores are, see :func:`tracker.formats.table.unit_scores`; those of the detections are in [0, 1].

    Returns
    -------
    tuple
        Detections by ascending frame number, and names of classes by label: empty where the file states classes by
        number alone, None where it states none.

    Raises
    ------
    FormatError
        For a file that cannot be read or breaks its format.
    """
    path = Path(path)
    if _is_kitti(_first_row(path)):
        return read_kitti_detections(path, score_scale)
    detections, stated = read_classed_detections(path, score_scale)
    return detections, {} if stated else None


def _first_row(path: Path) -> str:
    """Return the first line of a text that is not blank; empty when there is none."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES).decode("utf-8-sig", errors="replace")
    except (OSError, ValueError) as error:
        raise FormatError(path, None, f"cannot be read: {reason_of(error)}") from None
    return next((line for line in head.splitlines() if line.strip()), "")


def _is_kitti(row: str) -> bool:
    fields = row.split()
    return len(fields) >= 10 and "," not in row and not is_number(fields[2])


def format_for_output(path: Path | str, remedy: str = "") -> str:
    """Tell the format in which a file of this name is to be written.

    Parameters
    ----------
    path
        The file.
    remedy
        What else to do where the name tells nothing, for the error.

    Raises
    ------
    OutputError
        For a name that tells nothing.
    """
    path = Path(path)
    if path.suffix.lower() == ".txt":
        return "mot-truth" if path.name == "gt.txt" else "mot"
    try:
        return _BY_SUFFIX[path.suffix.lower()]
    except KeyError:
        raise OutputError(f"{path}: its suffix names no format; use {', '.join(SUFFIXES)}{remedy}") from None


def read_tables(path: Path | str, name: str | None = None, truth: bool | None = None) -> Mapping[str, TrackTable]:
    """Read all sequences of a file: by name those of COCO; of all other formats one, named like the file.

    Parameters
    ----------
    path
        The file.
    name
        Name of the format; None to recognise it.
    truth
        As for :func:`recognise`.

    Raises
    ------
    FormatError
        For a file that cannot be read or breaks its format.
    """
    return FORMATS[name or recognise(path, truth)].read(Path(path))


def write_table(path: Path | str, table: TrackTable, name: str | None = None, sequence: str | None = None) -> list[str]:
    """Write a table; what bears the name of the file is always whole.

    Parameters
    ----------
    path
        The file; one of that name is replaced.
    table
        The rows.
    name
        Name of the format; None to take it from the suffix.
    sequence
        Name of the sequence, where the format has one; that of the file when left out.

    Returns
    -------
    list of str
        What the format cannot hold and is lost.

    Raises
    ------
    OutputError
        When the file cannot be written, or the format cannot hold the table even with losses.
    """
    path = Path(path)
    name = name or format_for_output(path)
    losses = lost(table, name)
    if "flags" not in FORMATS[name].holds:
        table = table.select(table.flags)
    try:
        content = FORMATS[name].encode(table, sequence or path.stem, path)
    except OutputError as error:
        raise OutputError(f"{path}: {error}") from None
    write_whole(path, content)
    return losses


def lost(table: TrackTable, name: str) -> list[str]:
    """Return what a format cannot hold of a table, a phrase each; empty when nothing is lost."""
    holds = FORMATS[name].holds
    stated = {
        "scores": ("scores", ~np.isnan(table.scores)),
        "classes": ("classes", table.classes != NOT_STATED),
        "imputed": ("imputed marks", table.imputed),
        "visibility": ("visible shares", ~np.isnan(table.visibility)),
        "occlusions": ("occlusion levels", table.occlusions > 0),
        "truncations": ("truncation levels", table.truncations > 0),
    }
    phrases = [
        f"{words} ({counted(count, 'row')})"
        for field, (words, rows) in stated.items()
        if field not in holds and (count := int(rows.sum()))
    ]
    unscored = int(np.isnan(table.scores).sum())
    if unscored and (name == "mot" or (name == "kitti" and unscored < len(table))):
        phrases.append(f"missing scores ({counted(unscored, 'row')}, written as -1)")
    ignored = int((~table.flags).sum())
    if ignored and "flags" not in holds:
        phrases.append(f"rows to be ignored ({ignored}, left out)")
    if table.class_names and "classes" in holds and "class_names" not in holds:
        names = ", ".join(f"{label} is {text}" for label, text in sorted(table.class_names.items()))
        phrases.append(f"names of classes ({names})")
    if name == "kitti" and ignored:
        others = int((~table.flags & (table.classes != _label_of(table, DONT_CARE))).sum())
        if others:
            phrases.append(f"classes of rows to be ignored ({others}, written as {DONT_CARE})")
    if name == "cvat":
        order = np.lexsort((table.classes, table.ids))
        ids, classes = table.ids[order], table.classes[order]
        mixed = np.unique(ids[1:][(np.diff(ids) == 0) & (np.diff(classes) != 0)])
        if len(mixed):
            phrases.append(f"changes of class along a track ({counted(len(mixed), 'track')}, the first class stands)")
        levels = int((table.occlusions > 1).sum())
        if levels:
            phrases.append(f"occlusion levels above 1 ({counted(levels, 'row')})")
    return phrases


def _label_of(table: TrackTable, name: str) -> int | None:
    return next((label for label, text in table.class_names.items() if text == name), None)
