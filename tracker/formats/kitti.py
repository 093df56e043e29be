"""KITTI tracking labels, truth and results alike.

One row is ``frame id type truncated occluded alpha left top right bottom h w l x y z ry [score]``, separated by
blanks; frames count from 0. The fields of three dimensions are read as numbers and written as unknown. Rows of
type ``DontCare``, or with a negative id, are there to be ignored.

References
----------
- Geiger, Lenz and Urtasun, Are we ready for Autonomous Driving? The KITTI Vision Benchmark Suite, CVPR 2012.
"""

from __future__ import annotations

import reprlib
from pathlib import Path

import numpy as np

from tracker.errors import FormatError, OutputError
from tracker.formats.table import NOT_STATED, TrackTable, class_labels, demand, demand_whole, naming_rows
from tracker.formats.text import is_number, read_lines, whole

CLASSES = {
    "Pedestrian": 1,
    "Person": 2,
    "Car": 3,
    "Van": 4,
    "Truck": 5,
    "Cyclist": 6,
    "Tram": 7,
    "Misc": 8,
    "DontCare": 9,
}
"""Labels of the types: pedestrian and car are numbered as in MOTChallenge, other types from 10."""

DONT_CARE = "DontCare"

_MEANING = "frame id type truncated occluded alpha left top right bottom h w l x y z ry [score]"
_TRUTH_COLUMNS, _RESULT_COLUMNS = 17, 18
_TYPE = 2
_UNKNOWN = "-1 -1 -1 -1000 -1000 -1000 -10"  # height, width, length, x, y, z, ry


def read_kitti(path: Path | str) -> TrackTable:
    """Read a label file; a person sitting is ``Person`` whether or not the file says so of it.

    Raises
    ------
    FormatError
        For a file that cannot be read, a row that is not of 17 or 18 columns or not numbers where they belong,
        and for whatever :class:`~tracker.formats.table.TrackTable` refuses.
    """
    rows = [(line, text.split()) for line, text in read_lines(path)]
    for line, row in rows:
        if len(row) not in (_TRUTH_COLUMNS, _RESULT_COLUMNS):
            raise FormatError(path, line, f"has {len(row)} columns; it must have 17 or 18: {_MEANING}")
        if len(row) != len(rows[0][1]):
            raise FormatError(path, line, f"has {len(row)} columns; line {rows[0][0]} has {len(rows[0][1])}")
        for column, field in enumerate(row):
            if column != _TYPE and not is_number(field):
                raise FormatError(path, line, f"column {column + 1} is {reprlib.repr(field)}; it must be a number")
    types = ["Person" if row[_TYPE] == "Person_sitting" else row[_TYPE] for _, row in rows]
    width = len(rows[0][1]) if rows else _TRUTH_COLUMNS
    for _, row in rows:
        row[_TYPE] = "0"  # the one column that is no number
    values = np.array([row for _, row in rows], np.float64).reshape(-1, width)
    frames, ids, truncations, occlusions = values[:, [0, 1, 3, 4]].T
    left, top, right, bottom = values[:, 6:10].T
    classes, names = class_labels(types, CLASSES)
    with naming_rows(path, lambda row: rows[row][0]):
        demand(whole(frames) & (frames >= 0), lambda row: f"frame is {frames[row]:g}; frames are whole numbers from 0")
        demand_whole(ids, "id")
        demand_whole(truncations, "truncated")
        demand_whole(occlusions, "occluded")
        return TrackTable(
            frames.astype(np.int64) + 1,
            ids.astype(np.int64),
            np.column_stack([left, top, right - left, bottom - top]),
            values[:, 17] if width == _RESULT_COLUMNS else None,
            classes,
            flags=(ids >= 0) & np.array([text != DONT_CARE for text in types], np.bool_),
            occlusions=occlusions.astype(np.int64),
            truncations=truncations.astype(np.int64),
            class_names=names,
        )


def format_kitti(table: TrackTable) -> str:
    """Return the table's rows: of 18 columns if any row states a score (-1 for those that do not), else of 17.

    Raises
    ------
    OutputError
        For the name of a class with a blank in it, which would be two columns.
    """
    with_scores = not np.isnan(table.scores).all()
    scores = np.where(np.isnan(table.scores), -1.0, table.scores)
    right_bottom = table.boxes_ltwh[:, :2] + table.boxes_ltwh[:, 2:]
    names = {label: table.class_text(label) for label in np.unique(table.classes).tolist()}
    for label, name in names.items():
        if name.split() != [name]:
            raise OutputError(f"class {label} is called {name!r}; KITTI separates columns by blanks: rename the class")
    lines = []
    for frame, id_, flag, label, truncation, occlusion, (left, top, *_), (right, bottom), score in zip(
        table.frames.tolist(),
        table.ids.tolist(),
        table.flags.tolist(),
        table.classes.tolist(),
        table.truncations.tolist(),
        table.occlusions.tolist(),
        table.boxes_ltwh.tolist(),
        right_bottom.tolist(),
        scores.tolist(),
        strict=True,
    ):
        who = f"{id_} {names[label]}" if flag else f"{NOT_STATED} {DONT_CARE}"
        box = f"{left!r} {top!r} {right!r} {bottom!r}"
        tail = f" {score!r}" if with_scores else ""
        lines.append(f"{frame - 1} {who} {truncation} {occlusion} -10 {box} {_UNKNOWN}{tail}\n")
    return "".join(lines)
