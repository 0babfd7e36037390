"""What a frozen TensorFlow graph (.pb) says: its nodes, and the values of its constants. Field numbers are those of
tensorflow/core/framework/{graph,node_def,attr_value,tensor,tensor_shape,types}.proto.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mbseg.errors import WeightsError
from mbseg.weights.protobuf import ProtobufFile, Value, read_protobuf_bytes
from mbseg.weights.report import short

NODE = 1  # of GraphDef; the functions beside the nodes are not read
NAME, OP, INPUT, ATTRIBUTE = 1, 2, 3, 5  # of NodeDef
KEY, VALUE = 1, 2  # of a map's entry
LIST, TEXT, INTEGER, FLOAT, BOOLEAN, SHAPE, TENSOR = 1, 2, 3, 4, 5, 7, 8  # of AttrValue
TYPE, TENSOR_SHAPE, CONTENT = 1, 2, 4  # of TensorProto
DIMENSION, SIZE = 2, 1  # of TensorShapeProto, of its Dim
TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 6: "i1", 9: "<i8", 10: "?", 19: "<f2"}  # DataType
VALUES = {1: 5, 2: 6, 3: 7, 4: 7, 6: 7, 9: 10, 10: 11}  # DataType -> field of TensorProto with single values
MOST_NODES = 50_000  # SSDLite with its post-processing has 2,800
LONGEST_NAME = 1000
LARGEST_TENSOR = 2**23  # values; the MobileNets' have up to 5 * 10**6
MOST_DIMENSIONS = 16


@dataclass(frozen=True)
class Node:
    """One operation. Its attributes are bytes of the file until they are asked for."""

    file: ProtobufFile
    name: str
    op: str
    inputs: tuple[str, ...]  # of values, "node" or "node:2"; control dependencies are left out
    attributes: Mapping[str, memoryview]

    def __str__(self) -> str:
        return f"{self.op} ({short(self.name)})"

    def _value(self, key: str, field: int) -> Value | None:
        content = dict(self.file.fields(self.attributes.get(key, memoryview(b""))))
        return content.get(field)

    def text(self, key: str, default: str) -> str:
        value = self._value(key, TEXT)
        return default if value is None else self.file.text(value, LONGEST_NAME)

    def flag(self, key: str, *, default: bool) -> bool:
        value = self._value(key, BOOLEAN)
        return default if value is None else bool(self.file.number(value))

    def real(self, key: str, default: float) -> float:
        value = self._value(key, FLOAT)
        if value is None:
            return default
        content = self.file.submessage(value)
        if len(content) != 4:
            raise self.file.damaged(f"{len(content)} bytes for the {key} of {self}")
        return float(struct.unpack("<f", content)[0])

    def integers(self, key: str) -> list[int]:
        """A list of numbers; empty where there is none."""
        value = self._value(key, LIST)
        entries = () if value is None else self.file.fields(self.file.submessage(value))
        return [number for field, entry in entries if field == INTEGER for number in self.file.numbers(entry)]

    def sizes(self) -> list[int]:
        """The `shape` of a placeholder; -1 for a size that is left open, empty where nothing is known."""
        value = self._value("shape", SHAPE)
        return [] if value is None else list(read_shape(self.file, self.file.submessage(value)))

    def constant(self) -> "Constant":
        """What a Const holds. Raises WeightsError for a node without a value."""
        value = self._value("value", TENSOR)
        if value is None:
            raise self.file.damaged(f"no value in {self}")
        return read_constant(self.file, str(self), self.file.submessage(value))


@dataclass(frozen=True)
class Constant:
    """A tensor of the file, still as its bytes."""

    file: ProtobufFile
    title: str  # of its node, for errors
    type: int
    shape: tuple[int, ...]
    content: memoryview  # all values, or none where they are given one by one
    single: tuple[Value, ...]

    def values(self) -> NDArray[np.generic]:
        """Of `shape`, not to be written to. Raises WeightsError where type, shape and bytes do not go together."""
        if self.type not in TYPES:
            raise WeightsError(f"{self.file.origin} cannot be read: {self.title} holds values of type {self.type}")
        count, dtype = math.prod(self.shape), np.dtype(TYPES[self.type])
        if min(self.shape, default=0) < 0 or count > LARGEST_TENSOR:
            raise WeightsError(f"{self.file.origin} cannot be read: {self.title} has shape {list(self.shape)}")
        if self.content:
            if len(self.content) != count * dtype.itemsize:
                raise self._misfit(f"{len(self.content)} bytes")
            return np.frombuffer(self.content, dtype).reshape(self.shape)
        return self._spread(self._single_values(dtype), count)

    def _single_values(self, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
        if dtype.kind == "f":
            content = b"".join(self.file.submessage(value) for value in self.single)
            if len(content) % dtype.itemsize:
                raise self._misfit(f"{len(content)} bytes")
            return np.frombuffer(content, dtype)
        numbers = [number for value in self.single for number in self.file.numbers(value)]
        return np.array(numbers, np.int64).astype(dtype)

    def _spread(self, values: NDArray[np.generic], count: int) -> NDArray[np.generic]:
        """TensorFlow leaves values away that repeat the last one."""
        if len(values) > count or (count and not len(values)):
            raise self._misfit(f"{len(values)} values")
        if len(values) == 1:
            return np.broadcast_to(values[0], self.shape)
        repeated = np.pad(values, (0, count - len(values)), mode="edge") if len(values) < count else values
        return repeated.reshape(self.shape)

    def _misfit(self, found: str) -> WeightsError:
        return WeightsError(
            f"{self.file.origin} is damaged: {self.title}, type {self.type}, shape {list(self.shape)}, has {found}"
        )


def read_graphdef_file(path: Path) -> dict[str, Node]:
    """The nodes of a frozen graph by their names. Raises WeightsError, in one line, for anything else."""
    content, file = read_protobuf_bytes(path), ProtobufFile(str(path))
    nodes: dict[str, Node] = {}
    for field, value in file.fields(content):
        if field != NODE:
            continue
        node = read_node(file, file.submessage(value))
        if node.name in nodes or not node.name or not node.op:
            raise file.damaged(f"a node without name or operation, or a second one of its name ({short(node.name)})")
        nodes[node.name] = node
        if len(nodes) > MOST_NODES:
            raise WeightsError(f"{path} has more than {MOST_NODES} nodes; no MobileNet has")
    if not nodes:
        raise WeightsError(f"{path} is no TensorFlow graph, or an empty one: it has no node")
    return nodes


def read_node(file: ProtobufFile, message: memoryview) -> Node:
    name, op, inputs, attributes = "", "", [], {}
    for field, value in file.fields(message):
        if field == NAME:
            name = file.text(value, LONGEST_NAME)
        elif field == OP:
            op = file.text(value, LONGEST_NAME)
        elif field == INPUT:
            inputs.append(file.text(value, LONGEST_NAME))
        elif field == ATTRIBUTE:
            entry = dict(file.fields(file.submessage(value)))
            key = file.text(entry.get(KEY, memoryview(b"")), LONGEST_NAME)
            attributes[key] = file.submessage(entry.get(VALUE, memoryview(b"")))
    return Node(file, name, op, tuple(one for one in inputs if not one.startswith("^")), attributes)


def read_constant(file: ProtobufFile, title: str, message: memoryview) -> Constant:
    kind, shape, content = 0, memoryview(b""), memoryview(b"")
    single: dict[int, list[Value]] = {}
    for field, value in file.fields(message):
        if field == TYPE:
            kind = file.number(value)
        elif field == TENSOR_SHAPE:
            shape = file.submessage(value)
        elif field == CONTENT:
            content = file.submessage(value)
        else:
            single.setdefault(field, []).append(value)
    return Constant(file, title, kind, read_shape(file, shape), content, tuple(single.get(VALUES.get(kind, 0), ())))


def read_shape(file: ProtobufFile, message: memoryview) -> tuple[int, ...]:
    sizes = []
    for field, value in file.fields(message):
        if field == DIMENSION:
            size = dict(file.fields(file.submessage(value))).get(SIZE, 0)
            sizes.append(file.number(size))
    if len(sizes) > MOST_DIMENSIONS:
        raise file.damaged(f"a tensor of {len(sizes)} dimensions")
    return tuple(sizes)
