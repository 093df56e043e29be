"""KITTI tracking labels: truth, results, and detections, which are results whose ids do not count.

One row is ``frame id type truncated occluded alpha left top right bottom h w l x y z ry [score]``, separated by
blanks; frames count from 0. The fields of three dimensions are read as numbers and written as unknown. Rows of
type ``DontCare``, or with a negative id, are there to be ignored.

References
----------
- Geiger, Lenz and Urtasun, Are we ready for Autonomous Driving? The KITTI Vision Benchmark Suite, CVPR 2012.
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracker.errors import FormatError, OutputError, counted
from tracker.formats.table import (
    NOT_STATED,
    TrackTable,
    by_frame,
    check_boxes_ltwh,
    class_labels,
    demand,
    demand_near,
    demand_whole,
    extents,
    naming_rows,
    unit_scores,
)
from tracker.formats.text import is_number, read_lines, whole
from tracker.geometry import ltwh_to_xyxy
from tracker.structures import Detections, FloatArray, IntArray

if TYPE_CHECKING:
    from tracker.config import ScoreScale

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
"""Labels of the types; pedestrian and car are numbered as in MOTChallenge."""

DONT_CARE = "DontCare"

_MEANING = "frame id type truncated occluded alpha left top right bottom h w l x y z ry [score]"
_TRUTH_COLUMNS, _RESULT_COLUMNS = 17, 18
_TYPE = 2
_UNKNOWN_ANGLE = "-10"  # from the camera
_UNKNOWN = "-1 -1 -1 -1000 -1000 -1000 -10"  # height, width, length, x, y, z, ry


def read_kitti(path: Path | str) -> TrackTable:
    """Read a label file; a person sitting is ``Person`` whether or not the file says so of it.

    Raises
    ------
    FormatError
        For a file that cannot be read, a row that is not of 17 or 18 columns or not numbers where they belong,
        and for whatever :class:`~tracker.formats.table.TrackTable` refuses.
    """
    file = _read_rows(path)
    truncations, occlusions = file.values[:, [3, 4]].T
    classes, names = class_labels(file.types, CLASSES)
    with naming_rows(path, file.lines.__getitem__):
        demand_whole(truncations, "truncated")
        demand_whole(occlusions, "occluded")
        return TrackTable(
            file.frames(),
            file.ids(),
            file.boxes_ltwh(),
            file.scores(),
            classes,
            flags=(file.ids() >= 0) & file.counts(),
            occlusions=occlusions.astype(np.int64),
            truncations=truncations.astype(np.int64),
            class_names=names,
        )


def unread(path: Path | str) -> list[str]:
    """Return what :func:`read_kitti` passes over in a file, a phrase each.

    Raises
    ------
    FormatError
        As :func:`read_kitti`.
    """
    file = _read_rows(path)
    solid = file.values[file.counts()][:, [5, *range(10, _TRUTH_COLUMNS)]]
    count = int((solid != np.array(f"{_UNKNOWN_ANGLE} {_UNKNOWN}".split(), np.float64)).any(axis=1).sum())
    return [f"sizes, places and angles in three dimensions ({counted(count, 'row')})"] if count else []


def read_kitti_detections(
    path: Path | str, score_scale: ScoreScale = "unit"
) -> tuple[dict[int, Detections], dict[int, str]]:
    """Read a label file as detections: rows of ``DontCare`` are left out, ids do not count.

    Scores are as :func:`tracker.formats.table.unit_scores` takes them.

    Returns
    -------
    tuple
        Detections by ascending frame number, the first frame being 1, and names of classes by label: those of KITTI,
        and any other of the file. Without a column of scores all are 1.

    Raises
    ------
    FormatError
        As :func:`read_kitti`, and for a score that is not of the scale or a frame that lies absurdly far from the
        others.
    """
    file = _read_rows(path)
    classes, names = class_labels(file.types, CLASSES)
    stated = file.scores()
    with naming_rows(path, file.lines.__getitem__):
        frames, boxes_ltwh = file.frames(), file.boxes_ltwh()
        check_boxes_ltwh(boxes_ltwh)
        scores = np.ones(len(classes)) if stated is None else unit_scores(stated, score_scale)
        demand_near(frames)
    rows = np.flatnonzero(file.counts())
    found = Detections(ltwh_to_xyxy(boxes_ltwh[rows]), scores[rows], classes[rows])
    names |= {label: text for text, label in CLASSES.items()}
    return by_frame(frames[rows], found), {label: names[label] for label in sorted(names) if names[label] != DONT_CARE}


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """The rows of a file: where each stands in it, its type, and all columns as numbers, 0 for the type."""

    lines: list[int]
    types: list[str]
    values: FloatArray

    def frames(self) -> IntArray:
        frames = self.values[:, 0]
        demand(whole(frames) & (frames >= 0), lambda row: f"frame is {frames[row]:g}; frames are whole numbers from 0")
        return frames.astype(np.int64) + 1

    def ids(self) -> IntArray:
        demand_whole(self.values[:, 1], "id")
        return self.values[:, 1].astype(np.int64)

    def boxes_ltwh(self) -> FloatArray:
        near, far = self.values[:, 6:8], self.values[:, 8:10]
        return np.column_stack([near, extents(near, far)])

    def scores(self) -> FloatArray | None:
        return self.values[:, 17] if self.values.shape[1] == _RESULT_COLUMNS else None

    def counts(self) -> NDArray[np.bool_]:
        return np.array([text != DONT_CARE for text in self.types], np.bool_)


def _read_rows(path: Path | str) -> _Rows:
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
    return _Rows([line for line, _ in rows], types, np.array([row for _, row in rows], np.float64).reshape(-1, width))


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
        lines.append(f"{frame - 1} {who} {truncation} {occlusion} {_UNKNOWN_ANGLE} {box} {_UNKNOWN}{tail}\n")
    return "".join(lines)
