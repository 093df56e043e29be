"""What a detection looks like, by a neural network in an ONNX file that was trained to tell objects apart.

Any network will do that takes pictures (batch, 3, height, width) and gives a vector for each. A detection's box is cut
out and stretched to the network's input.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.config import EmbeddingConfig
from tracker.detection.feeding import Feeding, Placement, blank_blob, blob, filled
from tracker.detection.graph import demand_picture, open_runtime, read_graph
from tracker.detection.histogram import visible_shares
from tracker.errors import ConfigurationError, DetectorError, counted
from tracker.structures import Detections, FloatArray, Image


class Embedding:
    """Turn the pictures of detections into vectors.

    Parameters
    ----------
    config
        The network, and how it is to be fed.

    Raises
    ------
    ConfigurationError
        When no network is named.
    DetectorError
        When it cannot be read, loaded or run, or does not turn pictures into vectors.
    """

    def __init__(self, config: EmbeddingConfig) -> None:
        if config.model is None:
            raise ConfigurationError("tracking.appearance is onnx: detection.embedding.model must name the file")
        self._config = config
        self._graph = graph = read_graph(config.model)
        demand_picture(graph)
        self._input = image = graph.inputs[0]
        if len(graph.inputs) > 1:
            raise DetectorError(f"{graph.path}: what input {graph.inputs[1].name} wants is not known")
        height, width = image.shape[-2:]
        if height is None or width is None:
            raise DetectorError(f"{graph.path}: takes pictures of any size; it must be exported for the one it learned")
        self._size_px = (width, height)
        self._runtime = open_runtime(graph, config.runtime, config.providers, "detection.embedding")
        order = graph.colour_order or config.colour_order
        # A graph with arithmetic of its own wants neither mean nor deviation.
        own = graph.takes_grey_levels
        self._feeding = Feeding(order, "imagenet" if own is None else "raw" if own else "unit", "stretch")
        self._length = self._run(blank_blob(width, height, image.dtype)[None]).shape[1]

    def __str__(self) -> str:
        """Return what was recognised, in a line."""
        width, height = self._size_px
        return (
            f"{self._graph.path.name}: vectors of {self._length}, input {width}x{height} {self._feeding}, "
            f"by {self._runtime.name}"
        )

    def features(self, image: Image, detections: Detections, *, score_floor: float, least_visible: float) -> FloatArray:
        """Return (N, D) vectors of the detections.

        Parameters
        ----------
        image
            (height, width, 3) uint8, blue-green-red.
        detections
            Whose looks are wanted.
        score_floor
            Detections with lower scores cover nothing and get zeros.
        least_visible
            Share of a box, within the picture and not covered by a nearer detection, below which one gets zeros.

        Raises
        ------
        DetectorError
            When the network cannot be run or gives no numbers.
        """
        features = np.zeros((len(detections), self._length))
        height, width = image.shape[:2]
        shares = visible_shares((width, height), detections, score_floor=score_floor)
        wanted = np.flatnonzero((shares >= least_visible) & (shares > 0.0))
        for start in range(0, len(wanted), self._batch_boxes):
            rows = wanted[start : start + self._batch_boxes]
            blobs = np.stack([self._blob(image, detections.boxes_xyxy[row]) for row in rows])
            features[rows] = self._run(blobs)[: len(rows)]
        return features

    @property
    def _batch_boxes(self) -> int:
        if len(self._input.shape) == 3:
            return 1
        fixed = self._input.shape[0]
        return fixed or (self._config.batch_boxes if self._runtime.batches else 1)

    def _blob(self, image: Image, box_xyxy: FloatArray) -> NDArray[Any]:
        height, width = image.shape[:2]
        # At least one pixel of a box that is in the picture by a fraction of one.
        left, top = (int(np.clip(np.floor(box_xyxy[i]), 0, side - 1)) for i, side in ((0, width), (1, height)))
        right, bottom = (int(np.ceil(min(box_xyxy[i], side))) for i, side in ((2, width), (3, height)))
        cut = image[top : max(bottom, top + 1), left : max(right, left + 1)]
        place = Placement.of(cut.shape[1], cut.shape[0], *self._size_px, "stretch")
        return blob(place.apply(cut), self._feeding, self._input.dtype, self._config.mean, self._config.deviation)

    def _run(self, blobs: NDArray[Any]) -> FloatArray:
        """Return a vector for each of (B, 3, height, width)."""
        blobs = filled(blobs, self._input)
        batched = len(self._input.shape) == 4
        found = np.asarray(self._runtime.run({self._input.name: blobs if batched else blobs[0]})[0], np.float64)
        shape = found.shape if batched else (1, *found.shape)
        if shape[:1] != (len(blobs),) or sum(side > 1 for side in shape[1:]) > 1:
            raise DetectorError(
                f"{self._graph.path}: gives {'x'.join(map(str, found.shape))} for {counted(len(blobs), 'picture')}; "
                "a network that embeds them gives a vector for each, (batch, any)"
            )
        vectors = found.reshape(len(blobs), -1)
        if not np.isfinite(vectors).all():
            raise DetectorError(f"{self._graph.path}: the network gives vectors that are not finite")
        return vectors
