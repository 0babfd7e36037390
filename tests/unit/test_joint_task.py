"""The joint task: its losses and scores are those of the two tasks that it is made of."""

from pathlib import Path

import numpy as np
import pytest
import torch

import mbseg
from mbseg.boxes.detections import Objects
from mbseg.boxes.postprocess import Selection
from mbseg.data.detection_samples import Annotation
from mbseg.data.joint_samples import JointBatch
from mbseg.models.joint import JointModel
from mbseg.nn.norm import Normalize
from mbseg.tasks.detection import DetectionMetric
from mbseg.tasks.detection_losses import DetectionLoss
from mbseg.tasks.joint import JointLoss, JointTask, JointWeights
from mbseg.tasks.losses import LossWeights, SegmentationLoss
from mbseg.tasks.segmentation import SegmentationMetric
from tests.helpers import calibrated

CLASSES = ("background", "disc", "square")
OF_PIXELS, OF_BOXES = SegmentationLoss(LossWeights(dice=0.5), align_corners=True), DetectionLoss()


@pytest.fixture
def model() -> JointModel:
    joint = mbseg.create_joint("mobilenet_v2", width_mult=0.35, num_classes=3, image_size=64, align_corners=True)
    return calibrated(joint, torch.randn(4, 3, 64, 64))


def task(model: JointModel, weights: JointWeights | None = None) -> JointTask:
    return JointTask(
        model,
        Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        JointLoss(OF_PIXELS, OF_BOXES, weights or JointWeights()),
        classes=CLASSES,
        selection=Selection(),
    ).eval()


def batch(*masks: torch.Tensor) -> JointBatch:
    """A picture for each mask, with a square in it."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (len(masks), 3, 64, 64), generator=generator, dtype=torch.uint8)
    none, boxes = np.zeros(1, np.bool_), np.array([[8.0, 8, 40, 30]])
    annotations = [
        Annotation(Path("a"), Path("a"), index, None, boxes, np.ones(1, np.int64), boxes[:, 2], none, none)
        for index in range(len(masks))
    ]
    corners = torch.tensor([[8.0, 8, 48, 38]])
    count = len(masks)
    return JointBatch(
        images, torch.stack(masks), [corners] * count, [torch.ones(1).long()] * count, [(64, 64)] * count, annotations
    )


LABELLED = torch.zeros(64, 64, dtype=torch.uint8).index_fill(0, torch.arange(8, 38), 2)
UNKNOWN = torch.full((64, 64), 255, dtype=torch.uint8)


def test_its_losses_are_those_of_both_tasks_weighted(model: JointModel) -> None:
    pictures = batch(LABELLED, LABELLED)
    joint = task(model, JointWeights(segmentation=2.0, detection=0.25))
    losses, predictions = joint(pictures), model(joint.normalize(pictures.images))
    objects = [Objects(*one) for one in zip(pictures.boxes, pictures.labels, strict=True)]
    of_pixels = OF_PIXELS(predictions.logits, pictures.masks)
    of_boxes = OF_BOXES(predictions.raw, model.default_boxes((64, 64)), objects)
    expected = {name: 2 * loss for name, loss in of_pixels.items()} | {
        name: 0.25 * loss for name, loss in of_boxes.items()
    }
    assert set(losses) == {"cross_entropy", "dice", "classification", "boxes"}
    for name, loss in expected.items():
        torch.testing.assert_close(losses[name], loss)


def test_a_picture_without_a_mask_teaches_boxes_alone(model: JointModel) -> None:
    joint = task(model)
    losses = joint(batch(UNKNOWN, UNKNOWN))
    assert losses["cross_entropy"] == losses["dice"] == 0
    assert losses["boxes"] > 0
    torch.stack(list(losses.values())).sum().backward()
    gradients = [weight.grad for weight in model.segmentation_head.parameters() if weight.grad is not None]
    assert all((gradient == 0).all() for gradient in gradients)
    of_boxes = [one.pointwise.weight.grad for one in model.detection_head.box_predictors]
    assert any(gradient.any() for gradient in of_boxes)
    both = joint(batch(LABELLED, UNKNOWN))["cross_entropy"]
    torch.testing.assert_close(both, joint(batch(LABELLED))["cross_entropy"], rtol=1e-4, atol=0)


def test_its_scores_are_those_of_both_tasks_and_their_mean(model: JointModel) -> None:
    joint, pictures = task(model), batch(LABELLED, UNKNOWN)
    found = joint.predict(pictures)
    metric, pixels, boxes = joint.metric(), SegmentationMetric(CLASSES), DetectionMetric(CLASSES[1:])
    metric.update(found, pictures)
    pixels.update(torch.stack([mask for mask, _ in found]), pictures.labelled)
    boxes.update([detections for _, detections in found], pictures.annotated)
    scores, of_pixels, of_boxes = metric.compute(), pixels.compute(), boxes.compute()
    assert scores["per_class"] == of_pixels["per_class"]
    assert scores["per_class_ap"] == of_boxes["per_class"]
    assert scores["absent_objects"] == of_boxes["absent"] == ["disc"]
    assert scores["ap"] == of_boxes["ap"]
    assert scores[joint.score] == (of_pixels["miou"] + of_boxes["ap50"]) / 2
    assert (scores["images"], scores["masks"]) == (2, 1)
