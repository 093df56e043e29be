"""What an ONNX file says of itself, and the two runtimes that can run it.

The file is read by the wire format of protocol buffers, so that inputs, outputs and metadata are the same
whichever runtime is at hand: OpenCV tells none of them.
"""

from __future__ import annotations

import difflib
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.errors import DetectorError, reason_of
from tracker.structures import FloatArray

INSTALL_HINT = "pip install 'gmm-tracker[onnx]'"

_DTYPES: dict[int, type[np.generic]] = {
    1: np.float32,
    2: np.uint8,
    6: np.int32,
    7: np.int64,
    10: np.float16,
    11: np.float64,
}
_NO_SIZE = 1 << 31  # some exporters write -1 for a free axis
_MAGNITUDE_OF_GREY_LEVELS = 2.0  # means and deviations of values in 0..1 stay below, of 0..255 above


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a graph.

    Parameters
    ----------
    name
        Its name.
    dtype
        Type of its values; None for a type that no detector has.
    shape
        Sizes, None for those that are not fixed; empty when the file does not tell.
    """

    name: str
    dtype: type[np.generic] | None
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Arithmetic:
    """An operation on the image with constants, before anything else happens to it.

    Parameters
    ----------
    operator
        ``Sub``, ``Add``, ``Mul`` or ``Div``.
    values
        The constants, one or one for each channel.
    """

    operator: str
    values: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """What an ONNX file says of itself.

    Parameters
    ----------
    path
        The file.
    inputs, outputs
        In the file's order; weights are no inputs.
    metadata
        Key and value, as exporters write them.
    normalisation
        The arithmetic by which the graph normalises its first input itself.
    """

    path: Path
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    metadata: Mapping[str, str]
    normalisation: tuple[Arithmetic, ...]

    @property
    def takes_grey_levels(self) -> bool | None:
        """Whether the graph's own normalisation expects 0..255 rather than 0..1; None where it has none."""
        for step in self.normalisation:
            size = float(np.abs(step.values).max())
            return (1.0 / size if step.operator == "Mul" and size > 0.0 else size) > _MAGNITUDE_OF_GREY_LEVELS
        return None

    @property
    def colour_order(self) -> Literal["rgb", "bgr"] | None:
        """Order of the channels by the means that the graph subtracts: those of ImageNet are red > green > blue."""
        for step in self.normalisation:
            steps = np.diff(np.abs(step.values))
            if step.operator in {"Sub", "Add"} and len(steps) == 2:
                return "rgb" if (steps < 0.0).all() else "bgr" if (steps > 0.0).all() else None
        return None


def read_graph(path: Path) -> Graph:
    """Read inputs, outputs and metadata of an ONNX file.

    Raises
    ------
    DetectorError
        When the file cannot be read or is not an ONNX model.
    """
    try:
        model = path.read_bytes()
    except OSError as error:
        raise DetectorError(f"{path}: cannot be read: {reason_of(error)}") from None
    try:
        graph = _graph_of(path, memoryview(model))
    except (ValueError, IndexError, struct.error, TypeError):
        graph = None
    if graph is None or not graph.inputs or not graph.outputs:
        raise DetectorError(f"{path}: is not an ONNX model; a model of another kind must be exported to ONNX first")
    return graph


class Runtime(Protocol):
    """Runs a graph."""

    name: str
    """How it is called where people read it."""
    batches: bool
    """Whether a graph with a free batch axis may be given several pictures at once."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the graph's outputs in its order."""
        ...


def demand_picture(graph: Graph) -> None:
    """Make sure that the first input of a graph takes a picture.

    Raises
    ------
    DetectorError
        When it does not.
    """
    image = graph.inputs[0]
    shape = image.shape
    if len(shape) not in {3, 4} or shape[-3] not in {3, None} or image.dtype not in {np.float32, np.float16, np.uint8}:
        sizes = ", ".join("?" if axis is None else str(axis) for axis in shape)
        raise DetectorError(
            f"{graph.path}: input {image.name} ({sizes}) is no picture; it must be (batch, 3, height, width)"
        )


