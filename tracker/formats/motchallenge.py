"""MOTChallenge text: detections, tracks, ground truth, sequence information and camera motion.

One row is ``frame,id,left,top,width,height,score[,...]``: frames count from 1, boxes are in pixels, blanks
around the commas and empty lines are ignored, and all rows of a file have the same number of columns. A row
that does not follow its format raises :class:`~tracker.errors.FormatError` with the line; none is dropped or
mended.

The eighth column of detections and truth is the class, as in MOT16 and later and in VisDrone, when it holds
whole numbers from 0. Files without classes are recognised by a column of -1, or, where ten columns leave room
for the world coordinates of MOT15, by fractions in it.
"""

from __future__ import annotations

import configparser
import reprlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tracker.errors import FormatError, OutputError, counted
from tracker.formats.table import (
    LARGEST_PX,
    NOT_STATED,
    TrackTable,
    by_frame,
    check_boxes_ltwh,
    demand,
    demand_near,
    demand_unique,
    demand_whole,
    naming_rows,
    text_of,
    unit_scores,
)
from tracker.formats.text import LARGEST_WHOLE, is_number, read_text, whole
from tracker.geometry import ltwh_to_xyxy, xyxy_to_ltwh
from tracker.structures import Detections, FloatArray, IntArray, Tracks

if TYPE_CHECKING:
    from tracker.config import ScoreScale

LEAST_SIZE_PX = 0.01
"""Sides of a box, which rows of two decimals can just hold."""
_TRUTH_COLUMNS = 9  # frame, id, box, flag, class, visible share
_WORLD_COLUMNS = 10  # frame, id, box, score, and x, y, z in the world


@dataclass(frozen=True, slots=True)
class SequenceInfo:
    """What a ``seqinfo.ini`` says of a sequence; None for what it leaves out."""

    frame_rate_hz: float | None = None
    frame_count: int | None = None
    width_px: int | None = None
    height_px: int | None = None
    name: str | None = None

    @property
    def size_px(self) -> tuple[int, int] | None:
        """Width and height of the pictures, where both are told."""
        return None if self.width_px is None or self.height_px is None else (self.width_px, self.height_px)


def read_detections(path: Path | str, score_scale: ScoreScale = "unit") -> dict[int, Detections]:
    """Read a detection file: the first of what :func:`read_classed_detections` returns."""
    return read_classed_detections(path, score_scale)[0]


def read_classed_detections(path: Path | str, score_scale: ScoreScale = "unit") -> tuple[dict[int, Detections], bool]:
    """Read a detection file, with scores as :func:`tracker.formats.table.unit_scores` takes them.

    Returns
    -------
    tuple
        Detections by ascending frame number, rows in the file's order, frames without rows left out; and whether the
        file states classes. Where it does not, they are 0.

    Raises
    ------
    FormatError
        For a file that cannot be read, a row that is not numbers, a frame that is not a whole number from 1 or lies
        absurdly far from the others, a box without area, a score that is not of the scale or a class that is not a
        whole number from 0.
    """
    table = _read_table(path, 7)
    frames = table.frames()
    boxes_xyxy = ltwh_to_xyxy(table.boxes_ltwh())
    with table.naming_lines():
        scores = unit_scores(table.values[:, 6], score_scale)
        demand_near(frames)
    classes = table.classes(otherwise=NOT_STATED)
    stated = bool(len(classes)) and classes[0] != NOT_STATED
    detections = Detections(boxes_xyxy, scores, classes if stated else None)
    return by_frame(frames, detections), stated


def read_tracks(path: Path | str) -> TrackTable:
    """Read a result file; scores may be any number.

    The eighth column is the class where it holds whole numbers from -1 alone, -1 for none; else it does not count,
    nor do those after it.

    Raises
    ------
    FormatError
        As :func:`read_detections` but for scores, classes and distances; also for a negative id and for an id that
        stands twice in a frame.
    """
    table = _read_table(path, 7)
    frames, boxes, ids = table.frames(), table.boxes_ltwh(), table.ids()
    table.demand(ids >= 0, lambda row: f"id is {ids[row]}; ids of tracks are whole numbers from 0")
    with table.naming_lines():
        return TrackTable(frames, ids, boxes, table.finite(6, "score"), table.result_classes())


