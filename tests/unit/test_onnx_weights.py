"""A detector with real weights on a real video, where both are at hand."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from tracker.config import OnnxConfig
from tracker.detection.onnx import OnnxDetector
from tracker.formats.motchallenge import read_truth
from tracker.formats.table import TrackTable
from tracker.geometry import intersection_over_union, xyxy_to_ltwh
from tracker.structures import Detections

EVERY_FRAMES = 10


@pytest.fixture(scope="module")
def model() -> Path:
    """Return NanoDet-g for 416 x 416, trained on COCO."""
    path = Path(__file__).parents[3] / "shared" / "models" / "nanodet_g_coco_416x416.onnx"
    if not path.is_file():
        pytest.skip("real weights are not at hand (folder shared/models beside the project)")
    return path


@pytest.fixture(scope="module")
def images(data_root: Path) -> dict[int, np.ndarray]:
    """Return every tenth frame of vtest.avi by its number."""
    video = cv2.VideoCapture(str(data_root / "videos" / "vtest.avi"))
    frames = {}
    for index in count(1):
        if not video.grab():
            return frames
        if index % EVERY_FRAMES == 1:
            frames[index] = video.retrieve()[1]
    raise AssertionError


@pytest.fixture(scope="module")
def found(model: Path, images: dict[int, np.ndarray]) -> dict[int, Detections]:
    """Return what onnxruntime finds."""
    detector = OnnxDetector(OnnxConfig(model=model, classes=("person",), runtime="onnxruntime", letterbox="top_left"))
    return {index: detector.detect(image) for index, image in images.items()}


def precision_and_recall(found: dict[int, Detections], truth: TrackTable, least_score: float) -> tuple[float, float]:
    """Match boxes to truth in each frame, as many as overlap by half."""
    matches = boxes_found = boxes_true = 0
    for index, detections in found.items():
        boxes = xyxy_to_ltwh(detections.boxes_xyxy[detections.scores >= least_score])
        true = truth.boxes_ltwh[(truth.frames == index) & truth.flags]
        overlap = intersection_over_union(true, boxes)
        overlap[overlap < 0.5] = 0.0
        matches += int((overlap[linear_sum_assignment(-overlap)] > 0.0).sum())
        boxes_found, boxes_true = boxes_found + len(boxes), boxes_true + len(true)
    return matches / boxes_found, matches / boxes_true


@pytest.mark.parametrize(("least_score", "precision", "recall"), [(0.5, 0.91, 0.90), (0.4, 0.80, 0.91)])
def test_precision_and_recall_are_those_known_of_the_model(
    found: dict[int, Detections], data_root: Path, least_score: float, precision: float, recall: float
) -> None:
    truth = read_truth(data_root / "MOT15" / "PETS09-S2L1" / "gt" / "gt.txt")
    assert precision_and_recall(found, truth, least_score) == pytest.approx((precision, recall), abs=0.01)


def test_how_the_model_wants_its_input_is_read_from_its_graph(model: Path) -> None:
    assert "layout yolov8, 80 classes, input 416x416 bgr raw" in str(OnnxDetector(OnnxConfig(model=model)))


def test_opencv_finds_the_same(model: Path, images: dict[int, np.ndarray], found: dict[int, Detections]) -> None:
    detector = OnnxDetector(OnnxConfig(model=model, classes=("person",), runtime="opencv", letterbox="top_left"))
    for index in list(images)[::4]:
        theirs, ours = detector.detect(images[index]), found[index]
        # A score at the floor may fall on either side of it.
        sure_theirs, sure_ours = (each.select(each.scores > 0.11) for each in (theirs, ours))
        assert sure_theirs.boxes_xyxy == pytest.approx(sure_ours.boxes_xyxy, abs=0.01)
        assert sure_theirs.scores == pytest.approx(sure_ours.scores, abs=1e-4)
