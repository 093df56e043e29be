"""What is read from an ONNX file without a library for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_models import colour_model, save_model

from tracker.detection.graph import Graph, Tensor, read_graph
from tracker.errors import DetectorError

MEAN_RGB, DEVIATION_RGB = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def test_inputs_outputs_and_metadata_are_those_that_onnx_reads(tmp_path: Path) -> None:
    path = colour_model(tmp_path / "m.onnx", (None, 64), batch=None, metadata={"stride": "32", "author": "Ö"})
    graph, theirs = read_graph(path), onnx.load(str(path))
    assert graph.metadata == {entry.key: entry.value for entry in theirs.metadata_props}
    assert graph.inputs == (Tensor("images", np.float32, (None, 3, 64, None)),)
    assert graph.outputs == (Tensor("output", np.float32, (None, None, 8)),)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8, TensorProto.INT64])
def test_types(kind: int, tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    path = save_model(tmp_path / "m.onnx", [node], {"x": (kind, (1, 2))}, {"y": (kind, (1, 2))}, {})
    assert read_graph(path).inputs[0].dtype is helper.tensor_dtype_to_np_dtype(kind).type
    text = save_model(tmp_path / "s.onnx", [node], {"x": (TensorProto.STRING, (1,))}, {"y": (kind, None)}, {})
    assert read_graph(text).inputs[0].dtype is None
    assert read_graph(text).outputs[0].shape == ()


def test_weights_that_stand_among_the_inputs_are_none(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["x", "w"], ["y"])
    shape = (TensorProto.FLOAT, (1, 3, 8, 8))
    weights = {"w": np.ones((1, 3, 8, 8), np.float32)}
    path = save_model(tmp_path / "m.onnx", [node], {"w": shape, "x": shape}, {"y": shape}, weights)
    assert [tensor.name for tensor in read_graph(path).inputs] == ["x"]


def graph_of(path: Path, steps: list[tuple[str, Any]], *, how: str = "initializer", cast: bool = False) -> Graph:
    """Return the graph that puts its picture through arithmetic with constants, then a convolution."""
    nodes, constants, last = [], {"w": np.zeros((1, 3, 1, 1), np.float32)}, "images"
    if cast:
        nodes.append(helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT))
        last = "pixels"
    for k, (operator, values) in enumerate(steps):
        array = np.array(values, np.float32)
        array = array.reshape(1, -1, 1, 1) if array.ndim else array
        name = f"c{k}"
        if how == "initializer":
            constants[name] = array
        else:
            nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array)))
        nodes.append(helper.make_node(operator, [last, name], [f"v{k}"]))
        last = f"v{k}"
    nodes.append(helper.make_node("Conv", [last, "w"], ["y"]))
    kind = TensorProto.UINT8 if cast else TensorProto.FLOAT
    inputs, outputs = {"images": (kind, (1, 3, 8, 8))}, {"y": (TensorProto.FLOAT, (1, 1, 8, 8))}
    return read_graph(save_model(path, nodes, inputs, outputs, constants))


@pytest.mark.parametrize("how", ["initializer", "constant node"])
@pytest.mark.parametrize("cast", [False, True], ids=["", "after a cast"])
@pytest.mark.parametrize(
    ("steps", "grey_levels", "order"),
    [
        ([("Sub", MEAN_RGB), ("Div", DEVIATION_RGB)], True, "rgb"),
        ([("Sub", MEAN_RGB[::-1]), ("Mul", [1 / d for d in DEVIATION_RGB[::-1]])], True, "bgr"),
        ([("Add", [-m for m in MEAN_RGB])], True, "rgb"),
        ([("Sub", (0.485, 0.456, 0.406)), ("Div", (0.229, 0.224, 0.225))], False, "rgb"),
        ([("Div", 255.0)], True, None),
        ([("Mul", 1 / 255.0), ("Sub", (0.406, 0.456, 0.485))], True, "bgr"),
        ([("Sub", 127.5), ("Div", 128.0)], True, None),
        ([("Sub", (100.0, 120.0, 110.0))], True, None),
        ([], None, None),
    ],
)
def test_the_graphs_own_normalisation_tells_range_and_order(
    steps: list[tuple[str, Any]], grey_levels: bool | None, order: str | None, how: str, cast: bool, tmp_path: Path
) -> None:
    graph = graph_of(tmp_path / "m.onnx", steps, how=how, cast=cast)
    assert [step.operator for step in graph.normalisation] == [operator for operator, _ in steps]
    for step, (_, values) in zip(graph.normalisation, steps, strict=True):
        assert step.values == pytest.approx(np.ravel(values))
    assert graph.takes_grey_levels is grey_levels
    assert graph.colour_order == order


def test_constants_may_be_stored_as_a_list_of_floats(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    graph_of(path, [("Sub", MEAN_RGB)])
    model = onnx.load(str(path))
    stored = next(tensor for tensor in model.graph.initializer if tensor.name == "c0")
    stored.CopyFrom(helper.make_tensor("c0", TensorProto.FLOAT, (1, 3, 1, 1), MEAN_RGB))
    assert stored.float_data
    onnx.save(model, str(path))
    assert read_graph(path).colour_order == "rgb"


def test_sums_of_pictures_are_no_normalisation(tmp_path: Path) -> None:
    nodes = [helper.make_node("Mul", ["images", "images"], ["a"]), helper.make_node("Add", ["a", "table"], ["y"])]
    shape = (TensorProto.FLOAT, (1, 3, 8, 8))
    table = {"table": np.full((1, 3, 8, 8), 9, np.float32)}
    graph = read_graph(save_model(tmp_path / "m.onnx", nodes, {"images": shape}, {"y": shape}, table))
    assert graph.takes_grey_levels is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: no such file or directory"),
        (b"", "is not an ONNX model; a model of another kind must be exported to ONNX first"),
        (b"PK\x03\x04 a checkpoint of PyTorch", "is not an ONNX model"),
        (b"plain text, and more of it\n", "is not an ONNX model"),
        (bytes(range(256)), "is not an ONNX model"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(content: bytes | None, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DetectorError) as caught:
        read_graph(path)
    assert str(caught.value).startswith(f"{path}: {problem}")
    assert "\n" not in str(caught.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.data())
def test_a_damaged_file_is_refused_or_read_but_breaks_nothing(tmp_path: Path, data: st.DataObject) -> None:
    whole = tmp_path / "whole.onnx"
    if not whole.exists():
        graph_of(whole, [("Sub", MEAN_RGB), ("Div", DEVIATION_RGB)])
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        graph = read_graph(damaged)
    except DetectorError:
        return
    assert graph.inputs
    assert graph.takes_grey_levels in {None, True, False}
    assert graph.colour_order in {None, "rgb", "bgr"}
