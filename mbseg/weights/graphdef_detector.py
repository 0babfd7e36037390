"""SSDLite in a frozen graph of TensorFlow's object detection API: extra layers, predictors, and how they are read."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mbseg.backbones.dilation import LAST_CONV, STEM, find_endpoints
from mbseg.boxes.default_boxes import box_shapes
from mbseg.errors import WeightsError
from mbseg.heads.ssdlite import EXTRA_CHANNELS
from mbseg.weights.graphdef_body import Body, is_pointwise
from mbseg.weights.graphdef_boxes import OURS_FROM_THEIRS, check_coding, check_default_boxes, read_scores
from mbseg.weights.graphdef_graph import Graph
from mbseg.weights.graphdef_layers import Layer, plain, read_layer, with_norm
from mbseg.weights.graphdef_picture import read_size

EXTRA_PARTS = {  # ours -> the end of TensorFlow's scope, behind "layer_<number of the backbone's last map>"
    "reduce": r"_1_Conv2d_{}_1x1_\d+",
    "depthwise": r"_2_Conv2d_{}_3x3_s2_\d+_depthwise",
    "widen": r"_2_Conv2d_{}_3x3_s2_\d+",
}
PREDICTOR = re.compile(r"BoxPredictor_\d+/ClassPredictor_depthwise")
FIRST_EXTRA = 2  # TensorFlow's number of it
KINDS = {"class_predictors": "ClassPredictor", "box_predictors": "BoxEncodingPredictor"}


@dataclass(frozen=True)
class Predictor:
    depthwise: Layer
    pointwise: Layer


@dataclass(frozen=True)
class Detector:
    """What stands behind the backbone, its layers under our names."""

    taps: tuple[str, ...]
    extras: tuple[Mapping[str, Layer], ...]
    predictors: Mapping[str, tuple[Predictor, ...]]  # of each kind, one a map
    outputs: int  # of the classes, the background counted


def read_detector(graph: Graph, body: Body, scope: str) -> Detector:
    """The SSDLite behind `body`, whose scope is `scope`. Raises WeightsError for any other head."""
    names = tap_outputs(body)
    maps = backbone_maps(graph, names)
    taps = tuple(names[one] for one in maps)
    extras = []
    for index in range(len(EXTRA_CHANNELS)):
        extras.append(read_extra(graph, scope, FIRST_EXTRA + index, maps[-1]))
        maps.append(extras[-1]["widen"].output)
    predictors = {
        ours: tuple(read_predictor(graph, f"BoxPredictor_{index}/{theirs}", at) for index, at in enumerate(maps))
        for ours, theirs in KINDS.items()
    }
    outputs = check_outputs(graph, predictors, [len(shapes) for shapes in box_shapes(len(maps))])
    check_default_boxes(graph, len(maps))
    check_coding(graph)
    return Detector(taps, tuple(extras), predictors, outputs)


def backbone_maps(graph: Graph, names: Mapping[str, str]) -> list[str]:
    """The outputs that the first predictors read; the last four read the extra layers."""
    scopes = [one for one in graph.scopes() if PREDICTOR.fullmatch(one)]
    maps = []
    for index in range(len(scopes) - len(EXTRA_CHANNELS)):
        maps.append(graph.input(graph.convolution(f"BoxPredictor_{index}/ClassPredictor_depthwise"), 0))
        if maps[-1] not in names:
            raise WeightsError(f"{graph.origin} cannot be read: BoxPredictor_{index} reads {maps[-1]}, no map of ours")
    if not maps:
        least = len(EXTRA_CHANNELS) + 1
        raise WeightsError(
            f"{graph.origin} cannot be read: it has SSDLite's depthwise predictors on {len(scopes)} maps, not {least} "
            f"or more"
        )
    return maps


def tap_outputs(body: Body) -> dict[str, str]:
    """The outputs of the file that are feature maps of ours, and their names."""
    outputs = {body.last_conv.output: LAST_CONV} if body.last_conv else {}
    for name, end in find_endpoints(body.network.blocks).items():
        if end.block == STEM:
            outputs[body.stem.output] = name
        elif end.expanded:
            outputs[body.blocks[end.block].layers["expand"].output] = name
        else:
            outputs[body.blocks[end.block].output] = name
    return outputs


def read_extra(graph: Graph, scope: str, number: int, at: str) -> dict[str, Layer]:
    layers: dict[str, Layer] = {}
    for part, ending in EXTRA_PARTS.items():
        pattern = re.compile(re.escape(scope) + r"layer_\d+" + ending.format(number))
        found = next((one for one in graph.scopes() if pattern.fullmatch(one)), None)
        if found is None:
            raise WeightsError(f"{graph.origin} cannot be read: no extra layer {number} ({part}) in scope {scope}")
        layers[part] = read_layer(graph, found, reads=at)
        at = layers[part].output
        is_right = is_spatial(layers[part], stride=2) if part == "depthwise" else is_pointwise(layers[part])
        if not is_right or layers[part].activation != "relu6":
            raise graph.refusal(layers[part].node, "not as in SSDLite's extra layers")
    return layers


def read_predictor(graph: Graph, scope: str, at: str) -> Predictor:
    depthwise = read_layer(graph, f"{scope}_depthwise", reads=at)
    pointwise = read_layer(graph, scope, reads=depthwise.output)
    if not is_spatial(depthwise, stride=1) or depthwise.activation != "relu6":
        raise graph.refusal(depthwise.node, "no 3x3 depthwise convolution with ReLU6, as SSDLite's predictors have")
    if not is_pointwise(pointwise) or pointwise.activation is not None:
        raise graph.refusal(pointwise.node, "no 1x1 convolution without activation, as SSDLite's predictors end")
    return Predictor(depthwise, pointwise)


def is_spatial(layer: Layer, *, stride: int) -> bool:
    return layer.depthwise and (layer.kernel_size, layer.stride, layer.dilation) == (3, stride, 1)


def check_outputs(graph: Graph, predictors: Mapping[str, Sequence[Predictor]], boxes: Sequence[int]) -> int:
    """The number of class scores a box; boxes must be those of our standard plan."""
    for predictor, count in zip(predictors["box_predictors"], boxes, strict=True):
        if predictor.pointwise.out_channels != 4 * count:
            found = predictor.pointwise.out_channels
            raise graph.refusal(predictor.pointwise.node, f"{found} outputs; for {count} boxes {4 * count} are read")
    counts = zip(predictors["class_predictors"], boxes, strict=True)
    outputs = {predictor.pointwise.out_channels / count for predictor, count in counts}
    scores = outputs.pop()
    if outputs or not scores.is_integer() or scores < 2:
        raise WeightsError(f"{graph.origin} cannot be read: its maps have {scores:g} scores a box and others; one is")
    return int(scores)


def detector_config(graph: Graph, detector: Detector) -> dict[str, Any]:
    return {
        "image_size": list(read_size(graph)),
        "head": {"kind": "ssdlite", "maps": list(detector.taps), "scores": read_scores(graph)},
    }


def detector_state(graph: Graph, detector: Detector) -> Iterator[tuple[str, Tensor]]:
    for index, extra in enumerate(detector.extras):
        for part, layer in extra.items():
            yield from with_norm(graph, f"extras.layers.{index}.{part}", layer)
    for kind, predictors in detector.predictors.items():
        for index, predictor in enumerate(predictors):
            name = f"head.{kind}.{index}"
            yield from with_norm(graph, f"{name}.depthwise", predictor.depthwise)
            for key, tensor in plain(graph, f"{name}.pointwise.", predictor.pointwise):
                yield key, in_our_order(tensor) if kind == "box_predictors" else tensor


def in_our_order(tensor: Tensor) -> Tensor:
    """Rows y, x, height, width of every box -> x, y, width, height."""
    boxes = tensor.reshape(-1, 4, *tensor.shape[1:])
    return boxes[:, OURS_FROM_THEIRS].reshape(tensor.shape)