def read_truth(path: Path | str) -> TrackTable:
    """Read ground truth, with or without classes.

    The seventh column is the flag: rows with 0 need not be found, and finding them is no fault. Their ids do
    not count; some files write -1 there. The ninth column, where it is the last, is the visible share, -1 for none.

    Raises
    ------
    FormatError
        As :func:`read_detections` but for scores and distances; among rows whose flag is not 0 also for a negative id
        and for an id that stands twice in a frame.
    """
    table = _read_table(path, 7)
    frames, boxes, ids = table.frames(), table.boxes_ltwh(), table.ids()
    flags = table.finite(6, "flag") != 0.0
    classes = table.classes(otherwise=NOT_STATED)
    with table.naming_lines():
        return TrackTable(frames, ids, boxes, classes=classes, flags=flags, visibility=table.visibility())


def unread(path: Path | str, truth: bool) -> list[str]:
    """Return what :func:`read_truth`, or else :func:`read_tracks`, passes over in a file, a phrase each.

    Raises
    ------
    FormatError
        As they do.
    """
    table = _read_table(path, 7)
    rest = table.values[:, 7:]
    classes = table.classes(otherwise=NOT_STATED) if truth else table.result_classes()
    if (classes != NOT_STATED).any():
        rest = rest[:, 1:]
    if truth and table.values.shape[1] == _TRUTH_COLUMNS:
        rest = rest[:, :-1]
    count = int((rest != -1.0).any(axis=1).sum())
    what = "world coordinates" if table.values.shape[1] == _WORLD_COLUMNS else "columns beyond the class"
    return [f"{what} ({counted(count, 'row')})"] if count else []


def format_tracks(table: TrackTable) -> str:
    """Return the rows ``frame,id,left,top,width,height,score,class,-1,-1``, to the last digit; -1 for none."""
    scores = np.where(np.isnan(table.scores), -1.0, table.scores)
    return "".join(
        f"{frame},{id_},{left!r},{top!r},{width!r},{height!r},{score!r},{label},-1,-1\n"
        for frame, id_, (left, top, width, height), score, label in zip(
            table.frames.tolist(),
            table.ids.tolist(),
            table.boxes_ltwh.tolist(),
            scores.tolist(),
            table.classes.tolist(),
            strict=True,
        )
    )


def format_truth(table: TrackTable) -> str:
    """Return the rows ``frame,id,left,top,width,height,flag,class,visibility``, to the last digit.

    Raises
    ------
    OutputError
        When some rows state a class and others none, for which the format has no way.
    """
    stated = table.classes != NOT_STATED
    if stated.any() and not stated.all():
        raise OutputError(
            f"MOTChallenge truth states a class in all rows or in none; id {table.ids[np.argmin(stated)]} in frame "
            f"{table.frames[np.argmin(stated)]} has none"
        )
    visibility = np.where(np.isnan(table.visibility), -1.0, table.visibility)
    return "".join(
        f"{frame},{id_},{left!r},{top!r},{width!r},{height!r},{flag:d},{label},{visible!r}\n"
        for frame, id_, (left, top, width, height), flag, label, visible in zip(
            table.frames.tolist(),
            table.ids.tolist(),
            table.boxes_ltwh.tolist(),
            table.flags.tolist(),
            table.classes.tolist(),
            visibility.tolist(),
            strict=True,
        )
    )


def format_rows(frame_index: int, tracks: Tracks, *, classes: bool = False) -> str:
    """Return a frame's rows ``frame,id,left,top,width,height,score,-1,-1,-1``, each with its line end.

    With ``classes``, the eighth column is the class, as in detections and truth. Boxes have two decimals,
    scores four; sizes are at least :data:`LEAST_SIZE_PX`, so that every row can be read again.
    """
    boxes = np.round(xyxy_to_ltwh(tracks.boxes_xyxy), 2) + 0.0  # adding zero turns -0.0 into 0.0
    boxes[:, 2:] = np.maximum(boxes[:, 2:], LEAST_SIZE_PX)
    labels = tracks.classes.tolist() if classes else [-1] * len(tracks)
    return "".join(
        f"{frame_index},{id_},{left:.2f},{top:.2f},{width:.2f},{height:.2f},{score:.4f},{label},-1,-1\n"
        for id_, (left, top, width, height), score, label in zip(
            tracks.ids.tolist(), boxes.tolist(), tracks.scores.tolist(), labels, strict=True
        )
    )


