"""Features by a network, with graphs whose vectors are known."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.onnx_models import save_model
from tracker.config import IMAGENET_DEVIATION_RGB, IMAGENET_MEAN_RGB, EmbeddingConfig
from tracker.detection.embedding import Embedding
from tracker.errors import ConfigurationError, DetectorError
from tracker.structures import Detections

RUNTIMES = ["opencv", *(["onnxruntime"] if find_spec("onnxruntime") else [])]
WIDTH_PX, HEIGHT_PX = 8, 16
BGR = ((200, 40, 10), (10, 220, 90), (0, 0, 255))


def mean_colour(path: Path, batch: int | str = 1, size: tuple[int | str, int | str] = (HEIGHT_PX, WIDTH_PX)) -> Path:
    """Save a graph that gives the mean of each channel."""
    nodes = [helper.make_node("ReduceMean", ["images"], ["vectors"], axes=[2, 3], keepdims=0)]
    inputs = {"images": (TensorProto.FLOAT, (batch, 3, *size))}
    return save_model(path, nodes, inputs, {"vectors": (TensorProto.FLOAT, (batch, 3))}, {})


def scene() -> tuple[np.ndarray, Detections]:
    """Return a black picture with plain boxes in it, the last beyond its border by a half."""
    image = np.zeros((60, 100, 3), np.uint8)
    boxes = [[5.0, 5.0, 25.0, 45.0], [40.5, 10.25, 60.0, 50.75], [80.0, 20.0, 120.0, 40.0]]
    for (left, top, right, bottom), colour in zip(boxes, BGR, strict=True):
        image[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))] = colour
    return image, Detections(boxes)


def features(embedding: Embedding, image: np.ndarray, detections: Detections) -> np.ndarray:
    return embedding.features(image, detections, score_floor=0.2, least_visible=0.3)


EXPECTED = (np.array(BGR)[:, ::-1] / 255.0 - IMAGENET_MEAN_RGB) / IMAGENET_DEVIATION_RGB


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("batch", [1, 2, "batch"])
def test_each_box_is_cut_out_normalised_and_embedded(tmp_path: Path, runtime: str, batch: int | str) -> None:
    model = mean_colour(tmp_path / "model.onnx", batch)
    embedding = Embedding(EmbeddingConfig(model=model, runtime=runtime, batch_boxes=2))
    np.testing.assert_allclose(features(embedding, *scene()), EXPECTED, atol=1e-5)
    assert str(embedding).startswith("model.onnx: vectors of 3, input 8x16 rgb imagenet stretch, by ")


def test_order_of_channels_mean_and_deviation_may_be_stated(tmp_path: Path) -> None:
    settings = EmbeddingConfig(
        model=mean_colour(tmp_path / "model.onnx"),
        colour_order="bgr",
        mean=(0.1, 0.2, 0.3),
        deviation=(1.0, 2.0, 4.0),
        runtime="opencv",
    )
    expected = (np.array(BGR) / 255.0 - (0.3, 0.2, 0.1)) / (4.0, 2.0, 1.0)
    np.testing.assert_allclose(features(Embedding(settings), *scene()), expected, atol=1e-5)


def test_a_graph_that_normalises_is_given_what_it_takes(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Sub", ["images", "mean"], ["less"]),
        helper.make_node("ReduceMean", ["less"], ["vectors"], axes=[2, 3], keepdims=0),
    ]
    mean = np.array([123.7, 116.3, 103.5], np.float32).reshape(1, 3, 1, 1)
    inputs = {"images": (TensorProto.FLOAT, (1, 3, HEIGHT_PX, WIDTH_PX))}
    model = save_model(tmp_path / "m.onnx", nodes, inputs, {"vectors": (TensorProto.FLOAT, (1, 3))}, {"mean": mean})
    found = features(Embedding(EmbeddingConfig(model=model, runtime="opencv")), *scene())
    np.testing.assert_allclose(found, np.array(BGR)[:, ::-1] - mean.ravel(), atol=1e-3)


def test_what_is_covered_weak_or_outside_has_no_look(tmp_path: Path) -> None:
    embedding = Embedding(EmbeddingConfig(model=mean_colour(tmp_path / "model.onnx"), runtime="opencv"))
    image, _ = scene()
    boxes = [[5, 5, 25, 45], [0, 10, 30, 50], [5, 5, 25, 45], [200, 5, 220, 45]]
    found = features(embedding, image, Detections(boxes, [0.9, 0.9, 0.1, 0.9]))
    assert found.any(axis=1).tolist() == [False, True, False, False]


def test_nobody_is_no_features(tmp_path: Path) -> None:
    embedding = Embedding(EmbeddingConfig(model=mean_colour(tmp_path / "model.onnx"), runtime="opencv"))
    assert features(embedding, scene()[0], Detections.empty()).shape == (0, 3)


def test_a_network_must_be_named() -> None:
    with pytest.raises(ConfigurationError, match=r"tracking.appearance is onnx: detection.embedding.model must name"):
        Embedding(EmbeddingConfig())


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=r"none.onnx: cannot be read"):
        Embedding(EmbeddingConfig(model=tmp_path / "none.onnx"))


def test_pictures_of_any_size_are_refused(tmp_path: Path) -> None:
    model = mean_colour(tmp_path / "model.onnx", size=("height", "width"))
    with pytest.raises(DetectorError, match="takes pictures of any size"):
        Embedding(EmbeddingConfig(model=model))


def test_a_graph_that_takes_no_picture_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["words"], ["vectors"])]
    inputs = {"words": (TensorProto.FLOAT, (1, 7))}
    model = save_model(tmp_path / "model.onnx", nodes, inputs, {"vectors": (TensorProto.FLOAT, (1, 7))}, {})
    with pytest.raises(DetectorError, match=r"input words \(1, 7\) is no picture"):
        Embedding(EmbeddingConfig(model=model))


def test_a_detector_is_no_embedding(tmp_path: Path) -> None:
    nodes = [helper.make_node("MaxPool", ["images"], ["boxes"], kernel_shape=[2, 2], strides=[2, 2])]
    inputs = {"images": (TensorProto.FLOAT, (1, 3, HEIGHT_PX, WIDTH_PX))}
    model = save_model(tmp_path / "model.onnx", nodes, inputs, {"boxes": (TensorProto.FLOAT, (1, 3, 8, 4))}, {})
    with pytest.raises(DetectorError, match=r"model.onnx: gives 1x3x8x4 for 1 picture; a network that embeds"):
        Embedding(EmbeddingConfig(model=model, runtime="opencv"))


def test_axes_of_one_do_not_matter(tmp_path: Path) -> None:
    nodes = [helper.make_node("ReduceMean", ["images"], ["vectors"], axes=[2, 3], keepdims=1)]
    inputs = {"images": (TensorProto.FLOAT, (1, 3, HEIGHT_PX, WIDTH_PX))}
    model = save_model(tmp_path / "model.onnx", nodes, inputs, {"vectors": (TensorProto.FLOAT, (1, 3, 1, 1))}, {})
    embedding = Embedding(EmbeddingConfig(model=model, runtime="opencv"))
    np.testing.assert_allclose(features(embedding, *scene()), EXPECTED, atol=1e-5)


def test_vectors_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Div", ["mean", "zero"], ["vectors"]),
    ]
    inputs = {"images": (TensorProto.FLOAT, (1, 3, HEIGHT_PX, WIDTH_PX))}
    zero = {"zero": np.zeros(1, np.float32)}
    model = save_model(tmp_path / "model.onnx", nodes, inputs, {"vectors": (TensorProto.FLOAT, (1, 3))}, zero)
    with pytest.raises(DetectorError, match="vectors that are not finite"):
        Embedding(EmbeddingConfig(model=model))


def test_providers_that_are_not_there_are_told_by_their_key(tmp_path: Path) -> None:
    settings = EmbeddingConfig(model=mean_colour(tmp_path / "model.onnx"), runtime="opencv", providers=("cuda",))
    with pytest.raises(DetectorError, match=r"detection.embedding.providers are onnxruntime's"):
        Embedding(settings)
