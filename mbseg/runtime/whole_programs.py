"""From a frame of one size to its answer in a single torch program, for formats that know no other sizes.

Maps and weights lie in one order, contiguous: ExecuTorch's kernels take no channels_last.
"""

from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn

from mbseg.boxes.geometry import Size
from mbseg.models.detection import DetectionModel
from mbseg.models.framing import Framing, Stretching
from mbseg.models.joint import JointModel
from mbseg.models.segmentation import SegmentationModel
from mbseg.nn.fuse import Module, fused
from mbseg.runtime.frame_programs import ClassMap, DecodedBoxes, FramedInput, StretchedInput
from mbseg.runtime.silence import silence

if TYPE_CHECKING:
    from torch.export import ExportedProgram


@final
class SegmentationProgram(nn.Module):
    """uint8 RGB [1, H, W, 3] -> `class_map`, uint8 [1, H, W]."""

    def __init__(self, model: SegmentationModel, normalize: nn.Module, framing: Framing) -> None:
        super().__init__()
        self.before = FramedInput(normalize, framing)
        self.network = plain(model)
        self.behind = ClassMap(framing)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"class_map": self.behind(image, self.network(self.before(image).contiguous()))}


@final
class DetectionProgram(nn.Module):
    """uint8 RGB [1, H, W, 3] -> of every default box `decoded_boxes` [1, n, 4], xyxy in the frame's pixels, and
    `probabilities` [1, n, classes]; which of them are objects is left to the caller."""

    def __init__(self, model: DetectionModel, normalize: nn.Module) -> None:
        super().__init__()
        self.before = StretchedInput(normalize, model.image_size)
        self.network = plain(model)
        self.behind = DecodedBoxes(model)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        raw = self.network(self.before(image).contiguous())
        boxes, probabilities = self.behind(image, raw.class_logits, raw.box_offsets)
        return {"decoded_boxes": boxes, "probabilities": probabilities}


@final
class JointProgram(nn.Module):
    """What both others give, of one pass of the network."""

    def __init__(self, model: JointModel, normalize: nn.Module) -> None:
        super().__init__()
        self.before = StretchedInput(normalize, model.image_size)
        self.network = plain(model)
        self.class_map = ClassMap(Stretching(model.image_size, model.align_corners))
        self.boxes = DecodedBoxes(model)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        logits, raw = self.network(self.before(image).contiguous())
        boxes, probabilities = self.boxes(image, raw.class_logits, raw.box_offsets)
        return {"class_map": self.class_map(image, logits), "decoded_boxes": boxes, "probabilities": probabilities}


def plain(model: Module) -> Module:
    """A copy in fp32 with folded batch norm."""
    return fused(model).cpu().float().to(memory_format=torch.contiguous_format)


def traced(program: nn.Module, size: Size) -> "ExportedProgram":
    """The program for frames of `size` alone; its input is called `image`."""
    image = torch.zeros(1, *size, 3, dtype=torch.uint8)
    with silence(), torch.no_grad():
        return torch.export.export(program.eval(), (), {"image": image})