def read_camera_motion(path: Path | str) -> dict[int, FloatArray]:
    """Read camera motion: rows of ``frame a11 a12 tx a21 a22 ty``, separated by blanks or commas.

    Returns
    -------
    dict
        By frame number, the (2, 3) affine that maps (x, y, 1) of the previous frame onto this frame.

    Raises
    ------
    FormatError
        For a row that is not seven numbers, a frame that is not a whole number from 1 or stands twice, an
        entry that is not finite, or an affine that mirrors or flattens the image.
    """
    table = _read_table(path, 7, "frame and the six entries of a 2x3 affine", blanks=True, exactly=True)
    frames = table.frames()
    affines = table.values[:, 1:].reshape(-1, 2, 3)
    table.demand(
        np.all(np.abs(affines) <= LARGEST_PX, axis=(1, 2)),
        lambda row: (
            f"affine is {text_of(affines[row].ravel())}; its six entries must be finite, at most {LARGEST_PX:g}"
        ),
    )
    determinants = affines[:, 0, 0] * affines[:, 1, 1] - affines[:, 0, 1] * affines[:, 1, 0]
    table.demand(
        determinants > 0.0,
        lambda row: f"the affine's determinant is {determinants[row]:g}; a camera's motion has it above 0",
    )
    with table.naming_lines():
        demand_unique(frames, np.zeros_like(frames), np.ones(len(frames), np.bool_), "")
    return dict(zip(frames.tolist(), affines, strict=True))


def find_sequence_info(detections_path: Path | str) -> Path | None:
    """Return the ``seqinfo.ini`` beside a detection file, else the one a folder above, else None."""
    folder = Path(detections_path).absolute().parent
    candidates = (folder / "seqinfo.ini", folder.parent / "seqinfo.ini")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def sequence_info_near(path: Path | str) -> SequenceInfo:
    """Read the ``seqinfo.ini`` that :func:`find_sequence_info` finds; without one, nothing is told.

    Raises
    ------
    FormatError
        See :func:`read_sequence_info`.
    """
    found = find_sequence_info(path)
    return SequenceInfo() if found is None else read_sequence_info(found)


