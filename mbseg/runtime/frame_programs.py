"""What lies before and behind a network on its way from a frame to an answer, as torch modules that can be exported.

Each takes the frame itself, uint8 RGB [1, H, W, 3], if only for its size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbseg.boxes.coding import decode
from mbseg.boxes.geometry import Size, areas, clip
from mbseg.boxes.postprocess import probabilities
from mbseg.models.detection import DetectionModel
from mbseg.models.framing import Framing, Stretching
from mbseg.models.joint import JointModel
from mbseg.models.prediction import framed, resize


class FramedInput(nn.Module):
    """Frame -> normalised images [1, 3, h, w] at the size that a segmenter sees."""

    def __init__(self, normalize: nn.Module, framing: Framing) -> None:
        super().__init__()
        self.normalize = normalize
        self.framing = framing

    def forward(self, image: Tensor) -> Tensor:
        images: Tensor = self.normalize(framed(as_pixels(image), self.framing))
        return images


class ClassMap(nn.Module):
    """Frame and logits [1, C, h, w] -> class map uint8 [1, H, W]."""

    def __init__(self, framing: Framing | Stretching) -> None:
        super().__init__()
        self.framing = framing

    def forward(self, image: Tensor, logits: Tensor) -> Tensor:
        upsampling = self.framing.upsampling((image.shape[1], image.shape[2]))
        height, width = upsampling.picture
        dense = F.interpolate(logits, upsampling.frame, mode="bilinear", align_corners=upsampling.align_corners)
        return dense.max(1).indices[:, :height, :width].to(torch.uint8)


class StretchedInput(nn.Module):
    """Frame -> normalised images [1, 3, *size], whatever its proportions: what a detector sees.

    The resized pixels are whole numbers, as those of a picture that OpenCV has resized.
    """

    def __init__(self, normalize: nn.Module, size: Size) -> None:
        super().__init__()
        self.normalize = normalize
        self.size = size

    def forward(self, image: Tensor) -> Tensor:
        images: Tensor = self.normalize(resize(as_pixels(image), self.size).round())
        return images


class DecodedBoxes(nn.Module):
    """Frame and raw detections -> boxes [1, boxes, 4] xyxy in its pixels, and probabilities [1, boxes, classes].

    A box without an area, or that is not finite, is nothing with probability 1.
    """

    default_boxes: Tensor

    def __init__(self, model: DetectionModel | JointModel) -> None:
        super().__init__()
        self.size = model.image_size
        self.scores = model.scores
        self.register_buffer("default_boxes", model.default_boxes(model.image_size), persistent=False)

    def forward(self, image: Tensor, class_logits: Tensor, box_offsets: Tensor) -> tuple[Tensor, Tensor]:
        boxes = clip(decode(box_offsets, self.default_boxes), self.size)
        found = torch.where(areas(boxes)[..., None] > 0, probabilities(class_logits, self.scores), 0)
        return stretch(boxes, self.size, image), found


def as_pixels(image: Tensor) -> Tensor:
    """[1, H, W, 3] uint8 -> [1, 3, H, W] float."""
    return image.permute(0, 3, 1, 2).float()


def stretch(boxes: Tensor, size: Size, image: Tensor) -> Tensor:
    """xyxy boxes in a picture of `size`, where it is resized to that of the frame."""
    x, y = boxes[..., 0::2], boxes[..., 1::2]
    return torch.stack([x * (image.shape[2] / size[1]), y * (image.shape[1] / size[0])], dim=-1).flatten(-2)