def open_runtime(
    graph: Graph, choice: Literal["auto", "onnxruntime", "opencv"], providers: Sequence[str], section: str
) -> Runtime:
    """Load a graph with onnxruntime if that is chosen or installed, else with OpenCV.

    Parameters
    ----------
    graph
        The graph.
    choice
        Which runtime.
    providers
        onnxruntime's execution providers in order of preference; the processor when empty.
    section
        Of the configuration, to name in errors.

    Raises
    ------
    DetectorError
        When the runtime is not installed, lacks a provider or cannot load the graph.
    """
    installed = find_spec("onnxruntime") is not None
    if choice == "onnxruntime" and not installed:
        raise DetectorError(f"{section}.runtime is onnxruntime, which is not installed: {INSTALL_HINT}")
    if choice == "onnxruntime" or (choice == "auto" and installed):
        return _OnnxRuntime(graph, providers, section)
    if providers:
        raise DetectorError(f"{section}.providers are onnxruntime's, but OpenCV is to run the model; {INSTALL_HINT}")
    return _OpenCv(graph, "" if installed else f"; onnxruntime may run it: {INSTALL_HINT}")


class _OnnxRuntime:
    batches = True

    def __init__(self, graph: Graph, providers: Sequence[str], section: str) -> None:
        import onnxruntime

        chosen = _providers(providers, onnxruntime.get_available_providers(), section)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what fails is raised, too
        self.name = f"onnxruntime ({chosen[0].removesuffix('ExecutionProvider')})"
        self._path = graph.path
        self._outputs = [output.name for output in graph.outputs]
        try:
            self._session = onnxruntime.InferenceSession(str(graph.path), options, providers=chosen)
        except Exception as error:  # onnxruntime's exceptions have no common base of their own
            raise DetectorError(f"{graph.path}: onnxruntime cannot load it: {_one_line(error)}") from None

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        try:
            outputs: list[NDArray[Any]] = self._session.run(self._outputs, dict(inputs))
        except Exception as error:  # as above
            raise DetectorError(f"{self._path}: onnxruntime cannot run it: {_one_line(error)}") from None
        return outputs


class _OpenCv:
    name = "OpenCV"
    batches = False

    def __init__(self, graph: Graph, advice: str) -> None:
        self._path, self._advice = graph.path, advice
        with _Silence():
            try:
                self._net = cv2.dnn.readNetFromONNX(str(graph.path))
                found = {name.rpartition("!")[2]: name for name in self._net.getUnconnectedOutLayersNames()}
            except (cv2.error, SystemError) as error:
                raise self._failure("load", error) from None
        missing = [output.name for output in graph.outputs if output.name not in found]
        if missing:
            raise DetectorError(f"{graph.path}: OpenCV does not find its output {missing[0]}{advice}")
        self._outputs = [found[output.name] for output in graph.outputs]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        with _Silence():
            try:
                for name, values in inputs.items():
                    self._net.setInput(values, name)
                return [np.asarray(output) for output in self._net.forward(self._outputs)]
            except (cv2.error, SystemError) as error:
                raise self._failure("run", error) from None

    def _failure(self, what: str, error: Exception) -> DetectorError:
        reason = getattr(error, "err", None) or _one_line(error)
        return DetectorError(f"{self._path}: OpenCV cannot {what} it: {_one_line(reason)}{self._advice}")


class _Silence:
    """Keeps OpenCV from writing on standard error what it raises as well."""

    def __enter__(self) -> None:
        self._level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

    def __exit__(self, *_: object) -> None:
        cv2.utils.logging.setLogLevel(self._level)


def _providers(wanted: Sequence[str], available: Sequence[str], section: str) -> list[str]:
    """Complete the names of providers: ``cuda`` is ``CUDAExecutionProvider``."""
    by_name = {name.removesuffix("ExecutionProvider").lower(): name for name in available}
    chosen = []
    for name in wanted or ["cpu"]:
        short = name.removesuffix("ExecutionProvider").lower()
        if short not in by_name:
            near = difflib.get_close_matches(short, by_name, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(by_name)}"
            raise DetectorError(f"{section}.providers: this onnxruntime has no provider {name}; {hint}")
        chosen.append(by_name[short])
    return chosen


