"""What a .tflite file says: tensors, operators, constants (dequantised). Field slots are those of TensorFlow Lite's
schema (tensorflow/lite/schema/schema.fbs, version 3).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mbseg.errors import WeightsError
from mbseg.weights.tflite_buffer import Table, root_table
from mbseg.weights.tflite_operators import OPERATORS, OPTIONS

SCHEMA_VERSION = 3
LARGEST_COUNT = 20_000  # of tensors, operators and buffers; the largest MobileNet has a few hundred
LONGEST_LIST = 64  # dimensions of a tensor, inputs of an operator
LONGEST_NAME = 100
TYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 9: "int8"}  # TensorType
CUSTOM = OPERATORS.index("CUSTOM")
LARGEST_SCALE = 1e6  # one step of 8 bits; real ones lie below 1


@dataclass(frozen=True)
class Quantization:
    """value = scale * (stored - zero point), one pair for the whole tensor or one for each index of `axis`."""

    scales: NDArray[np.generic]
    zero_points: NDArray[np.generic]  # as many as scales, or none: all 0
    axis: int


@dataclass(frozen=True)
class TensorEntry:
    """A tensor of the graph; `data` is empty unless it is a constant."""

    shape: tuple[int, ...]
    type: str  # numpy's name; "type N" for one that is not read here
    quantization: Quantization | None
    data: NDArray[np.uint8]

    @property
    def is_constant(self) -> bool:
        return self.data.size > 0


@dataclass(frozen=True)
class Operator:
    """One step of the graph, with the options of its kind under the schema's names."""

    index: int
    kind: str
    inputs: tuple[int, ...]  # tensors; -1: an optional one that is left out
    outputs: tuple[int, ...]
    options: Mapping[str, int]

    def __str__(self) -> str:
        return f"{self.kind}.{self.index}"