def read_sequence_info(path: Path | str) -> SequenceInfo:
    """Read the section ``[Sequence]`` of a ``seqinfo.ini``; every key may be left out.

    Raises
    ------
    FormatError
        For a file that is not of this kind, or a rate, count or size that is not a positive number.
    """
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(read_text(path))
    except configparser.Error as error:
        line = getattr(error, "lineno", None) or (getattr(error, "errors", None) or [(None,)])[0][0]
        raise FormatError(path, line, "not the form of an ini file: [Sequence], then key=value") from None
    if "Sequence" not in parser:
        raise FormatError(path, None, "has no section [Sequence]")
    section = parser["Sequence"]

    def positive(key: str, kind: Callable[[str], Any]) -> Any:
        if key not in section:
            return None
        try:
            value = kind(section[key])
        except ValueError:
            value = 0
        if not 0 < value < LARGEST_WHOLE:
            raise FormatError(path, None, f"{key} is {section[key]!r}; it must be a positive {kind.__name__}")
        return value

    return SequenceInfo(
        frame_rate_hz=positive("frameRate", float),
        frame_count=positive("seqLength", int),
        width_px=positive("imWidth", int),
        height_px=positive("imHeight", int),
        name=section.get("name"),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """The numbers of a file, row by row, and where each row stands in it."""

    path: Path
    lines: list[int]
    values: FloatArray

    def naming_lines(self) -> AbstractContextManager[None]:
        """Let an error of a row name its line."""
        return naming_rows(self.path, self.lines.__getitem__)

    def demand(self, good: NDArray[np.bool_], problem: Callable[[int], str]) -> None:
        """Raise an error that names the first row that is not good."""
        with self.naming_lines():
            demand(good, problem)

    def frames(self) -> IntArray:
        frames = self.values[:, 0]
        self.demand(
            (frames >= 1.0) & whole(frames),
            lambda row: f"frame is {frames[row]:g}; frames are whole numbers from 1",
        )
        return frames.astype(np.int64)

    def ids(self) -> IntArray:
        ids = self.values[:, 1]
        with self.naming_lines():
            demand_whole(ids, "id")
        return ids.astype(np.int64)

    def boxes_ltwh(self) -> FloatArray:
        boxes = np.ascontiguousarray(self.values[:, 2:6])
        with self.naming_lines():
            check_boxes_ltwh(boxes)
        return boxes

    def finite(self, column: int, noun: str) -> FloatArray:
        values = np.ascontiguousarray(self.values[:, column])
        self.demand(np.isfinite(values), lambda row: f"{noun} is {values[row]:g}; it must be finite")
        return values

    def classes(self, otherwise: int) -> IntArray:
        """Return the eighth column if it holds classes (see the top of this file), else ``otherwise``."""
        rows, columns = self.values.shape
        column = self.values[:, 7] if columns > 7 else np.full(rows, -1.0)
        is_whole = whole(column)
        if (column == -1.0).all() or (columns >= _WORLD_COLUMNS and not is_whole.all()):
            return np.full(rows, otherwise, np.int64)
        self.demand(
            is_whole & (column >= 0.0),
            lambda row: f"class is {column[row]:g}; classes are whole numbers from 0, or -1 in all rows",
        )
        return column.astype(np.int64)

    def result_classes(self) -> IntArray:
        """Return the eighth column of a result file if it holds classes, else not stated for all."""
        rows, columns = self.values.shape
        column = self.values[:, 7] if columns > 7 else np.full(rows, -1.0)
        good = whole(column) & (column >= NOT_STATED)
        return column.astype(np.int64) if good.all() else np.full(rows, NOT_STATED)

    def visibility(self) -> FloatArray:
        """Return the ninth column where it is the last, NaN for -1; else NaN for all."""
        rows, columns = self.values.shape
        if columns != _TRUTH_COLUMNS:
            return np.full(rows, np.nan)
        column = self.values[:, _TRUTH_COLUMNS - 1]
        self.demand(
            (column == -1.0) | ((column >= 0.0) & (column <= 1.0)),
            lambda row: f"visibility is {column[row]:g}; it is in [0, 1], or -1 for none",
        )
        return np.where(column < 0.0, np.nan, column)


def _read_table(
    path: Path | str,
    columns: int,
    meaning: str = "frame,id,left,top,width,height,score",
    *,
    blanks: bool = False,
    exactly: bool = False,
) -> _Table:
    """Read a rectangle of at least (or exactly) so many columns of numbers."""
    text = read_text(path)
    rows = (text.replace(",", " ") if blanks else text).split("\n")
    delimiter = None if blanks else ","
    lines = [number for number, row in enumerate(rows, 1) if row and not row.isspace()]
    if len(lines) < len(rows):
        rows = [rows[number - 1] for number in lines]
    if not rows:
        return _Table(Path(path), lines, np.empty((0, columns)))
    try:
        values = np.loadtxt(rows, delimiter=delimiter, comments=None, ndmin=2)
    except ValueError as error:
        raise _fault(path, lines, rows, delimiter) or FormatError(path, None, str(error)) from None
    found = values.shape[1]
    if found < columns or (exactly and found > columns):
        wanted = f"{columns}" if exactly else f"at least {columns}"
        raise FormatError(path, lines[0], f"has {found} columns; it must have {wanted}: {meaning}")
    return _Table(Path(path), lines, values)


def _fault(path: Path | str, lines: list[int], rows: list[str], delimiter: str | None) -> FormatError | None:
    """Find the first row that does not fit into a rectangle of numbers."""
    width = len(rows[0].split(delimiter))
    for line, row in zip(lines, rows, strict=True):
        fields = row.split(delimiter)
        for column, field in enumerate(fields, 1):
            if not is_number(field):
                return FormatError(path, line, f"column {column} is {reprlib.repr(field.strip())}; it must be a number")
        if len(fields) != width:
            return FormatError(path, line, f"has {len(fields)} columns; line {lines[0]} has {width}")
    return None
