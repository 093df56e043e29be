"""The forms in which detectors give their output, recognised and decoded.

=============  =====================================================================  =========================
layout         output for a picture                                                   as exported by
=============  =====================================================================  =========================
``yolov5``     (N, 5+C): centre, size, objectness, class scores                       YOLOv5, YOLOv7
``yolov8``     (4+C, N) or (N, 4+C): centre, size, class scores                       YOLOv8, YOLOv9, YOLO11, NanoDet
``yolox``      as ``yolov5``, one row for each cell of the grids                      YOLOX (decoded), YOLOv6
``yolox_raw``  as ``yolox``; centres as offsets in cells, sizes as logarithms         YOLOX
``rtdetr``     (N, 4+C): centre, size, class scores of N queries                      RT-DETR (Ultralytics)
``end_to_end`` (N, 6): left, top, right, bottom, score, class                         YOLOv10, YOLO26
``labelled``   (N, 4), (N), (N): boxes, scores, labels, by their names                RT-DETR, torchvision
``ssd``        (N, 4), (N, C): boxes and class scores apart                           SSD, YOLO-NAS, PP-YOLOE
=============  =====================================================================  =========================

Everything here is in pixels of the network's input, whose size is (width, height).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from tracker.errors import DetectorError
from tracker.structures import FloatArray, IntArray

LayoutName: TypeAlias = Literal["yolov5", "yolov8", "yolox", "yolox_raw", "rtdetr", "end_to_end", "labelled", "ssd"]
Outputs: TypeAlias = Sequence[NDArray[Any]]
"""The outputs of one run: (B, ...) each."""
Rows: TypeAlias = tuple[FloatArray, FloatArray, IntArray]
"""Boxes (n, 4) left, top, right, bottom; scores (n,); classes (n,)."""
RawRows: TypeAlias = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
"""The same in the graph's own types, boxes as the layout has them."""

SUPPRESSED: frozenset[LayoutName] = frozenset({"rtdetr", "end_to_end", "labelled"})
"""Layouts of detectors that give each object once, so that nothing is left to suppress."""

_STRIDES_PX = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))
_ANCHORS_PER_CELL = 3  # of YOLOv5 and YOLOv7
_RELATIVE_LIMIT = 2.0  # boxes as shares of the input stay below, boxes in pixels do not
_COCO_CLASSES = 80
_SCORE_TOLERANCE = 1e-3
_BOX_NAME, _SCORE_NAME, _LABEL_NAME = (
    re.compile(pattern, re.IGNORECASE) for pattern in ("box|loc", "scor|conf|prob", "label|class|cls")
)


@dataclass(frozen=True, slots=True)
class Layout:
    """A form of output, with what only an example of it shows.

    Parameters
    ----------
    name
        Which form.
    class_count
        Number of classes; None where labels are given, whose number is not to be seen.
    rows_last
        Whether the rows are the last axis, as in (4+C, N).
    relative
        Whether boxes are shares of the input instead of pixels.
    corners
        Whether boxes are left, top, right, bottom; otherwise centre and size.
    background
        Whether the first score is that of seeing nothing.
    order
        Places of the outputs that are read: rows; or boxes and scores; or boxes, scores and labels.
    """

    name: LayoutName
    class_count: int | None
    rows_last: bool = False
    relative: bool = False
    corners: bool = False
    background: bool = False
    order: tuple[int, ...] = (0,)