@dataclass(frozen=True)
class TfliteFile:
    """The one graph of a file; operators stand in the order in which they are computed."""

    origin: str
    tensors: tuple[TensorEntry, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def constant(self, index: int) -> NDArray[np.generic]:
        """The values of a constant: float32 if it is quantised or a float, integers otherwise.

        Raises WeightsError where its bytes, shape, type and quantisation do not go together.
        """
        tensor = self.tensors[index]
        if tensor.type not in TYPES.values():
            raise WeightsError(
                f"{self.origin}: constant {index} is of {tensor.type}; read are {', '.join(TYPES.values())}"
            )
        dtype = np.dtype(tensor.type).newbyteorder("<")
        if min(tensor.shape, default=0) < 0 or math.prod(tensor.shape) * dtype.itemsize != tensor.data.size:
            described = f"constant {index}, {tensor.type} {list(tensor.shape)}"
            raise WeightsError(f"{self.origin} is damaged: {described}, has {tensor.data.size} bytes")
        stored = tensor.data.view(dtype).reshape(tensor.shape)
        if tensor.quantization is not None:
            return dequantized(stored, tensor.quantization, f"{self.origin}: constant {index}")
        return stored.astype(np.float32) if stored.dtype.kind == "f" else stored


def dequantized(stored: NDArray[np.generic], quantization: Quantization, name: str) -> NDArray[np.float32]:
    """In float64, which holds every 32-bit bias exactly, and then rounded once."""
    scales, axis = quantization.scales.astype(np.float64), quantization.axis
    zero_points = (
        quantization.zero_points.astype(np.float64) if quantization.zero_points.size else np.zeros_like(scales)
    )
    if scales.size > 1:
        if not 0 <= axis < stored.ndim or stored.shape[axis] != scales.size:
            raise WeightsError(f"{name} has shape {list(stored.shape)}, and {scales.size} scales along axis {axis}")
        along_axis = [scales.size if dimension == axis else 1 for dimension in range(stored.ndim)]
        scales, zero_points = scales.reshape(along_axis), zero_points.reshape(along_axis)
    return ((stored.astype(np.float64) - zero_points) * scales).astype(np.float32)


def read_tflite_file(path: Path) -> TfliteFile:
    """Raises WeightsError, in one line, for anything but a whole .tflite file of one graph."""
    model = root_table(path)
    origin = str(path)
    if (version := model.number(0, "I")) != SCHEMA_VERSION:
        raise WeightsError(f"{origin} has schema version {version}; version {SCHEMA_VERSION} is read")
    graphs = model.tables(2, LARGEST_COUNT)
    if len(graphs) != 1:
        raise WeightsError(f"{origin} holds {len(graphs)} graphs; a file of one graph is read")
    buffers = [buffer.array(0, np.uint8).view(np.uint8) for buffer in model.tables(4, LARGEST_COUNT)]
    tensors = tuple(read_tensor(table, buffers, origin) for table in graphs[0].tables(0, LARGEST_COUNT))
    kinds = [operator_kind(table) for table in model.tables(1, LARGEST_COUNT)]
    operators = enumerate(graphs[0].tables(3, LARGEST_COUNT))
    file = TfliteFile(
        origin,
        tensors,
        tuple(read_operator(table, index, kinds, origin) for index, table in operators),
        indices(graphs[0], 1),
        indices(graphs[0], 2),
    )
    check_indices(file)
    return file


def read_tensor(table: Table, buffers: list[NDArray[np.uint8]], origin: str) -> TensorEntry:
    number = table.number(2, "I")
    if number >= len(buffers):
        raise WeightsError(f"{origin} is damaged: a tensor refers to buffer {number} of {len(buffers)}")
    if table.field(6) is not None:
        raise WeightsError(f"{origin} holds sparse weights, which are not read; densify it")
    code = table.number(1, "b")
    return TensorEntry(
        indices(table, 0), TYPES.get(code, f"type {code}"), read_quantization(table, origin), buffers[number]
    )


def read_quantization(tensor: Table, origin: str) -> Quantization | None:
    table = tensor.table(4)
    if table is None or not (scales := table.array(2, "<f4")).size:
        return None
    zero_points = table.array(3, "<i8")
    if zero_points.size not in (0, scales.size):
        raise WeightsError(
            f"{origin} is damaged: {scales.size} scales and {zero_points.size} zero points of one tensor"
        )
    if not (np.isfinite(scales).all() and scales.min() > 0 and scales.max() < LARGEST_SCALE):
        raise WeightsError(f"{origin} is damaged: a quantisation scale is {scales.min():g} to {scales.max():g}")
    return Quantization(scales, zero_points, table.number(6, "i"))


def operator_kind(code: Table) -> str:
    """The name of a kind of operator; older files have its number in the first, 8-bit slot only."""
    number = max(code.number(0, "b"), code.number(3, "i"))
    if number == CUSTOM:
        return code.text(1, LONGEST_NAME) or "CUSTOM"
    return OPERATORS[number] if 0 <= number < len(OPERATORS) else f"operator {number}"


def read_operator(table: Table, index: int, kinds: list[str], origin: str) -> Operator:
    code = table.number(0, "I")
    if code >= len(kinds):
        raise WeightsError(f"{origin} is damaged: operator {index} is of kind {code} of {len(kinds)}")
    kind = kinds[code]
    options = table.table(4)
    fields = OPTIONS.get(kind, {}).items()
    values = {name: options.number(*field) if options else field.default for name, field in fields}
    return Operator(index, kind, indices(table, 1), indices(table, 2), values)


def indices(table: Table, slot: int) -> tuple[int, ...]:
    values = table.array(slot, "<i4")
    if values.size > LONGEST_LIST:
        raise WeightsError(f"{table.buffer.origin} has a list of {values.size} numbers; up to {LONGEST_LIST} are read")
    return tuple(values.tolist())


def check_indices(file: TfliteFile) -> None:
    """Every tensor that is named exists and is computed at most once."""
    for operator in file.operators:
        if any(not -1 <= index < len(file.tensors) for index in (*operator.inputs, *operator.outputs)):
            raise WeightsError(f"{file.origin} is damaged: {operator} names a tensor that does not exist")
    if any(not 0 <= index < len(file.tensors) for index in (*file.inputs, *file.outputs)):
        raise WeightsError(f"{file.origin} is damaged: its input or output is a tensor that does not exist")
    computed = [index for operator in file.operators for index in operator.outputs]
    if len(computed) != len(set(computed)):
        raise WeightsError(f"{file.origin} is damaged: a tensor is computed twice")
