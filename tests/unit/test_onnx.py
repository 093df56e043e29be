"""The neural detector: what the network is fed, and what becomes of what it gives."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_models import colour_model, constant_model, save_model

from tracker import Detections, track_video
from tracker.config import Config, OnnxConfig, check_config
from tracker.detection import graph as runtimes
from tracker.detection.feeding import Placement
from tracker.detection.nms import parts_of_wholes, suppress
from tracker.detection.onnx import OnnxDetector, tile_starts
from tracker.errors import ConfigurationError, DetectorError

RED, GREEN, BLUE = (0, 0, 255), (0, 255, 0), (255, 0, 0)
COLOURS: dict[str, Any] = {
    "layout": "yolox_raw",
    "colour_order": "rgb",
    "input_scale": "unit",
    "letterbox": "centre",
}
BOTH = pytest.mark.parametrize("runtime", ["onnxruntime", "opencv"])


def picture(width: int, height: int, *blocks: tuple[int, int, int, int, tuple[int, int, int]]) -> np.ndarray:
    """Return a grey picture with blocks of left, top, width, height, colour."""
    image = np.full((height, width, 3), 60, np.uint8)
    for left, top, block_width, block_height, colour in blocks:
        image[top : top + block_height, left : left + block_width] = colour
    return image


def sees(found: Detections, *boxes: tuple[float, float, float, float, int]) -> None:
    """Assert that these boxes with their classes, and no others, were found."""
    have = np.column_stack([np.round(found.boxes_xyxy, 3), found.classes])
    want = np.reshape(boxes, (-1, 5)).astype(float)
    assert sorted(have.tolist()) == [pytest.approx(box, abs=1e-2) for box in sorted(want.tolist())]


def detector(model: Path, **settings: Any) -> OnnxDetector:
    return OnnxDetector(OnnxConfig(model=model, **{**COLOURS, **settings}))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the colour model for 64 x 64."""
    return colour_model(tmp_path_factory.mktemp("models") / "small.onnx")


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the colour model for any size and number of pictures."""
    return colour_model(tmp_path_factory.mktemp("models") / "free.onnx", (None, None), batch=None)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Return the shapes of all pictures that onnxruntime is given from now on."""
    shapes: list[tuple[int, ...]] = []
    run = runtimes._OnnxRuntime.run

    def spy(self: Any, inputs: Any) -> Any:
        shapes.append(next(iter(inputs.values())).shape)
        return run(self, inputs)

    monkeypatch.setattr(runtimes._OnnxRuntime, "run", spy)
    return shapes


# ------------------------------------------------------------------------------------ what the network is fed


@BOTH
def test_colours_arrive_in_their_order(small: Path, runtime: str) -> None:
    image = picture(64, 64, (8, 8, 8, 8, RED), (40, 8, 8, 8, GREEN), (8, 40, 8, 8, BLUE))
    places = [(4, 4, 20, 20), (36, 4, 52, 20), (4, 36, 20, 52)]
    rgb = detector(small, runtime=runtime).detect(image)
    sees(rgb, *((*place, label) for place, label in zip(places, (0, 1, 2), strict=True)))
    assert rgb.scores == pytest.approx([1.0] * 3)
    bgr = detector(small, runtime=runtime, colour_order="bgr").detect(image)
    sees(bgr, *((*place, label) for place, label in zip(places, (2, 1, 0), strict=True)))


