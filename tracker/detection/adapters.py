"""Detections from the results of other libraries, none of which is imported, and from files.

A result is taken by its shape: whatever has the attributes or keys will do, with tensors on any device or with
arrays. Boxes that were clipped to nothing at the picture's edge are left out.

Examples
--------
>>> from tracker.detection.adapters import from_ultralytics
>>> tracks = tracker.update(from_ultralytics(model(image)[0]))  # doctest: +SKIP
>>> frames = from_kitti("label_02/0000.txt")  # doctest: +SKIP
>>> tracks = tracker.update(frames[1])  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tracker.formats.kitti import read_kitti_detections
from tracker.formats.motchallenge import read_detections
from tracker.structures import Detections

if TYPE_CHECKING:
    from tracker.config import ScoreScale

__all__ = ["from_kitti", "from_motchallenge", "from_supervision", "from_torchvision", "from_ultralytics"]


def from_ultralytics(result: Any) -> Detections:
    """Return the boxes of one ``ultralytics.engine.results.Results``; a model gives a list of them, one a picture.

    Raises
    ------
    TypeError
        When it has no upright boxes: a list of results, a classification, rotated boxes.
    ValueError
        As :class:`~tracker.structures.Detections`.
    """
    boxes = getattr(result, "boxes", None)
    if boxes is None:
        raise TypeError(f"{_kind(result)} has no boxes; what is needed is one Results of a model that detects")
    return _detections(boxes.xyxy, boxes.conf, boxes.cls)


def from_supervision(detections: Any) -> Detections:
    """Return a ``supervision.Detections``; without confidence all scores are 1, without classes all labels 0.

    Raises
    ------
    TypeError
        When it has no ``xyxy``.
    ValueError
        As :class:`~tracker.structures.Detections`.
    """
    if not hasattr(detections, "xyxy"):
        raise TypeError(f"{_kind(detections)} has no xyxy; what is needed is a supervision.Detections")
    return _detections(detections.xyxy, detections.confidence, detections.class_id)


def from_torchvision(output: Mapping[str, Any]) -> Detections:
    """Return a dict of ``boxes``, ``scores`` and ``labels``, as detectors of torchvision give one for each picture.

    ``boxes`` are left, top, right, bottom in pixels. Without scores, as in targets, all are 1; without labels
    all are 0.

    Raises
    ------
    TypeError
        When it is not a mapping with boxes: a model gives a list, one a picture.
    ValueError
        As :class:`~tracker.structures.Detections`.
    """
    if not isinstance(output, Mapping) or "boxes" not in output:
        raise TypeError(f"{_kind(output)} has no key boxes; what is needed is the dict of one picture")
    return _detections(output["boxes"], output.get("scores"), output.get("labels"))


def from_motchallenge(path: Path | str, score_scale: ScoreScale = "unit") -> dict[int, Detections]:
    """Return the detections of a file of MOTChallenge text by frame number; frames without any are left out.

    Scores are as :func:`tracker.formats.table.unit_scores` takes them.

    Raises
    ------
    FormatError
        As :func:`tracker.formats.motchallenge.read_classed_detections`.
    """
    return read_detections(path, score_scale)


def from_kitti(path: Path | str, score_scale: ScoreScale = "unit") -> dict[int, Detections]:
    """Return the detections of a file of KITTI labels by frame number, the first being 1; ``DontCare`` is left out.

    Classes are labelled as :data:`tracker.formats.kitti.CLASSES` says; scores are as
    :func:`tracker.formats.table.unit_scores` takes them.

    Raises
    ------
    FormatError
        As :func:`tracker.formats.kitti.read_kitti_detections`.
    """
    return read_kitti_detections(path, score_scale)[0]


def _detections(boxes: Any, scores: Any, labels: Any) -> Detections:
    boxes_xyxy = np.asarray(_array(boxes), np.float64).reshape(-1, 4)
    flat = (boxes_xyxy[:, 2:] <= boxes_xyxy[:, :2]).any(axis=1)
    kept = ~(flat & np.isfinite(boxes_xyxy).all(axis=1))  # what is not finite is no clipping
    confidence = None if scores is None else np.asarray(_array(scores), np.float64)[kept]
    if labels is None:
        return Detections(boxes_xyxy[kept], confidence)
    classes = _array(labels)[kept]
    whole = classes.astype(np.int64)
    if (whole != classes).any():
        row = int(np.argmax(whole != classes))
        raise ValueError(f"classes row {row} is {classes[row]}; a class is a whole number")
    return Detections(boxes_xyxy[kept], confidence, whole)


def _array(values: Any) -> NDArray[Any]:
    """Return an array of a tensor, wherever it lives and whether or not it has a gradient."""
    for step in ("detach", "cpu", "numpy"):
        if hasattr(values, step):
            values = getattr(values, step)()
    return np.asarray(values)


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"
