"""Tables with a header: CSV, and Parquet where pyarrow is installed.

The columns ``frame, id, left, top, width, height`` must be there; ``score, class, class_name, flag, imputed,
visibility, occlusion, truncation`` may. An empty cell is not stated. Nothing of a table is lost in them.
"""

from __future__ import annotations

import csv
import difflib
import io
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.errors import FormatError, reason_of
from tracker.formats.table import NOT_STATED, TrackTable, naming_rows
from tracker.formats.text import LARGEST_WHOLE, is_number, read_text

_BOX = ("left", "top", "width", "height")
_NEEDED = ("frame", "id", *_BOX)
_OPTIONAL = ("score", "class", "class_name", "flag", "imputed", "visibility", "occlusion", "truncation")
_MISSING = {"class": NOT_STATED, "flag": 1, "imputed": 0, "occlusion": NOT_STATED, "truncation": NOT_STATED}
_WHOLE = {"frame", "id", *_MISSING}


def read_csv(path: Path | str) -> TrackTable:
    """Read a CSV file with a header.

    Raises
    ------
    FormatError
        For a file that cannot be read, a column that is missing, unknown or there twice, a row of another
        length, a cell of the wrong kind, and for whatever :class:`~tracker.formats.table.TrackTable` refuses;
        the message names the line.
    """
    path = Path(path)
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    lines, rows = [], []
    try:
        for row in reader:
            if row:
                lines.append(reader.line_num)
                rows.append(row)
    except csv.Error as error:
        raise FormatError(path, reader.line_num, f"is not CSV: {error}") from None
    if not rows:
        raise FormatError(path, None, f"is empty; its first line must name columns: {','.join(_NEEDED)}")
    header = [name.strip() for name in rows[0]]
    _check_header(path, lines[0], header)
    for line, row in zip(lines, rows, strict=True):
        if len(row) != len(header):
            raise FormatError(path, line, f"has {len(row)} columns; the header has {len(header)}")
    columns = dict(zip(header, zip(*rows[1:], strict=True), strict=True)) if rows[1:] else dict.fromkeys(header, ())

    def number(text: str) -> float | None:
        if not text.strip():
            return None
        if not is_number(text):
            raise ValueError
        return float(text)

    return _table(path, columns, lambda row: lines[row + 1], number)


def format_csv(table: TrackTable) -> str:
    """Return the table as CSV with all columns in which anything is stated."""
    columns = _columns(table)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def read_parquet(path: Path | str) -> TrackTable:
    """Read a Parquet file.

    Raises
    ------
    FormatError
        As :func:`read_csv`, naming the row from 1; also when pyarrow is not installed.
    """
    path = Path(path)
    pyarrow = _pyarrow(path)
    try:
        content = pyarrow.parquet.read_table(pyarrow.BufferReader(path.read_bytes()))
        columns = {name: content.column(name).to_pylist() for name in content.column_names}
    except OSError as error:
        reason = reason_of(error) if error.strerror else "it is damaged"
        raise FormatError(path, None, f"cannot be read: {reason}") from None
    except (pyarrow.ArrowException, ValueError, KeyError, MemoryError):
        raise FormatError(path, None, "is not a Parquet file, or a damaged one") from None
    _check_header(path, None, list(content.column_names))

    def number(value: object) -> float | None:
        if value is None:
            return None
        if not isinstance(value, int | float):
            raise ValueError
        return float(value)

    return _table(path, columns, lambda row: f"row {row + 1}", number)


def format_parquet(table: TrackTable, path: Path) -> bytes:
    """Return the table as Parquet; the path is that of the file to be, for the error when pyarrow is missing."""
    pyarrow = _pyarrow(path)
    types = {name: pyarrow.int64() if name in _WHOLE else pyarrow.float64() for name in (*_NEEDED, *_OPTIONAL)}
    types["class_name"] = pyarrow.string()
    columns = {name: pyarrow.array(values, types[name]) for name, values in _columns(table).items()}
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), buffer)
    return buffer.getvalue()


