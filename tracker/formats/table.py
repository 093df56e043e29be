"""The one type that all formats of tracks and truth are read into and written from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.errors import FormatError
from tracker.formats.text import whole
from tracker.geometry import xyxy_to_ltwh
from tracker.structures import Detections, FloatArray, IntArray, Tracks

if TYPE_CHECKING:
    from tracker.config import ScoreScale

LARGEST_PX = 1e9
"""Bound of all coordinates: areas and their ratios stay far from overflow."""

LONGEST_GAP_FRAMES = 1_000_000
"""Nine hours at 30 frames/s in which nothing is seen; a frame that is farther from all others has a wrong number."""

NOT_STATED = -1
"""Class, occlusion or truncation of a row for which the file tells none."""


_MOST_DIGITS = 9


class RowError(ValueError):
    """A row that no table of tracks can hold.

    Parameters
    ----------
    row
        The row, counted from 0.
    problem
        What is wrong and what would be right.
    first
        An earlier row that contradicts this one, if that is the matter.
    """

    def __init__(self, row: int, problem: str, first: int | None = None) -> None:
        super().__init__(f"row {row}: {problem}" + ("" if first is None else f", first in row {first}"))
        self.row = row
        self.problem = problem
        self.first = first


@dataclass(frozen=True, slots=True, eq=False)
class TrackTable:
    """Tracks or truth of a whole sequence, a row for each box, in any order.

    Columns that are left out are not stated; a single value stands for all rows.

    Parameters
    ----------
    frames
        (N,) frame numbers from 1.
    ids
        (N,) identities; where the flag is set, from 0 and unique in each frame.
    boxes_ltwh
        (N, 4) left, top, width, height in pixels.
    scores
        (N,) any finite number, for trackers scale them as they like; NaN where not stated.
    classes
        (N,) class labels from 0; -1 where not stated.
    flags
        (N,) bool; False for rows of the truth that are there to be ignored.
    imputed
        (N,) bool; True where the box was filled in between observations. Others call a row that was not
        filled in a key frame.
    visibility
        (N,) visible share in [0, 1]; NaN where not stated.
    occlusions
        (N,) 0 visible, 1 partly and 2 largely occluded, 3 unknown; -1 where not stated.
    truncations
        (N,) 0 inside the image, 1 partly and 2 largely outside; -1 where not stated.
    class_names
        Name by class label, for the whole table; classes without a name are left out.

    Raises
    ------
    RowError
        A ``ValueError`` that names the first row that breaks one of these rules.
    ValueError
        For arrays of the wrong shape or kind.
    """

    frames: IntArray
    ids: IntArray
    boxes_ltwh: FloatArray
    scores: FloatArray
    classes: IntArray
    flags: NDArray[np.bool_]
    imputed: NDArray[np.bool_]
    visibility: FloatArray
    occlusions: IntArray
    truncations: IntArray
    class_names: Mapping[int, str]

    def __init__(
        self,
        frames: ArrayLike,
        ids: ArrayLike,
        boxes_ltwh: ArrayLike,
        scores: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        *,
        flags: ArrayLike | None = None,
        imputed: ArrayLike | None = None,
        visibility: ArrayLike | None = None,
        occlusions: ArrayLike | None = None,
        truncations: ArrayLike | None = None,
        class_names: Mapping[int, str] | None = None,
    ) -> None:
        columns: dict[str, tuple[ArrayLike, type]] = {
            "frames": (frames, np.int64),
            "ids": (ids, np.int64),
            "boxes_ltwh": (boxes_ltwh, np.float64),
            "scores": (np.nan if scores is None else scores, np.float64),
            "classes": (NOT_STATED if classes is None else classes, np.int64),
            "flags": (True if flags is None else flags, np.bool_),
            "imputed": (False if imputed is None else imputed, np.bool_),
            "visibility": (np.nan if visibility is None else visibility, np.float64),
            "occlusions": (NOT_STATED if occlusions is None else occlusions, np.int64),
            "truncations": (NOT_STATED if truncations is None else truncations, np.int64),
        }
        n = np.size(frames)
        for name, (values, dtype) in columns.items():
            shape = (n, 4) if name == "boxes_ltwh" else (n,)
            object.__setattr__(self, name, _column(values, dtype, shape, name))
        object.__setattr__(self, "class_names", dict(class_names or {}))
        self._check()

    def _check(self) -> None:
        demand(self.frames >= 1, lambda row: f"frame is {self.frames[row]}; frames are whole numbers from 1")
        demand(
            (self.ids >= 0) | ~self.flags,
            lambda row: f"id is {self.ids[row]}; it is negative only where the flag is 0",
        )
        check_boxes_ltwh(self.boxes_ltwh)
        demand(~np.isinf(self.scores), lambda row: f"score is {self.scores[row]:g}; it must be finite")
        demand(
            self.classes >= NOT_STATED,
            lambda row: f"class is {self.classes[row]}; classes are whole numbers from 0, or -1 where not stated",
        )
        demand(
            np.isnan(self.visibility) | ((self.visibility >= 0.0) & (self.visibility <= 1.0)),
            lambda row: f"visibility is {self.visibility[row]:g}; it is in [0, 1]",
        )
        _demand_level(self.occlusions, 3, "occlusion")
        _demand_level(self.truncations, 2, "truncation")
        demand_unique(self.frames, self.ids, self.flags)

    @classmethod
    def of_frames(cls, reports: Mapping[int, Tracks], class_names: Mapping[int, str] | None = None) -> TrackTable:
        """Return the tracks of single frames, given by frame number, as one table in the order of the mapping."""
        tracks = list(reports.values()) or [Tracks.empty()]
        return cls(
            np.repeat(np.array(list(reports), np.int64), [len(report) for report in reports.values()]),
            np.concatenate([report.ids for report in tracks]),
            xyxy_to_ltwh(np.concatenate([report.boxes_xyxy for report in tracks])),
            np.concatenate([report.scores for report in tracks]),
            np.concatenate([report.classes for report in tracks]),
            class_names=class_names,
        )

    def __len__(self) -> int:
        return len(self.frames)

    def select(self, rows: ArrayLike | slice) -> TrackTable:
        """Return a new table with the chosen rows (indices, mask or slice) of every field."""
        index = rows if isinstance(rows, slice) else np.asarray(rows)
        if not isinstance(index, slice) and index.size == 0 and index.dtype != np.bool_:
            index = index.astype(np.intp)
        chosen = {f.name: getattr(self, f.name)[index] for f in fields(self) if f.name != "class_names"}
        return TrackTable(**chosen, class_names=self.class_names)

    def sorted(self) -> TrackTable:
        """Return the rows ordered by frame and, within it, by id."""
        return self.select(np.lexsort((self.ids, self.frames)))

    def class_text(self, label: int) -> str:
        """Return the name of a class; ``class_7`` for a label without a name, ``object`` for none at all."""
        return self.class_names.get(label, UNNAMED if label == NOT_STATED else f"class_{label}")

    def stated_classes(self) -> list[str]:
        """Return the classes that rows state, by name or else number."""
        labels = [label for label in np.unique(self.classes).tolist() if label != NOT_STATED]
        return [self.class_names.get(label, str(label)) for label in labels]

    def without_class(self, wanted: Iterable[str]) -> list[str]:
        """Return those of some classes, by name (whatever its case) or label, that no row is of."""
        labels = {int(label) for label in np.unique(self.classes)} - {NOT_STATED}
        there = {text for label in labels for text in (str(label), self.class_text(label).casefold())}
        return [name for name in wanted if name.casefold() not in there]

    def renamed(self, names: Mapping[str, str]) -> TrackTable:
        """Return the table with classes renamed, and merged where they are then called the same.

        Parameters
        ----------
        names
            New by old class, each a name (whatever its case) or a label. A class that is given a name which
            another class bears becomes that class.
        """
        wanted = {old.casefold(): new for old, new in names.items()}
        labels = sorted({*map(int, np.unique(self.classes)), *self.class_names} - {NOT_STATED})
        targets = {label: wanted.get(self.class_text(label).casefold(), wanted.get(str(label))) for label in labels}
        class_names = {label: name for label, name in self.class_names.items() if targets[label] is None}
        label_of = {name.casefold(): label for label, name in class_names.items()}
        classes = self.classes.copy()
        for old, target in targets.items():
            if target is None:
                continue
            if target.isascii() and target.isdecimal():
                new = int(target)
            else:
                new = label_of.setdefault(target.casefold(), old)
                class_names.setdefault(new, target)
            classes[self.classes == old] = new
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        return TrackTable(**{**columns, "classes": classes, "class_names": class_names})


UNNAMED = "object"
"""What a class that is not stated is called where a format wants a name."""


def class_labels(texts: list[str], known: Mapping[str, int]) -> tuple[IntArray, dict[int, str]]:
    """Assign labels to the classes of rows that are told by name: the inverse of :meth:`TrackTable.class_text`.

    Parameters
    ----------
    texts
        (N,) class of each row.
    known
        Labels that are settled by the format; others count up from above the largest of all that are, in the
        order of the rows.

    Returns
    -------
    tuple
        (N,) labels, and their names.
    """
    distinct = list(dict.fromkeys(texts))
    label_of = {text: known[text] for text in distinct if text in known}
    names = {label: text for text, label in label_of.items()}
    label_of[UNNAMED] = NOT_STATED
    for text in distinct:
        head, _, number = text.rpartition("_")
        if (
            head == "class"
            and number.isascii()
            and number.isdecimal()
            and len(number) < 16
            and int(number) not in names
        ):
            label_of[text] = int(number)
    fresh = max(0, *known.values(), *label_of.values()) + 1
    for text in distinct:
        if text not in label_of:
            label_of[text] = fresh
            names[fresh] = text
            fresh += 1
    return np.array([label_of[text] for text in texts], np.int64), names


def demand(good: NDArray[np.bool_], problem: Callable[[int], str]) -> None:
    """Raise an error that names the first row that is not good."""
    if not good.all():
        row = int(np.argmin(good))
        raise RowError(row, problem(row))


def demand_whole(values: FloatArray, noun: str) -> None:
    """Raise an error that names the first row whose value is not a whole number."""
    demand(whole(values), lambda row: f"{noun} is {values[row]:g}; it must be a whole number")


def demand_near(frames: IntArray) -> None:
    """Raise an error that names the first row whose frame lies far beyond all before it: a mistyped number."""
    order = np.argsort(frames, kind="stable")
    gaps = np.diff(frames[order], prepend=0)
    if len(gaps) and gaps.max() > LONGEST_GAP_FRAMES:
        place = int(np.argmax(gaps > LONGEST_GAP_FRAMES))
        row = int(order[place])
        before = f"frame {frames[order[place - 1]]}, the last one before it" if place else "frame 1"
        raise RowError(
            row, f"frame {frames[row]} lies far beyond {before}; at most {LONGEST_GAP_FRAMES} frames may be empty"
        )


def unit_scores(scores: FloatArray, scale: ScoreScale) -> FloatArray:
    """Return the scores of a file of detections as shares of 1.

    Parameters
    ----------
    scores
        As they stand in the file.
    scale
        What they are: ``unit``, 0 to 1; ``percent``, 0 to 100; ``logit``, log odds or a raw margin, of which the
        logistic function is taken.

    Raises
    ------
    RowError
        For the first row whose score is not one of that scale, with the key that states another.
    """
    demand(np.isfinite(scores), lambda row: f"score is {scores[row]:g}; it must be finite")
    if scale == "logit":
        return np.asarray(0.5 + 0.5 * np.tanh(0.5 * scores))  # the logistic function, which cannot overflow so
    highest = 1.0 if scale == "unit" else 100.0
    demand((scores >= 0.0) & (scores <= highest), lambda row: _out_of_scale(scores[row], scale, highest))
    if scale == "percent" and len(scores):
        demand(
            np.full(len(scores), scores.max() > 1.0),
            lambda row: (
                f"score is {scores[row]:g}, and none exceeds 1: these are not percent; "
                "detection.recorded.score_scale=unit reads them"
            ),
        )
    return scores / highest


def _out_of_scale(score: float, scale: ScoreScale, highest: float) -> str:
    kind = "a score" if scale == "unit" else "a score in percent"
    others = "percent or logit" if highest < score <= 100.0 else "logit"
    return f"score is {score:g}; {kind} is in [0, {highest:g}]; detection.recorded.score_scale={others} reads others"


def demand_unique(frames: IntArray, ids: IntArray, which: NDArray[np.bool_], noun: str = "id") -> None:
    """Raise an error when a pair of frame and id stands twice among the chosen rows."""
    rows = np.flatnonzero(which)
    rows = rows[np.lexsort((ids[rows], frames[rows]))]
    again = (np.diff(frames[rows]) == 0) & (np.diff(ids[rows]) == 0)
    if again.any():
        place = np.flatnonzero(again)[np.argmin(rows[1:][again])]
        first, second = int(rows[place]), int(rows[place + 1])
        what = f"{noun} {ids[second]} in frame {frames[second]}" if noun else f"frame {frames[second]}"
        raise RowError(second, f"{what} stands twice", first)


def by_frame(frames: IntArray, detections: Detections) -> dict[int, Detections]:
    """Return detections by ascending frame number, those of a frame in the given order."""
    order = np.argsort(frames, kind="stable")
    numbers, starts = np.unique(frames[order], return_index=True)
    parts = np.split(order, starts[1:])
    return {number: detections.select(rows) for number, rows in zip(numbers.tolist(), parts, strict=False)}


def find_rows(frames: IntArray, ids: IntArray, among_frames: IntArray, among_ids: IntArray) -> IntArray:
    """Return (N,) the row among others that has the same frame and identity as each; -1 for none, the last of several.

    Parameters
    ----------
    frames, ids
        (N,) what to find.
    among_frames, among_ids
        (M,) where.
    """
    row_of = {key: row for row, key in enumerate(zip(among_frames.tolist(), among_ids.tolist(), strict=True))}
    return np.array([row_of.get(key, -1) for key in zip(frames.tolist(), ids.tolist(), strict=True)], np.int64)


def _demand_level(levels: IntArray, top: int, noun: str) -> None:
    demand(
        (levels >= NOT_STATED) & (levels <= top),
        lambda row: f"{noun} is {levels[row]}; it is a whole number from 0 to {top}, or -1 where not stated",
    )


def check_boxes_ltwh(boxes_ltwh: FloatArray) -> None:
    """Raise an error for the first of the (N, 4) boxes that is not finite or has no area."""
    demand(
        np.all(np.abs(boxes_ltwh) <= LARGEST_PX, axis=1),  # False for NaN
        lambda row: (
            f"box is {text_of(boxes_ltwh[row])}; left, top, width and height must be finite, at most {LARGEST_PX:g} px"
        ),
    )
    # Stricter than a positive size: the far edge must differ from the near one after rounding, too.
    demand(
        np.all(boxes_ltwh[:, :2] + boxes_ltwh[:, 2:] > boxes_ltwh[:, :2], axis=1),
        lambda row: f"box is {text_of(boxes_ltwh[row])}; width and height must be positive",
    )


def extents(low: FloatArray, high: FloatArray) -> FloatArray:
    """Return sizes from near edges to far edges, with no more digits than they need.

    A difference of two short numbers is a long one: 44.41999999999996 for 44.42.
    """
    sizes = high - low
    slack = np.spacing(np.maximum(np.abs(low), np.abs(high)))
    for digits in range(_MOST_DIGITS, -1, -1):
        short = np.round(sizes, digits)
        sizes = np.where(np.abs(low + short - high) <= slack, short, sizes)
    return sizes


@contextmanager
def naming_rows(path: Path | str, place: Callable[[int], int | str]) -> Iterator[None]:
    """Let an error of a row name the file and where the row stands in it: a line, or an element in words."""
    try:
        yield
    except RowError as error:
        where, problem = place(error.row), error.problem
        if error.first is not None:
            first = place(error.first)
            problem += f", first in line {first}" if isinstance(first, int) else f", first in {first}"
        if isinstance(where, int):
            raise FormatError(path, where, problem) from None
        raise FormatError(path, None, f"{where}: {problem}") from None


def text_of(values: FloatArray) -> str:
    """Return numbers as people write them."""
    return ", ".join(f"{value:g}" for value in values)


def _column(values: object, dtype: type, shape: tuple[int, ...], name: str) -> NDArray[np.generic]:
    """Return a read-only copy of a column; a single value stands for all rows."""
    array = np.asarray(values)
    if dtype is np.int64 and array.size and array.dtype.kind not in "iub":
        raise ValueError(f"{name} are {array.dtype}; they must be integers")
    if array.ndim == 0:
        array = np.broadcast_to(array, shape)
    elif array.size == 0 and shape[0] == 0:
        array = array.reshape(shape)
    array = np.array(array, dtype=dtype, order="C")
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; it must be {shape}")
    array.flags.writeable = False
    return array
