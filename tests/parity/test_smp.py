"""Both bridges to segmentation-models-pytorch (smp): its decoders on our features, our backbones in its models."""

import re
from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbseg.analysis.profile import profile
from mbseg.backbones.base import FeatureInfo
from mbseg.create import create_backbone
from mbseg.errors import ConfigError
from mbseg.heads.smp_adapter import smp_head, smp_taps
from mbseg.heads.smp_decoders import DECODERS
from mbseg.models.segmentation import SegmentationModel
from mbseg.nn.conv import Conv2d
from mbseg.smp_encoder import register_encoder
from tests.helpers import assert_same_features, calibrated

BACKBONE = "mobilenet_v2"
WIDTH = 0.35
CLASSES = 5
IMAGES = torch.randn(2, 3, 256, 288, generator=torch.Generator().manual_seed(7))
SMALL = IMAGES[..., :64, :96]
DEEPLABS = ("deeplabv3", "deeplabv3plus")  # name their output stride themselves, as PAN does
PAGE = Path(__file__).parents[2] / "docs" / "segmentation_models_pytorch.md"
CASES = [(name, stride) for name, decoder in DECODERS.items() for stride in decoder.output_strides]


def our_model(decoder: str, output_stride: int) -> SegmentationModel:
    backbone = create_backbone(BACKBONE, width_mult=WIDTH, output_stride=output_stride, taps=smp_taps(decoder))
    return SegmentationModel(backbone, smp_head(decoder, backbone.feature_info, num_classes=CLASSES))


def their_model(decoder: str, output_stride: int) -> nn.Module:
    key = "encoder_output_stride" if decoder in (*DEEPLABS, "pan") else "output_stride"
    encoder = register_encoder(BACKBONE, width_mult=WIDTH)
    return smp.create_model(decoder, encoder, encoder_weights=None, classes=CLASSES, **{key: output_stride})


def in_our_words(key: str) -> str:
    part, _, rest = key.partition(".")
    return {"encoder": rest, "decoder": f"head.{key}", "segmentation_head": f"head.classifier{rest[1:]}"}[part]


def same_weights(decoder: str, output_stride: int, images: Tensor) -> tuple[SegmentationModel, nn.Module]:
    theirs = calibrated(their_model(decoder, output_stride), images)
    ours = our_model(decoder, output_stride).eval()
    ours.load_state_dict({in_our_words(key): tensor for key, tensor in theirs.state_dict().items()})
    return ours, theirs


@pytest.mark.parametrize(("decoder", "output_stride"), CASES)
@torch.no_grad()
def test_a_head_gives_what_its_own_model_gives_around_our_encoder(decoder: str, output_stride: int) -> None:
    images = SMALL if decoder not in (*DEEPLABS, "pan") else IMAGES  # on small maps all rates read nothing but padding
    ours, theirs = same_weights(decoder, output_stride, images)
    enlarged = F.interpolate(ours(images), size=images.shape[-2:], mode="bilinear", align_corners=True)
    assert_same_features(enlarged, theirs(images))


@torch.no_grad()
def test_unet_gives_what_smps_gives_of_an_odd_picture_too() -> None:
    odd = IMAGES[..., :97, :131]
    ours, theirs = same_weights("unet", 32, odd)
    inner = (..., slice(97 - 4), slice(131 - 4))  # smp's last map ends with the picture, ours with the next even number
    assert_same_features(ours(odd)[inner], theirs(odd)[inner])


