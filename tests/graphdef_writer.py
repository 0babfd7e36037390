"""Writes small frozen TensorFlow graphs, for tests: our own networks under TensorFlow's scope names."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mbseg.boxes.default_boxes import BoxShape, box_shapes
from mbseg.heads.deeplabv3 import DeepLabV3
from mbseg.models.detection import DetectionModel
from mbseg.models.segmentation import SegmentationModel
from mbseg.nn.blocks import InvertedResidual
from mbseg.nn.conv import ConvNormAct

TYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9}
SINGLE = {"float32": (5, "<f4"), "float64": (6, "<f8"), "int32": (7, None), "int64": (10, None)}
EPSILON = 1e-3  # of TensorFlow's batch norm


def varint(number: int) -> bytes:
    number %= 2**64
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def integer(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def attribute(value: object) -> bytes:
    """An AttrValue: of a text, a truth, a number, a list of whole numbers or a placeholder's shape (a tuple)."""
    match value:
        case bool():
            return integer(5, value)
        case str():
            return message(2, value.encode())
        case float():
            return varint(4 << 3 | 5) + struct.pack("<f", value)
        case tuple():
            return message(7, shape_of(value))
        case list():
            return message(1, message(3, b"".join(varint(one) for one in value)))
    raise AssertionError(value)


def shape_of(sizes: Iterable[int]) -> bytes:
    return b"".join(message(2, integer(1, size)) for size in sizes)


def tensor(values: NDArray[Any], *, single: bool = False, first_only: bool = False) -> bytes:
    """A TensorProto: its values as bytes, or (`single`) one by one, or only the first of equal ones."""
    name = values.dtype.name
    head = integer(1, TYPES[name]) + message(2, shape_of(values.shape))
    if not single and not first_only:
        return head + message(4, values.astype(values.dtype.newbyteorder("<")).tobytes())
    flat = values.flat[:1] if first_only else values.reshape(-1)
    field, dtype = SINGLE[name]
    return head + message(field, flat.astype(dtype).tobytes() if dtype else b"".join(varint(int(one)) for one in flat))


def node(name: str, op: str, inputs: Sequence[str] = (), attributes: Mapping[str, bytes] | None = None) -> bytes:
    content = message(1, name.encode()) + message(2, op.encode()) + b"".join(message(3, one.encode()) for one in inputs)
    for key, value in (attributes or {}).items():
        content += message(5, message(1, key.encode()) + message(2, value))
    return message(1, content)


