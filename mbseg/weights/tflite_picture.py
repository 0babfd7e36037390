"""The two ends of a .tflite file's graph: how the picture is brought in, and what is made of the logits."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mbseg.errors import WeightsError
from mbseg.weights.tflite_file import Operator
from mbseg.weights.tflite_graph import Graph

Triple = tuple[float, float, float]
ARITHMETIC = ("ADD", "SUB", "MUL", "DIV")
UNIT_RANGE = 0.1  # a float picture that is multiplied by more lies in [0, 1], otherwise in [0, 255]
RESULTS = {
    "ARG_MAX": "class_map decides, after upsampling",
    "SOFTMAX": "logits are what our models give",
    "RESHAPE": "changes no value",
    "SQUEEZE": "changes no value",
}
LARGEST_SIDE = 16384  # pixels


class Picture(NamedTuple):
    """What the network is fed."""

    output: int  # the tensor that the stem reads
    size: tuple[int, int]  # (height, width)
    mean: Triple
    std: Triple


class Result(NamedTuple):
    align_corners: bool  # of the upsampling of the logits


def read_picture(graph: Graph) -> Picture:
    """Mean and deviation that give the stem what it gets from the file, by its quantisation and first operators.

    A float picture without any arithmetic is taken to lie in [-1, 1], as all of TensorFlow's MobileNets want it.
    Raises WeightsError for a file that takes no RGB picture.
    """
    inputs = graph.file.inputs
    if len(inputs) != 1 or len(graph.shape(inputs[0])) != 4 or graph.shape(inputs[0])[3] != 3:
        shapes = [list(graph.shape(index)) for index in inputs]
        raise WeightsError(f"{graph.file.origin} takes {shapes}; one RGB picture, [1, height, width, 3], is read")
    _, height, width, _ = graph.shape(inputs[0])
    if not (1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE):
        raise WeightsError(f"{graph.file.origin} takes pictures of {height} x {width}; 1 to {LARGEST_SIDE} are read")
    at, factor, offset = read_arithmetic(graph, inputs[0])
    factor, offset = in_pixels(graph, inputs[0], factor, offset, changed=at != inputs[0])
    std, mean = 1 / (255 * factor), -offset / (255 * factor)
    if not (
        np.isfinite(mean).all() and np.isfinite(std).all() and std.min() > 0 and 0 <= mean.min() <= mean.max() <= 1
    ):
        raise WeightsError(f"{graph.file.origin} normalises pictures by mean {mean.tolist()}, deviation {std.tolist()}")
    return Picture(at, (height, width), triple(mean), triple(std))


def read_arithmetic(graph: Graph, at: int) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    """Follows sums and products with constants: factor and offset of each channel, and the tensor behind them."""
    factor, offset = np.ones(3), np.zeros(3)
    while operator := graph.only_reader(at, *ARITHMETIC, "RESIZE_BILINEAR"):
        if operator.kind == "RESIZE_BILINEAR":
            graph.take([operator], why="pictures are resized before the network")
        else:
            value = operand(graph, operator, at)
            graph.take([operator], why="in the mean and deviation of the data section")
            factor, offset = applied(operator.kind, factor, offset, value)
        at = operator.outputs[0]
    return at, factor, offset


def operand(graph: Graph, operator: Operator, at: int) -> NDArray[np.float64]:
    position = 1 if operator.inputs[0] == at or operator.kind in ("SUB", "DIV") else 0
    values = graph.parameter(operator, position)
    if len(values) not in (1, 3) or operator.inputs[1 - position] != at or operator.options["activation"]:
        raise graph.refusal(operator, "no sum or product of the picture and a constant")
    return np.broadcast_to(np.array(values), 3)


def applied(
    kind: str, factor: NDArray[np.float64], offset: NDArray[np.float64], value: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if kind in ("ADD", "SUB"):
        return factor, offset + (value if kind == "ADD" else -value)
    with np.errstate(divide="ignore"):
        scale = value if kind == "MUL" else 1 / value
    return factor * scale, offset * scale


def in_pixels(
    graph: Graph, index: int, factor: NDArray[np.float64], offset: NDArray[np.float64], *, changed: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Factor and offset that apply to pixels of 0 to 255 instead of the values of the picture's tensor."""
    entry = graph.file.tensors[index]
    if entry.quantization is not None and entry.type in ("uint8", "int8"):
        scale = float(entry.quantization.scales[0])
        zero_point = float(entry.quantization.zero_points[0]) if entry.quantization.zero_points.size else 0.0
        lowest = 0 if entry.type == "uint8" else -128
        return factor * scale, offset + factor * scale * (lowest - zero_point)
    if entry.type == "float32" and not changed:
        return factor / 127.5, offset - factor
    if entry.type == "float32" and factor.max() > UNIT_RANGE:
        return factor / 255, offset
    return factor, offset


def read_result(graph: Graph, at: int) -> Result:
    """Passes upsampling, softmax and arg-max, up to the file's output. Raises WeightsError for anything else."""
    align_corners = True
    while operator := graph.only_reader(at, "RESIZE_BILINEAR", *RESULTS):
        if operator.kind != "RESIZE_BILINEAR":
            graph.take([operator], why=RESULTS[operator.kind])
        elif graph.shape(operator.outputs[0])[1:3] == graph.shape(at)[1:3]:
            graph.take([operator], why="keeps the size")
        else:
            align_corners = bool(operator.options["align_corners"])
            if align_corners == bool(operator.options["half_pixel_centers"]):
                raise graph.refusal(
                    operator, "neither aligned corners nor half-pixel centres; logits go on one of both"
                )
            graph.take([operator], why=f"class_map upsamples, with align_corners {str(align_corners).lower()}")
        at = operator.outputs[0]
    if [graph.source(index) for index in graph.file.outputs] != [at]:
        raise graph.stopped(at, "the file's one output")
    return Result(align_corners)


def triple(values: NDArray[np.float64]) -> Triple:
    red, green, blue = (round(float(value), 6) for value in values)
    return red, green, blue
