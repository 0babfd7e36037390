"""Layers in the graph of a .tflite file: a convolution with the padding, dilation and activation around it, pooling,
squeeze-and-excite. These functions only look; `Graph.take` marks what was found as read.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

from mbseg.nn.activation import Activation
from mbseg.nn.conv import same_padding
from mbseg.weights.tflite_file import Operator
from mbseg.weights.tflite_graph import Graph
from mbseg.weights.tflite_operators import ACTIVATIONS, SAME

FUSED: dict[str, Activation | None] = {"none": None, "relu": "relu", "relu6": "relu6"}
STANDALONE: dict[str, Activation] = {"RELU": "relu", "RELU6": "relu6", "HARD_SWISH": "hardswish"}
TOLERANCE = 0.02  # of the constants of h-swish, which may be stored in 8 bits


class Step(NamedTuple):
    """Operators, and the tensor that they compute."""

    output: int
    operators: tuple[Operator, ...]


@dataclass(frozen=True)
class Convolution:
    """A convolution, still without its values; `weight` and `bias` are tensors of the file."""

    weight: int
    bias: int | None
    depthwise: bool
    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    dilation: int
    activation: Activation | None
    output: int
    operators: tuple[Operator, ...]


def convolutions(graph: Graph, at: int) -> list[Convolution]:
    """All convolutions that read tensor `at`. Raises WeightsError for one of a kind that no MobileNet has."""
    return [found for reader in graph.readers(at) if (found := convolution(graph, reader))]


def only_convolution(graph: Graph, at: int) -> Convolution | None:
    found = convolutions(graph, at)
    return found[0] if len(found) == 1 else None


def convolution(graph: Graph, operator: Operator) -> Convolution | None:
    if operator.kind == "SPACE_TO_BATCH_ND":
        return dilated_convolution(graph, operator)
    if operator.kind == "PAD":
        return padded_convolution(graph, operator)
    if operator.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return None
    plain = plain_convolution(graph, operator)
    if plain.kernel_size > 1 and operator.options["padding"] != SAME:
        raise graph.refusal(operator, "pads by VALID; SAME is read, or a PAD before it that does the same")
    return activated(graph, plain)


def plain_convolution(graph: Graph, operator: Operator) -> Convolution:
    """The convolution itself, with its fused activation."""
    weight, bias = (*operator.inputs[1:], -1, -1)[:2]
    shape = graph.shape(weight) if graph.is_constant(weight) else ()
    if operator.kind == "FULLY_CONNECTED" and len(shape) == 2:
        shape = (shape[0], 1, 1, shape[1])
    if len(shape) != 4 or shape[1] != shape[2] or not (bias < 0 or graph.is_constant(bias)):
        raise graph.refusal(operator, f"weights of shape {list(shape)}; constant and square ones are read")
    depthwise = operator.kind == "DEPTHWISE_CONV_2D"
    in_channels = graph.shape(operator.inputs[0])[-1:]
    if in_channels != shape[3:] or (depthwise and shape[0] != 1):
        raise graph.refusal(operator, f"weights {list(shape)} on {in_channels} channels: grouped, or widening by depth")
    return Convolution(
        weight=weight,
        bias=None if bias < 0 else bias,
        depthwise=depthwise,
        in_channels=shape[3],
        out_channels=shape[3] if depthwise else shape[0],
        kernel_size=shape[1],
        stride=square(graph, operator, "stride"),
        dilation=square(graph, operator, "dilation"),
        activation=fused_activation(graph, operator),
        output=operator.outputs[0],
        operators=(operator,),
    )


def square(graph: Graph, operator: Operator, name: str) -> int:
    """An option that must be the same in both directions; 1 where the operator has none."""
    height, width = (operator.options.get(f"{name}_{direction}", 1) for direction in ("height", "width"))
    if height != width or height < 1:
        raise graph.refusal(operator, f"{name} {height} x {width}; the MobileNets have square ones")
    return height


def fused_activation(graph: Graph, operator: Operator) -> Activation | None:
    code = operator.options["activation"]
    name = ACTIVATIONS[code] if 0 <= code < len(ACTIVATIONS) else str(code)
    if name not in FUSED:
        raise graph.refusal(operator, f"activation {name}; read are {', '.join(FUSED)}")
    return FUSED[name]


def without_activation(graph: Graph, operator: Operator) -> Operator:
    """The operator, if it ends where our network goes on. Raises WeightsError for one with a fused activation."""
    if operator.options.get("activation", 0):
        raise graph.refusal(operator, "an activation fused into it, which no MobileNet has there")
    return operator


def padded_convolution(graph: Graph, pad: Operator) -> Convolution | None:
    """Keras pads by an operator of its own; it must give what SAME gives at the file's picture size."""
    following = graph.only_reader(pad.outputs[0], "CONV_2D", "DEPTHWISE_CONV_2D")
    if following is None:
        return None
    plain = plain_convolution(graph, following)
    size = graph.shape(pad.inputs[0])
    same = [same_padding(pixels, plain.kernel_size, plain.stride) for pixels in size[1:3]]
    padding = graph.parameter(pad, 1)
    if padding != [0, 0, *same[0], *same[-1], 0, 0] or following.options["padding"] == SAME or plain.dilation > 1:
        raise graph.refusal(pad, f"pads {list(size)} by {padding}; TensorFlow's SAME, {same}, is read")
    return activated(graph, replace(plain, operators=(pad, following)))


