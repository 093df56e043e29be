"""Every layout of a detector's output: told apart, decoded by hand, and the same by both runtimes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import constant_model

from tracker.config import OnnxConfig
from tracker.detection.layouts import Layout, decode, recognise
from tracker.detection.onnx import OnnxDetector
from tracker.errors import DetectorError

SIZE = (64, 64)
CELLS = 64 + 16 + 4  # of the grids of stride 8, 16 and 32
# Two objects: class 1 at (10, 12, 30, 52) with score .9, class 0 at (36, 20, 56, 44) with score .6.
BOXES = np.array([[10.0, 12.0, 30.0, 52.0], [36.0, 20.0, 56.0, 44.0]])
CENTRED = np.array([[20.0, 32.0, 20.0, 40.0], [46.0, 32.0, 20.0, 24.0]])
NAMES = {"names": "{0: 'red', 1: 'green', 2: 'blue'}"}


def table(rows: int, columns: int) -> np.ndarray:
    return np.zeros((1, rows, columns), np.float32)


def yolov5() -> dict[str, np.ndarray]:
    out = table(3 * CELLS, 8)
    out[0, :, :4] = (32.0, 32.0, 8.0, 8.0)
    out[0, 7] = [*CENTRED[0], 0.9, 0.0, 1.0, 0.2]
    out[0, 200] = [*CENTRED[1], 0.8, 0.75, 0.3, 0.0]
    return {"output": out}


def yolov8() -> dict[str, np.ndarray]:
    out = table(CELLS, 7)
    out[0, :, :4] = (32.0, 32.0, 8.0, 8.0)
    out[0, 7] = [*CENTRED[0], 0.1, 0.9, 0.2]
    out[0, 80] = [*CENTRED[1], 0.6, 0.3, 0.0]
    return {"output0": np.ascontiguousarray(out.transpose(0, 2, 1))}


def yolov8_rows() -> dict[str, np.ndarray]:
    return {"output0": np.ascontiguousarray(yolov8()["output0"].transpose(0, 2, 1))}


def grid() -> tuple[np.ndarray, np.ndarray]:
    cells = [(x, y) for side in (8, 4, 2) for y in range(side) for x in range(side)]
    strides = [8] * 64 + [16] * 16 + [32] * 4
    return np.array(cells, np.float32), np.array(strides, np.float32)[:, None]


def yolox() -> dict[str, np.ndarray]:
    out = table(CELLS, 8)
    cells, strides = grid()
    out[0, :, :2] = (cells + 0.3) * strides
    out[0, :, 2:4] = 2.0 * strides
    out[0, 34] = [*CENTRED[0], 0.9, 0.0, 1.0, 0.2]
    out[0, 37] = [*CENTRED[1], 0.8, 0.75, 0.3, 0.0]
    return {"output": out}


def yolox_raw() -> dict[str, np.ndarray]:
    out = table(CELLS, 8)
    out[0, :, :2] = 0.3
    # Row 34 is cell (2, 4) of stride 8: (2 + .5) 8 = 20, (4 + 0) 8 = 32, and so are 8 e^x the sizes.
    out[0, 34] = [0.5, 0.0, np.log(20 / 8), np.log(40 / 8), 0.9, 0.0, 1.0, 0.2]
    # Row 64 + 2 * 4 + 2 is cell (2, 2) of stride 16: (2 + .875) 16 = 46, 2 * 16 = 32.
    out[0, 74] = [0.875, 0.0, np.log(20 / 16), np.log(24 / 16), 0.8, 0.75, 0.3, 0.0]
    return {"output": out}


def rtdetr() -> dict[str, np.ndarray]:
    out = table(300, 7)
    out[0, :, :4] = 0.5
    out[0, :, 4:] = 0.01
    out[0, 3] = [*CENTRED[0] / 64, 0.1, 0.9, 0.2]
    out[0, 299] = [*CENTRED[1] / 64, 0.6, 0.3, 0.0]
    return {"output0": out}


def end_to_end() -> dict[str, np.ndarray]:
    out = table(300, 6)
    out[0, 0] = [*BOXES[0], 0.9, 1]
    out[0, 1] = [*BOXES[1], 0.6, 0]
    return {"output0": out}


def labelled() -> dict[str, np.ndarray]:
    boxes = np.tile(np.float32([1, 1, 60, 60]), (1, 300, 1))
    boxes[0, :2] = BOXES
    scores = np.zeros((1, 300), np.float32)
    scores[0, :2] = (0.9, 0.6)
    labels = np.zeros((1, 300), np.float32)
    labels[0, 0] = 1
    return {"labels": labels, "boxes": boxes, "scores": scores}


def ssd() -> dict[str, np.ndarray]:
    scores = np.tile(np.float32([1, 0, 0, 0]), (1, 100, 1))
    scores[0, 5] = (0.05, 0.03, 0.9, 0.02)
    scores[0, 6] = (0.2, 0.6, 0.1, 0.1)
    boxes = np.tile(np.float32([0.1, 0.1, 0.9, 0.9]), (1, 100, 1))
    boxes[0, 5:7] = BOXES / 64
    return {"scores": scores, "boxes": boxes}


def boxes_and_scores() -> dict[str, np.ndarray]:
    tables = ssd()
    tables["boxes"][..., :] *= 64
    return {"a": tables["boxes"], "b": np.ascontiguousarray(tables["scores"][..., 1:])}


@dataclass(frozen=True)
class Case:
    make: Callable[[], dict[str, np.ndarray]]
    layout: str
    feeding: str
    metadata: dict[str, str] = field(default_factory=lambda: NAMES)
    stated: dict[str, Any] = field(default_factory=dict)


CASES = {
    "yolov5": Case(yolov5, "yolov5", "rgb unit centre"),
    "yolov8": Case(yolov8, "yolov8", "rgb unit centre"),
    "yolov8, rows first": Case(yolov8_rows, "yolov8", "rgb unit centre"),
    "yolox": Case(yolox, "yolox", "bgr raw top_left"),
    "yolox_raw": Case(yolox_raw, "yolox_raw", "bgr raw top_left"),
    "rtdetr": Case(rtdetr, "rtdetr", "rgb unit stretch"),
    "end_to_end": Case(end_to_end, "end_to_end", "rgb unit centre"),
    "end_to_end, nameless": Case(end_to_end, "end_to_end", "rgb unit centre", {}),
    "labelled": Case(labelled, "labelled", "rgb unit stretch", {}),
    "ssd": Case(ssd, "ssd", "rgb symmetric stretch", stated={"input_scale": "symmetric"}),
    "ssd, nameless": Case(ssd, "ssd", "rgb imagenet stretch", {}, {"input_scale": "imagenet"}),
    "boxes and scores": Case(boxes_and_scores, "ssd", "rgb raw stretch", stated={"input_scale": "raw"}),
}


@pytest.mark.parametrize("runtime", ["onnxruntime", "opencv"])
@pytest.mark.parametrize("name", CASES)
def test_a_graph_of_each_layout_gives_its_boxes_by_both_runtimes(name: str, runtime: str, tmp_path: Path) -> None:
    case = CASES[name]
    model = constant_model(tmp_path / "m.onnx", case.make(), metadata=case.metadata)
    detector = OnnxDetector(OnnxConfig(model=model, runtime=runtime, **case.stated))
    assert f"layout {case.layout}," in str(detector)
    assert f"input 64x64 {case.feeding}, by" in str(detector)
    found = detector.detect(np.zeros((64, 64, 3), np.uint8))
    assert found.boxes_xyxy == pytest.approx(BOXES, abs=1e-4)
    assert found.scores == pytest.approx([0.9, 0.6], abs=1e-6)
    assert found.classes.tolist() == [1, 0]


@pytest.mark.parametrize("runtime", ["onnxruntime", "opencv"])
def test_a_graph_that_asks_for_the_size_is_told_width_and_height_of_its_input(runtime: str, tmp_path: Path) -> None:
    tables = labelled()
    tables["boxes"] /= 64
    model = constant_model(tmp_path / "m.onnx", tables, (96, 64), size_input=True)
    found = OnnxDetector(OnnxConfig(model=model, runtime=runtime)).detect(np.zeros((128, 96, 3), np.uint8))
    assert found.boxes_xyxy == pytest.approx(BOXES * np.array([96, 128, 96, 128]) / 64, abs=1e-4)


# ------------------------------------------------------------------------------------ told apart by shapes


def told(tables: dict[str, np.ndarray], **stated: Any) -> Layout:
    return recognise(list(tables), list(tables.values()), SIZE, **stated)


def refusal(tables: dict[str, np.ndarray], **stated: Any) -> str:
    with pytest.raises(DetectorError) as caught:
        told(tables, **stated)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("strides", "cells"), [((8, 16, 32), 84), ((8, 16, 32, 64), 85), ((4, 8, 16, 32), 340)], ids=str
)
def test_any_usual_set_of_strides_is_known(strides: tuple[int, ...], cells: int) -> None:
    assert sum((64 // s) ** 2 for s in strides) == cells
    plain = np.full((1, 10, cells), 20.0, np.float32)
    assert told({"o": plain}) == Layout("yolov8", 6, rows_last=True)
    anchored = np.full((1, 3 * cells, 11), 20.0, np.float32)
    assert told({"o": anchored}) == Layout("yolov5", 6)


def test_sides_that_no_stride_divides_have_a_cell_more() -> None:
    outputs = [np.full((1, 9, 9 * 8 + 5 * 4 + 3 * 2), 20.0, np.float32)]
    assert recognise(["o"], outputs, (65, 64)).name == "yolov8"


def test_feature_maps_that_come_besides_are_left_alone() -> None:
    heads = {**yolov5(), "head": np.zeros((1, 3, 8, 8, 8), np.float32)}
    assert told(heads, class_count=3) == Layout("yolov5", 3)


def test_masks_and_key_points_do_not_become_classes() -> None:
    segments = {"output0": np.full((1, 4 + 3 + 32, CELLS), 20.0, np.float32), "output1": np.zeros((1, 32, 16, 16))}
    assert told(segments, class_count=3, extras=True) == Layout("yolov8", 3, rows_last=True)
    assert "for 3 classes follow none" in refusal(segments, class_count=3)
    pose = np.zeros((1, 4 + 1 + 6, CELLS), np.float32)
    pose[0, :4] = 20.0
    pose[0, 4, 5], pose[0, 5:, 5] = 0.8, 33.0
    layout = told({"o": pose}, class_count=1, extras=True)
    _, scores, classes = decode(layout, [pose], 0, SIZE, 0.1)
    assert (scores.tolist(), classes.tolist()) == ([pytest.approx(0.8)], [0])


def test_ones_for_objectness_are_not_yolox() -> None:
    tables = yolox()
    tables["output"][..., 4] = 1.0
    assert told(tables, class_count=3).name == "yolov5"


def test_rows_that_may_be_of_two_layouts_are_refused_until_the_classes_are_named() -> None:
    rows = np.full((1, CELLS, 9), 20.0, np.float32)
    problem = refusal({"out": rows})
    assert "out (1, 84, 9) may be yolox or yolov8" in problem
    assert "state detection.onnx.layout" in problem
    assert told({"out": rows}, class_count=5).name == "yolov8"
    assert told({"out": yolox()["output"]}, class_count=3).name == "yolox"
    assert told({"out": rows}, stated="yolov8").name == "yolov8"


def test_without_names_80_classes_are_likelier_than_79_or_81() -> None:
    plain = recognise(["o"], [np.full((1, 336, 84), 20.0, np.float32)], (128, 128))
    assert plain == Layout("yolov8", 80)
    wide = recognise(["o"], [np.full((1, 336, 85), 20.0, np.float32)], (128, 128))
    assert (wide.name, wide.class_count) == ("yolox", 80)


def test_two_classes_of_queries_are_not_taken_for_scores_and_labels() -> None:
    queries = np.full((1, 300, 6), 0.25, np.float32)
    assert told({"o": queries}, class_count=2) == Layout("rtdetr", 2, relative=True)
    assert told({"o": end_to_end()["output0"]}, class_count=2).name == "end_to_end"


def test_a_stated_layout_wins_and_must_fit() -> None:
    assert told(yolox_raw(), stated="yolox_raw").name == "yolox_raw"
    assert told(yolox(), stated="yolox_raw").name == "yolox_raw"
    assert told(yolox_raw(), stated="yolox").name == "yolox"
    odd = np.full((1, 123, 9), 20.0, np.float32)
    assert told({"o": odd}, stated="yolov5") == Layout("yolov5", 4)
    problem = refusal(yolov8(), stated="end_to_end")
    assert "output0 (1, 7, 84) are not of the stated layout end_to_end" in problem
    assert "not of the stated layout yolox" in refusal({"o": odd}, stated="yolox")
    assert "for 9 classes" in refusal(yolov8(), stated="yolov8", class_count=9)


def test_what_follows_no_layout_is_refused_with_the_shapes() -> None:
    assert "a (1, 1000) follow none of the known layouts: yolov5, yolov8" in refusal({"a": np.zeros((1, 1000))})
    two = {"boxes": np.zeros((1, 9, 4)), "things": np.zeros((1, 9))}
    assert "boxes (1, 9, 4), things (1, 9)" in refusal(two)
    assert "for 7 classes" in refusal(ssd(), class_count=7)


def test_a_unit_of_boxes_that_no_box_shows_is_asked_for() -> None:
    empty = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, np.int64), "scores": np.zeros(0)}
    assert "state detection.onnx.box_unit" in refusal(empty)
    assert not told(empty, relative=False).relative
    assert told(empty, relative=True).relative


def test_boxes_and_scores_of_four_classes_are_told_apart_by_name() -> None:
    tables = {"scores": ssd()["scores"], "boxes": ssd()["boxes"]}
    assert told(tables).order == (1, 0)
    assert "none of the known" in refusal({"a": tables["scores"], "b": tables["boxes"]})


def test_ssd_boxes_may_be_centres_and_sizes_and_have_an_axis_more() -> None:
    boxes = np.tile(np.float32([0.5, 0.5, 0.2, 0.4]), (1, 9, 1, 1))
    scores = np.zeros((1, 9, 2), np.float32)
    scores[0, 4] = (0.7, 0.1)
    layout = told({"boxes": boxes, "confs": scores}, class_count=2)
    assert layout == Layout("ssd", 2, relative=True, order=(0, 1))
    found, found_scores, classes = decode(layout, [boxes, scores], 0, (100, 50), 0.1)
    assert found == pytest.approx(np.array([[40.0, 15.0, 60.0, 35.0]]), abs=1e-5)
    assert (found_scores.tolist(), classes.tolist()) == ([pytest.approx(0.7)], [0])


# ---------------------------------------------------------------------------------------------- decoding


def test_the_floor_holds_on_both_sides() -> None:
    layout = told(yolov8())
    for floor, count in [(0.9, 1), (0.91, 0), (0.6, 2), (0.61, 1)]:
        # float32 of .9 and .6 lie just below and above the doubles
        boxes, scores, classes = decode(layout, list(yolov8().values()), 0, SIZE, floor - 1e-6)
        assert len(boxes) == len(scores) == len(classes) == count


def test_each_picture_of_a_batch_gets_its_own_rows() -> None:
    for make in (yolov5, yolov8, yolox_raw, rtdetr, end_to_end, labelled, ssd):
        tables = make()
        layout = told(tables, class_count=3)
        outputs = [np.concatenate([np.zeros_like(array), array]) for array in tables.values()]
        boxes, _, classes = decode(layout, outputs, 1, SIZE, 0.5)
        assert boxes == pytest.approx(BOXES, abs=1e-4), make.__name__
        assert classes.tolist() == [1, 0]
        assert len(decode(layout, outputs, 0, SIZE, 0.5)[0]) == 0


def test_scores_that_are_logits_are_refused() -> None:
    out = yolov8()["output0"]
    out[0, 4:] = 3.5
    with pytest.raises(DetectorError, match=r"scores reach from 3\.5 to 3\.5; the graph must end in probabilities"):
        decode(told({"o": out}), [out], 0, SIZE, 0.1)


def test_rounding_above_one_is_no_fault() -> None:
    out = yolov8()["output0"]
    out[0, 5, 7] = 1.0 + 1e-6
    assert decode(told({"o": out}), [out], 0, SIZE, 0.1)[1].max() == 1.0
