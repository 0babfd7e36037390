"""How a picture is brought to the network and its answer back: padding, resizing, several scales, mirror image."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbseg.models.class_map import class_map
from mbseg.models.framing import Framing, Protocol, framing_of, scaled
from mbseg.models.mean_probabilities import Size, mean_probabilities
from mbseg.models.segmentation import SegmentationModel


class Predictor:
    """uint8 RGB pictures [N, 3, H, W] -> class maps uint8 [N, H, W] of the same size."""

    def __init__(self, model: SegmentationModel, normalize: nn.Module, protocol: Protocol) -> None:
        self.model = model
        self.normalize = normalize
        self.protocol = protocol
        self.framing = framing_of(model, protocol)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        return self._best_of_one(images) if self.protocol.passes == 1 else self._best_on_average(images)

    def describe(self) -> str:
        """The protocol in words, for beside a score."""
        on_a_grid = self.framing.align_corners and not self.protocol.pad_to
        padding = f"padded by its border pixels to {self.framing.grid} k + 1, " if on_a_grid else ""
        return f"{padding}{self.protocol}"

    def input_size(self, picture: Size) -> Size:
        """(height, width) that the network sees of a picture at scale 1."""
        return self.framing.input_size(picture)

    def _best_of_one(self, images: Tensor) -> Tensor:
        """The softmax changes no order: the largest logit has the largest probability."""
        upsampling = self.framing.upsampling(size_of(images))
        logits = self._logits(self._frame(images), self.protocol.scales[0])
        height, width = upsampling.picture
        return class_map(logits, upsampling.frame, upsampling.align_corners)[:, :height, :width]

    def _best_on_average(self, images: Tensor) -> Tensor:
        """The picture itself is mirrored, not what is made of it: its padding is then to the right of it as always.

        The largest scale comes first, when nothing else takes memory yet.
        """
        upsampling = self.framing.upsampling(size_of(images))
        mean = mean_probabilities(images.device, upsampling, self.protocol.passes)
        for mirrored in (False, True) if self.protocol.flip else (False,):
            framed = self._frame(images.flip(-1) if mirrored else images)
            for scale in sorted(self.protocol.scales, reverse=True):
                mean.add(self._logits(framed, scale), mirrored=mirrored)
        return mean.class_map()

    def _frame(self, images: Tensor) -> Tensor:
        """Normalised pictures at the network's size at scale 1."""
        normalized: Tensor = self.normalize(framed(images.float(), self.framing))
        return normalized

    def _logits(self, framed: Tensor, scale: float) -> Tensor:
        if scale != 1:
            framed = resize(framed, scaled(size_of(framed), scale), self.framing.align_corners)
        logits: Tensor = self.model(framed.contiguous(memory_format=torch.channels_last))
        return logits


def framed(pixels: Tensor, framing: Framing) -> Tensor:
    """Pictures [N, 3, H, W] float, resized and padded to what the network sees."""
    picture, protocol = size_of(pixels), framing.protocol
    height, width = framing.input_size(picture)
    if protocol.resize_longer_side:
        pixels = resize(pixels, framing.content(picture))
    margins = (0, width - pixels.shape[-1], 0, height - pixels.shape[-2])
    if protocol.pad_to:
        return F.pad(pixels, margins, value=protocol.pad_value)
    return F.pad(pixels, margins, mode="replicate")


def resize(pixels: Tensor, size: Size, align_corners: bool = False) -> Tensor:
    return F.interpolate(pixels, size=size, mode="bilinear", align_corners=align_corners)


def size_of(images: Tensor) -> Size:
    """(height, width) of [..., H, W]."""
    return images.shape[-2], images.shape[-1]
