"""The decoders of segmentation-models-pytorch (smp): what each reads, and how its own model in smp builds it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3Decoder, DeepLabV3PlusDecoder
from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder
from segmentation_models_pytorch.decoders.linknet.decoder import LinknetDecoder
from segmentation_models_pytorch.decoders.manet.decoder import MAnetDecoder
from segmentation_models_pytorch.decoders.pan.decoder import PANDecoder
from segmentation_models_pytorch.decoders.pspnet.decoder import PSPDecoder
from segmentation_models_pytorch.decoders.segformer.decoder import SegformerDecoder
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.decoders.unetplusplus.decoder import UnetPlusPlusDecoder
from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
from torch import nn

from mbseg.backbones.base import FeatureInfo
from mbseg.errors import ConfigError

LEVELS = ("c1", "c2", "c3", "c4", "c5")
RATES = (12, 24, 36)  # of smp's DeepLabs, at every output stride

Levels = Sequence[FeatureInfo]  # the picture, c1, c2, ... as smp counts them; 0 channels: not read
Built = tuple[nn.Module, int]  # a decoder and the channels it leaves to the classifier


def unet(levels: Levels, channels: int) -> Built:
    widths = halved(channels)
    return UnetDecoder(channels_of(levels), widths), widths[-1]


def unetplusplus(levels: Levels, channels: int) -> Built:
    widths = halved(channels)
    return UnetPlusPlusDecoder(channels_of(levels), widths), widths[-1]


def manet(levels: Levels, channels: int) -> Built:
    widths = halved(channels)
    return MAnetDecoder(channels_of(levels), widths), widths[-1]


def linknet(levels: Levels, channels: int) -> Built:
    return LinknetDecoder(channels_of(levels), prefinal_channels=channels), channels


def fpn(levels: Levels, channels: int) -> Built:
    width = channels // 2
    return FPNDecoder(channels_of(levels), pyramid_channels=channels, segmentation_channels=width), width


def pan(levels: Levels, channels: int) -> Built:
    return PANDecoder(channels_of(levels), encoder_depth=5, decoder_channels=channels), channels


def pspnet(levels: Levels, channels: int) -> Built:
    return PSPDecoder(channels_of(levels), out_channels=channels), channels


def deeplabv3(levels: Levels, channels: int) -> Built:
    return DeepLabV3Decoder(levels[-1].channels, channels, RATES, aspp_separable=False, aspp_dropout=0.5), channels


def deeplabv3plus(levels: Levels, channels: int) -> Built:
    decoder = DeepLabV3PlusDecoder(
        channels_of(levels),
        encoder_depth=5,
        out_channels=channels,
        atrous_rates=RATES,
        output_stride=levels[-1].stride,
        aspp_separable=True,
        aspp_dropout=0.5,
    )
    return decoder, channels


def upernet(levels: Levels, channels: int) -> Built:
    return UPerNetDecoder(channels_of(levels), decoder_channels=channels), channels


def segformer(levels: Levels, channels: int) -> Built:
    return SegformerDecoder(channels_of(levels), segmentation_channels=channels), channels


def channels_of(levels: Levels) -> list[int]:
    return [level.channels for level in levels]


def halved(channels: int) -> list[int]:
    """The widths of a U-Net's five blocks."""
    return [channels // 2**block for block in range(5)]


class Decoder(NamedTuple):
    """One of smp's decoders: the maps it reads, and what its own model in smp gives it."""

    build: Callable[[Levels, int], Built]
    taps: tuple[str, ...]
    channels: int  # unless told otherwise
    classifier: int  # its kernel size
    output_strides: tuple[int, ...] = (8, 16, 32)
    step: int = 1  # channels come in multiples of it
    doubles: bool = False  # maps are enlarged by fixed factors, so their sizes must be exact fractions
    smallest_map: int = 1  # rows and columns that the deepest map must have
    divides: int = 1  # the deepest map's channels are divided by it


DECODERS = {
    "unet": Decoder(unet, LEVELS, channels=256, classifier=3, step=16),
    "unetplusplus": Decoder(
        unetplusplus, LEVELS, channels=256, classifier=3, step=16, output_strides=(32,), doubles=True
    ),
    "manet": Decoder(manet, LEVELS, channels=256, classifier=3, step=16, output_strides=(32,), doubles=True),
    "linknet": Decoder(linknet, LEVELS, channels=32, classifier=1, output_strides=(32,), doubles=True),
    "fpn": Decoder(fpn, LEVELS[1:], channels=256, classifier=1, step=64, output_strides=(32,), doubles=True),
    "pan": Decoder(pan, LEVELS[1:], channels=32, classifier=3, output_strides=(16, 32), smallest_map=8),
    "pspnet": Decoder(pspnet, ("c3",), channels=512, classifier=3, divides=4),
    "deeplabv3": Decoder(deeplabv3, ("c5",), channels=256, classifier=1, output_strides=(8, 16)),
    "deeplabv3plus": Decoder(
        deeplabv3plus, ("c2", "c5"), channels=256, classifier=1, output_strides=(8, 16), doubles=True
    ),
    "upernet": Decoder(upernet, LEVELS[1:], channels=256, classifier=1),
    "segformer": Decoder(segformer, LEVELS, channels=256, classifier=1, doubles=True),
}


def find_decoder(name: str) -> Decoder:
    """By smp's own capitalisation or in lower case."""
    if name.lower() not in DECODERS:
        raise ConfigError(f"no decoder named {name!r} for head smp:<decoder>; there are {', '.join(DECODERS)}")
    return DECODERS[name.lower()]
