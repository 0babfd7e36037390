"""From pictures to their class maps and the objects in them: preprocessing, one network, and what comes behind it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mbseg.boxes.detections import Detections
from mbseg.boxes.geometry import Size
from mbseg.boxes.postprocess import Selection, postprocess
from mbseg.errors import DataError
from mbseg.models.class_map import class_map
from mbseg.models.joint import JointModel

Found = tuple[Tensor, Detections]  # the class map uint8 [H, W], and the objects


class JointPredictor:
    """uint8 RGB pictures [N, 3, H, W], resized for the network, -> class map and detections of each.

    `picture_sizes` are those the pictures had before: of that size is the class map, and in its pixels are the boxes.
    """

    def __init__(self, model: JointModel, normalize: nn.Module, selection: Selection) -> None:
        self.model = model
        self.normalize = normalize
        self.selection = selection

    @torch.inference_mode()
    def __call__(self, images: Tensor, picture_sizes: Sequence[Size]) -> list[Found]:
        if len(picture_sizes) != len(images):
            raise DataError(f"{len(images)} pictures and {len(picture_sizes)} sizes; give the size of each picture")
        size = (images.shape[-2], images.shape[-1])
        logits, raw = self.model(self.normalize(images).contiguous(memory_format=torch.channels_last))
        found = postprocess(
            raw,
            self.model.default_boxes(size),
            image_size=size,
            picture_sizes=picture_sizes,
            scores=self.model.scores,
            selection=self.selection,
        )
        masks = [
            class_map(one[None], picture, self.model.align_corners)[0]
            for one, picture in zip(logits, picture_sizes, strict=True)
        ]
        return list(zip(masks, found, strict=True))

    def describe(self) -> str:
        """The protocol in words, for beside a score."""
        height, width = self.model.image_size
        upsampled = "logits upsampled to the pictures' own size before the arg-max, 255 ignored"
        return f"pictures resized to {height} x {width}; {upsampled}; {self.selection.describe()}"