def _columns(table: TrackTable) -> dict[str, list[Any]]:
    """Return the columns in which anything is stated, None where a row states nothing."""
    columns: dict[str, list[Any]] = {"frame": table.frames.tolist(), "id": table.ids.tolist()}
    columns |= dict(zip(_BOX, table.boxes_ltwh.T.tolist(), strict=True))
    names = [table.class_names.get(label) for label in table.classes.tolist()]
    optional: dict[str, Iterable[Any]] = {
        "score": (None if np.isnan(score) else score for score in table.scores.tolist()),
        "class": (None if label == NOT_STATED else label for label in table.classes.tolist()),
        "class_name": names,
        "flag": map(int, table.flags.tolist()),
        "imputed": map(int, table.imputed.tolist()),
        "visibility": (None if np.isnan(share) else share for share in table.visibility.tolist()),
        "occlusion": (None if level == NOT_STATED else level for level in table.occlusions.tolist()),
        "truncation": (None if level == NOT_STATED else level for level in table.truncations.tolist()),
    }
    unstated = {"flag": 1, "imputed": 0}
    for name, values in optional.items():
        column = list(values)
        if any(value != unstated.get(name) for value in column):
            columns[name] = column
    return columns


def _check_header(path: Path, line: int | None, header: list[str]) -> None:
    for name in header:
        if name not in _NEEDED + _OPTIONAL:
            close = difflib.get_close_matches(name, _NEEDED + _OPTIONAL, 1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(_NEEDED + _OPTIONAL)}"
            raise FormatError(path, line, f"column {reprlib.repr(name)} is unknown; {hint}")
        if header.count(name) > 1:
            raise FormatError(path, line, f"column {name} stands twice")
    if missing := [name for name in _NEEDED if name not in header]:
        raise FormatError(path, line, f"has no column {', '.join(missing)}; needed are {', '.join(_NEEDED)}")


def _table(
    path: Path,
    columns: Mapping[str, Sequence[Any]],
    place: Callable[[int], int | str],
    number: Callable[[Any], float | None],
) -> TrackTable:
    """Build the table from cells, of which ``number`` makes numbers (None for an empty one)."""

    def error(row: int, problem: str) -> FormatError:
        where = place(row)
        if isinstance(where, int):
            return FormatError(path, where, problem)
        return FormatError(path, None, f"{where}: {problem}")

    def numbers(name: str) -> NDArray[Any]:
        values = np.full(len(columns["frame"]), _MISSING.get(name, np.nan), np.float64)
        for row, cell in enumerate(columns.get(name, ())):
            try:
                value = number(cell)
            except (ValueError, OverflowError):
                raise error(row, f"{name} is {reprlib.repr(cell)}; it must be a number") from None
            if value is None and name in _NEEDED:
                raise error(row, f"{name} is empty; it must be a number")
            if value is None:
                continue
            values[row] = value
            if name in _WHOLE and not (abs(values[row]) < LARGEST_WHOLE and values[row] == int(values[row])):
                raise error(row, f"{name} is {values[row]:g}; it must be a whole number")
            if name in ("flag", "imputed") and values[row] not in (0, 1):
                raise error(row, f"{name} is {values[row]:g}; it must be 0 or 1")
        return values.astype(np.int64) if name in _WHOLE else values

    classes = numbers("class")
    names: dict[int, str] = {}
    for row, cell in enumerate(columns.get("class_name", ())):
        if cell is None or cell == "":
            continue
        if not isinstance(cell, str):
            raise error(row, f"class_name is {reprlib.repr(cell)}; it must be text")
        if classes[row] == NOT_STATED:
            raise error(row, f"class_name is {reprlib.repr(cell)}, but class is not stated")
        label = int(classes[row])
        if names.setdefault(label, cell) != cell:
            raise error(row, f"class {label} is called {reprlib.repr(cell)}, earlier {reprlib.repr(names[label])}")
    with naming_rows(path, place):
        return TrackTable(
            numbers("frame"),
            numbers("id"),
            np.column_stack([numbers(name) for name in _BOX]),
            numbers("score"),
            classes,
            flags=numbers("flag"),
            imputed=numbers("imputed"),
            visibility=numbers("visibility"),
            occlusions=numbers("occlusion"),
            truncations=numbers("truncation"),
            class_names=names,
        )


def _pyarrow(path: Path) -> ModuleType:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise FormatError(path, None, "Parquet needs pyarrow, which is not installed: pip install pyarrow") from None
    return pyarrow
