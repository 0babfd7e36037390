"""Imported .tflite files beside the files themselves, run by LiteRT on the same input."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from mbseg.backbones.base import Backbone
from mbseg.backbones.mobilenet import MobileNet
from mbseg.backbones.variant import Variant
from mbseg.build_segmentation import model as segmentation_model
from mbseg.config.schema import BackboneConfig, ModelConfig
from mbseg.create import create_backbone
from mbseg.errors import WeightsError
from mbseg.heads.deeplabv3 import DeepLabV3
from mbseg.models.class_map import class_map
from mbseg.models.segmentation import SegmentationModel
from mbseg.nn.blocks import InvertedResidual
from mbseg.nn.conv import ConvNormAct
from mbseg.nn.norm import Normalize
from mbseg.weights.from_tflite import read_tflite
from mbseg.weights.imported import Imported
from mbseg.weights.report import load_state

litert = pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT (ai-edge-litert) is not installed")
from tests.tflite_writer import Writer  # noqa: E402 - needs LiteRT's schema

GREY = 127.5
PICTURES = 3
RANDOM = torch.Generator().manual_seed(3)


def run(path: Path, image: NDArray[np.uint8]) -> NDArray[Any]:
    """The output of a file for one picture [H, W, 3] of its own size."""
    interpreter = litert.Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    values = image if entry["dtype"] == np.uint8 else (image / 127.5 - 1).astype(entry["dtype"])
    interpreter.set_tensor(entry["index"], values[None])
    interpreter.invoke()
    return cast(NDArray[Any], interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])


def val_pictures(shared_data: Path, count: int | None = None) -> list[Image.Image]:
    voc = shared_data / "VOCdevkit" / "VOC2012"
    names = (voc / "ImageSets" / "Segmentation" / "val.txt").read_text().split()[:count]
    return [Image.open(voc / "JPEGImages" / f"{name}.jpg").convert("RGB") for name in names]


def padded(picture: Image.Image, side: int) -> NDArray[np.uint8]:
    """DeepLab's protocol: at its own size (shrunk if it is larger), grey to the right and below."""
    picture.thumbnail((side, side))
    framed = np.full((side, side, 3), round(GREY), np.uint8)
    framed[: picture.height, : picture.width] = np.array(picture)
    return framed


def normalized(imported: Imported, image: NDArray[np.uint8]) -> Tensor:
    images: Tensor = Normalize(imported.mean, imported.std)(torch.from_numpy(image).permute(2, 0, 1)[None])
    return images


def segmenter(imported: Imported, output_stride: int) -> SegmentationModel:
    assert imported.num_classes is not None
    config = ModelConfig.model_validate({**imported.model, "output_stride": output_stride})
    model = segmentation_model(config, imported.num_classes)
    load_state(model, imported.state, origin=imported.origin)
    return model.eval()


def classifier_backbone(imported: Imported) -> Backbone:
    config = BackboneConfig.model_validate(imported.model["backbone"])
    backbone = create_backbone(
        config.name,
        width_mult=config.width_mult,
        taps=("last_conv" if "backbone.last_conv.conv.weight" in imported.state else "c5",),
        variant=Variant(padding=config.padding, channel_divisor=config.channel_divisor),
    )
    state = {key.removeprefix("backbone."): tensor for key, tensor in imported.state.items()}
    load_state(backbone, state, origin=imported.origin)
    return backbone.eval()


def class_scores(backbone: Backbone, imported: Imported, image: NDArray[np.uint8]) -> Tensor:
    """The backbone's last map, pooled, through the file's own last layers."""
    (features,) = backbone(normalized(imported, image)).values()
    pooled, layers = features.mean((2, 3), keepdim=True), imported.classifier
    if "hidden.weight" in layers:
        hidden = nn.functional.conv2d(pooled, layers["hidden.weight"], layers["hidden.bias"])
        pooled = nn.functional.hardswish(hidden)
    return nn.functional.conv2d(pooled, layers["weight"], layers["bias"])[0, :, 0, 0]


