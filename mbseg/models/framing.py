"""Where a picture lies in what the network sees of it, and how large its logits become.

All of it is whole-number arithmetic without comparisons, so that torch can also trace it for pictures of any size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch

from mbseg.models.mean_probabilities import Size, Upsampling
from mbseg.models.segmentation import SegmentationModel


@dataclass(frozen=True)
class Protocol:
    """What is done with a picture before and behind the network."""

    scales: Sequence[float] = (1.0,)
    flip: bool = False
    resize_longer_side: int | None = None  # None: every picture at its own size
    pad_to: Size | None = None  # right and below, with pad_value
    pad_value: float = 127.5

    def __str__(self) -> str:
        size = f"longer side resized to {self.resize_longer_side}" if self.resize_longer_side else "own size"
        padding = f", padded to {self.pad_to[0]} x {self.pad_to[1]} with {self.pad_value:g}" if self.pad_to else ""
        passes = "" if list(self.scales) == [1.0] else f", scales {', '.join(f'{scale:g}' for scale in self.scales)}"
        flip = ", with mirror image" if self.flip else ""
        return f"{size}{padding}{passes}{flip}; logits upsampled before the arg-max; 255 ignored"

    @property
    def passes(self) -> int:
        """How often the network runs for one picture."""
        return len(self.scales) * (2 if self.flip else 1)


@dataclass(frozen=True)
class Framing:
    """The sizes that a picture of any size takes on its way, at scale 1."""

    protocol: Protocol
    grid: int  # the stride of the network's deepest map
    align_corners: bool

    def content(self, picture: Size) -> Size:
        """(height, width) to which the picture is resized."""
        return fit_longer_side(picture, self.protocol.resize_longer_side)

    def input_size(self, picture: Size) -> Size:
        """What the network sees: `pad_to`, or the next size at which feature i lies exactly on pixel stride * i.

        The latter needs align_corners; without them it is the content alone.
        """
        content = self.content(picture)
        if self.protocol.pad_to:
            height, width = self.protocol.pad_to
            return larger(height, content[0]), larger(width, content[1])
        return on_grid(content, self.grid) if self.align_corners else content

    def upsampling(self, picture: Size) -> Upsampling:
        """To a frame at which its content is as large as the picture."""
        whole = self.input_size(picture)
        if self.protocol.resize_longer_side is None:
            return Upsampling(whole, picture, self.align_corners)
        between = 1 if self.align_corners else 0  # aligned corners: distances are counted between pixel centres
        height, width = (
            rounded((whole - between) * (own - between), larger(1, part - between)) + between
            for whole, part, own in zip(whole, self.content(picture), picture, strict=True)
        )
        frame = (larger(height, picture[0]), larger(width, picture[1]))
        return Upsampling(frame, picture, self.align_corners)


@dataclass(frozen=True)
class Stretching:
    """What there is in place of a Framing where every picture is resized to one size, whatever its proportions."""

    size: Size
    align_corners: bool

    def input_size(self, _picture: Size) -> Size:
        return self.size

    def upsampling(self, picture: Size) -> Upsampling:
        """Straight to the picture."""
        return Upsampling(picture, picture, self.align_corners)


def framing_of(model: SegmentationModel, protocol: Protocol) -> Framing:
    grid = max(info.stride for info in model.backbone.feature_info.values())
    return Framing(protocol, grid, model.align_corners)


def fit_longer_side(size: Size, longer_side: int | None) -> Size:
    """`size` with its longer side made `longer_side`, the ratio kept; unchanged for None."""
    if longer_side is None:
        return size
    longest = larger(*size)
    height, width = (larger(1, rounded(side * longer_side, longest)) for side in size)
    return height, width


def on_grid(size: Size, stride: int) -> Size:
    """The next size stride * k + 1 in both directions."""
    height, width = ((side + stride - 2) // stride * stride + 1 for side in size)
    return height, width


def scaled(size: Size, scale: float) -> Size:
    """TensorFlow DeepLab's rule: sizes 2^k n + 1 keep their form, 513 becomes 257 at 0.5 and 897 at 1.75."""
    return int((size[0] - 1) * scale + 1), int((size[1] - 1) * scale + 1)


def rounded(dividend: int, divisor: int) -> int:
    """The whole number next to dividend / divisor, of two the even one: what `round` gives."""
    doubled, twice = 2 * dividend + divisor, 2 * divisor  # torch traces no divmod
    up, is_half = doubled // twice, larger(0, 1 - doubled % twice)
    return up - is_half * (up % 2)


def larger(one: int, other: int) -> int:
    return cast(int, torch.sym_max(one, other))
