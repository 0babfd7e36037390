"""Object detection: a box, a class and a score for every object."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mbseg.boxes.detections import Detections, Objects
from mbseg.boxes.geometry import Size
from mbseg.boxes.postprocess import Selection
from mbseg.data.detection_samples import DetectionBatch
from mbseg.metrics.box_records import Picture, recorded
from mbseg.metrics.coco_ap import coco_ap
from mbseg.metrics.coco_json import Entry, results_of
from mbseg.metrics.gather import gathered
from mbseg.metrics.voc_ap import voc_ap
from mbseg.models.box_prediction import BoxPredictor
from mbseg.models.detection import DetectionModel
from mbseg.nn.norm import Normalize
from mbseg.tasks.base import Task
from mbseg.tasks.detection_losses import DetectionLoss

COUNTED = "COCO AP of the best 100 boxes of a class; crowds, and in VOC mAP difficult objects, are ignored"


class DetectionTask(Task):
    """A detection model with its preprocessing, loss, selection of boxes and average precision."""

    model: DetectionModel
    predictor: BoxPredictor
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
        objects = [Objects(boxes, labels) for boxes, labels in zip(batch.boxes, batch.labels, strict=True)]
        losses: dict[str, Tensor] = self.loss(self.model(images), default_boxes, objects)
        return losses

    def predict(self, batch: DetectionBatch) -> list[Detections]:
        """The detections of each picture, in pixels of its file."""
        return self.predictor(batch.images, batch.sizes)

    def input_size(self, _picture: Size, /) -> Size:
        return self.model.image_size

    def describe(self) -> str:
        return f"{self.predictor.describe()}; {COUNTED}"

    def metric(self) -> "DetectionMetric":
        return DetectionMetric(self.classes)


class DetectionMetric:
    """COCO's twelve figures, and VOC's mAP in both of its conventions, over the whole split."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.pictures: list[Picture] = []

    def update(self, predictions: Sequence[Detections], batch: DetectionBatch) -> None:
        for annotation, found in zip(batch.annotations, predictions, strict=True):
            picture = recorded(annotation, found.boxes, found.scores, found.labels, len(self.classes))
            self.pictures.append(picture)

    def merge(self) -> None:
        self.pictures = gathered(self.pictures)

    def compute(self) -> dict[str, Any]:
        """Figures of a size of which there is no object are None; `dropped` are boxes with non-finite numbers.

        Raises DataError if there was no object to find.
        """
        dropped = sum(found.dropped for _, found in self.pictures)
        scores = {**coco_ap(self.pictures, self.classes), **voc_ap(self.pictures, self.classes)}
        return {**scores, "dropped": dropped, "images": len(self.pictures)}

    def results(self, category_ids: Sequence[int | None]) -> list[Entry]:
        """The detections as COCO's results; those of a class without an id are left out."""
        return results_of(self.pictures, category_ids)
