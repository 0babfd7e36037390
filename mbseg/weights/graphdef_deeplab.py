"""DeepLabV3's head in a frozen TensorFlow graph, under the scope names of its authors' code."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mbseg.backbones.dilation import stride_behind
from mbseg.errors import WeightsError
from mbseg.heads.aspp import Aspp, atrous_rates
from mbseg.weights.graphdef_body import Body, is_pointwise
from mbseg.weights.graphdef_graph import Graph
from mbseg.weights.graphdef_layers import Layer, plain, read_layer, with_norm

DECODER = "decoder/"
POOLINGS = ("Mean", "AvgPool")
RESIZE = "ResizeBilinear"
VOC_CLASSES = 21
PICTURE_SIDE = 513  # of VOC's protocol


@dataclass(frozen=True)
class DeepLab:
    """The layers of the head. A separable branch has two."""

    branches: tuple[tuple[Layer, ...], ...]
    image_pooling: Layer
    project: Layer
    classifier: Layer
    order: tuple[int, ...]  # places of the branches and, last, the image pooling in what `project` reads
    align_corners: bool

    @property
    def aspp(self) -> Aspp:
        if len(self.branches) == 1:
            return "none"
        return "dense" if len(self.branches[1]) == 1 else "separable"


def read_deeplab(graph: Graph, body: Body) -> DeepLab:
    """The head that reads the last map of `body`. Raises WeightsError for any other, one with a decoder included."""
    if any(scope.startswith(DECODER) for scope in graph.scopes()):
        raise WeightsError(
            f"{graph.origin} has the decoder of DeepLabV3+, which reads the output of a depthwise convolution; "
            f"no backbone here gives that map, so DeepLabV3 alone is read"
        )
    at = body.output
    branches = tuple(read_branches(graph, at))
    image_pooling = read_layer(graph, "image_pooling", reads=pooled(graph, at))
    outputs = [branch[-1].output for branch in branches]
    joined, order = read_join(graph, outputs, image_pooling.output)
    project = read_layer(graph, "concat_projection", reads=joined)
    classifier = read_layer(graph, "logits/semantic", reads=project.output)
    check_head(graph, branches, (branches[0][0], image_pooling, project), classifier)
    return DeepLab(branches, image_pooling, project, classifier, order, read_align_corners(graph, classifier.output))


def read_branches(graph: Graph, at: str) -> Iterator[tuple[Layer, ...]]:
    """The 1x1 convolution and, where the file has them, three atrous ones, dense or separable."""
    index = 0
    while f"aspp{index}" in graph.scopes() or f"aspp{index}_depthwise" in graph.scopes():
        if f"aspp{index}" in graph.scopes():
            yield (read_layer(graph, f"aspp{index}", reads=at),)
        else:
            depthwise = read_layer(graph, f"aspp{index}_depthwise", reads=at)
            yield depthwise, read_layer(graph, f"aspp{index}_pointwise", reads=depthwise.output)
        index += 1
    if index not in (1, 4):
        raise WeightsError(f"{graph.origin} cannot be read: {index} branches (aspp0 ...) beside the image pooling")


def pooled(graph: Graph, at: str) -> str:
    """The mean of the whole map."""
    pooling = next((node for node in graph.readers(at) if node.op in POOLINGS), None)
    if pooling is None:
        raise WeightsError(f"{graph.origin} cannot be read: nothing pools {at}; DeepLabV3 has image pooling")
    return pooling.name


def read_join(graph: Graph, branches: list[str], image_pooling: str) -> tuple[str, tuple[int, ...]]:
    """The concatenation of all branches, and the place in it of each; the pooled map is spread by a resizing."""
    joined = graph.only_reader(branches[0], "ConcatV2")
    if joined is None:
        raise WeightsError(f"{graph.origin} cannot be read: no concatenation reads {branches[0]} alone")
    *names, axis = (graph.source(name) for name in joined.inputs)
    spread = [unspread(graph, name) for name in names]
    parts = [*branches, image_pooling]
    if sorted(spread) != sorted(parts) or graph.parameter(axis) not in ([3], [-1]):
        raise graph.refusal(joined, "does not join the branches and the image pooling by their channels")
    return joined.name, tuple(spread.index(part) for part in parts)


def unspread(graph: Graph, name: str) -> str:
    node = graph.node(name)
    return graph.input(node, 0) if node and node.op == RESIZE else name


def check_head(
    graph: Graph, branches: tuple[tuple[Layer, ...], ...], points: tuple[Layer, ...], classifier: Layer
) -> None:
    """Kernels, ReLU behind all but the last, one width."""
    for branch in branches[1:]:
        spatial, *pointwise = branch
        if (spatial.kernel_size, spatial.stride, spatial.depthwise) != (3, 1, len(branch) == 2):
            raise graph.refusal(spatial.node, "no atrous 3x3 convolution")
        points = (*points, *pointwise)
    for layer in (*points, classifier):
        if not is_pointwise(layer):
            raise graph.refusal(layer.node, "no 1x1 convolution")
    hidden = (*points, *(branch[0] for branch in branches[1:]))
    for layer, wanted in (*((layer, "relu") for layer in hidden), (classifier, None)):
        if layer.activation != wanted:
            raise graph.refusal(layer.node, f"activation {layer.activation}, not {wanted}")
    widths = sorted({layer.out_channels for layer in (*points, *(branch[-1] for branch in branches))})
    if len(widths) != 1 or len({len(branch) for branch in branches[1:]}) > 1:
        raise graph.refusal(points[0].node, f"widths {widths} in one head; branches of one kind and width are read")


def read_align_corners(graph: Graph, logits: str) -> bool:
    """Of the upsampling of the logits; without one, TensorFlow's DeepLabs have it."""
    resize = next((node for node in graph.readers(logits) if node.op == RESIZE), None)
    if resize is None:
        return True
    align_corners = resize.flag("align_corners", default=False)
    if align_corners == resize.flag("half_pixel_centers", default=False):
        raise graph.refusal(resize, "neither aligned corners nor half-pixel centres; logits go on one of both")
    return align_corners


