"""Detections by a neural network in an ONNX file, whichever family it is of.

A blank picture is put through the graph once: the shapes and values of what comes out, with the file's
metadata, tell the layout of the output (:mod:`tracker.detection.layouts`), and the layout tells how the network
was trained to be fed. All of it may be stated instead.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.classes import labels_of
from tracker.config import OnnxConfig
from tracker.detection.coco import COCO_CLASSES
from tracker.detection.feeding import Placement, blank_blob, blob, feeding_of, filled
from tracker.detection.graph import Graph, Tensor, demand_picture, open_runtime, read_graph
from tracker.detection.layouts import SUPPRESSED, Outputs, decode, recognise
from tracker.detection.nms import parts_of_wholes, suppress
from tracker.errors import ConfigurationError, DetectorError
from tracker.structures import Detections, FloatArray, Image

_FREE_SIDE_PX = 640  # longest side where neither the graph nor its metadata tells
_FREE_STRIDE_PX = 32
_CUT_PX = 2.0  # this near to a tile's border, a box ends there
_UPRIGHT_TASKS = {"detect", "segment", "pose"}


class OnnxDetector:
    """Find objects with a detector in an ONNX file.

    Parameters
    ----------
    config
        The model, and what of it is not to be recognised but stated.

    Raises
    ------
    ConfigurationError
        When no model is named or a class to be kept is not the model's.
    DetectorError
        When the model cannot be read, loaded or run, or its output is of no layout that is known.
    """

    def __init__(self, config: OnnxConfig) -> None:
        if config.model is None:
            raise ConfigurationError("detection.kind is onnx: --model (detection.onnx.model) must name the file")
        self._config = config
        self._graph = graph = read_graph(config.model)
        task = graph.metadata.get("task", "detect")
        if task not in _UPRIGHT_TASKS:
            raise DetectorError(f"{graph.path}: is made to {task}; a detector of upright boxes is needed")
        self._image_input, self._size_input = _inputs(graph)
        self._runtime = open_runtime(graph, config.runtime, config.providers, "detection.onnx")
        names = list(config.class_names) or _names_in(graph)

        # The graph's own size, or a square where it takes any.
        stride = graph.metadata.get("stride", "")
        self._stride_px = int(stride) if stride.isdecimal() and int(stride) else _FREE_STRIDE_PX
        side = config.longest_side_px or _longest_in(graph) or _FREE_SIDE_PX
        self._side_px = self._whole_strides(side)
        height, width = (axis or self._side_px for axis in self._image_input.shape[-2:])
        example = self._infer(blank_blob(width, height, self._image_input.dtype)[None])
        try:
            self._layout = recognise(
                [output.name for output in graph.outputs],
                example,
                (width, height),
                class_count=len(names) if names else None,
                # YOLOv5 writes no task; its masks come with an output of their own.
                extras=task != "detect" or any(len(output.shape) == 4 for output in graph.outputs),
                stated=None if config.layout == "auto" else config.layout,
                relative=None if config.box_unit == "auto" else config.box_unit == "share",
            )
            decode(self._layout, example, 0, (width, height), -np.inf)  # finds scores that are none
        except DetectorError as error:
            raise DetectorError(f"{graph.path}: {error}") from None
        self._feeding = feeding_of(self._layout.name, graph, self._image_input, config)

        if not names and self._layout.class_count == len(COCO_CLASSES):
            names = list(COCO_CLASSES)
        self._names = names
        self._wanted = (
            labels_of(
                config.classes,
                dict(enumerate(names)),
                f"detection.onnx.classes: {graph.path.name}",
                "give numbers, or detection.onnx.class_names",
            )
            if config.classes
            else None
        )

    @property
    def class_names(self) -> Mapping[int, str]:
        """Names of the classes to be found, by label; empty where the model has none."""
        return {label: name for label, name in enumerate(self._names) if self._wanted is None or label in self._wanted}

    @property
    def batch_frames(self) -> int:
        """How many pictures :meth:`detect_batch` takes to advantage."""
        free = self._image_input.shape[0] is None and len(self._image_input.shape) == 4
        return self._config.batch_frames if free and self._runtime.batches else 1

    def __str__(self) -> str:
        """Return what was recognised, in a line."""
        size = "x".join("any" if axis is None else str(axis) for axis in self._image_input.shape[:-3:-1])
        count = len(self._names) or self._layout.class_count
        return (
            f"{self._graph.path.name}: layout {self._layout.name}, {count or 'unknown'} classes, input {size} "
            f"{self._feeding}, by {self._runtime.name}"
        )

    def detect(self, image: Image) -> Detections:
        """Return what is seen in ``image`` ((height, width, 3) uint8, blue-green-red).

        Raises
        ------
        DetectorError
            When the graph cannot be run on it or gives no numbers.
        """
        return self.detect_batch([image])[0]

    def detect_batch(self, images: Sequence[Image]) -> list[Detections]:
        """Return what is seen in each of several images, as :meth:`detect` does."""
        views = [(index, view) for index, image in enumerate(images) for view in self._views(image)]
        # Views of one shape go through the graph together.
        by_size: dict[tuple[int, int], list[int]] = {}
        places = [self._placement(view.image.shape) for _, view in views]
        for k, place in enumerate(places):
            by_size.setdefault((place.width_px, place.height_px), []).append(k)
        found: list[list[_Found]] = [[] for _ in images]
        for size_px, members in by_size.items():
            for start in range(0, len(members), self.batch_frames):
                batch = members[start : start + self.batch_frames]
                outputs = self._infer(np.stack([self._blob(views[k][1], places[k]) for k in batch]))
                for item, k in enumerate(batch):
                    index, view = views[k]
                    found[index].append(self._found(outputs, item, size_px, places[k], view, images[index].shape))
        return [self._merged(parts) for parts in found]

    def _views(self, image: Image) -> Iterator[_View]:
        """Yield the whole image, and tiles of it where that is asked for."""
        height, width = image.shape[:2]
        yield _View(image, 0, 0)
        tile = self._config.tile_px
        if tile is None or max(width, height) <= tile:
            return
        for top in tile_starts(height, tile, self._config.tile_overlap):
            for left in tile_starts(width, tile, self._config.tile_overlap):
                yield _View(image[top : top + tile, left : left + tile], left, top)

    def _found(
        self,
        outputs: Outputs,
        item: int,
        size_px: tuple[int, int],
        place: Placement,
        view: _View,
        full_size: tuple[int, ...],
    ) -> _Found:
        """Decode one view, in pixels of the full image."""
        try:
            boxes, scores, classes = decode(self._layout, outputs, item, size_px, self._config.score_floor)
        except DetectorError as error:
            raise DetectorError(f"{self._graph.path}: {error}") from None
        if not np.isfinite(boxes).all():
            raise DetectorError(f"{self._graph.path}: the graph gives boxes that are not finite")
        boxes = place.undo(boxes) + np.array([view.left, view.top, view.left, view.top])
        height, width = full_size[:2]
        # Padding is no place to be, and rounding may leave nothing of a box.
        good = ((boxes[:, 2:] > np.maximum(boxes[:, :2], 0.0)) & (boxes[:, :2] < (width, height))).all(axis=1)
        if self._wanted is not None:
            good &= np.isin(classes, list(self._wanted))
        boxes = boxes[good]
        view_height, view_width = view.image.shape[:2]
        right, bottom = view.left + view_width, view.top + view_height
        before = (boxes[:, :2] <= np.array([view.left, view.top]) + _CUT_PX) & (np.array([view.left, view.top]) > 0)
        beyond = (boxes[:, 2:] >= np.array([right, bottom]) - _CUT_PX) & (np.array([right, bottom]) < (width, height))
        cut = (before | beyond).any(axis=1)
        return _Found(boxes, scores[good], classes[good], cut)

    def _merged(self, parts: Sequence[_Found]) -> Detections:
        """Join what was found in the views of one image."""
        boxes, scores, classes, cut = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("boxes_xyxy", "scores", "classes", "cut")
        )
        if len(parts) > 1:
            whole = ~parts_of_wholes(boxes, classes, cut)
            boxes, scores, classes = boxes[whole], scores[whole], classes[whole]
        if len(parts) > 1 or self._layout.name not in SUPPRESSED:
            rows = suppress(
                boxes, scores, classes, self._config.nms_iou, across_classes=self._config.nms_across_classes
            )
            boxes, scores, classes = boxes[rows], scores[rows], classes[rows]
        return Detections(boxes, scores, classes)

    def _placement(self, shape: tuple[int, ...]) -> Placement:
        """Return where an image of this shape goes in the network's input."""
        height, width = shape[:2]
        fixed_height, fixed_width = self._image_input.shape[-2:]
        letterbox = self._feeding.letterbox
        if letterbox == "stretch":
            input_size = (fixed_width or self._side_px, fixed_height or self._side_px)
            return Placement.of(width, height, *input_size, letterbox)
        # Where the graph takes any size: no more padding than its strides ask for.
        scale = self._side_px / max(width, height)
        free = fixed_width is None or fixed_height is None
        input_size = (
            fixed_width or self._whole_strides(round(width * scale)),
            fixed_height or self._whole_strides(round(height * scale)),
        )
        return Placement.of(width, height, *input_size, letterbox, scale if free else np.inf)

    def _whole_strides(self, length_px: int) -> int:
        return max(1, -(-length_px // self._stride_px)) * self._stride_px

    def _blob(self, view: _View, place: Placement) -> NDArray[Any]:
        return blob(place.apply(view.image), self._feeding, self._image_input.dtype)

    def _infer(self, blobs: NDArray[Any]) -> list[NDArray[Any]]:
        """Run the graph on (B, 3, height, width); a graph for a fixed number of pictures gets its number."""
        blobs = filled(blobs, self._image_input)
        inputs = {self._image_input.name: blobs if len(self._image_input.shape) == 4 else blobs[0]}
        if self._size_input is not None:
            height, width = blobs.shape[2:]
            dtype = self._size_input.dtype or np.int64
            inputs[self._size_input.name] = np.tile(np.array([[width, height]], dtype), (len(blobs), 1))
        return self._runtime.run(inputs)


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """A part of an image, and where in it."""

    image: Image
    left: int
    top: int


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """What was found in a view: boxes (n, 4) in the full image, scores, classes, and which are cut by its border."""

    boxes_xyxy: FloatArray
    scores: FloatArray
    classes: NDArray[np.int64]
    cut: NDArray[np.bool_]


def tile_starts(length_px: int, tile_px: int, overlap: float) -> list[int]:
    """Return where tiles begin that cover a side evenly, each overlapping the next by at least the share."""
    if length_px <= tile_px:
        return [0]
    count = 1 + int(np.ceil((length_px - tile_px) / (tile_px * (1.0 - overlap))))
    return [round(start) for start in np.linspace(0, length_px - tile_px, count).tolist()]


def _inputs(graph: Graph) -> tuple[Tensor, Tensor | None]:
    """Return the input for the picture, and the one for its size that some detectors of the DETR kind have."""
    image, *others = graph.inputs
    demand_picture(graph)
    sizes_of = [other for other in others if other.shape[-1:] == (2,) and "size" in other.name]
    if len(others) > len(sizes_of) or len(sizes_of) > 1:
        unknown = next(other for other in others if other not in sizes_of[:1])
        raise DetectorError(f"{graph.path}: what input {unknown.name} wants is not known; a picture alone must do")
    return image, sizes_of[0] if sizes_of else None


def _names_in(graph: Graph) -> list[str]:
    """Return the class names in the metadata, as Ultralytics writes them: a Python dict or list."""
    text = graph.metadata.get("names")
    if text is None:
        return []
    try:
        names = ast.literal_eval(text)
        if isinstance(names, dict):
            names = [names[index] for index in range(len(names))]
        return [str(name) for name in names]
    except (ValueError, SyntaxError, TypeError, KeyError):
        raise DetectorError(
            f"{graph.path}: the metadata's names are no list or dict of classes; state detection.onnx.class_names"
        ) from None


def _longest_in(graph: Graph) -> int | None:
    """Return the longest side that the metadata name, as Ultralytics writes it: ``[height, width]``."""
    try:
        sides = ast.literal_eval(graph.metadata.get("imgsz", "0"))
        return int(np.max(sides)) or None
    except (ValueError, SyntaxError, TypeError):
        return None