class Writer:
    """A graph that grows node by node; every method returns the name of what it has added."""

    def __init__(
        self, *, dilation_as_option: bool = False, norm: str = "FusedBatchNorm", fold: bool = False, read: bool = True
    ) -> None:
        self.dilation_as_option = dilation_as_option
        self.norm = norm
        self.fold = fold  # batch norm into a bias; the weights stay, as tests compare them
        self.read = read  # variables are read through an Identity
        self.nodes: dict[str, bytes] = {}

    def node(self, name: str, op: str, inputs: Sequence[str] = (), **attributes: object) -> str:
        self.nodes[name] = node(name, op, inputs, {key: attribute(value) for key, value in attributes.items()})
        return name

    def constant(self, name: str, values: Any, dtype: type = np.float32, **form: bool) -> str:
        content = message(8, tensor(np.asarray(values, dtype), **form))
        self.nodes[name] = node(name, "Const", (), {"value": content})
        return name

    def variable(self, name: str, values: Any) -> str:
        self.constant(name, values)
        return self.node(f"{name}/read", "Identity", [name]) if self.read else name

    def picture(self, shape: Sequence[int] = (1, -1, -1, 3), scope: str = "") -> str:
        x = self.node("ImageTensor", "Placeholder", shape=tuple(shape))
        x = self.node(f"{scope}mul", "Mul", [self.constant(f"{scope}mul/x", 2 / 255), x])
        x = self.node(f"{scope}sub", "Sub", [x, self.constant(f"{scope}sub/y", 1.0)])
        return self.node("input", "Identity", [f"{x}:0"])

    def conv(self, scope: str, conv: nn.Conv2d, x: str) -> str:
        depthwise, rate = conv.groups > 1, conv.dilation[0]
        order, name = ((2, 3, 0, 1), "depthwise") if depthwise else ((2, 3, 1, 0), "Conv2D")
        kernel = self.variable(f"{scope}/{name}_weights", conv.weight.detach().permute(*order).contiguous().numpy())
        options: dict[str, object] = {"strides": [1, conv.stride[0], conv.stride[0], 1], "data_format": "NHWC"}
        op, name = ("DepthwiseConv2dNative" if depthwise else "Conv2D"), f"{scope}/{name}"
        if rate == 1 or self.dilation_as_option:
            options |= {"dilations": [1, rate, rate, 1]} if rate > 1 else {}
            return self.node(name, op, [x, kernel], padding="SAME", **options)
        rates = self.constant(f"{name}/block_shape", [rate, rate], np.int32)
        sizes = self.constant(f"{name}/paddings", [[rate, rate], [rate, rate]], np.int32)
        x = self.node(f"{name}/SpaceToBatchND", "SpaceToBatchND", [x, rates, sizes])
        x = self.node(name, op, [x, kernel], padding="VALID", **options)
        return self.node(f"{name}/BatchToSpaceND", "BatchToSpaceND", [x, rates, sizes])

    def conv_norm_act(self, scope: str, module: nn.Module, x: str) -> str:
        layer = cast(ConvNormAct, module)
        x = self.conv(scope, cast(nn.Conv2d, layer.conv), x)
        x = self.folded(scope, layer, x) if self.fold else self.batch_norm(scope, cast(nn.BatchNorm2d, layer.norm), x)
        if isinstance(layer.activation, nn.Identity):
            return x
        name = type(layer.activation).__name__.replace("ReLU", "Relu")
        return self.node(f"{scope}/{name}", name, [x])

    def batch_norm(self, scope: str, norm: nn.BatchNorm2d, x: str) -> str:
        assert norm.running_mean is not None and norm.running_var is not None
        variance = norm.running_var + norm.eps - EPSILON
        values = {
            "gamma": norm.weight,
            "beta": norm.bias,
            "moving_mean": norm.running_mean,
            "moving_variance": variance,
        }
        inputs = [self.variable(f"{scope}/BatchNorm/{key}", one.detach().numpy()) for key, one in values.items()]
        name = f"{scope}/BatchNorm/FusedBatchNorm"
        return self.node(name, self.norm, [x, *inputs], epsilon=EPSILON, is_training=False)

    def folded(self, scope: str, layer: ConvNormAct, x: str) -> str:
        return self.biased(scope, cast(nn.BatchNorm2d, layer.norm).bias.detach().numpy(), x)

    def biased(self, scope: str, bias: NDArray[np.float32], x: str) -> str:
        return self.node(f"{scope}/BiasAdd", "BiasAdd", [x, self.variable(f"{scope}/biases", bias)])

    def classifier(self, scope: str, conv: nn.Conv2d, x: str) -> str:
        assert conv.bias is not None
        return self.biased(scope, conv.bias.detach().numpy(), self.conv(scope, conv, x))

    def body(self, scope: str, backbone: Any, x: str) -> dict[str, str]:
        """A MobileNetV2, also one that ends early; its outputs by the place of the block, "expansion" being the last
        one's wide map.
        """
        outputs = {"stem": self.conv_norm_act(f"{scope}Conv", backbone.stem, x)}
        x = outputs["stem"]
        for index, block in enumerate(backbone.blocks):
            name = f"{scope}expanded_conv_{index}" if index else f"{scope}expanded_conv"
            x = self.block(name, block, x, outputs)
        if backbone.last_conv is not None:
            outputs["last_conv"] = self.conv_norm_act(f"{scope}Conv_1", backbone.last_conv, x)
        return outputs

    def block(self, scope: str, block: InvertedResidual, x: str, outputs: dict[str, str]) -> str:
        shortcut, index = x, len(outputs) - 1
        if not isinstance(block.expand, nn.Identity):
            x = self.conv_norm_act(f"{scope}/expand", block.expand, x)
        outputs[f"expansion {index}"] = x
        x = self.conv_norm_act(f"{scope}/depthwise", block.depthwise, x)
        x = self.conv_norm_act(f"{scope}/project", block.project, x)
        x = self.node(f"{scope}/add", "Add", [x, shortcut]) if block.shortcut else x
        return self.node(f"{scope}/output", "Identity", [x])

    def save(self, path: Path) -> Path:
        path.write_bytes(b"".join(self.nodes.values()))
        return path