def echo_model(path: Path, dtype: int = TensorProto.FLOAT) -> Path:
    """Save an end-to-end graph whose box is the mean of each channel: at (-1000 + a, -1000 + b, 1000 + c, 1000)."""
    return save_model(
        path,
        [
            helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels"], ["means"], axes=[2, 3], keepdims=0),
            helper.make_node("Reshape", ["means", "shape"], ["row"]),
            helper.make_node("Concat", ["row", "nothing"], ["long"], axis=2),
            helper.make_node("Add", ["long", "box"], ["output"]),
        ],
        {"images": (dtype, (1, 3, 64, 64))},
        {"output": (TensorProto.FLOAT, (1, 1, 6))},
        {
            "shape": np.array([1, 1, 3], np.int64),
            "nothing": np.zeros((1, 1, 3), np.float32),
            "box": np.array([[[-1000, -1000, 1000, 1000, 0.9, 0]]], np.float32),
        },
    )


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize(
    ("scale", "expected_rgb"),
    [
        ("raw", [200, 120, 40]),
        ("unit", [200 / 255, 120 / 255, 40 / 255]),
        ("symmetric", [200 / 127.5 - 1, 120 / 127.5 - 1, 40 / 127.5 - 1]),
        ("imagenet", [(200 / 255 - 0.485) / 0.229, (120 / 255 - 0.456) / 0.224, (40 / 255 - 0.406) / 0.225]),
    ],
)
def test_ranges_of_the_input(scale: str, expected_rgb: list[float], order: str, tmp_path: Path) -> None:
    model = echo_model(tmp_path / "m.onnx")
    image = np.full((64, 64, 3), (40, 120, 200), np.uint8)
    found = OnnxDetector(OnnxConfig(model=model, input_scale=scale, colour_order=order)).detect(image)
    means = found.boxes_xyxy[0, :3] - (-1000, -1000, 1000)
    assert means == pytest.approx(expected_rgb[:: 1 if order == "rgb" else -1], abs=1e-3)


def test_half_precision_and_bytes(tmp_path: Path) -> None:
    image = np.full((64, 64, 3), (40, 120, 200), np.uint8)
    half = OnnxDetector(OnnxConfig(model=echo_model(tmp_path / "half.onnx", TensorProto.FLOAT16)))
    assert half.detect(image).boxes_xyxy[0, 0] == pytest.approx(-1000 + 200 / 255, abs=1e-2)
    whole = OnnxDetector(OnnxConfig(model=echo_model(tmp_path / "whole.onnx", TensorProto.UINT8)))
    assert "rgb raw centre" in str(whole)
    assert whole.detect(image).boxes_xyxy[0, 0] == pytest.approx(-800)


@BOTH
@pytest.mark.parametrize(
    ("letterbox", "block", "box"),
    [
        # 128 x 64 in 64 x 64. Kept in shape it is half as large, with 16 px above and below or 32 below.
        ("centre", (32, 32, 16, 16), (24, 24, 56, 56)),
        ("top_left", (32, 32, 16, 16), (24, 24, 56, 56)),
        ("stretch", (32, 32, 16, 8), (24, 28, 56, 44)),
    ],
)
def test_boxes_come_back_from_the_letterbox(
    small: Path, runtime: str, letterbox: str, block: tuple[int, ...], box: tuple[float, ...]
) -> None:
    image = picture(128, 64, (*block, GREEN))
    sees(detector(small, runtime=runtime, letterbox=letterbox).detect(image), (*box, 1))


@given(
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    st.tuples(st.integers(32, 700), st.integers(32, 700)),
    st.sampled_from(["centre", "top_left", "stretch"]),
)
def test_a_picture_lies_within_the_input_in_its_shape(size: Any, input_size: Any, letterbox: Any) -> None:
    place = Placement.of(*size, *input_size, letterbox)
    inner = np.array([place.inner_width_px, place.inner_height_px])
    corner = np.array([place.left_px, place.top_px])
    assert (corner >= 0).all()
    assert (corner + inner <= input_size).all()
    assert (inner == input_size).any()
    if letterbox != "stretch":
        assert np.abs(inner - np.array(size) * min(np.array(input_size) / size)).max() <= 1.0
    if letterbox == "centre":
        assert (np.abs(np.array(input_size) - inner - 2 * corner) <= 1).all()
    back = place.undo(np.concatenate([corner, corner + inner])[None].astype(float))
    assert back[0] == pytest.approx([0, 0, *size])


def test_padding_is_grey(tmp_path: Path) -> None:
    model = echo_model(tmp_path / "m.onnx")
    found = OnnxDetector(OnnxConfig(model=model, input_scale="raw")).detect(np.full((32, 64, 3), 14, np.uint8))
    assert found.boxes_xyxy[0, 0] == pytest.approx(-1000 + (14 + 114) / 2)