def _one_line(error: object) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else f"{text[:200]}..."


# ---------------------------------------------------------------------------------------- the wire format


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each field of a protocol buffer message: an int, or the bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == 2:
            length, at = _varint(message, at)
        elif kind in {1, 5}:
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if number == 0 or at + length > len(message):
            raise ValueError("the message ends too early")
        yield number, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("a varint of more than ten bytes")


def _first(message: memoryview, number: int, default: Any = b"") -> Any:
    return next((value for found, value in _fields(message) if found == number), default)


def _text(value: memoryview | bytes) -> str:
    return bytes(value).decode("utf-8")


# Field numbers of onnx.proto: ModelProto 7 graph, 14 metadata; GraphProto 1 node, 5 initializer, 11 input, 12 output.


def _graph_of(path: Path, model: memoryview) -> Graph | None:
    metadata = {}
    body: Any = None
    for number, value in _fields(model):
        if number == 7:
            body = value
        elif number == 14:
            metadata[_text(_first(value, 1))] = _text(_first(value, 2))
    if not isinstance(body, memoryview):
        return None
    nodes, constants, inputs, outputs = [], {}, [], []
    for number, value in _fields(body):
        if number == 1:
            nodes.append(value)
        elif number == 5:
            constants[_text(_first(value, 8))] = value
        elif number == 11:
            inputs.append(_tensor(value))
        elif number == 12:
            outputs.append(_tensor(value))
    fed = tuple(tensor for tensor in inputs if tensor.name not in constants)
    steps = _normalisation(nodes, constants, fed[0].name) if fed else ()
    return Graph(path, fed, tuple(outputs), metadata, steps)


def _tensor(value_info: memoryview) -> Tensor:
    """Read ValueInfoProto: 1 name, 2 type; TypeProto 1 tensor; its 1 element type, 2 shape; 1 dimensions."""
    tensor = _first(_first(value_info, 2), 1)
    sizes = [_first(dimension, 1, 0) for number, dimension in _fields(_first(tensor, 2)) if number == 1]
    shape = tuple(size if 0 < size < _NO_SIZE else None for size in sizes)
    return Tensor(_text(_first(value_info, 1)), _DTYPES.get(_first(tensor, 1, 0)), shape)


def _normalisation(nodes: Sequence[memoryview], constants: dict[str, memoryview], image: str) -> tuple[Arithmetic, ...]:
    """Follow the image through arithmetic with constants; NodeProto 1 input, 2 output, 4 operator, 5 attribute."""
    steps: list[Arithmetic] = []
    for node in nodes:
        operator = _text(_first(node, 4))
        names = [_text(value) for number, value in _fields(node) if number == 1]
        if operator == "Constant":
            constants[_text(_first(node, 2))] = _first(_first(node, 5), 5)  # AttributeProto 5 t
        elif image in names and operator in {"Cast", "Identity"}:
            image = _text(_first(node, 2))
        elif image in names:
            others = [name for name in names if name != image]
            if operator not in {"Sub", "Add", "Mul", "Div"} or len(others) != 1 or others[0] not in constants:
                break
            values = _values(constants[others[0]])
            if values.size not in {1, 3}:
                break
            steps.append(Arithmetic(operator, values))
            image = _text(_first(node, 2))
    return tuple(steps)


def _values(tensor: memoryview) -> FloatArray:
    """Read TensorProto: 2 type, 4 floats, 9 raw bytes; none where the values are of another kind or elsewhere."""
    dtype = _DTYPES.get(_first(tensor, 2, 0), np.float32)
    raw = b"".join(bytes(value) for number, value in _fields(tensor) if number == 9)
    if not raw:
        dtype = np.float32
        raw = b"".join(bytes(value) for number, value in _fields(tensor) if number == 4)
    return np.frombuffer(raw, np.dtype(dtype).newbyteorder("<")).astype(np.float64)