def write_deeplab(writer: Writer, model: SegmentationModel, *, pooling_first: bool = True) -> Writer:
    """As DeepLab's authors export it."""
    head = cast(DeepLabV3, model.head)
    last = list(writer.body("MobilenetV2/", model.backbone, writer.picture()))
    x = "MobilenetV2/Conv_1/Relu6" if last[-1] == "last_conv" else "MobilenetV2/expanded_conv_16/output"
    axes = writer.constant("Mean/axes", [1, 2], np.int32)
    pooled = writer.conv_norm_act(
        "image_pooling", head.pyramid.image_pooling.conv, writer.node("Mean", "Mean", [x, axes])
    )
    size = writer.constant("ResizeBilinear/size", [33, 33], np.int32)
    spread = writer.node("ResizeBilinear", "ResizeBilinear", [pooled, size], align_corners=True)
    branches = [write_branch(writer, f"aspp{index}", branch, x) for index, branch in enumerate(head.pyramid.branches)]
    parts = [spread, *branches] if pooling_first else [*branches, spread]
    x = writer.node("concat", "ConcatV2", [*parts, writer.constant("concat/axis", 3, np.int32)])
    x = writer.conv_norm_act(
        "concat_projection", turned(head.pyramid.project) if pooling_first else head.pyramid.project, x
    )
    x = writer.classifier("logits/semantic", head.classifier, writer.node("dropout/Identity", "Identity", [x]))
    large = writer.constant("size", [513, 513], np.int32)
    writer.node("ResizeBilinear_1", "ResizeBilinear", [x, large], align_corners=True)
    return writer


def turned(project: ConvNormAct) -> ConvNormAct:
    """The same for maps of which the last part comes first."""
    copied = deepcopy(project)
    copied.conv.weight.data = project.conv.weight.detach().roll(project.conv.out_channels, dims=1)
    return copied


def write_branch(writer: Writer, scope: str, branch: nn.Module, x: str) -> str:
    if isinstance(branch, ConvNormAct):
        return writer.conv_norm_act(scope, branch, x)
    depthwise, pointwise = cast(nn.Sequential, branch)
    return writer.conv_norm_act(
        f"{scope}_pointwise", pointwise, writer.conv_norm_act(f"{scope}_depthwise", depthwise, x)
    )


def write_detector(writer: Writer, model: DetectionModel, *, iou_threshold: float = 0.6) -> Writer:
    """As the object detection API exports SSDLite, box by box y, x, height, width."""
    scope = "FeatureExtractor/MobilenetV2/"
    outputs = writer.body(scope, model.backbone, writer.picture((1, *model.image_size, 3), "Preprocessor/"))
    maps = [outputs["expansion 13"], outputs["last_conv"]]
    for index, layer in enumerate(cast(Any, model.extras.layers), 2):
        inner, outer = layer.reduce.conv.out_channels, layer.widen.conv.out_channels
        x = writer.conv_norm_act(f"{scope}layer_19_1_Conv2d_{index}_1x1_{inner}", layer.reduce, maps[-1])
        name = f"{scope}layer_19_2_Conv2d_{index}_3x3_s2_{outer}"
        x = writer.conv_norm_act(f"{name}_depthwise", layer.depthwise, x)
        maps.append(writer.conv_norm_act(name, layer.widen, x))
    for index, x in enumerate(maps):
        for kind in ("ClassPredictor", "BoxEncodingPredictor"):
            write_predictor(writer, f"BoxPredictor_{index}/{kind}", model, index, x)
    for index, shapes in enumerate(box_shapes(len(maps))):
        write_shapes(writer, f"MultipleGridAnchorGenerator/{index}", shapes)
    writer.node("Postprocessor/convert_scores", "Sigmoid" if model.scores == "sigmoid" else "Softmax", ["scores"])
    threshold = writer.constant("Postprocessor/iou_threshold", iou_threshold)
    writer.node("Postprocessor/nms", "NonMaxSuppressionV3", ["boxes", "scores", "most", threshold])
    return writer


def write_predictor(writer: Writer, scope: str, model: DetectionModel, index: int, x: str) -> None:
    is_box = scope.endswith("BoxEncodingPredictor")
    predictor = cast(Any, model.head.box_predictors if is_box else model.head.class_predictors)[index]
    x = writer.conv_norm_act(f"{scope}_depthwise", predictor.depthwise, x)
    pointwise = nn.Conv2d(predictor.pointwise.in_channels, predictor.pointwise.out_channels, 1)
    for ours, theirs in zip(predictor.pointwise.parameters(), pointwise.parameters(), strict=True):
        rows = ours.detach().reshape(-1, 4, *ours.shape[1:])[:, [1, 0, 3, 2]] if is_box else ours.detach()
        theirs.data = rows.reshape(ours.shape)
    writer.classifier(scope, pointwise, x)


def write_shapes(writer: Writer, name: str, shapes: Sequence[BoxShape]) -> None:
    scope, _, number = name.rpartition("/")
    ratios = writer.constant(f"{name}/ratios", [shape.ratio for shape in shapes])
    root = writer.node(f"{scope}/Sqrt_{number}", "Sqrt", [ratios])
    scales = writer.constant(f"{name}/scales", [shape.scale for shape in shapes])
    writer.node(f"{scope}/truediv_{number}", "RealDiv", [scales, root])
