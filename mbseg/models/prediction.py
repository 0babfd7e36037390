"""How a picture is brought to the network and its answer back: padding, resizing, several scales, mirror image."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbseg.models.class_map import class_map
from mbseg.models.segmentation import SegmentationModel

Size = tuple[int, int]  # (height, width)


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


class Predictor:
    """uint8 RGB pictures [N, 3, H, W] -> class maps uint8 [N, H, W] of the same size."""

    def __init__(self, model: SegmentationModel, normalize: nn.Module, protocol: Protocol) -> None:
        self.model = model
        self.normalize = normalize
        self.protocol = protocol
        self.grid = max(info.stride for info in model.backbone.feature_info.values())

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        framed, content = self._frame(images)
        picture = (images.shape[-2], images.shape[-1])
        size = self._restored_size((framed.shape[-2], framed.shape[-1]), content, picture)
        if list(self.protocol.scales) == [1.0] and not self.protocol.flip:
            masks = class_map(self._logits(framed), size, align_corners=self.model.align_corners)
        else:
            masks = self._mean_probabilities(framed, size).argmax(1).to(torch.uint8)
        return masks[:, : picture[0], : picture[1]]

    def describe(self) -> str:
        """The protocol in words, for beside a score."""
        on_a_grid = self.model.align_corners and not self.protocol.pad_to
        padding = f"padded by its border pixels to {self.grid} k + 1, " if on_a_grid else ""
        return f"{padding}{self.protocol}"

    def input_size(self, picture: Size) -> Size:
        """(height, width) that the network sees of a picture at scale 1."""
        content = fit_longer_side(picture, self.protocol.resize_longer_side)
        return self._padded_size(content)

    def _frame(self, images: Tensor) -> tuple[Tensor, Size]:
        """Normalised pictures at the network's size, and the part of it that the picture fills."""
        pixels = images.float()
        content = fit_longer_side((images.shape[-2], images.shape[-1]), self.protocol.resize_longer_side)
        if content != tuple(pixels.shape[-2:]):
            pixels = resize(pixels, content)
        return self.normalize(self._pad(pixels, self._padded_size(content))), content

    def _padded_size(self, content: Size) -> Size:
        """`pad_to`, or the next size at which feature i lies exactly on pixel stride * i (needs align_corners)."""
        if self.protocol.pad_to:
            height, width = self.protocol.pad_to
            return max(height, content[0]), max(width, content[1])
        return on_grid(content, self.grid) if self.model.align_corners else content

    def _restored_size(self, framed: Size, content: Size, picture: Size) -> Size:
        """The size at which the framed picture's content is as large as the picture: what logits are upsampled to."""
        between = 1 if self.model.align_corners else 0  # aligned corners: distances are counted between pixel centres
        height, width = (
            round((whole - between) * (own - between) / max(1, part - between)) + between
            for whole, part, own in zip(framed, content, picture, strict=True)
        )
        return max(height, picture[0]), max(width, picture[1])

    def _pad(self, pixels: Tensor, size: Size) -> Tensor:
        below, right = size[0] - pixels.shape[-2], size[1] - pixels.shape[-1]
        if self.protocol.pad_to:
            return F.pad(pixels, (0, right, 0, below), value=self.protocol.pad_value)
        return F.pad(pixels, (0, right, 0, below), mode="replicate")

    def _logits(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images.contiguous(memory_format=torch.channels_last))
        return logits

    def _mean_probabilities(self, images: Tensor, size: Size) -> Tensor:
        """Mean over all passes at `size`; one pass is held at a time."""
        passes = [(scale, flip) for scale in self.protocol.scales for flip in flips(self.protocol.flip)]
        total = self._probabilities(images, size, *passes[0])
        for scale, flip in passes[1:]:
            total += self._probabilities(images, size, scale, flip)
        return total / len(passes)

    def _probabilities(self, images: Tensor, size: Size, scale: float, flip: bool) -> Tensor:
        height, width = images.shape[-2:]
        scaled = images if scale == 1 else resize(images, (int((height - 1) * scale + 1), int((width - 1) * scale + 1)))
        logits = self._logits(scaled.flip(-1)).flip(-1) if flip else self._logits(scaled)
        return self._upsample(logits, size).softmax(1)

    def _upsample(self, logits: Tensor, size: Size) -> Tensor:
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=self.model.align_corners)


def flips(flip: bool) -> tuple[bool, ...]:
    return (False, True) if flip else (False,)


def fit_longer_side(size: Size, longer_side: int | None) -> Size:
    """`size` with its longer side made `longer_side`, the ratio kept; unchanged for None."""
    if longer_side is None:
        return size
    factor = longer_side / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def on_grid(size: Size, stride: int) -> Size:
    """The next size stride * k + 1 in both directions."""
    return -(-(size[0] - 1) // stride) * stride + 1, -(-(size[1] - 1) // stride) * stride + 1


def resize(pixels: Tensor, size: Size) -> Tensor:
    return F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
