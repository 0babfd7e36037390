"""From pictures to the objects in them: preprocessing, network, decoding, non-maximum suppression."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mbseg.boxes.detections import Detections
from mbseg.boxes.geometry import Size
from mbseg.boxes.postprocess import Selection, postprocess
from mbseg.errors import DataError
from mbseg.models.detection import DetectionModel


class BoxPredictor:
    """uint8 RGB pictures [N, 3, H, W], resized for the network, -> the detections of each.

    `picture_sizes` are those the pictures had before, in whose pixels the boxes are given.
    """

    def __init__(self, model: DetectionModel, normalize: nn.Module, selection: Selection) -> None:
        self.model = model
        self.normalize = normalize
        self.selection = selection

    @torch.inference_mode()
    def __call__(self, images: Tensor, picture_sizes: Sequence[Size]) -> list[Detections]:
        if len(picture_sizes) != len(images):
            raise DataError(f"{len(images)} pictures and {len(picture_sizes)} sizes; give the size of each picture")
        size = (images.shape[-2], images.shape[-1])
        raw = self.model(self.normalize(images).contiguous(memory_format=torch.channels_last))
        return postprocess(
            raw,
            self.model.default_boxes(size),
            image_size=size,
            picture_sizes=picture_sizes,
            scores=self.model.scores,
            selection=self.selection,
        )

    def describe(self) -> str:
        """The protocol in words, for beside a score."""
        height, width = self.model.image_size
        return f"pictures resized to {height} x {width}, {self.selection.describe()}"
