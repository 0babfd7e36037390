"""How a picture is brought to the network and its answer back: padding, resizing, several scales, mirror image."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbseg.models.class_map import class_map
from mbseg.models.mean_probabilities import Size, Upsampling, mean_probabilities
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


class Predictor:
    """uint8 RGB pictures [N, 3, H, W] -> class maps uint8 [N, H, W] of the same size."""

    def __init__(self, model: SegmentationModel, normalize: nn.Module, protocol: Protocol) -> None:
        self.model = model
        self.normalize = normalize
        self.protocol = protocol
        self.grid = max(info.stride for info in model.backbone.feature_info.values())

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        passes = len(self.protocol.scales) * (2 if self.protocol.flip else 1)
        return self._best_of_one(images) if passes == 1 else self._best_on_average(images, passes)

    def describe(self) -> str:
        """The protocol in words, for beside a score."""
        on_a_grid = self.model.align_corners and not self.protocol.pad_to
        padding = f"padded by its border pixels to {self.grid} k + 1, " if on_a_grid else ""
        return f"{padding}{self.protocol}"

    def input_size(self, picture: Size) -> Size:
        """(height, width) that the network sees of a picture at scale 1."""
        content = fit_longer_side(picture, self.protocol.resize_longer_side)
        return self._padded_size(content)

    def _best_of_one(self, images: Tensor) -> Tensor:
        """The softmax changes no order: the largest logit has the largest probability."""
        upsampling = self._upsampling(images)
        logits = self._logits(self._frame(images), self.protocol.scales[0])
        height, width = upsampling.picture
        return class_map(logits, upsampling.frame, upsampling.align_corners)[:, :height, :width]

    def _best_on_average(self, images: Tensor, passes: int) -> Tensor:
        """The picture itself is mirrored, not what is made of it: its padding is then to the right of it as always.

        The largest scale comes first, when nothing else takes memory yet.
        """
        mean = mean_probabilities(images.device, self._upsampling(images), passes)
        for mirrored in (False, True) if self.protocol.flip else (False,):
            framed = self._frame(images.flip(-1) if mirrored else images)
            for scale in sorted(self.protocol.scales, reverse=True):
                mean.add(self._logits(framed, scale), mirrored=mirrored)
        return mean.class_map()

    def _frame(self, images: Tensor) -> Tensor:
        """Normalised pictures at the network's size at scale 1."""
        pixels = images.float()
        content = fit_longer_side((images.shape[-2], images.shape[-1]), self.protocol.resize_longer_side)
        if content != tuple(pixels.shape[-2:]):
            pixels = resize(pixels, content)
        framed: Tensor = self.normalize(self._pad(pixels, self._padded_size(content)))
        return framed

    def _padded_size(self, content: Size) -> Size:
        """`pad_to`, or the next size at which feature i lies exactly on pixel stride * i (needs align_corners)."""
        if self.protocol.pad_to:
            height, width = self.protocol.pad_to
            return max(height, content[0]), max(width, content[1])
        return on_grid(content, self.grid) if self.model.align_corners else content

    def _upsampling(self, images: Tensor) -> Upsampling:
        """To a frame at which its content is as large as the picture."""
        picture = (images.shape[-2], images.shape[-1])
        content = fit_longer_side(picture, self.protocol.resize_longer_side)
        between = 1 if self.model.align_corners else 0  # aligned corners: distances are counted between pixel centres
        height, width = (
            round((whole - between) * (own - between) / max(1, part - between)) + between
            for whole, part, own in zip(self._padded_size(content), content, picture, strict=True)
        )
        frame = (max(height, picture[0]), max(width, picture[1]))
        return Upsampling(frame, picture, self.model.align_corners)

    def _pad(self, pixels: Tensor, size: Size) -> Tensor:
        below, right = size[0] - pixels.shape[-2], size[1] - pixels.shape[-1]
        if self.protocol.pad_to:
            return F.pad(pixels, (0, right, 0, below), value=self.protocol.pad_value)
        return F.pad(pixels, (0, right, 0, below), mode="replicate")

    def _logits(self, framed: Tensor, scale: float) -> Tensor:
        if scale != 1:
            framed = resize(framed, scaled((framed.shape[-2], framed.shape[-1]), scale), self.model.align_corners)
        logits: Tensor = self.model(framed.contiguous(memory_format=torch.channels_last))
        return logits


def fit_longer_side(size: Size, longer_side: int | None) -> Size:
    """`size` with its longer side made `longer_side`, the ratio kept; unchanged for None."""
    if longer_side is None:
        return size
    factor = longer_side / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def on_grid(size: Size, stride: int) -> Size:
    """The next size stride * k + 1 in both directions."""
    return -(-(size[0] - 1) // stride) * stride + 1, -(-(size[1] - 1) // stride) * stride + 1


def scaled(size: Size, scale: float) -> Size:
    """TensorFlow DeepLab's rule: sizes 2^k n + 1 keep their form, 513 becomes 257 at 0.5 and 897 at 1.75."""
    return int((size[0] - 1) * scale + 1), int((size[1] - 1) * scale + 1)


def resize(pixels: Tensor, size: Size, align_corners: bool = False) -> Tensor:
    return F.interpolate(pixels, size=size, mode="bilinear", align_corners=align_corners)
