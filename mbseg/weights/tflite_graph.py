"""The graph of a .tflite file as it is walked: who reads a tensor, what has been passed, what is left at the end."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mbseg.errors import WeightsError
from mbseg.weights.tflite_file import Operator, TfliteFile

NUMBER_FORMAT = ("QUANTIZE", "DEQUANTIZE", "CAST", "FAKE_QUANT")  # the values stay, up to rounding
RESHAPE = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
KNOWN = {
    *NUMBER_FORMAT,
    *RESHAPE,
    *("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "PAD", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"),
    *("RELU", "RELU6", "HARD_SWISH", "ADD", "SUB", "MUL", "DIV", "MEAN", "AVERAGE_POOL_2D", "CONCATENATION"),
    *("RESIZE_BILINEAR", "ARG_MAX", "SOFTMAX"),
}


class Graph:
    """A file with a memory of what has been read of it.

    Operators that only change the format of numbers, or add and drop dimensions of 1, are seen through: who reads
    their output reads their input.
    """

    def __init__(self, file: TfliteFile) -> None:
        """Raises WeightsError for an operator that neither a classifier nor a DeepLab has."""
        self.file = file
        self.ignored: dict[str, str] = {}
        self._taken: set[int] = set()
        self._read: set[int] = set()
        self._sources: dict[int, int] = {}
        self._readers: dict[int, list[Operator]] = {}
        for operator in file.operators:
            self._enter(operator)

    def _enter(self, operator: Operator) -> None:
        if operator.kind not in KNOWN:
            raise self.refusal(operator, "no MobileNet classifier or DeepLab without ASPP has this operator")
        seen = replace(operator, inputs=tuple(self.source(index) for index in operator.inputs))
        if not seen.inputs or not seen.outputs or seen.inputs[0] < 0:
            raise self.refusal(operator, "it has no input or no output")
        if operator.kind in NUMBER_FORMAT or self._keeps_order(seen):
            self._sources |= dict.fromkeys(seen.outputs, seen.inputs[0])
            self.take([operator], why="changes no value")
            return
        for index in set(seen.inputs):
            self._readers.setdefault(index, []).append(seen)

    def _keeps_order(self, operator: Operator) -> bool:
        shapes = self.shape(operator.inputs[0]), self.shape(operator.outputs[0])
        return operator.kind in RESHAPE and all(without_ones(shape) == without_ones(shapes[0]) for shape in shapes)

    def source(self, index: int) -> int:
        """The tensor whose values `index` has."""
        return self._sources.get(index, index)

    def readers(self, index: int) -> list[Operator]:
        """The operators that read a tensor, in the order of the file."""
        return self._readers.get(index, [])

    def only_reader(self, index: int, *kinds: str) -> Operator | None:
        """The one operator that reads a tensor, if it is of one of these kinds."""
        readers = self.readers(index)
        return readers[0] if len(readers) == 1 and readers[0].kind in kinds else None

    def shape(self, index: int) -> tuple[int, ...]:
        return self.file.tensors[index].shape

    def is_constant(self, index: int) -> bool:
        return index >= 0 and self.file.tensors[index].is_constant

    def take(self, operators: Iterable[Operator], why: str | None = None) -> None:
        """Marks operators as understood; `why` says of those that our model has not, why it needs none."""
        for operator in operators:
            if operator.index in self._taken:
                raise self.refusal(operator, "the graph runs in a circle")
            self._taken.add(operator.index)
            if why is not None:
                self.ignored[str(operator)] = why

    def values(self, index: int) -> Tensor:
        """A constant as float32. Raises WeightsError where it is damaged."""
        self._read.add(index)
        return torch.from_numpy(np.array(self.file.constant(index), np.float32))

    def parameter(self, operator: Operator, position: int) -> list[float]:
        """A small constant input of an operator, flat; empty where it is none."""
        index = operator.inputs[position] if position < len(operator.inputs) else -1
        if not self.is_constant(index) or self.file.tensors[index].data.size > 256:
            return []
        return [float(value) for value in np.ravel(self.file.constant(index))]

    def finish(self) -> dict[str, str]:
        """What has been left out, key by key. Raises WeightsError for the first operator that nothing has read."""
        for operator in self.file.operators:
            if operator.index not in self._taken:
                raise self.refusal(operator, "no part of the network that leads from the picture to the result")
        users = {index: operator for operator in self.file.operators for index in operator.inputs}
        for index, tensor in enumerate(self.file.tensors):
            if tensor.is_constant and index not in self._read:
                why = f"a setting of {users[index]}" if index in users else "read by no operator"
                self.ignored[f"constant.{index}"] = why
        return self.ignored

    def refusal(self, operator: Operator, why: str) -> WeightsError:
        return WeightsError(f"{self.file.origin} cannot be read: {operator.kind} (operator {operator.index}): {why}")

    def stopped(self, index: int, wanted: str) -> WeightsError:
        """The error for a place where the graph goes on otherwise than it should."""
        found = " and ".join(f"{reader.kind} (operator {reader.index})" for reader in self.readers(index)[:4])
        return WeightsError(f"{self.file.origin} cannot be read: {wanted} expected, found {found or 'the end'}")


def without_ones(shape: tuple[int, ...]) -> list[int]:
    return [size for size in shape if size != 1]
