"""Layers in a frozen TensorFlow graph: the convolution of a scope with its dilation, batch norm, bias and activation,
and their values under our names.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mbseg.nn.activation import Activation
from mbseg.nn.conv import NORM_EPSILON
from mbseg.weights.graphdef_file import Node
from mbseg.weights.graphdef_graph import NORMS, Graph
from mbseg.weights.keymap import absorb_epsilon

ACTIVATIONS: dict[str, Activation] = {"Relu": "relu", "Relu6": "relu6"}
BIASES = ("BiasAdd", "Add", "AddV2")
NORM_PARAMETERS = ("weight", "bias", "running_mean", "running_var")  # inputs 1 to 4 of FusedBatchNorm
LARGEST_RATE = 1024
TENSORFLOWS_EPSILON = 1e-4  # of FusedBatchNorm, where a file leaves it away


@dataclass(frozen=True)
class Layer:
    """A convolution, still without its values."""

    node: Node
    weight: str
    norm: Node | None
    bias: str | None
    depthwise: bool
    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    dilation: int
    activation: Activation | None
    output: str


def read_layer(graph: Graph, scope: str, *, reads: str) -> Layer:
    """The convolution of a scope, whose input must be the output `reads`. Raises WeightsError for any other graph."""
    node = graph.convolution(scope)
    source, output, batches = in_batches(graph, node)
    if source != reads:
        raise graph.refusal(node, f"it reads {source}, not {reads}")
    constant = graph.constant(graph.input(node, 1))
    shape = constant.shape if constant else ()
    depthwise = node.op == "DepthwiseConv2dNative"
    if len(shape) != 4 or shape[0] != shape[1] or min(shape) < 1 or (depthwise and shape[3] != 1):
        raise graph.refusal(node, f"weights of shape {list(shape)}; constant and square ones, not widening, are read")
    check_padding(graph, node, shape[0], dilated=batches > 1)
    norm, bias, output = normalized(graph, output)
    activation = graph.only_reader(output, *ACTIVATIONS)
    graph.take(node, *([norm] if norm else []))
    return Layer(
        node=node,
        weight=graph.input(node, 1),
        norm=norm,
        bias=bias,
        depthwise=depthwise,
        in_channels=shape[2],
        out_channels=shape[2] if depthwise else shape[3],
        kernel_size=shape[0],
        stride=square(graph, node, "strides"),
        dilation=batches * square(graph, node, "dilations"),
        activation=ACTIVATIONS[activation.op] if activation else None,
        output=activation.name if activation else output,
    )


def in_batches(graph: Graph, node: Node) -> tuple[str, str, int]:
    """What a convolution reads, what it gives, and its rate where it is dilated by SpaceToBatchND around it."""
    before, after = graph.node(graph.input(node, 0)), graph.only_reader(node.name, "BatchToSpaceND")
    if before is None or before.op != "SpaceToBatchND" or after is None:
        return graph.input(node, 0), node.name, 1
    rates = graph.parameter(graph.input(before, 1))
    is_square = len(rates) == 2 and rates[0] == rates[1] and 2 <= rates[0] <= LARGEST_RATE
    if not is_square or rates != graph.parameter(graph.input(after, 1)):
        raise graph.refusal(before, f"rates {rates}; constant and square ones up to {LARGEST_RATE} are read")
    return graph.input(before, 0), after.name, int(rates[0])


def check_padding(graph: Graph, node: Node, kernel_size: int, *, dilated: bool) -> None:
    """SAME, or VALID where it comes to the same."""
    padding = node.text("padding", "")
    if node.text("data_format", "NHWC") != "NHWC":
        raise graph.refusal(node, "channels stand before height and width; NHWC is read")
    if kernel_size > 1 and padding != ("VALID" if dilated else "SAME"):
        raise graph.refusal(node, f"padding {padding!r}; SAME is read")


def square(graph: Graph, node: Node, name: str) -> int:
    """An option [1, n, n, 1]; 1 where the node has none."""
    sizes = node.integers(name) or [1, 1, 1, 1]
    if len(sizes) != 4 or sizes[1] != sizes[2] or not 1 <= sizes[1] <= LARGEST_RATE or sizes[0] != 1 or sizes[3] != 1:
        raise graph.refusal(node, f"{name} {sizes}; the MobileNets have square ones")
    return sizes[1]


def normalized(graph: Graph, output: str) -> tuple[Node | None, str | None, str]:
    """Batch norm or bias behind a convolution, where there is one, and what it gives."""
    if norm := graph.only_reader(output, *NORMS):
        return norm, None, norm.name
    summed = graph.only_reader(output, *BIASES)
    other = next((one for one in map(graph.source, summed.inputs) if one != output), None) if summed else None
    if summed is None or other is None or graph.constant(other) is None:
        return None, None, output
    return None, other, summed.name


def with_norm(graph: Graph, name: str, layer: Layer) -> Iterator[tuple[str, Tensor]]:
    """A convolution and its batch norm; where that is folded into the convolution, one that adds the bias."""
    yield f"{name}.conv.weight", weight(graph, layer)
    norm = folded(graph, layer) if layer.norm is None else parameters(graph, layer.norm)
    yield from ((f"{name}.norm.{key}", tensor) for key, tensor in norm.items())


def parameters(graph: Graph, norm: Node) -> dict[str, Tensor]:
    """Of TensorFlow's batch norm, its epsilon brought to ours."""
    if norm.flag("is_training", default=True):
        raise graph.refusal(norm, "in training mode, so that its statistics are not in the file")
    values = {f".{key}": graph.values(graph.input(norm, 1 + index)) for index, key in enumerate(NORM_PARAMETERS)}
    absorbed = absorb_epsilon(values, norm.real("epsilon", TENSORFLOWS_EPSILON))
    return {key.removeprefix("."): tensor for key, tensor in absorbed.items()}


def folded(graph: Graph, layer: Layer) -> dict[str, Tensor]:
    """1 / sqrt(variance + epsilon) is 1."""
    ones, zeros = torch.ones(layer.out_channels), torch.zeros(layer.out_channels)
    return dict(zip(NORM_PARAMETERS, (ones, bias(graph, layer), zeros, ones - NORM_EPSILON), strict=True))


def plain(graph: Graph, prefix: str, layer: Layer) -> Iterator[tuple[str, Tensor]]:
    """A convolution with a bias."""
    if layer.norm is not None:
        raise graph.refusal(layer.norm, "batch norm where a bias belongs")
    yield f"{prefix}weight", weight(graph, layer)
    yield f"{prefix}bias", bias(graph, layer)


def weight(graph: Graph, layer: Layer) -> Tensor:
    """[height, width, in, out], depthwise [height, width, channels, 1] -> [out, in, height, width]."""
    order = (2, 3, 0, 1) if layer.depthwise else (3, 2, 0, 1)
    return graph.values(layer.weight).permute(order).contiguous()


def bias(graph: Graph, layer: Layer) -> Tensor:
    return torch.zeros(layer.out_channels) if layer.bias is None else graph.values(layer.bias).reshape(-1)
