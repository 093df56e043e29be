"""Small ONNX graphs whose output is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STRIDES_PX = (8, 16, 32)
Shape = Sequence[int | str | None]


def save_model(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, Shape]],
    outputs: Mapping[str, tuple[int, Shape | None]],
    constants: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> Path:
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, dict(metadata or {}))
    onnx.save(model, str(path))
    return path


def constant_model(
    path: Path,
    tables: Mapping[str, np.ndarray],
    size_px: tuple[int, int] = (64, 64),
    *,
    metadata: Mapping[str, str] | None = None,
    size_input: bool = False,
) -> Path:
    """Save a graph that gives the tables whatever it sees, by adding the picture's mean times zero.

    With ``size_input``, ``boxes`` are shares that the graph multiplies by the (width, height) that it is told.
    """
    width, height = size_px
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    constants: dict[str, np.ndarray] = {"zero": np.zeros(1, np.float32)}
    outputs: dict[str, tuple[int, Shape | None]] = {}
    inputs: dict[str, tuple[int, Shape]] = {"images": (TensorProto.FLOAT, (1, 3, height, width))}
    if size_input:
        inputs["orig_target_sizes"] = (TensorProto.INT64, (1, 2))
        nodes += [
            helper.make_node("Cast", ["orig_target_sizes"], ["size"], to=TensorProto.FLOAT),
            helper.make_node("Concat", ["size", "size"], ["sizes"], axis=1),
            helper.make_node("Mul", ["boxes_table", "sizes"], ["boxes_sized"]),
        ]
    for name, table in tables.items():
        constants[f"{name}_table"] = table
        if table.dtype == np.float32:
            source = "boxes_sized" if size_input and name == "boxes" else f"{name}_table"
            nodes.append(helper.make_node("Add", [source, "nothing"], [name]))
            outputs[name] = (TensorProto.FLOAT, table.shape)
        else:
            nodes.append(helper.make_node("Identity", [f"{name}_table"], [name]))
            outputs[name] = (TensorProto.INT64, table.shape)
    return save_model(path, nodes, inputs, outputs, constants, metadata)


def colour_model(
    path: Path,
    size_px: tuple[int | None, int | None] = (64, 64),
    *,
    batch: int | None = 1,
    box_px: float = 16.0,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Save a graph in the layout ``yolox_raw`` that sees bright colours, for input from 0 to 1.

    The score of class 0, 1 or 2 in a cell is twice the mean of that channel there, less one: full where a cell
    is filled, nothing on grey. Boxes are squares of ``box_px`` on the centre of the cell. Sizes and batch that
    are None are free.
    """
    width, height = size_px
    nodes, levels = [], []
    constants = {
        "two": np.array(2.0, np.float32),
        "one": np.array(1.0, np.float32),
        "zero": np.array(0.0, np.float32),
        "half": np.array(0.5, np.float32),
        "shape": np.array([0, 8, -1], np.int64),
    }
    for stride in STRIDES_PX:
        mean, twice, less, score, nothing = (f"{name}_{stride}" for name in ("mean", "twice", "less", "score", "no"))
        sides = [f"{name}_{stride}" for name in ("x", "y", "width", "height", "object")]
        constants[f"size_{stride}"] = np.array(np.log(box_px / stride), np.float32)
        nodes += [
            helper.make_node("AveragePool", ["images"], [mean], kernel_shape=[stride] * 2, strides=[stride] * 2),
            helper.make_node("Mul", [mean, "two"], [twice]),
            helper.make_node("Sub", [twice, "one"], [less]),
            helper.make_node("Relu", [less], [score]),
            helper.make_node("ReduceMean", [mean], [f"grey_{stride}"], axes=[1], keepdims=1),
            helper.make_node("Mul", [f"grey_{stride}", "zero"], [nothing]),
        ]
        values = ["half", "half", f"size_{stride}", f"size_{stride}", "one"]
        nodes += [helper.make_node("Add", [nothing, v], [s]) for v, s in zip(values, sides, strict=True)]
        nodes += [
            helper.make_node("Concat", [*sides, score], [f"all_{stride}"], axis=1),
            helper.make_node("Reshape", [f"all_{stride}", "shape"], [f"level_{stride}"]),
        ]
        levels.append(f"level_{stride}")
    nodes += [
        helper.make_node("Concat", levels, ["levels"], axis=2),
        helper.make_node("Transpose", ["levels"], ["output"], perm=[0, 2, 1]),
    ]
    free = ("batch", 3, "height", "width")
    shape = [size or name for size, name in zip((batch, 3, height, width), free, strict=True)]
    return save_model(
        path,
        nodes,
        {"images": (TensorProto.FLOAT, shape)},
        {"output": (TensorProto.FLOAT, (batch or "batch", "rows", 8))},
        constants,
        {"names": "['red', 'green', 'blue']", **(metadata or {})},
    )
