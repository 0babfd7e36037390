"""TensorFlow Lite: MobileNet classifiers and DeepLabV3 models without ASPP, recognised by the structure of their graph.

No name of a tensor is ever looked at. 8-bit weights are dequantised; what the file's 8-bit activations cut off is not
imitated. Batch norm is folded into the convolutions of such files: ours becomes the exact identity plus their bias.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mbseg.nn.conv import NORM_EPSILON
from mbseg.weights.imported import Imported
from mbseg.weights.recognition import recognize
from mbseg.weights.tflite_body import Body, read_body
from mbseg.weights.tflite_file import read_tflite_file
from mbseg.weights.tflite_graph import Graph
from mbseg.weights.tflite_head import Classifier, DeepLab, read_head
from mbseg.weights.tflite_layers import Convolution
from mbseg.weights.tflite_picture import read_picture, read_result

OUTPUT_STRIDE = 16  # of every imported DeepLab: weights do not depend on it, and 16 is what it is trained at
PICTURE_SIDE = 513  # of VOC's protocol; files for smaller pictures were shrunk for speed, not trained so


def read_tflite(path: Path) -> Imported:
    """A classifier's backbone or a whole DeepLab. Raises WeightsError, in one line, for anything else.

    Every operator and every constant of the file is used, or listed in `ignored` with the reason.
    """
    graph = Graph(read_tflite_file(path))
    picture = read_picture(graph)
    body = read_body(graph, picture.output)
    backbone = recognize(body.network, str(path))
    head = read_head(graph, body.output)
    result = read_result(graph, head.output)
    state = dict(body_state(graph, body))
    model: dict[str, Any] = {"backbone": backbone, "output_stride": body.output_stride}
    if isinstance(head, DeepLab):
        model |= {
            "output_stride": OUTPUT_STRIDE,
            "align_corners": result.align_corners,
            "head": head_config(body, head),
        }
        state |= head_state(graph, head)
    height, width = picture.size
    return Imported(
        origin=f"{path} (TFLite, picture {height} x {width}, output stride {body.output_stride})",
        model=model,
        state=state,
        num_classes=head.classifier.out_channels if isinstance(head, DeepLab) else None,
        mean=picture.mean,
        std=picture.std,
        evaluate=protocol(picture.size) if isinstance(head, DeepLab) else {},
        classifier=classifier_state(graph, head) if isinstance(head, Classifier) else {},
        ignored=graph.finish(),
    )


def head_config(body: Body, head: DeepLab) -> dict[str, Any]:
    at = "c5" if body.last_conv is None else "last_conv"
    return {"kind": "deeplabv3", "aspp": "none", "at": at, "channels": head.project.out_channels}


def protocol(size: tuple[int, int]) -> dict[str, Any]:
    """DeepLab's own: pictures at their own size, padded with grey to the size that the model was trained at."""
    return {"pad_to": [max(PICTURE_SIDE, side) for side in size], "pad_value": 127.5}


def body_state(graph: Graph, body: Body) -> Iterator[tuple[str, Tensor]]:
    yield from with_norm(graph, "backbone.stem", body.stem)
    for index, block in enumerate(body.blocks):
        name = f"backbone.blocks.{index}"
        for part, layer in block.layers.items():
            yield from with_norm(graph, f"{name}.{part}", layer)
        if block.squeeze_excite:
            yield from plain(graph, f"{name}.squeeze_excite.reduce.", block.squeeze_excite.reduce)
            yield from plain(graph, f"{name}.squeeze_excite.widen.", block.squeeze_excite.widen)
    if body.last_conv:
        yield from with_norm(graph, "backbone.last_conv", body.last_conv)


def head_state(graph: Graph, head: DeepLab) -> Iterator[tuple[str, Tensor]]:
    yield from with_norm(graph, "head.pyramid.branches.0", head.branch)
    yield from with_norm(graph, "head.pyramid.image_pooling.conv", head.image_pooling)
    for name, tensor in with_norm(graph, "head.pyramid.project", head.project):
        is_turned = head.pooling_first and name.endswith("conv.weight")
        yield name, tensor.roll(head.branch.out_channels, dims=1) if is_turned else tensor
    yield from plain(graph, "head.classifier.", head.classifier)


def classifier_state(graph: Graph, head: Classifier) -> dict[str, Tensor]:
    hidden = dict(plain(graph, "hidden.", head.hidden)) if head.hidden else {}
    return {**hidden, **dict(plain(graph, "", head.classes))}


def with_norm(graph: Graph, name: str, layer: Convolution) -> Iterator[tuple[str, Tensor]]:
    """A convolution and a batch norm that adds its bias: 1 / sqrt(variance + epsilon) is 1."""
    ones, zeros = torch.ones(layer.out_channels), torch.zeros(layer.out_channels)
    yield f"{name}.conv.weight", weight(graph, layer)
    yield f"{name}.norm.weight", ones
    yield f"{name}.norm.bias", bias(graph, layer)
    yield f"{name}.norm.running_mean", zeros
    yield f"{name}.norm.running_var", ones - NORM_EPSILON


def plain(graph: Graph, prefix: str, layer: Convolution) -> Iterator[tuple[str, Tensor]]:
    yield f"{prefix}weight", weight(graph, layer)
    yield f"{prefix}bias", bias(graph, layer)


def weight(graph: Graph, layer: Convolution) -> Tensor:
    """[out, height, width, in], depthwise [1, height, width, channels] -> [out, in, height, width]."""
    values = graph.values(layer.weight)
    if values.ndim == 2:
        values = values[:, None, None, :]
    order = (3, 0, 1, 2) if layer.depthwise else (0, 3, 1, 2)
    return values.permute(order).contiguous()


def bias(graph: Graph, layer: Convolution) -> Tensor:
    return torch.zeros(layer.out_channels) if layer.bias is None else graph.values(layer.bias)