@BOTH
def test_a_graph_of_free_size_gets_no_more_padding_than_its_strides_ask_for(free: Path, runtime: str) -> None:
    image = picture(192, 100, (160, 80, 8, 8, RED))
    once = detector(free, runtime=runtime, longest_side_px=192, letterbox="top_left")
    sees(once.detect(image), (156, 76, 172, 92, 0))
    sees(once.detect(picture(100, 192, (80, 160, 8, 8, RED))), (76, 156, 92, 172, 0))


def test_the_free_size_is_that_of_the_configuration_or_the_metadata_or_640(
    tmp_path: Path, free: Path, batches: list[tuple[int, ...]]
) -> None:
    imgsz = {"imgsz": "[96, 160]", "stride": "32"}
    exported = colour_model(tmp_path / "m.onnx", (None, None), metadata=imgsz)
    for model, settings, side in [(exported, {"longest_side_px": 200}, 224), (exported, {}, 160), (free, {}, 640)]:
        batches.clear()
        detector(model, **settings).detect(picture(200, 100))
        assert batches == [(1, 3, side, side), (1, 3, -(-side // 2 // 32) * 32, side)]


# --------------------------------------------------------------------------------------- several at a time


def test_batches_give_what_single_pictures_give(free: Path, batches: list[tuple[int, ...]]) -> None:
    images = [picture(64, 64, (8 * k, 16, 8, 8, (RED, GREEN, BLUE)[k % 3])) for k in range(5)]
    one = detector(free, longest_side_px=64)
    assert one.batch_frames == 1
    expected = [one.detect(image) for image in images]
    many = detector(free, longest_side_px=64, batch_frames=2)
    assert many.batch_frames == 2
    batches.clear()
    found = many.detect_batch(images)
    assert [shape[0] for shape in batches] == [2, 2, 1]
    for have, want in zip(found, expected, strict=True):
        np.testing.assert_array_equal(have.boxes_xyxy, want.boxes_xyxy)
        np.testing.assert_array_equal(have.classes, want.classes)
        assert len(have) == 1


def test_where_the_batch_is_fixed_or_opencv_runs_pictures_go_one_by_one(small: Path, free: Path) -> None:
    assert detector(small, batch_frames=8).batch_frames == 1
    assert detector(free, batch_frames=8, runtime="opencv", longest_side_px=64).batch_frames == 1


def test_a_graph_of_several_pictures_gets_its_number(tmp_path: Path, batches: list[tuple[int, ...]]) -> None:
    model = colour_model(tmp_path / "m.onnx", batch=3)
    sees(detector(model).detect(picture(64, 64, (8, 8, 8, 8, RED))), (4, 4, 20, 20, 0))
    assert batches == [(3, 3, 64, 64)] * 2


def test_pictures_of_several_sizes_may_come_together(free: Path) -> None:
    images = [picture(64, 64, (8, 8, 8, 8, RED)), picture(64, 32, (40, 16, 8, 8, BLUE)), picture(64, 64)]
    found = detector(free, longest_side_px=64, batch_frames=4).detect_batch(images)
    sees(found[0], (4, 4, 20, 20, 0))
    sees(found[1], (36, 12, 52, 28, 2))
    sees(found[2])


def test_a_run_looks_at_batches_and_gives_the_same_tracks(free: Path, tmp_path: Path, batches: list[Any]) -> None:
    for k in range(7):
        cv2.imwrite(str(tmp_path / f"{k:06d}.png"), picture(64, 64, (8 * k, 16, 8, 8, RED)))
    onnx = {"model": str(free), "longest_side_px": 64, **COLOURS}

    def tracks(**settings: Any) -> list[tuple[int, list[Any]]]:
        config = check_config({"detection": {"kind": "onnx", "onnx": {**onnx, **settings}}}, "test")
        return [(frame.index, tracks.boxes_xyxy.tolist()) for frame, tracks in track_video(tmp_path, config)]

    alone = tracks()
    assert [index for index, _ in alone] == list(range(1, 8))
    batches.clear()
    assert tracks(batch_frames=3) == alone
    assert [shape[0] for shape in batches] == [1, 3, 3, 1]


# ---------------------------------------------------------------------------------- what is kept of the output


def test_low_scores_are_kept_down_to_the_floor(small: Path) -> None:
    dim = (0, 0, round(255 * 0.575))  # a score of .15
    image = picture(64, 64, (8, 8, 8, 8, RED), (40, 40, 8, 8, dim))
    assert detector(small).detect(image).scores == pytest.approx([1.0, 0.15], abs=0.01)
    assert len(detector(small, score_floor=0.2).detect(image)) == 1


def test_classes_are_chosen_by_name_or_number(small: Path) -> None:
    image = picture(64, 64, (8, 8, 8, 8, RED), (40, 8, 8, 8, GREEN), (8, 40, 8, 8, BLUE))
    assert detector(small).class_names == {0: "red", 1: "green", 2: "blue"}
    for classes, expected in [(("red",), {0}), (("Blue", "green"), {1, 2}), (("2",), {2}), ((), {0, 1, 2})]:
        chosen = detector(small, classes=classes)
        assert set(chosen.detect(image).classes.tolist()) == set(chosen.class_names) == expected


def test_a_class_that_is_not_the_models_is_refused_with_the_nearest(small: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"small\.onnx has no class grene; did you mean green\?"):
        detector(small, classes=("red", "grene"))
    with pytest.raises(ConfigurationError, match="has no class 3; there are red, green, blue"):
        detector(small, classes=("3",))
    boxes = np.zeros((1, 9, 6), np.float32)
    nameless = constant_model(tmp_path / "m.onnx", {"output": boxes})
    with pytest.raises(ConfigurationError, match=r"does not name its classes; give numbers, or detection\.onnx"):
        OnnxDetector(OnnxConfig(model=nameless, classes=("person",)))
    assert OnnxDetector(OnnxConfig(model=nameless, classes=("7",))).class_names == {}
    stated = OnnxDetector(OnnxConfig(model=nameless, class_names=("person", "head"), classes=("head",)))
    assert stated.class_names == {1: "head"}


def test_80_classes_without_names_are_cocos(tmp_path: Path) -> None:
    table = np.zeros((1, 84, 84), np.float32)
    table[0, :4] = 20.0
    names = OnnxDetector(OnnxConfig(model=constant_model(tmp_path / "m.onnx", {"output": table}))).class_names
    assert (len(names), names[0], names[2], names[79]) == (80, "person", "car", "toothbrush")


@pytest.mark.parametrize("metadata", [{"task": "segment"}, {}], ids=["task told", "masks besides"])
def test_coefficients_of_masks_do_not_count_as_classes(metadata: dict[str, str], tmp_path: Path) -> None:
    table = np.full((1, 84, 4 + 3 + 32), 5.0, np.float32)
    table[0, :, 4:7] = 0.0
    table[0, 9, 4:7] = (0.1, 0.8, 0.2)
    tables = {
        "output0": np.ascontiguousarray(table.transpose(0, 2, 1)),
        "output1": np.zeros((1, 32, 16, 16), np.float32),
    }
    model = constant_model(tmp_path / "m.onnx", tables, metadata={"names": "['a', 'b', 'c']", **metadata})
    sees(OnnxDetector(OnnxConfig(model=model)).detect(picture(64, 64)), (2.5, 2.5, 7.5, 7.5, 1))


def test_boxes_in_the_padding_or_without_area_are_left_out(tmp_path: Path) -> None:
    rows = [
        [0, 40, 64, 60, 0.9, 0],  # below the picture, which ends at 32
        [10, 10, 10, 20, 0.9, 0],
        [10, 10, 20, 20, 0.9, 1],
        [-5, 30, 5, 40, 0.9, 0],  # across its edges
    ]
    model = constant_model(tmp_path / "m.onnx", {"output": np.array([rows], np.float32)})
    found = OnnxDetector(OnnxConfig(model=model, letterbox="top_left")).detect(picture(64, 32))
    sees(found, (10, 10, 20, 20, 1), (-5, 30, 5, 40, 0))


def test_boxes_that_are_no_numbers_are_an_error(tmp_path: Path) -> None:
    table = np.zeros((1, 300, 6), np.float32)
    table[0, 0] = (1, 1, 50, np.inf, 0.9, 0)
    model = constant_model(tmp_path / "m.onnx", {"output": table})
    with pytest.raises(DetectorError, match=r"m\.onnx: the graph gives boxes that are not finite"):
        OnnxDetector(OnnxConfig(model=model)).detect(picture(64, 64))


def overlapping(path: Path, layout: str) -> OnnxDetector:
    """Return a detector of two boxes of one class, and one of another, on nearly the same place."""
    rows = [(10, 10, 30, 30, 0.9, 0), (11, 10, 31, 30, 0.8, 0), (12, 10, 32, 30, 0.7, 1)]
    if layout == "end_to_end":
        return OnnxDetector(OnnxConfig(model=constant_model(path, {"output": np.array([rows], np.float32)})))
    table = np.zeros((1, 84, 7), np.float32)
    table[0, :, :4] = 32.0
    for k, (left, top, right, bottom, score, label) in enumerate(rows):
        table[0, k, :4] = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
        table[0, k, 4 + label] = score
    model = constant_model(path, {"output": table}, metadata={"names": "['a', 'b', 'c']"})
    return OnnxDetector(OnnxConfig(model=model, nms_across_classes=layout.endswith("across")))


@pytest.mark.parametrize(
    ("layout", "scores"), [("yolov8", [0.9, 0.7]), ("yolov8 across", [0.9]), ("end_to_end", [0.9, 0.8, 0.7])]
)
def test_what_overlaps_is_suppressed_in_each_class_where_the_model_leaves_it_open(
    layout: str, scores: list[float], tmp_path: Path
) -> None:
    found = overlapping(tmp_path / "m.onnx", layout).detect(picture(64, 64))
    assert found.scores == pytest.approx(scores)


def greedy(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, iou: float) -> list[int]:
    """Return what suppression keeps, by its definition."""
    kept: list[int] = []
    for row in np.argsort(-scores, kind="stable").tolist():
        for other in kept:
            if classes[row] == classes[other]:
                inner = np.clip(
                    np.minimum(boxes[row, 2:], boxes[other, 2:]) - np.maximum(boxes[row, :2], boxes[other, :2]), 0, None
                ).prod()
                areas = (boxes[[row, other], 2:] - boxes[[row, other], :2]).prod(axis=1).sum()
                if inner / (areas - inner) > iou:
                    break
        else:
            kept.append(row)
    return kept


@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.floats(0.2, 0.8))
def test_suppression_follows_its_definition(seed: int, count: int, iou: float) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-60, 60, (count, 2))
    boxes = np.hstack([corners, corners + rng.uniform(5, 60, (count, 2))])
    scores, classes = rng.permutation(np.linspace(0.1, 1.0, count)), rng.integers(0, 3, count)
    assert suppress(boxes, scores, classes, iou).tolist() == greedy(boxes, scores, classes, iou)
    across = suppress(boxes, scores, classes, iou, across_classes=True)
    assert across.tolist() == greedy(boxes, scores, np.zeros(count), iou)


# ------------------------------------------------------------------------------------------------------ tiles


@given(st.integers(1, 5000), st.integers(64, 1500), st.floats(0.0, 0.9))
def test_tiles_cover_the_side_and_overlap_as_asked(length: int, tile: int, overlap: float) -> None:
    starts = tile_starts(length, tile, overlap)
    assert starts[0] == 0
    assert starts[-1] == max(0, length - tile)
    assert all(b - a <= tile * (1.0 - overlap) + 1.0 for a, b in pairwise(starts))
    fewer = len(starts) - 1
    assert fewer == 0 or tile + (fewer - 1) * tile * (1.0 - overlap) < length + 1e-6


def test_small_objects_are_seen_in_tiles_once_each(small: Path) -> None:
    image = picture(256, 128, (200, 40, 8, 8, GREEN), (8, 8, 8, 8, RED))
    sees(detector(small).detect(image))
    # The green block lies in several tiles, at whose borders its box of 16 px is cut.
    sees(detector(small, tile_px=64).detect(image), (196, 36, 212, 52, 1), (4, 4, 20, 20, 0))


def test_what_the_whole_picture_shows_is_not_lost_in_tiles(small: Path) -> None:
    image = picture(256, 128, (128, 64, 32, 32, BLUE))
    whole = detector(small).detect(image)
    sees(whole, (112, 48, 176, 112, 2))
    boxes = detector(small, tile_px=64).detect(image)
    assert (112, 48, 176, 112) in [tuple(np.round(box, 3)) for box in boxes.boxes_xyxy]


def test_a_picture_no_larger_than_a_tile_has_none(small: Path, batches: list[Any]) -> None:
    tiled = detector(small, tile_px=128)
    batches.clear()
    tiled.detect(picture(128, 100))
    assert len(batches) == 1


def test_parts_go_where_a_whole_of_their_class_covers_them() -> None:
    boxes = np.array(
        [
            [0, 0, 20, 40],  # whole
            [0, 0, 20, 10],  # a part of it
            [0, 0, 20, 10],  # of another class
            [10, 0, 30, 40],  # half in the whole, cut
            [0, 0, 20, 10],  # not cut
            [100, 0, 120, 10],  # a part of nothing
        ],
        float,
    )
    classes = np.array([1, 1, 2, 1, 1, 1])
    cut = np.array([False, True, True, True, False, True])
    assert parts_of_wholes(boxes, classes, cut).tolist() == [False, True, False, False, False, False]
    assert parts_of_wholes(np.empty((0, 4)), np.empty(0, np.int64), np.empty(0, np.bool_)).tolist() == []


# -------------------------------------------------------------------------------------------- through the run


def crossing(folder: Path) -> Path:
    """Write a red and a blue block that walk through each other, at a place of one row of cells."""
    folder.mkdir()
    for k in range(16):
        blocks = (8 * k, 32, 8, 8, RED), (120 - 8 * k, 32, 8, 8, BLUE)
        cv2.imwrite(str(folder / f"{k:06d}.png"), picture(128, 64, *blocks))
    return folder


def relay(folder: Path) -> Path:
    """Write a red block that walks and turns blue half way."""
    folder.mkdir()
    for k in range(16):
        cv2.imwrite(str(folder / f"{k:06d}.png"), picture(128, 64, (8 * k, 32, 8, 8, RED if k < 8 else BLUE)))
    return folder


def classes_of_ids(folder: Path, model: Path, **tracking: Any) -> dict[int, set[int]]:
    tree = {"detection": {"kind": "onnx", "onnx": {"model": str(model), **COLOURS}}, "tracking": tracking}
    seen: dict[int, set[int]] = {}
    for _, tracks in track_video(folder, check_config(tree, "test")):
        for track_id, label in zip(tracks.ids.tolist(), tracks.classes.tolist(), strict=True):
            seen.setdefault(track_id, set()).add(label)
    return seen


def test_identities_keep_to_their_class(tmp_path: Path) -> None:
    model = colour_model(tmp_path / "m.onnx", (128, 64))
    assert sorted(classes_of_ids(crossing(tmp_path / "crossing"), model).values(), key=min) == [{0}, {2}]
    folder = relay(tmp_path / "relay")
    assert sorted(classes_of_ids(folder, model).values(), key=min) == [{0}, {2}]
    assert len(classes_of_ids(folder, model, class_agnostic=True)) == 1


# ------------------------------------------------------------------------------------------------- refusals


def problem(make: Callable[[], object]) -> str:
    with pytest.raises((DetectorError, ConfigurationError)) as caught:
        make()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_model_must_be_named() -> None:
    config = Config.model_validate({"detection": {"kind": "onnx"}})
    assert "--model (detection.onnx.model) must name" in problem(lambda: OnnxDetector(config.detection.onnx))


@pytest.mark.parametrize("task", ["classify", "obb"])
def test_a_model_for_something_else_is_refused(task: str, tmp_path: Path) -> None:
    table = {"output": np.zeros((1, 300, 6), np.float32)}
    model = constant_model(tmp_path / "m.onnx", table, metadata={"task": task})
    assert f"is made to {task}; a detector of upright boxes" in problem(lambda: OnnxDetector(OnnxConfig(model=model)))


def test_an_input_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    def saved(shape: tuple[int, ...]) -> Path:
        node = helper.make_node("Identity", ["x"], ["y"])
        kinds = {"x": (TensorProto.FLOAT, shape)}, {"y": (TensorProto.FLOAT, shape)}
        return save_model(tmp_path / "m.onnx", [node], *kinds, {})

    for shape, text in [((1, 64, 64, 3), "(1, 64, 64, 3)"), ((1, 10), "(1, 10)"), ((1, 1, 64, 64), "(1, 1, 64, 64)")]:
        told = problem(lambda shape=shape: OnnxDetector(OnnxConfig(model=saved(shape))))
        assert f"input x {text} is no picture; it must be (batch, 3, height, width)" in told


def test_an_input_besides_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["images", "im_scale"], ["y"])
    inputs = {"images": (TensorProto.FLOAT, (1, 3, 64, 64)), "im_scale": (TensorProto.FLOAT, (1, 1, 1, 1))}
    model = save_model(tmp_path / "m.onnx", [node], inputs, {"y": (TensorProto.FLOAT, (1, 3, 64, 64))}, {})
    assert "what input im_scale wants is not known" in problem(lambda: OnnxDetector(OnnxConfig(model=model)))