@pytest.mark.parametrize("decoder", ["unetplusplus", "linknet"])
@torch.no_grad()
def test_the_maps_of_an_odd_picture_give_the_logits_of_the_picture_it_is_cut_from(decoder: str) -> None:
    """That is, far enough from the cut: what is padded lies right and below, and moves nothing."""
    model = our_model(decoder, 32)
    calibrated(model, SMALL)
    maps = model.backbone(IMAGES)
    strides = {name: info.stride for name, info in model.backbone.feature_info.items()}
    cut = {name: x[..., : -(-193 // strides[name]), : -(-225 // strides[name])] for name, x in maps.items()}
    inner = (..., slice(193 - 97), slice(225 - 97))
    assert_same_features(model.head(cut)[inner], model.head(maps)[inner])


@pytest.mark.parametrize(("decoder", "output_stride"), CASES)
def test_pictures_of_any_size_train(decoder: str, output_stride: int) -> None:
    size = (225, 227) if decoder == "pan" else (65, 99)
    model = our_model(decoder, output_stride)
    logits = model(IMAGES[..., : size[0], : size[1]])[..., : size[0], : size[1]]
    allowed = {stride: [-(-side // stride) for side in size] for stride in (1, 4, 8, 16)}
    assert list(logits.shape[-2:]) in allowed.values()
    logits.logsumexp(1).mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("decoder", [name for name in DECODERS if name != "pan"])
@torch.no_grad()
def test_the_smallest_picture_has_logits(decoder: str) -> None:
    model = our_model(decoder, DECODERS[decoder].output_strides[-1]).eval()
    assert model(SMALL[..., :1, :1]).shape[:2] == (2, CLASSES)


@pytest.mark.parametrize("decoder", [name for name, one in DECODERS.items() if "c1" in one.taps])
@torch.no_grad()
def test_a_backbone_without_a_map_at_stride_2_is_enough(decoder: str) -> None:
    taps = smp_taps(decoder, known=("c2", "c3", "c4", "c5"))
    backbone = create_backbone(BACKBONE, width_mult=WIDTH, taps=taps)
    head = smp_head(decoder, backbone.feature_info, num_classes=CLASSES)
    assert head.eval()(backbone.eval()(SMALL)).shape[-2:] in ((64, 96), (16, 24))


def test_names_are_taken_in_smps_capitals_too() -> None:
    assert smp_taps("DeepLabV3Plus") == ("c2", "c5")
    assert {name.lower() for name in vars(smp) if name.lower() in DECODERS} >= set(DECODERS)


@pytest.mark.parametrize(("decoder", "channels"), [("unet", 64), ("fpn", 64), ("linknet", 16), ("deeplabv3plus", 24)])
def test_a_head_can_be_narrower(decoder: str, channels: int) -> None:
    features = describe(DECODERS[decoder].output_strides[-1])
    plain, narrow = (smp_head(decoder, features, num_classes=CLASSES, channels=width) for width in (None, channels))
    assert params(narrow) < params(plain)


def describe(output_stride: int) -> dict[str, FeatureInfo]:
    return {f"c{level}": FeatureInfo(16, min(2**level, output_stride)) for level in range(1, 6)}


def params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("decoder", "output_stride", "channels", "message"),
    [
        ("linknet", 16, None, "smp:linknet works at output stride 32, not 16"),
        ("deeplabv3", 32, None, "smp:deeplabv3 works at output stride 8 and 16, not 32"),
        ("unet", 32, 40, "channels in multiples of 16, not 40"),
        ("dpt", 32, None, "no decoder named 'dpt'.*there are unet, unetplusplus"),
    ],
)
def test_what_a_decoder_cannot_do_is_said_in_a_sentence(
    decoder: str, output_stride: int, channels: int | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        smp_head(decoder, describe(output_stride), num_classes=CLASSES, channels=channels)


def test_pan_says_how_large_pictures_must_be() -> None:
    model = our_model("pan", 16).eval()
    with torch.no_grad():
        assert model(IMAGES[..., :113, :113]).shape[-2:] == (29, 29)
    with pytest.raises(ConfigError, match="at least 113 pixels a side at output stride 16"):
        model(IMAGES[..., :112, :113])


@pytest.mark.parametrize("decoder", DEEPLABS)
def test_dilated_depthwise_convolutions_are_those_that_keep_their_precision(decoder: str) -> None:
    head = our_model(decoder, 16).head
    dilated = [part for part in head.modules() if isinstance(part, nn.Conv2d) and part.dilation[0] > 1]
    assert [part.dilation[0] for part in dilated] == [12, 24, 36]
    assert all(isinstance(part, Conv2d) for part in dilated if part.groups > 1)


@pytest.mark.parametrize("decoder", DECODERS)
def test_costs_are_known_without_computing(decoder: str) -> None:
    model = our_model(decoder, DECODERS[decoder].output_strides[-1])
    cost = profile(model, image_size=(257, 321))
    assert cost.params == params(model)
    assert sum(layer.madds for layer in cost.layers if layer.name.startswith("head")) > 0


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@torch.no_grad()
def test_our_encoder_gives_what_smps_encoder_of_the_same_network_gives(output_stride: int, tmp_path: Path) -> None:
    theirs = smp.encoders.get_encoder("tu-mobilenetv2_100", output_stride=output_stride)
    calibrated(theirs, SMALL)
    torch.save({key.removeprefix("model."): tensor for key, tensor in theirs.state_dict().items()}, tmp_path / "w.pth")
    name = register_encoder(BACKBONE, weights=str(tmp_path / "w.pth"))
    ours = smp.encoders.get_encoder(name, output_stride=output_stride).eval()
    assert ours.out_channels == theirs.out_channels
    assert ours.output_stride == theirs.output_stride
    for feature, wanted in zip(ours(SMALL), theirs(SMALL), strict=True):
        assert_same_features(feature, wanted)


@pytest.mark.parametrize("architecture", [*DECODERS])
def test_every_model_of_smp_trains_around_our_encoder(architecture: str) -> None:
    model = their_model(architecture, DECODERS[architecture].output_strides[-1])
    images = IMAGES if architecture == "pan" else SMALL
    logits = model(images)
    assert logits.shape == (2, CLASSES, *images.shape[-2:])
    logits.logsumexp(1).mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("depth", [3, 4, 5])
def test_an_encoder_ends_where_smp_wants_it_to(depth: int) -> None:
    encoder = smp.encoders.get_encoder(register_encoder(BACKBONE, width_mult=WIDTH), depth=depth)
    shapes = [tuple(feature.shape[1:]) for feature in encoder(SMALL)]
    sizes = [(64 // 2**level, 96 // 2**level) for level in range(depth + 1)]
    assert shapes == [(channels, *size) for channels, size in zip(encoder.out_channels, sizes, strict=True)]
    assert set(encoder.backbone.feature_info) == {f"c{level}" for level in range(1, depth + 1)}


@torch.no_grad()
def test_other_input_channels_keep_loaded_weights(tmp_path: Path) -> None:
    colour = timm.create_model("mobilenetv2_100", pretrained=False)
    torch.save(colour.state_dict(), tmp_path / "w.pth")
    name = register_encoder(BACKBONE, weights=str(tmp_path / "w.pth"))
    grey = smp.encoders.get_encoder(name, in_channels=1).eval()
    assert grey.out_channels[0] == 1
    torch.testing.assert_close(grey.backbone.stem.conv.weight, colour.conv_stem.weight.sum(1, keepdim=True))


def test_encoders_of_other_settings_stand_side_by_side() -> None:
    names = [register_encoder(BACKBONE), register_encoder(BACKBONE, width_mult=0.5), register_encoder("mobilenet_v1")]
    assert names == ["mbseg-mobilenet_v2", "mbseg-mobilenet_v2-width_mult=0.5", "mbseg-mobilenet_v1"]
    whole, half, _ = (smp.encoders.get_encoder(name) for name in names)
    assert params(half) < params(whole) / 2


def test_what_an_encoder_cannot_do_is_said_in_a_sentence() -> None:
    name = register_encoder(BACKBONE, width_mult=WIDTH)
    with pytest.raises(ConfigError, match="no backbone named 'mobilenet_v9'"):
        register_encoder("mobilenet_v9")
    with pytest.raises(ConfigError, match="encoder_depth is 6; mbseg's encoders have 1 to 5"):
        smp.encoders.get_encoder(name, depth=6)
    with pytest.raises(ConfigError, match="output stride 4 is not possible"):
        smp.encoders.get_encoder(name, output_stride=4)
    with pytest.raises(ConfigError, match="built for output stride 32; for 16 build a new one"):
        smp.encoders.get_encoder(name).make_dilated(16)


def test_the_code_of_the_page_in_the_docs_runs() -> None:
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 3
    assert names["masks"].shape == (2, 21, 192, 256)