def recognise(
    names: Sequence[str],
    outputs: Outputs,
    size_px: tuple[int, int],
    *,
    class_count: int | None = None,
    extras: bool = False,
    stated: LayoutName | None = None,
    relative: bool | None = None,
) -> Layout:
    """Tell the layout from the outputs for one blank picture.

    Shapes decide: a detector on grids has as many rows as its grids have cells, or three times as many. Where
    two layouts have one shape, the values decide if they can: raw offsets are no pixels, labels are whole.

    Parameters
    ----------
    names, outputs
        The graph's outputs and what they gave, for a batch of one.
    size_px
        Width and height of the input that gave them.
    class_count
        Number of classes, where the file or the user names them.
    extras
        Whether coefficients of masks or key points follow the class scores.
    stated
        The layout, where the user states it; it must fit.
    relative
        Whether boxes are shares of the input, where the user states it.

    Raises
    ------
    DetectorError
        When no layout fits, or more than one; says what can be stated.
    """
    classes_in = partial(_classes, named=class_count, extras=extras)
    found = _single(outputs, size_px, class_count, classes_in) + _separate(names, outputs, class_count)
    grid: LayoutName = "yolox"  # raw or decoded is no matter of shapes
    shapes = ", ".join(f"{name} {tuple(array.shape)}" for name, array in zip(names, outputs, strict=True))
    classes = "" if class_count is None else f" for {class_count} classes"
    if stated is not None:
        shape_of = grid if stated == "yolox_raw" else stated
        found = [layout for layout in found if layout.name == shape_of] or _stated(stated, outputs, classes_in)
        found = [replace(layout, name=stated) for layout in found]
        if not found:
            raise DetectorError(f"outputs {shapes} are not of the stated layout {stated}{classes}")
    if not found:
        known = ", ".join(get_args(LayoutName))
        raise DetectorError(f"outputs {shapes}{classes} follow none of the known layouts: {known}")
    if len(found) > 1:
        choices = " or ".join(dict.fromkeys(layout.name for layout in found))
        raise DetectorError(
            f"outputs {shapes} may be {choices}; state detection.onnx.layout, or detection.onnx.class_names"
        )
    layout = found[0]
    if stated is None and layout.name == grid:
        layout = replace(layout, name=_kind_of_grid(layout, outputs, size_px))
    return _examined(layout, outputs, relative)


def decode(layout: Layout, outputs: Outputs, item: int, size_px: tuple[int, int], floor: float) -> Rows:
    """Return the boxes of one picture of a batch whose score is at least ``floor``.

    Raises
    ------
    DetectorError
        When scores are outside [0, 1].
    """
    arrays = [outputs[k] for k in layout.order]
    match layout.name:
        case "yolov8" | "rtdetr":
            table = arrays[0][item].T if layout.rows_last else arrays[0][item]
            assert layout.class_count is not None
            rows, scores, classes = _best(table[:, 4 : 4 + layout.class_count], floor)
            boxes = table[rows, :4]
        case "yolov5" | "yolox" | "yolox_raw":
            boxes, scores, classes = _with_objectness(layout, arrays[0][item], size_px, floor)
        case "end_to_end":
            table = arrays[0][item]
            table = table[table[:, 4] >= floor]
            boxes, scores, classes = table[:, :4], table[:, 4], table[:, 5]
        case "labelled":
            boxes, scores, classes = _labelled(arrays, item, floor)
        case "ssd":
            rows, scores, classes = _best(arrays[1][item][:, int(layout.background) :], floor)
            boxes = arrays[0][item].reshape(-1, 4)[rows]
    if scores.size and not (scores.max() <= 1.0 + _SCORE_TOLERANCE and scores.min() >= -_SCORE_TOLERANCE):
        raise DetectorError(
            f"scores reach from {scores.min():.3g} to {scores.max():.3g}; the graph must end in probabilities"
        )
    boxes = boxes.astype(np.float64)
    if layout.relative:
        boxes *= np.tile(size_px, 2)
    if not layout.corners:
        half = boxes[:, 2:] / 2.0
        boxes = np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
    return boxes, np.clip(scores.astype(np.float64), 0.0, 1.0), classes.astype(np.int64)


# ------------------------------------------------------------------------------------------- recognition


