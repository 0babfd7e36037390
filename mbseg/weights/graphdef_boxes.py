"""How SSDLite's outputs are meant in a frozen graph of TensorFlow's object detection API: default boxes, the order and
scale of the offsets, scores, and the overlap that is suppressed.
"""

from itertools import zip_longest
from typing import Any

from mbseg.boxes.coding import SCALE_FACTORS
from mbseg.boxes.default_boxes import BoxShape, box_shapes
from mbseg.errors import WeightsError
from mbseg.weights.graphdef_file import Node
from mbseg.weights.graphdef_graph import Graph, scope_of

SCORES = {"Sigmoid": "sigmoid", "Softmax": "softmax"}
NON_MAXIMUM_SUPPRESSIONS = ("NonMaxSuppressionV2", "NonMaxSuppressionV3", "NonMaxSuppressionV4", "NonMaxSuppressionV5")
OURS_FROM_THEIRS = [1, 0, 3, 2]  # x, y, width, height from y, x, height, width
TOLERANCE = 2e-3  # of default boxes: TensorFlow writes a third as 0.3333


def check_default_boxes(graph: Graph, maps: int) -> None:
    """They must be ours, where the graph computes them: height = scale / sqrt(ratio)."""
    roots = [node.name for node in graph.nodes.values() if is_of_boxes(node.name, node.op)]
    found = [shapes_of(graph, root) for root in sorted(roots, key=number_of)]
    pairs = zip_longest(found, box_shapes(maps), fillvalue=()) if found else ()
    for index, (theirs, ours) in enumerate(pairs):
        if len(theirs) != len(ours) or not all(map(alike, theirs, ours)):
            shown = ", ".join(f"{one.scale:.3g} ({one.ratio:.3g})" for one in theirs)
            raise WeightsError(
                f"{graph.origin} cannot be read: on map {index} its default boxes have the scales (and ratios) {shown}"
            )


def is_of_boxes(name: str, op: str) -> bool:
    return op == "Sqrt" and scope_of(name).endswith("MultipleGridAnchorGenerator")


def number_of(name: str) -> int:
    """TensorFlow's of nodes with one name: Sqrt, Sqrt_1, Sqrt_2."""
    number = name.rpartition("_")[2]
    return int(number) if number.isdecimal() and len(number) < 6 else 0


def shapes_of(graph: Graph, root: str) -> tuple[BoxShape, ...]:
    """From the square root of the ratios, and the scales that are divided by it."""
    ratios = graph.parameter(graph.input(graph.nodes[root], 0))
    divided = next((node for node in graph.readers(root) if node.op == "RealDiv"), None)
    scales = graph.parameter(graph.input(divided, 0)) if divided else []
    if len(scales) != len(ratios):
        raise graph.refusal(graph.nodes[root], f"{len(ratios)} ratios and {len(scales)} scales of default boxes")
    return tuple(BoxShape(scale, ratio) for scale, ratio in zip(scales, ratios, strict=True))


def alike(theirs: BoxShape, ours: BoxShape) -> bool:
    return all(abs(one - other) <= TOLERANCE * other for one, other in zip(theirs, ours, strict=True))


def check_coding(graph: Graph) -> None:
    """The scales of offsets and logits must be ours, where the graph decodes them."""
    for node in graph.nodes.values():
        if node.op == "RealDiv" and scope_of(node.name) in ("Postprocessor", "Postprocessor/Decode"):
            wanted, found = our_divisor(graph, node), graph.parameter(graph.input(node, 1))
            if wanted is not None and found and found != [wanted]:
                raise graph.refusal(node, f"divides by {found[0]:g}; {wanted:g} is read")


def our_divisor(graph: Graph, node: Node) -> float | None:
    """Of the four offsets, which the graph unpacks, and of the logits; None of anything else."""
    name, _, place = graph.input(node, 0).partition(":")
    divided = graph.nodes.get(name)
    if divided and divided.op == "Unpack" and place in ("", "1", "2", "3"):
        return SCALE_FACTORS[OURS_FROM_THEIRS[int(place or 0)]]
    return 1.0 if node.name == "Postprocessor/scale_logits" else None


def read_scores(graph: Graph) -> str:
    """How logits become scores. Raises WeightsError where the graph does not say so, or says both."""
    ops = {node.op for node in graph.nodes.values() if node.op in SCORES and node.name.startswith("Postprocessor/")}
    if len(ops) != 1:
        found = ", ".join(sorted(ops)) or "nothing"
        raise WeightsError(f"{graph.origin} cannot be read: its Postprocessor has {found}; a Sigmoid or a Softmax is")
    return SCORES[ops.pop()]


def detector_protocol(graph: Graph) -> dict[str, Any]:
    """The overlap at which the graph's own non-maximum suppression drops a box."""
    for node in graph.nodes.values():
        if node.op in NON_MAXIMUM_SUPPRESSIONS:
            threshold = graph.parameter(graph.input(node, 3))
            if len(threshold) == 1 and 0 <= threshold[0] <= 1:
                return {"selection": {"iou_threshold": round(threshold[0], 6)}}
    return {}
