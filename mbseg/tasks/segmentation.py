"""Semantic segmentation: one class for every pixel."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mbseg.data.samples import Batch
from mbseg.metrics.boundary import BoundaryCounts
from mbseg.metrics.confusion import ConfusionMatrix
from mbseg.metrics.gather import summed
from mbseg.models.framing import Protocol
from mbseg.models.prediction import Predictor
from mbseg.models.segmentation import SegmentationModel
from mbseg.nn.norm import Normalize
from mbseg.tasks.base import Task
from mbseg.tasks.losses import SegmentationLoss


class SegmentationTask(Task):
    """A segmentation model with its preprocessing, loss, prediction protocol and scores."""

    model: SegmentationModel
    predictor: Predictor
    score = "miou"

    def __init__(
        self,
        model: SegmentationModel,
        normalize: Normalize,
        loss: SegmentationLoss,
        *,
        classes: Sequence[str],
        protocol: Protocol,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.model = model.to(memory_format=self.memory_format)
        self.normalize = normalize
        self.loss = loss
        self.classes = tuple(classes)
        self.predictor = Predictor(model, normalize, protocol)

    @property
    def backbone(self) -> torch.nn.Module:
        return self.model.backbone

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        images = self.normalize(batch.images).contiguous(memory_format=self.memory_format)
        losses: dict[str, Tensor] = self.loss(self.model(images), batch.masks)
        return losses

    def predict(self, batch: Batch) -> Tensor:
        """Class maps uint8 [N, H, W] at the pictures' own size."""
        return self.predictor(batch.images)

    def input_size(self, picture: tuple[int, int], /) -> tuple[int, int]:
        return self.predictor.input_size(picture)

    def describe(self) -> str:
        return self.predictor.describe()

    def metric(self) -> "SegmentationMetric":
        return SegmentationMetric(self.classes)


class SegmentationMetric:
    """mIoU, Boundary IoU, both of each class, and pixel accuracy, counted over the whole split."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.matrix = ConfusionMatrix(len(classes), classes=classes)
        self.boundary = BoundaryCounts(classes)
        self.images = 0

    def update(self, predictions: Tensor, batch: Batch) -> None:
        self.matrix.update(predictions, batch.masks)
        self.boundary.update(predictions, batch.masks)
        self.images += len(batch.names)

    def merge(self) -> None:
        self.matrix.merge()
        self.boundary.merge()
        self.images = int(summed(np.array(self.images)))

    def compute(self) -> dict[str, Any]:
        return {**self.matrix.compute(), **self.boundary.compute(), "images": self.images}