def test_names_that_are_no_list_are_refused_unless_stated(tmp_path: Path) -> None:
    table = {"output": np.zeros((1, 300, 6), np.float32)}
    model = constant_model(tmp_path / "m.onnx", table, metadata={"names": "person; car"})
    assert "state detection.onnx.class_names" in problem(lambda: OnnxDetector(OnnxConfig(model=model)))
    assert OnnxDetector(OnnxConfig(model=model, class_names=("person", "car"))).class_names[1] == "car"


def test_a_scale_that_nothing_tells_is_asked_for(tmp_path: Path) -> None:
    tables = {"boxes": np.full((1, 9, 4), 0.5, np.float32), "scores": np.zeros((1, 9, 3), np.float32)}
    model = constant_model(tmp_path / "m.onnx", tables)
    assert "state detection.onnx.input_scale" in problem(lambda: OnnxDetector(OnnxConfig(model=model)))


def test_logits_are_refused_before_the_first_frame(tmp_path: Path) -> None:
    table = np.full((1, 84, 7), -3.0, np.float32)
    model = constant_model(tmp_path / "m.onnx", {"o": table}, metadata={"names": "['a', 'b', 'c']"})
    assert "scores reach from -3 to -3" in problem(lambda: OnnxDetector(OnnxConfig(model=model)))