def _cells(size_px: tuple[int, int], strides_px: Sequence[int]) -> int:
    return sum(-(-size_px[0] // stride) * -(-size_px[1] // stride) for stride in strides_px)


def _single(
    outputs: Outputs, size_px: tuple[int, int], class_count: int | None, classes_in: Callable[[int], list[int]]
) -> list[Layout]:
    """Return the layouts with everything in one output that fit the shapes."""
    # Outputs of more axes are feature maps or masks, which come besides.
    places = [k for k, array in enumerate(outputs) if array.ndim == 3]
    if len(places) != 1:
        return []
    order = (places[0],)
    _, rows, columns = outputs[places[0]].shape
    cells = {_cells(size_px, strides) for strides in _STRIDES_PX}
    anchors = {_ANCHORS_PER_CELL * count for count in cells}
    if columns in cells:
        return [Layout("yolov8", n, rows_last=True, order=order) for n in classes_in(rows - 4)]
    if rows in anchors:
        return [Layout("yolov5", n, order=order) for n in classes_in(columns - 5)]
    if rows in cells:
        grid = [Layout("yolox", n, order=order) for n in classes_in(columns - 5)]
        plain = [Layout("yolov8", n, order=order) for n in classes_in(columns - 4)]
        # The number of classes tells the two apart; without names, COCO's is likelier than one more or less.
        count = _COCO_CLASSES if class_count is None else class_count
        exact = grid if columns == count + 5 else plain if columns == count + 4 else []
        return exact or grid + plain
    found = []
    if columns == 6 and _whole(outputs[places[0]][..., 5]):
        found.append(Layout("end_to_end", None, corners=True, order=order))
    elif columns >= 5:
        found += [Layout("rtdetr", n, order=order) for n in classes_in(columns - 4)]
    return found


def _classes(columns: int, *, named: int | None, extras: bool) -> list[int]:
    """Return the number of classes in so many columns, if it can be; extras may follow classes that are named."""
    count = columns if named is None else named
    fits = 1 <= count <= columns if extras else 1 <= count == columns
    return [count] if fits else []


def _separate(names: Sequence[str], outputs: Outputs, class_count: int | None) -> list[Layout]:
    """Return the layouts with boxes in an output of their own that fit."""
    boxes = [k for k, array in enumerate(outputs) if array.ndim >= 2 and array.shape[-1] == 4]
    if len(boxes) > 1:
        boxes = [k for k in boxes if _BOX_NAME.search(names[k])]
    if len(boxes) != 1:
        return []
    n = outputs[boxes[0]].size // 4
    others = [k for k in range(len(outputs)) if k != boxes[0]]
    wide = [k for k in others if outputs[k].ndim == 3 and outputs[k].shape[1] == n and outputs[k].shape[0] == 1]
    if len(wide) == 1 and n:
        columns = outputs[wide[0]].shape[2]
        order = (boxes[0], wide[0])
        if class_count is None or columns in {class_count, class_count + 1}:
            return [Layout("ssd", columns, background=columns - 1 == class_count, order=order)]
        return []
    flat = [k for k in others if outputs[k].size == n and outputs[k].ndim <= 2]
    labels = [k for k in flat if _LABEL_NAME.search(names[k]) and not _SCORE_NAME.search(names[k])]
    scores = [k for k in flat if _SCORE_NAME.search(names[k])]
    if len(labels) == len(scores) == 1:
        return [Layout("labelled", None, corners=True, order=(boxes[0], scores[0], labels[0]))]
    return []


def _stated(name: LayoutName, outputs: Outputs, classes_in: Callable[[int], list[int]]) -> list[Layout]:
    """Return a stated layout that the number of rows does not suggest, such as one of other strides."""
    places = [k for k, array in enumerate(outputs) if array.ndim == 3]
    if len(places) != 1 or name in {"yolox", "yolox_raw", "labelled", "ssd"}:
        return []
    _, rows, columns = outputs[places[0]].shape
    order = (places[0],)
    if name == "end_to_end":
        return [Layout(name, None, corners=True, order=order)] if columns == 6 else []
    head = 5 if name == "yolov5" else 4
    rows_last = name == "yolov8" and rows < columns
    count = rows if rows_last else columns
    return [Layout(name, n, rows_last=rows_last, order=order) for n in classes_in(count - head)]


def _kind_of_grid(layout: Layout, outputs: Outputs, size_px: tuple[int, int]) -> LayoutName:
    """Tell by the values of what kind one row for each cell is."""
    boxes = _raw_boxes(layout, outputs)
    if (outputs[layout.order[0]][0, :, 4] == 1.0).all():  # YOLOv6 has no objectness and fills in ones
        return "yolov5"
    # The boxes of most cells are centred a few cells off at most: in pixels, or by offsets.
    cell, stride = _grid(size_px, len(boxes))
    if_decoded = np.median(np.abs(boxes[:, :2] / stride - cell))
    if_raw = np.median(np.abs(boxes[:, :2]))
    return "yolox_raw" if if_raw < if_decoded else "yolox"


def _examined(layout: Layout, outputs: Outputs, relative: bool | None) -> Layout:
    """Complete a layout by what the values show."""
    boxes = _raw_boxes(layout, outputs)
    if layout.name == "yolox_raw":
        return layout
    if layout.name == "ssd":
        scores = outputs[layout.order[1]][0]
        softmax = scores.shape[1] > 1 and np.allclose(scores.sum(axis=1), 1.0, atol=_SCORE_TOLERANCE)
        background = layout.background or bool(softmax)
        corners = bool((boxes[:, 2:] >= boxes[:, :2]).all())
        layout = replace(layout, corners=corners, background=background, class_count=scores.shape[1] - int(background))
    if relative is None:
        if layout.name == "labelled" and not boxes.any():
            raise DetectorError(
                "a blank picture gives no boxes that would tell their unit; state detection.onnx.box_unit "
                "(torchvision: pixels)"
            )
        relative = bool(boxes.any()) and float(np.abs(boxes).max()) <= _RELATIVE_LIMIT
    return replace(layout, relative=relative)


def _raw_boxes(layout: Layout, outputs: Outputs) -> FloatArray:
    array = outputs[layout.order[0]]
    rows = array[0].T if layout.rows_last else array.reshape(-1, array.shape[-1])
    return rows[:, :4].astype(np.float64)


def _whole(values: NDArray[Any]) -> bool:
    return bool((values == np.round(values)).all())


# ---------------------------------------------------------------------------------------------- decoding


def _grid(size_px: tuple[int, int], rows: int) -> tuple[FloatArray, FloatArray]:
    """Return the (N, 2) cells and (N, 1) strides of ``rows`` rows, row by row from the finest grid on."""
    strides_px = next(strides for strides in _STRIDES_PX if _cells(size_px, strides) == rows)
    cells, strides = [], []
    for stride in strides_px:
        width, height = -(-size_px[0] // stride), -(-size_px[1] // stride)
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        cells.append(np.column_stack([x.ravel(), y.ravel()]))
        strides.append(np.full((width * height, 1), stride))
    return np.concatenate(cells).astype(np.float64), np.concatenate(strides).astype(np.float64)


def _best(scores: NDArray[Any], floor: float) -> tuple[IntArray, NDArray[Any], IntArray]:
    """Return the rows of (N, C) scores whose best reaches the floor, with that score and its class."""
    best = scores.max(axis=1)
    rows = np.flatnonzero(best >= floor)
    return rows, best[rows], scores[rows].argmax(axis=1)


def _with_objectness(layout: Layout, table: NDArray[Any], size_px: tuple[int, int], floor: float) -> RawRows:
    """Decode rows with objectness: the score of a class is its own times the objectness."""
    assert layout.class_count is not None
    near = np.flatnonzero(table[:, 4] >= floor)
    rows, scores, classes = _best(table[near, 5 : 5 + layout.class_count] * table[near, 4:5], floor)
    rows = near[rows]
    boxes = table[rows, :4]
    if layout.name == "yolox_raw":
        cell, stride = _grid(size_px, len(table))
        boxes = np.concatenate([(boxes[:, :2] + cell[rows]), np.exp(boxes[:, 2:])], axis=1) * stride[rows]
    return boxes, scores, classes


def _labelled(arrays: Outputs, item: int, floor: float) -> RawRows:
    """Decode boxes, scores and labels; those of some detectors have no batch axis."""
    boxes = arrays[0].reshape(-1, 4) if arrays[0].ndim == 2 else arrays[0][item].reshape(-1, 4)
    n = len(boxes)
    scores, labels = (array.reshape(-1, n)[item] if n else array.reshape(-1) for array in arrays[1:])
    rows = np.flatnonzero(scores >= floor)
    return boxes[rows], scores[rows], labels[rows]
