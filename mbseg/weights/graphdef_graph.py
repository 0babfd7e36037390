"""A frozen TensorFlow graph as it is walked: who reads a node, which convolution a scope holds, what has been read."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mbseg.errors import WeightsError
from mbseg.weights.graphdef_file import Constant, Node, read_graphdef_file

SAME_VALUE = ("Identity", "StopGradient", "PlaceholderWithDefault")
WITHOUT_VALUES = ("Shape", "ShapeN", "Size", "Rank")  # read a map's size only
CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")
NORMS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
WITH_WEIGHTS = (*CONVOLUTIONS, *NORMS, "MatMul", "Conv2DBackpropInput", "Conv3D", "QuantizedConv2D")


class Graph:
    """The nodes of a file with a memory of what has been read of them.

    Nodes that only hand on a value are seen through: who reads their output reads their input. Names are those of the
    file without ":0", the first output's mark.
    """

    def __init__(self, path: Path) -> None:
        """Raises WeightsError for a file that is no frozen graph."""
        self.nodes = read_graphdef_file(path)
        self.origin = str(path)
        self._taken: set[str] = set()
        self._read: set[str] = set()
        self._sources: dict[str, str] = {}
        self._readers: dict[str, list[Node]] = {}
        self._scopes: dict[str, list[Node]] = {}
        for node in self.nodes.values():
            self._enter(node)

    def _enter(self, node: Node) -> None:
        if node.op in CONVOLUTIONS:
            self._scopes.setdefault(scope_of(node.name), []).append(node)
        if node.op not in (*SAME_VALUE, *WITHOUT_VALUES):
            for name in {self.source(one) for one in node.inputs}:
                self._readers.setdefault(name, []).append(node)

    def source(self, name: str) -> str:
        """The output whose value `name` has. Raises WeightsError where it is its own."""
        name = name.removesuffix(":0")
        passed: set[str] = set()
        while (following := self._following(name)) is not None:
            if name in passed:
                raise WeightsError(f"{self.origin} is damaged: {self.nodes[name]} reads its own output")
            passed.add(name)
            name = following
        self._sources |= dict.fromkeys(passed, name)
        return name

    def _following(self, name: str) -> str | None:
        """One step towards the source, or all that are known already."""
        node = self.nodes.get(name)
        if node is None or node.op not in SAME_VALUE or not node.inputs:
            return None
        return self._sources.get(name) or node.inputs[0].removesuffix(":0")

    def input(self, node: Node, position: int) -> str:
        """What a node reads. Raises WeightsError where it has fewer inputs."""
        if position >= len(node.inputs):
            raise self.refusal(node, f"it has {len(node.inputs)} inputs")
        return self.source(node.inputs[position])

    def node(self, name: str) -> Node | None:
        """The node whose first output is `name`."""
        return self.nodes.get(self.source(name))

    def readers(self, name: str) -> list[Node]:
        """The nodes that read the values of an output, in the order of the file."""
        return self._readers.get(name, [])

    def only_reader(self, name: str, *ops: str) -> Node | None:
        """The one node that reads an output, if it is of one of these operations."""
        readers = self.readers(name)
        return readers[0] if len(readers) == 1 and readers[0].op in ops else None

    def scopes(self) -> Iterable[str]:
        """Those that hold convolutions."""
        return self._scopes.keys()

    def convolution(self, scope: str) -> Node:
        """The one convolution of a scope. Raises WeightsError where there is none, or more."""
        found = self._scopes.get(scope, [])
        if len(found) != 1:
            raise WeightsError(f"{self.origin} cannot be read: {len(found)} convolutions in scope {scope}, 1 expected")
        return found[0]

    def constant(self, name: str) -> Constant | None:
        """What lies behind an input; None where it is computed."""
        node = self.node(name)
        return node.constant() if node and node.op == "Const" else None

    def parameter(self, name: str) -> list[float]:
        """A small constant, flat; empty where there is none."""
        constant = self.constant(name)
        if constant is None or len(constant.content) > 1024 or np.prod(constant.shape, dtype=float) > 256:
            return []
        return [float(value) for value in np.ravel(constant.values())]

    def values(self, name: str) -> Tensor:
        """A constant that is part of the network, as float32. Raises WeightsError where it is none, or damaged."""
        constant = self.constant(name)
        if constant is None:
            raise WeightsError(f"{self.origin} cannot be read: {name} is no constant; freeze the graph")
        self._read.add(self.source(name))
        return torch.from_numpy(np.array(constant.values(), np.float32))

    def take(self, *nodes: Node) -> None:
        """Marks nodes with weights as understood. Raises WeightsError for one that is part of the network twice."""
        for node in nodes:
            if node.name in self._taken:
                raise self.refusal(node, "the graph runs in a circle, or shares weights")
            self._taken.add(node.name)

    def finish(self) -> dict[str, str]:
        """The constants left out, with the reason. Raises WeightsError for weights that nothing has read."""
        for node in self.nodes.values():
            if node.op in WITH_WEIGHTS and node.name not in self._taken:
                raise self.refusal(node, "no part of the MobileNet and its head, as far as mbseg knows them")
        unread = (node.name for node in self.nodes.values() if node.op == "Const" and node.name not in self._read)
        return dict.fromkeys(unread, "a setting of the graph round the network")

    def refusal(self, node: Node, why: str) -> WeightsError:
        return WeightsError(f"{self.origin} cannot be read: {node}: {why}")


def scope_of(name: str) -> str:
    return name.rpartition("/")[0]
