"""Object detection: a box, a class and a score for every object."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mbseg.boxes.detections import Detections, Objects
from mbseg.boxes.geometry import Size
from mbseg.boxes.postprocess import Selection
from mbseg.data.detection_samples import DetectionBatch
from mbseg.metrics.coco_ap import NOTHING, CocoAp
from mbseg.metrics.voc_ap import VocAp
from mbseg.models.box_prediction import BoxPredictor
from mbseg.models.detection import DetectionModel
from mbseg.nn.norm import Normalize
from mbseg.tasks.base import Task, sum_over_processes
from mbseg.tasks.detection_losses import DetectionLoss


class DetectionTask(Task):
    """A detection model with its preprocessing, loss, selection of boxes and average precision."""

    model: DetectionModel
    score = "ap"

    def __init__(
        self,
        model: DetectionModel,
        normalize: Normalize,
        loss: DetectionLoss,
        *,
        classes: Sequence[str],
        selection: Selection,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.model = model.to(memory_format=self.memory_format)
        self.normalize = normalize
        self.loss = loss
        self.classes = tuple(classes)
        self.predictor = BoxPredictor(model, normalize, selection)

    @property
    def backbone(self) -> torch.nn.Module:
        return self.model.backbone

    def forward(self, batch: DetectionBatch) -> dict[str, Tensor]:
        images = self.normalize(batch.images).contiguous(memory_format=self.memory_format)
        default_boxes = self.model.default_boxes((images.shape[-2], images.shape[-1]))
        losses: dict[str, Tensor] = self.loss(self.model(images), default_boxes, objects_of(batch))
        return losses

    def predict(self, batch: DetectionBatch) -> list[Detections]:
        """The detections of each picture, in pixels of its file."""
        return self.predictor(batch.images, batch.sizes)

    def input_size(self, _picture: Size, /) -> Size:
        return self.model.image_size

    def describe(self) -> str:
        counted = "COCO AP counts the best 100 boxes of a class, VOC mAP ignores difficult objects"
        return f"{self.predictor.describe()}; {counted}"

    def metric(self) -> "DetectionMetric":
        return DetectionMetric(self.classes)


def objects_of(batch: DetectionBatch) -> list[Objects]:
    """What is learned: every object but the crowds, whose boxes hold many."""
    return [
        Objects(boxes[~crowd], labels[~crowd])
        for boxes, labels, crowd in zip(batch.boxes, batch.labels, batch.crowd, strict=True)
    ]


class DetectionMetric:
    """COCO's twelve figures, and VOC's mAP in both of its conventions, over the whole split."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.coco, self.voc = CocoAp(classes), VocAp(classes)
        self.images = 0

    def update(self, predictions: Sequence[Detections], batch: DetectionBatch) -> None:
        for annotation, found in zip(batch.annotations, predictions, strict=True):
            self.coco.update(annotation, found.boxes, found.scores, found.labels)
            self.voc.update(annotation, found.boxes, found.scores, found.labels)
        self.images += len(batch.annotations)

    def merge(self) -> None:
        self.coco.merge()
        self.voc.merge()
        self.images = sum_over_processes(self.images)

    def compute(self) -> dict[str, Any]:
        """Figures of a size of which there is no object are None."""
        coco, voc = self.coco.compute(), self.voc.compute()
        figures = {name: None if value == NOTHING else value for name, value in coco.items()}
        means = {name: value for name, value in voc.items() if name.startswith("voc")}
        return {**figures, **means, "images": self.images}
