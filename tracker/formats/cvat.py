"""CVAT for video 1.1: XML with a ``track`` for each identity and a ``box`` for each frame of it.

Frames count from 0. A box with ``outside="1"`` says that the object is gone, and is no row; one is written where
a track pauses, since CVAT fills in the frames between key frames. Boxes that CVAT filled in itself have
``keyframe="0"``: they are imputed.
"""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

import numpy as np

from tracker.errors import FormatError, reason_of
from tracker.formats.table import TrackTable, class_labels, extents, naming_rows
from tracker.formats.text import LARGEST_WHOLE, is_number

_OCCLUDED, _VISIBLE = 1, 0
_SHAPES = {"polygon", "polyline", "points", "ellipse", "cuboid", "skeleton", "mask"}


def read_cvat(path: Path | str) -> TrackTable:
    """Read the boxes of a file.

    Raises
    ------
    FormatError
        For a file that cannot be read or is not XML of this kind, an attribute that is missing or no number,
        tracks with other shapes than boxes, and for whatever :class:`~tracker.formats.table.TrackTable`
        refuses; the message names the line.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FormatError(path, None, f"cannot be read: {reason_of(error)}") from None
    boxes = _Boxes(path)
    try:
        boxes.parser.Parse(content, True)
    except expat.ExpatError as error:
        raise FormatError(path, error.lineno, f"is not XML: {expat.errors.messages[error.code]}") from None
    except (ValueError, LookupError) as error:  # an encoding that Python does not know
        raise FormatError(path, None, f"is not XML that can be read: {error}") from None
    classes, names = class_labels(boxes.labels, {})
    columns = np.array(boxes.rows, np.float64).reshape(-1, 8)
    near, far, (occluded, keyframe) = columns[:, 2:4], columns[:, 4:6], columns[:, 6:].T
    frames, ids = columns[:, :2].astype(np.int64).T
    with naming_rows(path, boxes.lines.__getitem__):
        return TrackTable(
            frames + 1,
            ids,
            np.column_stack([near, extents(near, far)]),
            classes=classes,
            imputed=keyframe == 0,
            occlusions=np.where(occluded == 1, _OCCLUDED, _VISIBLE),
            class_names=names,
        )


def format_cvat(table: TrackTable, name: str) -> str:
    """Return the table as a task of that name; a track has the class of its first row."""
    table = table.sorted()
    labels = sorted({table.class_text(label) for label in np.unique(table.classes).tolist()})
    size = int(table.frames.max()) if len(table) else 0
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        "<annotations>",
        "  <version>1.1</version>",
        "  <meta>",
        "    <task>",
        f"      <name>{_escaped(name)}</name>",
        f"      <size>{size}</size>",
        "      <mode>interpolation</mode>",
        "      <labels>",
        *(f"        <label><name>{_escaped(label)}</name><attributes></attributes></label>" for label in labels),
        "      </labels>",
        "    </task>",
        "  </meta>",
    ]
    for id_ in np.unique(table.ids).tolist():
        track = table.select(table.ids == id_)
        label = quoteattr(_legal(table.class_text(int(track.classes[0]))))
        lines.append(f'  <track id="{id_}" label={label} source="auto">')
        gone = {*(track.frames + 1).tolist()} - {*track.frames.tolist()}
        for frame, (x, y, width, height), imputed, occlusion in zip(
            track.frames.tolist(),
            track.boxes_ltwh.tolist(),
            track.imputed.tolist(),
            track.occlusions.tolist(),
            strict=True,
        ):
            box = (
                f'occluded="{occlusion > 0:d}" xtl="{x!r}" ytl="{y!r}" xbr="{x + width!r}" ybr="{y + height!r}" '
                'z_order="0"></box>'
            )
            lines.append(f'    <box frame="{frame - 1}" keyframe="{not imputed:d}" outside="0" {box}')
            if frame + 1 in gone:
                lines.append(f'    <box frame="{frame}" keyframe="1" outside="1" {box}')
        lines.append("  </track>")
    return "\n".join([*lines, "</annotations>", ""])


class _Boxes:
    """Collects the rows of a document as its elements pass by."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[tuple[float, ...]] = []
        self.labels: list[str] = []
        self.lines: list[int] = []
        self.parser: Any = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.EntityDeclHandler = self._entity
        self._open: list[str] = []
        self._track: tuple[int, str] | None = None
        self._tracks: dict[int, int] = {}

    def _start(self, element: str, attributes: dict[str, str]) -> None:
        if not self._open and element != "annotations":
            raise self._error(f"the top element is {element!r}; CVAT for video begins with annotations")
        self._open.append(element)
        if element == "image":
            raise self._error("element image belongs to CVAT for images; export the task as CVAT for video 1.1")
        if element == "track":
            id_ = self._whole(element, attributes, "id")
            if id_ in self._tracks:
                raise self._error(f"track {id_} stands twice, first in line {self._tracks[id_]}")
            self._tracks[id_] = self.parser.CurrentLineNumber
            self._track = id_, self._text(element, attributes, "label")
        elif self._track is not None and element in _SHAPES:
            raise self._error(f"track {self._track[0]} has a {element}; only boxes can be read")
        elif self._track is not None and element == "box":
            self._box(self._track, attributes)

    def _box(self, track: tuple[int, str], attributes: dict[str, str]) -> None:
        frame = self._whole("box", attributes, "frame")
        corners = [self._number("box", attributes, key) for key in ("xtl", "ytl", "xbr", "ybr")]
        outside, occluded, keyframe = (
            self._flag(attributes, key, otherwise)
            for key, otherwise in (("outside", "0"), ("occluded", "0"), ("keyframe", "1"))
        )
        if not outside:
            self.rows.append((frame, track[0], *corners, occluded, keyframe))
            self.labels.append(track[1])
            self.lines.append(self.parser.CurrentLineNumber)

    def _end(self, element: str) -> None:
        self._open.pop()
        if element == "track":
            self._track = None

    def _entity(self, *_: object) -> None:
        raise self._error("declares an entity; CVAT writes none")

    def _text(self, element: str, attributes: dict[str, str], key: str) -> str:
        if key not in attributes:
            raise self._error(f"{element} has no attribute {key}")
        return attributes[key]

    def _number(self, element: str, attributes: dict[str, str], key: str) -> float:
        text = self._text(element, attributes, key)
        if not is_number(text):
            raise self._error(f"{key} is {reprlib.repr(text)}; it must be a number")
        return float(text)

    def _whole(self, element: str, attributes: dict[str, str], key: str) -> int:
        value = self._number(element, attributes, key)
        if not (0 <= value < LARGEST_WHOLE and value == int(value)):
            raise self._error(f"{key} is {value:g}; it must be a whole number from 0")
        return int(value)

    def _flag(self, attributes: dict[str, str], key: str, otherwise: str) -> int:
        text = attributes.get(key, otherwise)
        if text not in ("0", "1"):
            raise self._error(f"{key} is {reprlib.repr(text)}; it must be 0 or 1")
        return int(text)

    def _error(self, problem: str) -> FormatError:
        return FormatError(self.path, self.parser.CurrentLineNumber, problem)


def _legal(text: str) -> str:
    """Return text without the characters that no XML can hold."""
    return "".join(character if character.isprintable() else " " for character in text)


def _escaped(text: str) -> str:
    return _legal(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
