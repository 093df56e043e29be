"""COCO JSON for video: ``videos``, ``images`` with a ``frame_id`` from 0, and ``annotations`` with a track.

The track of an annotation is its ``track_id`` (as in TAO) or ``instance_id`` (as in CocoVID); both are written.
A file without ``videos`` is a single one. What COCO has no key for is kept under keys of our own, which other
readers pass over: ``score`` (as in COCO results), ``visibility``, ``occlusion``, ``truncation``, ``imputed``.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tracker.errors import FormatError
from tracker.formats.table import NOT_STATED, TrackTable, naming_rows
from tracker.formats.text import LARGEST_WHOLE, read_text

_TRACK_KEYS = ("track_id", "instance_id")
_FRAME_KEYS = ("frame_id", "frame_index")


def read_coco(path: Path | str) -> dict[str, TrackTable]:
    """Read all videos of a file, by name; a file without ``videos`` is one, named like the file.

    Raises
    ------
    FormatError
        For a file that cannot be read or is not JSON, an element without a key that it needs, a value of the
        wrong kind, an id that refers to nothing, and for whatever
        :class:`~tracker.formats.table.TrackTable` refuses; the message names the element.
    """
    path = Path(path)
    try:
        root = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise FormatError(path, error.lineno, f"is not JSON: {error.msg} in column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise FormatError(path, None, f"is not JSON that can be read: {error}") from None
    if not isinstance(root, dict) or not {"images", "annotations"} <= root.keys():
        raise FormatError(path, None, "is not COCO for video; the top is an object with images and annotations")

    categories = _Elements(path, root, "categories")
    names = {category.whole("id"): category.text("name") for category in categories}
    videos = {video.whole("id"): video.text("name") for video in _Elements(path, root, "videos")}
    if len(set(videos.values())) < len(videos):
        raise FormatError(path, None, "videos: two have the same name; names must differ")
    name_of = videos or {0: path.stem}
    place_of: dict[int, tuple[int, int]] = {}
    for image in _Elements(path, root, "images"):
        video = image.whole("video_id") if videos else 0
        if video not in name_of:
            raise image.error(f"video_id is {video}; no video has that id")
        id_ = image.whole("id")
        if id_ in place_of:
            raise image.error(f"id {id_} stands twice")
        place_of[id_] = video, image.whole(*_FRAME_KEYS) + 1

    rows: dict[int, list[_Element]] = {video: [] for video in name_of}
    for annotation in _Elements(path, root, "annotations"):
        image_id = annotation.whole("image_id")
        if image_id not in place_of:
            raise annotation.error(f"image_id is {image_id}; no image has that id")
        label = annotation.whole("category_id", otherwise=NOT_STATED)
        if label != NOT_STATED and names and label not in names:
            raise annotation.error(f"category_id is {label}; no category has that id")
        rows[place_of[image_id][0]].append(annotation)
    return {name: _table(path, rows[video], place_of, names) for video, name in name_of.items()}


def format_coco(table: TrackTable, name: str) -> str:
    """Return the table as one video of that name, losing nothing; images are the frames that have rows."""
    frames = np.unique(table.frames)
    image_of = {frame: number for number, frame in enumerate(frames.tolist(), 1)}
    labels = sorted({*np.unique(table.classes).tolist(), *table.class_names} - {NOT_STATED})
    annotations = []
    for row, (frame, id_, box) in enumerate(
        zip(table.frames.tolist(), table.ids.tolist(), table.boxes_ltwh.tolist(), strict=True)
    ):
        annotation = {
            "id": row + 1,
            "image_id": image_of[frame],
            "video_id": 1,
            "track_id": id_,
            "instance_id": id_,
            "category_id": int(table.classes[row]),
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": int(not table.flags[row]),
        }
        for key, value in (("score", table.scores[row]), ("visibility", table.visibility[row])):
            if not np.isnan(value):
                annotation[key] = float(value)
        for key, level in (("occlusion", table.occlusions[row]), ("truncation", table.truncations[row])):
            if level != NOT_STATED:
                annotation[key] = int(level)
        if table.imputed[row]:
            annotation["imputed"] = True
        annotations.append(annotation)
    tree = {
        "videos": [{"id": 1, "name": name}],
        "images": [{"id": image, "video_id": 1, "frame_id": frame - 1} for frame, image in image_of.items()],
        "categories": [{"id": label, "name": table.class_text(label)} for label in labels],
        "annotations": annotations,
    }
    return json.dumps(tree, allow_nan=False) + "\n"


def _table(
    path: Path, rows: list[_Element], place_of: Mapping[int, tuple[int, int]], names: Mapping[int, str]
) -> TrackTable:
    with naming_rows(path, lambda row: rows[row].place):
        return TrackTable(
            [place_of[row.whole("image_id")][1] for row in rows],
            [row.whole(*_TRACK_KEYS) for row in rows],
            [row.box("bbox") for row in rows],
            [row.number("score") for row in rows],
            [row.whole("category_id", otherwise=NOT_STATED) for row in rows],
            flags=[not row.truth("iscrowd") for row in rows],
            imputed=[row.truth("imputed") for row in rows],
            visibility=[row.number("visibility") for row in rows],
            occlusions=[row.whole("occlusion", otherwise=NOT_STATED) for row in rows],
            truncations=[row.whole("truncation", otherwise=NOT_STATED) for row in rows],
            class_names={label: name for label, name in names.items() if name != f"class_{label}"},
        )


class _Element:
    """An object in one of the lists, whose values are asked for by key and kind."""

    def __init__(self, path: Path, place: str, values: Mapping[str, Any]) -> None:
        self.path = path
        self.place = place
        self.values = values

    def error(self, problem: str) -> FormatError:
        return FormatError(self.path, None, f"{self.place}: {problem}")

    def whole(self, *keys: str, otherwise: int | None = None) -> int:
        """Return the whole number under the first of the keys that is there."""
        key = next((key for key in keys if self.values.get(key) is not None), None)
        if key is None:
            if otherwise is None:
                raise self.error(f"has no {' or '.join(keys)}")
            return otherwise
        value = self.values[key]
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= LARGEST_WHOLE:
            raise self.error(f"{key} is {reprlib.repr(value)}; it must be a whole number")
        return value

    def text(self, key: str) -> str:
        value = self.values.get(key)
        if not isinstance(value, str):
            raise self.error(f"{key} is {reprlib.repr(value)}; it must be text")
        return value

    def number(self, key: str) -> float:
        """Return a number, NaN where there is none."""
        value = self.values.get(key)
        if value is None:
            return float("nan")
        if not _is_number(value):
            raise self.error(f"{key} is {reprlib.repr(value)}; it must be a number")
        return float(value)

    def truth(self, key: str) -> bool:
        value = self.values.get(key, False)
        if value not in (0, 1) or isinstance(value, float):
            raise self.error(f"{key} is {reprlib.repr(value)}; it must be 0 or 1")
        return bool(value)

    def box(self, key: str) -> list[float]:
        value = self.values.get(key)
        if not isinstance(value, list) or len(value) != 4 or not all(map(_is_number, value)):
            raise self.error(f"{key} is {reprlib.repr(value)}; it must be the numbers left, top, width, height")
        return [float(number) for number in value]


class _Elements(list[_Element]):
    """The objects of one list; none where the list is missing."""

    def __init__(self, path: Path, root: Mapping[str, Any], key: str) -> None:
        values = root.get(key, [])
        if not isinstance(values, list):
            raise FormatError(path, None, f"{key}: must be a list")
        for number, value in enumerate(values):
            if not isinstance(value, dict):
                raise FormatError(path, None, f"{key}[{number}]: is {reprlib.repr(value)}; it must be an object")
        super().__init__(_Element(path, f"{key}[{number}]", value) for number, value in enumerate(values))


def _is_number(value: object) -> bool:
    """Tell whether a value is a number that a float can hold; JSON knows no NaN, though Python reads it."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
