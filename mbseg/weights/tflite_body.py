"""The MobileNet inside the graph of a .tflite file, its blocks read one by one."""

from collections.abc import Mapping
from dataclasses import dataclass

from mbseg.backbones.blockspec import BlockSpec, NetworkSpec
from mbseg.backbones.dilation import stride_behind
from mbseg.nn.activation import Activation
from mbseg.weights.tflite_file import Operator
from mbseg.weights.tflite_graph import Graph
from mbseg.weights.tflite_layers import (
    Convolution,
    global_pooling,
    hard_sigmoid,
    only_convolution,
    without_activation,
)


@dataclass(frozen=True)
class SqueezeExcite:
    reduce: Convolution
    widen: Convolution
    output: int
    operators: tuple[Operator, ...]


@dataclass(frozen=True)
class Block:
    """One block of the file: its convolutions under our names, and what they amount to."""

    spec: BlockSpec
    layers: Mapping[str, Convolution]
    squeeze_excite: SqueezeExcite | None
    output: int
    operators: tuple[Operator, ...]


@dataclass(frozen=True)
class Body:
    """Stem, blocks and, where there is one, the last 1x1 convolution."""

    stem: Convolution
    blocks: tuple[Block, ...]
    last_conv: Convolution | None
    activation: Activation  # of stem and last convolution
    output: int

    @property
    def network(self) -> NetworkSpec:
        last_conv_channels = self.last_conv.out_channels if self.last_conv else None
        blocks = tuple(block.spec for block in self.blocks)
        return NetworkSpec(self.stem.out_channels, blocks, last_conv_channels, self.activation)

    @property
    def output_stride(self) -> int:
        return stride_behind(self.network.blocks)


def read_body(graph: Graph, at: int) -> Body:
    """From the normalised picture, tensor `at`, to the map that the head reads. Raises WeightsError."""
    stem = only_convolution(graph, at)
    if stem is None or stem.depthwise or (stem.kernel_size, stem.stride, stem.dilation) != (3, 2, 1):
        raise graph.stopped(at, "a MobileNet's stem (3x3 convolution of stride 2)")
    if stem.activation is None:
        raise graph.refusal(stem.operators[-1], "no activation behind the stem")
    graph.take(stem.operators)
    at = stem.output
    blocks = []
    while block := read_block(graph, at):
        graph.take(block.operators)
        blocks.append(block)
        at = block.output
    if not blocks:
        raise graph.stopped(at, "a MobileNet's first block (depthwise convolution)")
    last_conv = read_last_conv(graph, at)
    if last_conv and last_conv.activation != stem.activation:
        raise graph.refusal(last_conv.operators[-1], "its activation is missing, or not that of the stem")
    graph.take(last_conv.operators if last_conv else ())
    return Body(stem, tuple(blocks), last_conv, stem.activation, last_conv.output if last_conv else at)


def read_last_conv(graph: Graph, at: int) -> Convolution | None:
    """V2's and V3's 1x1 convolution between the blocks and what reads them; heads pool, and have two readers."""
    last_conv = only_convolution(graph, at)
    return last_conv if last_conv and len(graph.readers(at)) == 1 and global_pooling(graph, last_conv.output) else None


def read_block(graph: Graph, at: int) -> Block | None:
    """The block that begins at tensor `at`; None where no block does."""
    expand, depthwise = None, only_convolution(graph, at)
    if depthwise and not depthwise.depthwise:
        expand, depthwise = depthwise, only_convolution(graph, depthwise.output)
    if depthwise is None or not depthwise.depthwise or not is_pointwise(expand):
        return None
    squeeze = read_squeeze_excite(graph, depthwise.output)
    project = only_convolution(graph, squeeze.output if squeeze else depthwise.output)
    if project is None or project.depthwise or not is_pointwise(project):
        raise graph.stopped(squeeze.output if squeeze else depthwise.output, "a block's projection (1x1 convolution)")
    sum_with_input = graph.only_reader(project.output, "ADD")
    shortcut = without_activation(graph, sum_with_input) if sum_with_input and at in sum_with_input.inputs else None
    layers = {"expand": expand, "depthwise": depthwise, "project": project}
    found = {name: layer for name, layer in layers.items() if layer}
    operators = [operator for layer in found.values() for operator in layer.operators]
    return Block(
        block_spec(graph, found, squeeze, has_shortcut=shortcut is not None),
        found,
        squeeze,
        shortcut.outputs[0] if shortcut else project.output,
        (*operators, *(squeeze.operators if squeeze else ()), *([shortcut] if shortcut else [])),
    )


def block_spec(
    graph: Graph, layers: Mapping[str, Convolution], squeeze: SqueezeExcite | None, *, has_shortcut: bool
) -> BlockSpec:
    """What the block would be in our tables. Raises WeightsError for activations that no MobileNet has."""
    depthwise, project = layers["depthwise"], layers["project"]
    first = layers.get("expand", depthwise)
    if depthwise.activation is None or first.activation != depthwise.activation:
        raise graph.refusal(depthwise.operators[-1], "its activation is missing, or not that of the expansion")
    if project.activation not in (None, depthwise.activation):
        raise graph.refusal(project.operators[-1], f"activation {project.activation} behind a projection")
    return BlockSpec(
        in_channels=first.in_channels,
        expanded_channels=depthwise.out_channels,
        out_channels=project.out_channels,
        stride=depthwise.stride,
        shortcut=has_shortcut,
        linear=project.activation is None,
        kernel_size=depthwise.kernel_size,
        dilation=depthwise.dilation,
        activation=depthwise.activation,
        squeeze_channels=squeeze.reduce.out_channels if squeeze else None,
    )


def read_squeeze_excite(graph: Graph, at: int) -> SqueezeExcite | None:
    """Mean, 1x1 convolution and ReLU, 1x1 convolution and hard sigmoid, product with the map."""
    pooling = global_pooling(graph, at)
    reduce = pooling and only_convolution(graph, pooling.output)
    widen = reduce and only_convolution(graph, reduce.output)
    gate = widen and hard_sigmoid(graph, widen.output)
    scaled = gate and graph.only_reader(gate.output, "MUL")
    if not (pooling and reduce and widen and gate and scaled):
        return None
    if at not in scaled.inputs or reduce.activation != "relu" or widen.activation is not None:
        return None
    operators = (
        *(*pooling.operators, *reduce.operators, *widen.operators, *gate.operators),
        without_activation(graph, scaled),
    )
    return SqueezeExcite(reduce, widen, scaled.outputs[0], operators)


def is_pointwise(layer: Convolution | None) -> bool:
    return layer is None or (layer.kernel_size == layer.stride == layer.dilation == 1 and not layer.depthwise)