def dilated_convolution(graph: Graph, space: Operator) -> Convolution | None:
    """Older converters write a dilated convolution as a plain one on a picture cut into interleaved ones."""
    following = graph.only_reader(space.outputs[0], "CONV_2D", "DEPTHWISE_CONV_2D")
    batch = following and graph.only_reader(following.outputs[0], "BATCH_TO_SPACE_ND")
    if following is None or batch is None:
        return None
    plain = plain_convolution(graph, following)
    rates, padding, crops = graph.parameter(space, 1), graph.parameter(space, 2), graph.parameter(batch, 2)
    rate = int(rates[0]) if rates else 0
    reach = rate * (plain.kernel_size - 1) // 2
    kept = [before_or_behind - crop for before_or_behind, crop in zip(padding, crops, strict=False)]
    if rates != [rate, rate] or graph.parameter(batch, 1) != rates or kept != [reach] * 4 or plain.stride > 1:
        raise graph.refusal(space, f"blocks {rates}, padding {padding}, crops {crops} make no dilated convolution")
    operators = (space, following, batch)
    dilated = replace(plain, dilation=rate * plain.dilation, output=batch.outputs[0], operators=operators)
    return activated(graph, dilated)


def activated(graph: Graph, plain: Convolution) -> Convolution:
    """With the activation that stands behind the convolution as operators of its own."""
    if plain.activation is not None:
        return plain
    if operator := graph.only_reader(plain.output, *STANDALONE):
        name, step = STANDALONE[operator.kind], Step(operator.outputs[0], (operator,))
    elif swish := hard_swish(graph, plain.output):
        name, step = "hardswish", swish
    else:
        return plain
    return replace(plain, activation=name, output=step.output, operators=(*plain.operators, *step.operators))


def hard_swish(graph: Graph, x: int) -> Step | None:
    """x * relu6(x + 3) / 6, the division first or last."""
    shifted = shifted_relu6(graph, x)
    if shifted is None or len(graph.readers(x)) != 2:
        return None
    first = hard_sigmoid(graph, x)
    product = graph.only_reader((first or shifted).output, "MUL")
    if product is None or x not in product.inputs:
        return None
    last = None if first else constant_step(graph, product.outputs[0], ("MUL",), 1 / 6)
    end = last or (Step(without_activation(graph, product).outputs[0], ()) if first else None)
    return end and Step(end.output, (*(first or shifted).operators, product, *end.operators))


def hard_sigmoid(graph: Graph, x: int) -> Step | None:
    """relu6(x + 3) / 6."""
    shifted = shifted_relu6(graph, x)
    divided = shifted and constant_step(graph, shifted.output, ("MUL",), 1 / 6)
    return Step(divided.output, (*shifted.operators, *divided.operators)) if shifted and divided else None


def shifted_relu6(graph: Graph, x: int) -> Step | None:
    shift = constant_step(graph, x, ("ADD",), 3)
    if shift is None:
        return None
    if fused_activation(graph, shift.operators[0]) == "relu6":
        return shift
    relu6 = graph.only_reader(shift.output, "RELU6")
    return Step(relu6.outputs[0], (*shift.operators, relu6)) if relu6 else None


def constant_step(graph: Graph, x: int, kinds: tuple[str, ...], value: float) -> Step | None:
    """The reader of `x` that adds or multiplies by `value`."""
    for reader in graph.readers(x):
        if reader.kind in kinds and len(reader.inputs) == 2:
            given = graph.parameter(reader, 1) or graph.parameter(reader, 0)
            if len(given) == 1 and abs(given[0] - value) < TOLERANCE * value:
                plain = without_activation(graph, reader) if reader.kind == "MUL" else reader
                return Step(plain.outputs[0], (plain,))
    return None


def global_pooling(graph: Graph, at: int) -> Step | None:
    """The mean over the whole map, by either of two operators."""
    size = graph.shape(at)[1:3]
    for reader in graph.readers(at):
        options = reader.options
        if reader.kind == "MEAN" and sorted(graph.parameter(reader, 1)) == [1, 2]:
            return Step(reader.outputs[0], (reader,))
        if reader.kind == "AVERAGE_POOL_2D" and (options["kernel_height"], options["kernel_width"]) == size:
            return Step(without_activation(graph, reader).outputs[0], (reader,))
    return None
