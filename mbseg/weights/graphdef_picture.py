"""How a frozen TensorFlow graph brings the picture in: its normalisation and, where it is fixed, its size."""

import math

from mbseg.errors import WeightsError
from mbseg.weights.graphdef_file import Node
from mbseg.weights.graphdef_graph import Graph

Triple = tuple[float, float, float]
SHIFTS = ("Add", "AddV2", "Sub")
SCALES = ("Mul", "RealDiv")
LARGEST_SIDE = 16384  # pixels


def read_normalization(graph: Graph, picture: str) -> tuple[Triple, Triple]:
    """Mean and deviation of the values that the stem reads: pixels times one constant, plus another.

    Without these two steps pictures are taken to be brought to [-1, 1], as TensorFlow's MobileNets want them.
    """
    factor, offset = 1 / 127.5, -1.0
    shift = graph.node(picture)
    scale = graph.node(graph.input(shift, 0)) if shift and shift.op in SHIFTS else None
    if shift and scale and scale.op in SCALES:
        offset = -scalar(graph, shift) if shift.op == "Sub" else scalar(graph, shift)
        factor = scalar(graph, scale) if scale.op == "Mul" else 1 / scalar(graph, scale)
        if not (0 < factor < math.inf and 0 <= -offset / (255 * factor) <= 1):
            raise graph.refusal(scale, f"pictures are multiplied by {factor:g}, and {offset:g} is added")
    mean, std = round(-offset / (255 * factor), 6), round(1 / (255 * factor), 6)
    return (mean, mean, mean), (std, std, std)


def scalar(graph: Graph, node: Node) -> float:
    """The one constant operand. Raises WeightsError where there is none, or a zero."""
    found = [values[0] for name in node.inputs if len(values := graph.parameter(name)) == 1]
    if len(found) != 1 or not math.isfinite(found[0]) or not found[0]:
        raise graph.refusal(node, "no sum or product of the picture and one number")
    return found[0]


def read_size(graph: Graph) -> tuple[int, int]:
    """(height, width) of the pictures that a detector sees: what they are resized to, or what is fed where nothing is.

    Raises WeightsError where the graph leaves them open.
    """
    nodes = graph.nodes.values()
    resized = [node for node in nodes if node.op == "ResizeBilinear" and node.name.startswith("Preprocessor/")]
    found = [graph.parameter(graph.input(node, 1)) for node in resized]
    found += [[float(size) for size in node.sizes()[1:3]] for node in nodes if node.op == "Placeholder"]
    for sizes in found:
        if len(sizes) == 2 and all(1 <= size <= LARGEST_SIDE for size in sizes):
            return int(sizes[0]), int(sizes[1])
    raise WeightsError(f"{graph.origin} cannot be read: neither its resizing nor its placeholder says a picture's size")
