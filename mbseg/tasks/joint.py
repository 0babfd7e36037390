"""Segmentation and detection at once: the class of every pixel and a box for every object, of one pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mbseg.boxes.detections import Objects
from mbseg.boxes.geometry import Size
from mbseg.boxes.postprocess import Selection
from mbseg.data.joint_samples import JointBatch
from mbseg.data.labels import IGNORE_INDEX
from mbseg.metrics.coco_json import Entry
from mbseg.metrics.gather import summed
from mbseg.models.joint import JointModel, JointPredictions
from mbseg.models.joint_prediction import Found, JointPredictor
from mbseg.nn.norm import Normalize
from mbseg.tasks.base import Task
from mbseg.tasks.detection import COUNTED, DetectionMetric
from mbseg.tasks.detection_losses import DetectionLoss
from mbseg.tasks.losses import SegmentationLoss
from mbseg.tasks.segmentation import SegmentationMetric

JOINT_SCORE = "joint_score"


@dataclass(frozen=True)
class JointWeights:
    """How much the losses of each head count."""

    segmentation: float = 8.0
    detection: float = 1.0


class JointLoss(nn.Module):
    """The named losses of both heads, weighted."""

    def __init__(self, segmentation: SegmentationLoss, detection: DetectionLoss, weights: JointWeights) -> None:
        super().__init__()
        self.segmentation = segmentation
        self.detection = detection
        self.weights = weights

    def forward(
        self, predictions: JointPredictions, masks: Tensor, default_boxes: Tensor, objects: Sequence[Objects]
    ) -> dict[str, Tensor]:
        """Masks are [N, H, W], default boxes and objects xyxy in pixels of the network's input."""
        pixels = self.segmentation(predictions.logits, masks)
        boxes = self.detection(predictions.raw, default_boxes, objects)
        return {name: self.weights.segmentation * loss for name, loss in pixels.items()} | {
            name: self.weights.detection * loss for name, loss in boxes.items()
        }


class JointTask(Task):
    """A model of two heads with its preprocessing, losses, prediction and the scores of both.

    What is best is decided by `joint_score`, the mean of mIoU and AP50: both are fractions that a good model brings
    near 1, where COCO's AP would weigh less.
    """

    model: JointModel
    predictor: JointPredictor
    score = JOINT_SCORE

    def __init__(
        self,
        model: JointModel,
        normalize: Normalize,
        loss: JointLoss,
        *,
        classes: Sequence[str],
        selection: Selection,
        channels_last: bool = True,
    ) -> None:
        """`classes` begin with the background, which no box has."""
        super().__init__()
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.model = model.to(memory_format=self.memory_format)
        self.normalize = normalize
        self.loss = loss
        self.classes = tuple(classes)
        self.predictor = JointPredictor(model, normalize, selection)

    @property
    def backbone(self) -> torch.nn.Module:
        return self.model.backbone

    def forward(self, batch: JointBatch) -> dict[str, Tensor]:
        images = self.normalize(batch.images).contiguous(memory_format=self.memory_format)
        default_boxes = self.model.default_boxes((images.shape[-2], images.shape[-1]))
        objects = [Objects(boxes, labels) for boxes, labels in zip(batch.boxes, batch.labels, strict=True)]
        losses: dict[str, Tensor] = self.loss(self.model(images), batch.masks, default_boxes, objects)
        return losses

    def predict(self, batch: JointBatch) -> list[Found]:
        """The class map of each picture at its file's size, and the detections in pixels of its file."""
        return self.predictor(batch.images, batch.sizes)

    def input_size(self, _picture: Size, /) -> Size:
        return self.model.image_size

    def describe(self) -> str:
        return f"{self.predictor.describe()}; {COUNTED}"

    def metric(self) -> "JointMetric":
        return JointMetric(self.classes)


class JointMetric:
    """The scores of a segmenter, over the pictures that have a mask, and those of a detector, over all."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.pixels = SegmentationMetric(classes)
        self.boxes = DetectionMetric(classes[1:])
        self.masks = 0

    def update(self, predictions: Sequence[Found], batch: JointBatch) -> None:
        self.pixels.update(torch.stack([mask for mask, _ in predictions]), batch.labelled)
        self.boxes.update([found for _, found in predictions], batch.annotated)
        self.masks += int((batch.masks != IGNORE_INDEX).flatten(1).any(1).sum())

    def merge(self) -> None:
        self.pixels.merge()
        self.boxes.merge()
        self.masks = int(summed(np.array(self.masks)))

    def compute(self) -> dict[str, Any]:
        """`per_class` and `absent` are those of the pixels; `images` are all pictures, `masks` those with labels."""
        pixels, boxes = self.pixels.compute(), self.boxes.compute()
        by_class = {"per_class_ap": boxes.pop("per_class"), "absent_objects": boxes.pop("absent")}
        score = (pixels["miou"] + boxes["ap50"]) / 2
        return {JOINT_SCORE: score, **pixels, **boxes, **by_class, "masks": self.masks}

    def results(self, category_ids: Sequence[int | None]) -> list[Entry]:
        """The detections as COCO's results."""
        return self.boxes.results(category_ids)
