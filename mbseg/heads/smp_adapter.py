"""Decoders of segmentation-models-pytorch (smp) as heads that read feature maps by name."""

from collections.abc import Collection, Mapping

import torch.nn.functional as F
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from torch import Tensor, nn

from mbseg.backbones.base import FeatureInfo, Features
from mbseg.errors import ConfigError
from mbseg.heads.smp_decoders import LEVELS, find_decoder
from mbseg.nn.conv import Conv2d

Size = tuple[int, int]  # (height, width)


class SmpHead(nn.Module):
    """One of smp's decoders and a classifier, without smp's last upsampling.

    `levels` are the maps as smp counts them, from the picture to the deepest; one with 0 channels is not read. Pictures
    may have any size: the maps of a decoder that `doubles` are padded with zeros, right and below, to those of the next
    multiple of the output stride, and the logits are cut again.
    Shapes: features -> logits [N, num_classes, h, w], of stride 1 to the output stride. At stride 1 they may have a row
    or column more than an odd picture.
    Raises ConfigError for pictures whose deepest map has fewer than `smallest_map` rows or columns.
    """

    def __init__(
        self,
        decoder: nn.Module,
        classifier: nn.Module,
        levels: Mapping[str, FeatureInfo],
        *,
        doubles: bool,
        smallest_map: int = 1,
    ) -> None:
        super().__init__()
        self.decoder = decoder
        self.classifier = classifier
        self.levels = dict(levels)
        self.taps = tuple(name for name, level in levels.items() if level.channels)
        self.doubles = doubles
        self.smallest_map = smallest_map

    def forward(self, features: Features) -> Tensor:
        self._check_size(features[self.taps[-1]])
        picture = self._picture_size(features)
        frame = multiples(picture, self.levels[self.taps[-1]].stride) if self.doubles else picture
        logits: Tensor = self.classifier(self.decoder([self._level(features, name, frame) for name in self.levels]))
        height, width = fractions(picture, frame[0] // logits.shape[-2])
        return logits[..., :height, :width]

    def _picture_size(self, features: Features) -> Size:
        """What the finest map covers: the picture's size, or up to its stride less one more."""
        finest = self.taps[0]
        stride = self.levels[finest].stride
        return features[finest].shape[-2] * stride, features[finest].shape[-1] * stride

    def _level(self, features: Features, name: str, frame: Size) -> Tensor:
        """A map at the size it has for a picture of size `frame`; one that is not read has a size and no channels."""
        height, width = fractions(frame, self.levels[name].stride)
        if name not in self.taps:
            anchor = features[self.taps[-1]]
            return anchor.new_empty((anchor.shape[0], 0, height, width))
        x = features[name]
        below, right = height - x.shape[-2], width - x.shape[-1]
        return F.pad(x, (0, right, 0, below)) if below or right else x

    def _check_size(self, deepest: Tensor) -> None:
        height, width = deepest.shape[-2:]
        if min(height, width) < self.smallest_map:
            stride = self.levels[self.taps[-1]].stride
            smallest = (self.smallest_map - 1) * stride + 1
            raise ConfigError(
                f"this head needs pictures of at least {smallest} pixels a side at output stride {stride}; "
                f"this one has {height * stride} x {width * stride} or less"
            )


def multiples(size: Size, stride: int) -> Size:
    """The next multiples of `stride`."""
    height, width = fractions(size, stride)
    return height * stride, width * stride


def fractions(size: Size, stride: int) -> Size:
    """The size of a map of that stride."""
    height, width = ((side + stride - 1) // stride for side in size)
    return height, width


def smp_taps(decoder: str, known: Collection[str] = LEVELS) -> tuple[str, ...]:
    """The feature maps that a decoder reads of a backbone that has those named in `known`, fine to coarse.

    Only c1 may be missing: smp's decoders do without a map at stride 2. Raises ConfigError for an unknown decoder.
    """
    return tuple(tap for tap in find_decoder(decoder).taps if tap != "c1" or tap in known)


def smp_head(
    decoder: str, features: Mapping[str, FeatureInfo], *, num_classes: int, channels: int | None = None
) -> SmpHead:
    """The decoder of that name, as its model in smp builds and initialises it, for a backbone that gives `features`.

    `channels` is the width (None: smp's own): of the widest block of unet, unetplusplus and manet, of fpn's pyramid, of
    linknet's last block, else of all maps. `features` may lack c1, of a backbone that has no map at stride 2.
    Raises ConfigError for an unknown decoder, an output stride it does not allow and channels it cannot have.
    """
    recipe = find_decoder(decoder)
    width = recipe.channels if channels is None else channels
    if width < 1 or width % recipe.step:
        raise ConfigError(f"head smp:{decoder} has channels in multiples of {recipe.step}, not {width}")
    stride = features[recipe.taps[-1]].stride
    if stride not in recipe.output_strides:
        allowed = " and ".join(map(str, recipe.output_strides))
        raise ConfigError(f"head smp:{decoder} works at output stride {allowed}, not {stride}; set output_stride")
    deepest = features[recipe.taps[-1]].channels
    if deepest % recipe.divides:
        raise ConfigError(
            f"head smp:{decoder} needs channels of {recipe.taps[-1]} in multiples of {recipe.divides}, not {deepest}; "
            f"choose another width_mult"
        )
    levels = describe_levels(recipe.taps, features)
    built, in_channels = recipe.build(tuple(levels.values()), width)
    classifier = nn.Conv2d(in_channels, num_classes, recipe.classifier, padding=recipe.classifier // 2)
    initialize_decoder(built)
    initialize_head(classifier)
    keep_precision(built)
    return SmpHead(built, classifier, levels, doubles=recipe.doubles, smallest_map=recipe.smallest_map)


def describe_levels(taps: tuple[str, ...], features: Mapping[str, FeatureInfo]) -> dict[str, FeatureInfo]:
    """The picture and the maps down to the deepest tap."""
    levels = {"picture": FeatureInfo(channels=0, stride=1)}
    for power, name in enumerate(LEVELS[: LEVELS.index(taps[-1]) + 1], start=1):
        is_read = name in taps and name in features
        levels[name] = features[name] if is_read else FeatureInfo(channels=0, stride=2**power)
    return levels


def keep_precision(decoder: nn.Module) -> None:
    """Has the dilated depthwise convolutions computed as those of our networks are, see `mbseg.nn.conv.Conv2d`."""
    for parent in list(decoder.modules()):
        for name, part in parent.named_children():
            if isinstance(part, nn.Conv2d) and part.groups > 1 and max(part.dilation) > 1:
                setattr(parent, name, same_convolution(part))


def same_convolution(part: nn.Conv2d) -> Conv2d:
    rate = part.dilation[0]
    convolution = Conv2d(part.in_channels, part.out_channels, 3, padding=rate, dilation=rate, groups=part.groups)
    convolution.weight, convolution.bias = part.weight, part.bias
    return convolution