def test_runtimes_that_are_not_there_are_refused(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "has no provider cpuu; did you mean cpu?" in problem(lambda: detector(small, providers=("cpuu",)))
    assert "by onnxruntime (CPU)" in str(detector(small, providers=("CPUExecutionProvider",)))
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(runtimes, "find_spec", lambda name: None if name == "onnxruntime" else find_spec(name))
    assert "by OpenCV" in str(detector(small))
    assert "which is not installed: pip install" in problem(lambda: detector(small, runtime="onnxruntime"))
    assert "providers are onnxruntime's" in problem(lambda: detector(small, providers=("cuda",)))


@BOTH
def test_a_graph_that_a_runtime_cannot_run_is_one_line(
    runtime: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtimes, "find_spec", lambda name: None if runtime == "opencv" else object())
    node = helper.make_node("Imaginary", ["images"], ["y"], domain="nowhere")
    inputs = {"images": (TensorProto.FLOAT, (1, 3, 64, 64))}
    model = save_model(tmp_path / "m.onnx", [node], inputs, {"y": (TensorProto.FLOAT, (1, 9, 6))}, {})
    told = problem(lambda: OnnxDetector(OnnxConfig(model=model)))
    assert f"m.onnx: {'OpenCV' if runtime == 'opencv' else 'onnxruntime'} cannot " in told
    assert ("pip install 'gmm-tracker[onnx]'" in told) == (runtime == "opencv")
    assert capfd.readouterr() == ("", "")