@pytest.mark.parametrize(
    ("name", "width", "side", "output_stride", "agreement"),
    [
        ("deeplabv3_mnv2_pascal_quant", 1.0, 513, 16, 0.97),
        ("deeplabv3_mnv2_dm05_pascal_quant", 0.5, 513, 16, 0.97),
        ("deeplabv3_257_mv_gpu", 0.5, 257, 8, 0.99),
    ],
)
@torch.inference_mode()
def test_an_imported_deeplab_gives_the_class_maps_of_its_file(
    name: str, width: float, side: int, output_stride: int, agreement: float, shared_data: Path
) -> None:
    path = shared_data / "weights" / f"{name}.tflite"
    imported = read_tflite(path)
    assert imported.model["backbone"]["width_mult"] == width
    assert imported.model["output_stride"] == 16
    assert (imported.num_classes, imported.evaluate["pad_to"]) == (21, [513, 513])
    model, same = segmenter(imported, output_stride), []
    for picture in val_pictures(shared_data, PICTURES):
        image = padded(picture, side)
        theirs = run(path, image)
        ours = class_map(model(normalized(imported, image)), (side, side), align_corners=model.align_corners)[0]
        same.append(float(np.mean(ours.numpy() == (theirs if theirs.ndim == 2 else theirs.argmax(-1)))))
    assert np.mean(same) > agreement, same  # of all pixels; the pictures are equally large


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("mobilenet_v2_1.0_224_quant", 224),
        ("tf2_mobilenet_v2_1.0_224_ptq", 224),
        ("mobilenet_v1_0.5_160_quant", 160),
    ],
)
@torch.inference_mode()
def test_an_imported_classifier_names_what_its_file_names(name: str, side: int, shared_data: Path) -> None:
    """On nine pictures in ten or more: measured 51, 51 and 50 of the 55 val pictures, 10, 9 and 9 of the first ten.

    The files round every activation to 8 bits, which decides between classes of nearly equal score: theirs is otherwise
    our second or third.
    """
    path = shared_data / "weights" / f"{name}.tflite"
    imported = read_tflite(path)
    assert imported.num_classes is None
    left_out = [key for key, why in imported.ignored.items() if why == "ImageNet classes, behind the backbone"]
    assert [key.partition(".")[0] for key in left_out].count("constant") == 2  # weight and bias
    assert len(left_out) == 4  # and the pooling, and the layer
    backbone, ranks = classifier_backbone(imported), []
    for picture in val_pictures(shared_data):
        image = central(picture, side)
        order = class_scores(backbone, imported, image).argsort(descending=True).tolist()
        ranks.append(order.index(int(run(path, image).argmax())))
    assert max(ranks) < 5, ranks
    assert ranks.count(0) >= 0.9 * len(ranks), ranks


def central(picture: Image.Image, side: int) -> NDArray[np.uint8]:
    """As ImageNet classifiers are evaluated: the shorter side to side / 0.875, of that the middle."""
    factor = side / 0.875 / min(picture.size)
    resized = picture.resize((round(picture.width * factor), round(picture.height * factor)), Image.Resampling.BILINEAR)
    left, top = (resized.width - side) // 2, (resized.height - side) // 2
    return np.array(resized.crop((left, top, left + side, top + side)))


def alive(model: nn.Module) -> nn.Module:
    """Random biases keep a fresh network from fading; folded files have them in every convolution."""
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.bias, std=0.5, generator=RANDOM)
            nn.init.constant_(part.running_var, 1 - part.eps)
        elif isinstance(part, nn.Conv2d) and part.bias is not None:
            nn.init.normal_(part.weight, std=0.1, generator=RANDOM)
            nn.init.normal_(part.bias, std=0.5, generator=RANDOM)
    return model.eval()


def write_layer(writer: Writer, x: int, layer: nn.Module) -> int:
    if isinstance(layer, nn.Identity):
        return x
    assert isinstance(layer, ConvNormAct)
    return writer.conv(x, layer.conv, layer.norm.bias.detach().numpy(), layer.activation)


def write_plain(writer: Writer, x: int, conv: nn.Conv2d, activation: nn.Module | None = None) -> int:
    assert conv.bias is not None
    return writer.conv(x, conv, conv.bias.detach().numpy(), activation)


def write_block(writer: Writer, x: int, block: InvertedResidual) -> int:
    inside = write_layer(writer, write_layer(writer, x, block.expand), block.depthwise)
    if not isinstance(block.squeeze_excite, nn.Identity):
        squeeze = block.squeeze_excite
        reduced = write_plain(writer, writer.pool(inside), squeeze.reduce, nn.ReLU())
        gate = writer.hard_sigmoid(write_plain(writer, reduced, squeeze.widen))
        inside = writer.operator("MUL", [inside, gate], writer.shape(inside))
    projected = write_layer(writer, inside, block.project)
    return writer.operator("ADD", [projected, x], writer.shape(x)) if block.shortcut else projected


def write_body(writer: Writer, picture: int, backbone: MobileNet) -> int:
    x = write_layer(writer, picture, backbone.stem)
    for block in backbone.blocks:
        x = write_block(writer, x, cast(InvertedResidual, block))
    return x if backbone.last_conv is None else write_layer(writer, x, backbone.last_conv)