def deeplab_config(body: Body, head: DeepLab) -> dict[str, Any]:
    stride = stride_behind(body.network.blocks)
    at = "last_conv" if body.last_conv else "c5"
    section: dict[str, Any] = {"kind": "deeplabv3", "aspp": head.aspp, "at": at, "channels": head.project.out_channels}
    rates = tuple(branch[0].dilation for branch in head.branches[1:])
    if rates and rates != atrous_rates(stride):
        section["rates"] = list(rates)
    return {"output_stride": stride, "align_corners": head.align_corners, "head": section}


def deeplab_protocol(head: DeepLab) -> dict[str, Any]:
    """Its authors': pictures at their own size, padded with grey; of other data sets than VOC, just their own size."""
    if head.classifier.out_channels != VOC_CLASSES:
        return {}
    return {"pad_to": [PICTURE_SIDE, PICTURE_SIDE], "pad_value": 127.5}


def deeplab_state(graph: Graph, head: DeepLab) -> Iterator[tuple[str, Tensor]]:
    for index, branch in enumerate(head.branches):
        name = f"head.pyramid.branches.{index}"
        for step, layer in enumerate(branch):
            yield from with_norm(graph, name if len(branch) == 1 else f"{name}.{step}", layer)
    yield from with_norm(graph, "head.pyramid.image_pooling.conv", head.image_pooling)
    for key, tensor in with_norm(graph, "head.pyramid.project", head.project):
        yield key, in_our_order(tensor, head.order) if key.endswith("conv.weight") else tensor
    yield from plain(graph, "head.classifier.", head.classifier)


def in_our_order(weight: Tensor, order: tuple[int, ...]) -> Tensor:
    """[out, parts * channels, 1, 1], the parts put into `order`."""
    parts = weight.chunk(len(order), dim=1)
    return torch.cat([parts[place] for place in order], dim=1)
