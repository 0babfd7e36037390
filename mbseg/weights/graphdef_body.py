"""MobileNetV2 in a frozen TensorFlow graph, found by the scope names of TensorFlow's slim library."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from mbseg.backbones.blockspec import BlockSpec, NetworkSpec
from mbseg.nn.activation import Activation
from mbseg.weights.graphdef_graph import Graph
from mbseg.weights.graphdef_layers import Layer, read_layer, with_norm

ADDITIONS = ("Add", "AddV2")


@dataclass(frozen=True)
class Block:
    """One block of the file: its convolutions under our names, and what they amount to."""

    spec: BlockSpec
    layers: Mapping[str, Layer]
    output: str


@dataclass(frozen=True)
class Body:
    """Stem, blocks and, where there is one, the last 1x1 convolution."""

    picture: str  # what the stem reads
    stem: Layer
    blocks: tuple[Block, ...]
    last_conv: Layer | None
    activation: Activation  # of stem and last convolution

    @property
    def output(self) -> str:
        return self.last_conv.output if self.last_conv else self.blocks[-1].output

    @property
    def network(self) -> NetworkSpec:
        last_conv_channels = self.last_conv.out_channels if self.last_conv else None
        blocks = tuple(block.spec for block in self.blocks)
        return NetworkSpec(self.stem.out_channels, blocks, last_conv_channels, self.activation)


def read_body(graph: Graph, scope: str) -> Body:
    """The MobileNetV2 below `scope`, "MobilenetV2/" or one that ends so. Raises WeightsError."""
    picture = graph.input(graph.convolution(f"{scope}Conv"), 0)
    stem = read_layer(graph, f"{scope}Conv", reads=picture)
    if stem.depthwise or stem.activation is None or (stem.kernel_size, stem.stride, stem.dilation) != (3, 2, 1):
        raise graph.refusal(stem.node, "no MobileNetV2's stem (3x3 convolution of stride 2, with activation)")
    blocks = tuple(read_blocks(graph, scope, stem.output))
    if not blocks:
        raise graph.refusal(stem.node, f"no block behind the stem: none in scope {scope}expanded_conv")
    last_conv = None
    if f"{scope}Conv_1" in graph.scopes():
        last_conv = read_layer(graph, f"{scope}Conv_1", reads=blocks[-1].output)
        if not is_pointwise(last_conv) or last_conv.activation != stem.activation:
            raise graph.refusal(last_conv.node, "no MobileNetV2's last convolution (1x1, the stem's activation)")
    return Body(picture, stem, blocks, last_conv, stem.activation)


def read_blocks(graph: Graph, scope: str, at: str) -> Iterator[Block]:
    name = f"{scope}expanded_conv"
    index = 0
    while f"{name}/depthwise" in graph.scopes():
        block = read_block(graph, name, at)
        yield block
        at, index = block.output, index + 1
        name = f"{scope}expanded_conv_{index}"


def read_block(graph: Graph, scope: str, at: str) -> Block:
    layers, last = {}, at
    for part in ("expand", "depthwise", "project"):
        if part != "expand" or f"{scope}/expand" in graph.scopes():
            layers[part] = read_layer(graph, f"{scope}/{part}", reads=last)
            last = layers[part].output
    summed = next((node for node in graph.readers(last) if node.op in ADDITIONS), None)
    has_shortcut = summed is not None and {graph.source(one) for one in summed.inputs} == {at, last}
    output = summed.name if summed and has_shortcut else last
    return Block(block_spec(graph, layers, has_shortcut=has_shortcut), layers, output)


def block_spec(graph: Graph, layers: Mapping[str, Layer], *, has_shortcut: bool) -> BlockSpec:
    """What the block would be in our tables. Raises WeightsError for layers that no MobileNetV2 has."""
    depthwise, project = layers["depthwise"], layers["project"]
    first = layers.get("expand", depthwise)
    if not depthwise.depthwise or depthwise.activation is None or first.activation != depthwise.activation:
        raise graph.refusal(depthwise.node, "no depthwise convolution with the activation of its expansion")
    for layer in (layers.get("expand", project), project):
        if not is_pointwise(layer):
            raise graph.refusal(layer.node, "no 1x1 convolution")
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
    )


def is_pointwise(layer: Layer) -> bool:
    return layer.kernel_size == layer.stride == layer.dilation == 1 and not layer.depthwise


def body_state(graph: Graph, body: Body) -> Iterator[tuple[str, Tensor]]:
    yield from with_norm(graph, "backbone.stem", body.stem)
    for index, block in enumerate(body.blocks):
        for part, layer in block.layers.items():
            yield from with_norm(graph, f"backbone.blocks.{index}.{part}", layer)
    if body.last_conv:
        yield from with_norm(graph, "backbone.last_conv", body.last_conv)