@pytest.mark.parametrize("swish_as_operator", [True, False], ids=["HARD_SWISH", "decomposed"])
@pytest.mark.parametrize(
    ("name", "width"),
    [("mobilenet_v3_small", 1.0), ("mobilenet_v3_large", 0.75), ("mobilenet_v3_small_minimal", 1.0)],
)
@torch.inference_mode()
def test_an_imported_v3_classifier_computes_what_its_file_computes(
    name: str, width: float, swish_as_operator: bool, tmp_path: Path
) -> None:
    backbone = create_backbone(name, width_mult=width, taps=("last_conv",), variant=Variant(padding="tensorflow"))
    hidden, classes = nn.Conv2d(backbone.feature_info["last_conv"].channels, 24, 1), nn.Conv2d(24, 7, 1)
    alive(nn.ModuleList([backbone, hidden, classes]))
    writer = Writer(swish_as_operator=swish_as_operator)
    picture = writer.tensor([1, 64, 64, 3])
    pooled = writer.pool(write_body(writer, picture, cast(MobileNet, backbone)))
    result = write_plain(writer, write_plain(writer, pooled, hidden, nn.Hardswish()), classes)
    path = writer.save(tmp_path / "v3.tflite", picture, result)
    imported = read_tflite(path)
    assert (imported.model["backbone"]["name"], imported.model["backbone"]["width_mult"]) == (name, width)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    theirs = torch.from_numpy(run(path, image).ravel())
    assert theirs.std() > 0.05
    ours = class_scores(classifier_backbone(imported), imported, image)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dilation_as_option", [True, False], ids=["dilation factor", "SPACE_TO_BATCH_ND"])
@pytest.mark.parametrize("pooling_first", [True, False])
@pytest.mark.parametrize(("name", "divisor"), [("mobilenet_v1", 8), ("mobilenet_v2", 1)])
@torch.inference_mode()
def test_an_imported_deeplab_computes_what_its_file_computes(
    name: str, divisor: int, pooling_first: bool, dilation_as_option: bool, tmp_path: Path
) -> None:
    backbone = create_backbone(
        name,
        width_mult=0.3,
        output_stride=8,
        taps=("c5",),
        variant=Variant(padding="tensorflow", channel_divisor=divisor),
    )
    head = DeepLabV3(backbone.feature_info["c5"], at="c5", num_classes=5, channels=16)
    alive(SegmentationModel(backbone, head))
    writer = Writer(dilation_as_option=dilation_as_option)
    picture = writer.tensor([1, 65, 65, 3])
    at = write_body(writer, picture, cast(MobileNet, backbone))
    result = write_head(writer, at, head, pooling_first=pooling_first)
    path = writer.save(tmp_path / "deeplab.tflite", picture, result)
    imported = read_tflite(path)
    assert imported.model["backbone"].get("channel_divisor", 8) == divisor
    image = np.random.default_rng(0).integers(0, 256, (65, 65, 3), np.uint8)
    theirs = torch.from_numpy(run(path, image)).permute(2, 0, 1)[None]
    logits = segmenter(imported, output_stride=8)(normalized(imported, image))
    ours = nn.functional.interpolate(logits, (65, 65), mode="bilinear", align_corners=True)
    assert theirs.std() > 0.05
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_an_operator_beside_the_network_is_refused_and_a_constant_beside_it_listed(tmp_path: Path) -> None:
    backbone = create_backbone("mobilenet_v1", width_mult=0.25, taps=("c5",))
    writer = Writer()
    picture, spare = writer.tensor([1, 64, 64, 3]), writer.numbers(1, 2, 3)
    pooled = writer.pool(write_body(writer, picture, cast(MobileNet, backbone)))
    result = write_plain(writer, pooled, nn.Conv2d(256, 7, 1))
    imported = read_tflite(writer.save(tmp_path / "plain.tflite", picture, result))
    assert imported.ignored[f"constant.{spare}"] == "read by no operator"
    writer.operator("RELU", [pooled], writer.shape(pooled))
    with pytest.raises(WeightsError, match=r"RELU \(operator 29\): no part of the network"):
        read_tflite(writer.save(tmp_path / "more.tflite", picture, result))


def write_head(writer: Writer, at: int, head: DeepLabV3, *, pooling_first: bool) -> int:
    size = writer.shape(at)[1:3]
    branch = write_layer(writer, at, head.pyramid.branches[0])
    pooled = writer.resize(write_layer(writer, writer.pool(at), head.pyramid.image_pooling.conv), size)
    parts = [pooled, branch] if pooling_first else [branch, pooled]
    joined = writer.operator("CONCATENATION", parts, [1, *size, 2 * writer.shape(branch)[3]], axis=3)
    logits = write_plain(writer, write_layer(writer, joined, head.pyramid.project), head.classifier)
    return writer.resize(logits, (65, 65))
