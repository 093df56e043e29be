"""How a picture gets into a network: where it lies in the input, in which order of colours, in which range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.config import IMAGENET_DEVIATION_RGB, IMAGENET_MEAN_RGB, Channels, OnnxConfig
from tracker.detection.graph import Graph, Tensor
from tracker.detection.layouts import LayoutName
from tracker.errors import DetectorError
from tracker.structures import FloatArray, Image

ColourOrder: TypeAlias = Literal["rgb", "bgr"]
Scale: TypeAlias = Literal["unit", "raw", "symmetric", "imagenet"]
Letterbox: TypeAlias = Literal["centre", "top_left", "stretch"]

_PADDING = 114  # grey level beside the picture, in all families that pad

# As the families train. SSD has no custom of its own, so that its scale is to be stated.
_CUSTOM: dict[LayoutName, tuple[ColourOrder, Scale | None, Letterbox]] = {
    "yolov5": ("rgb", "unit", "centre"),
    "yolov8": ("rgb", "unit", "centre"),
    "yolox": ("bgr", "raw", "top_left"),
    "yolox_raw": ("bgr", "raw", "top_left"),
    "rtdetr": ("rgb", "unit", "stretch"),
    "end_to_end": ("rgb", "unit", "centre"),
    "labelled": ("rgb", "unit", "stretch"),
    "ssd": ("rgb", None, "stretch"),
}


@dataclass(frozen=True, slots=True)
class Feeding:
    """How a network wants its input; the words are those of :class:`~tracker.config.OnnxConfig`."""

    colour_order: ColourOrder
    scale: Scale
    letterbox: Letterbox

    def __str__(self) -> str:
        return f"{self.colour_order} {self.scale} {self.letterbox}"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a picture of some size goes in an input of ``width_px`` x ``height_px``."""

    width_px: int
    height_px: int
    inner_width_px: int
    inner_height_px: int
    left_px: int
    top_px: int
    scale: tuple[float, float]

    @classmethod
    def of(
        cls,
        width: int,
        height: int,
        input_width: int,
        input_height: int,
        letterbox: Letterbox,
        largest_ratio: float = np.inf,
    ) -> Placement:
        """Fit a picture into the input, keeping its shape unless it is to be stretched."""
        ratio = min(input_width / width, input_height / height, largest_ratio)
        inner = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        if letterbox == "stretch":
            inner = (input_width, input_height)
        left, top = ((input_width - inner[0]) // 2, (input_height - inner[1]) // 2) if letterbox == "centre" else (0, 0)
        return cls(input_width, input_height, *inner, left, top, (inner[0] / width, inner[1] / height))

    def apply(self, image: Image) -> Image:
        """Return the input's picture."""
        inner = (self.inner_width_px, self.inner_height_px)
        fitted = image if inner == image.shape[1::-1] else cv2.resize(image, inner, interpolation=cv2.INTER_LINEAR)
        if inner == (self.width_px, self.height_px):
            return np.asarray(fitted, np.uint8)
        picture = np.full((self.height_px, self.width_px, 3), _PADDING, np.uint8)
        picture[self.top_px : self.top_px + inner[1], self.left_px : self.left_px + inner[0]] = fitted
        return picture

    def undo(self, boxes_xyxy: FloatArray) -> FloatArray:
        """Return boxes of the input in pixels of the picture."""
        return (boxes_xyxy - np.tile((self.left_px, self.top_px), 2)) / np.tile(self.scale, 2)


def feeding_of(layout: LayoutName, graph: Graph, image_input: Tensor, config: OnnxConfig) -> Feeding:
    """Return how the input is to be fed: as stated, as the graph shows, or as the family trains.

    Raises
    ------
    DetectorError
        When nothing tells the range of values.
    """
    order, scale, letterbox = _CUSTOM[layout]
    order = graph.colour_order or order
    if image_input.dtype is np.uint8:
        scale = "raw"
    elif graph.takes_grey_levels is not None:
        scale = "raw" if graph.takes_grey_levels else "unit"
    if config.input_scale != "auto":
        scale = config.input_scale
    if scale is None:
        raise DetectorError(
            f"{graph.path}: nothing tells how layout {layout} wants its input scaled; state "
            "detection.onnx.input_scale: unit (0..1), raw (0..255), symmetric (-1..1) or imagenet"
        )
    return Feeding(
        order if config.colour_order == "auto" else config.colour_order,
        scale,
        letterbox if config.letterbox == "auto" else config.letterbox,
    )


def blob(
    picture: Image,
    feeding: Feeding,
    dtype: type[np.generic] | None,
    mean_rgb: Channels = IMAGENET_MEAN_RGB,
    deviation_rgb: Channels = IMAGENET_DEVIATION_RGB,
) -> NDArray[Any]:
    """Return a picture of the input's size as the network wants it: (3, height, width).

    The scale ``imagenet`` takes other means and deviations, too.
    """
    channels = picture if feeding.colour_order == "bgr" else picture[..., ::-1]
    planes: NDArray[Any] = np.ascontiguousarray(channels.transpose(2, 0, 1))
    if dtype is np.uint8:
        return planes
    values = planes.astype(np.float32)
    if feeding.scale == "symmetric":
        values = (values - 127.5) / 127.5
    elif feeding.scale == "unit":
        values /= 255.0
    elif feeding.scale == "imagenet":
        step = 1 if feeding.colour_order == "rgb" else -1
        mean, deviation = (np.array(rgb[::step], np.float32)[:, None, None] for rgb in (mean_rgb, deviation_rgb))
        values = (values / 255.0 - mean) / deviation
    return values.astype(dtype, copy=False)


def filled(blobs: NDArray[Any], image_input: Tensor) -> NDArray[Any]:
    """Return (B, 3, height, width) with the last picture repeated, where the graph is for a larger number of them."""
    fixed = image_input.shape[0] if len(image_input.shape) == 4 else None
    if fixed is None or fixed <= len(blobs):
        return blobs
    return np.concatenate([blobs, np.repeat(blobs[-1:], fixed - len(blobs), axis=0)])


def blank_blob(width_px: int, height_px: int, dtype: type[np.generic] | None) -> NDArray[Any]:
    """Return an input that shows nothing, whatever its range is."""
    return np.full((3, height_px, width_px), _PADDING if dtype is np.uint8 else 0.5, dtype)
