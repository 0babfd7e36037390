"""torchvision's ssdlite320_mobilenet_v3_large, weights carried over: the same at every step from picture to boxes."""

from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.models.detection._utils import BoxCoder, SSDMatcher
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

import mbseg
from mbseg.boxes.coding import decode, encode
from mbseg.boxes.default_boxes import default_boxes
from mbseg.boxes.detections import Detections, Objects, RawDetections
from mbseg.boxes.geometry import Size
from mbseg.boxes.matching import match
from mbseg.boxes.postprocess import postprocess
from mbseg.models.detection import DetectionModel
from mbseg.tasks.detection_losses import DetectionLoss
from tests.helpers import assert_same_features, calibrated

CLASSES = 90
EPSILON = 1e-3 - 1e-5  # of batch norm: theirs beyond ours
SIZE = (96, 128)
BOXES = default_boxes([(6, 8), (3, 4), (2, 2), (1, 1), (1, 1), (1, 1)], SIZE, "torchvision")
CODER = BoxCoder((10.0, 10.0, 5.0, 5.0))


class Raw(nn.Module):
    """Their network without what stands before and behind it."""

    def __init__(self, ssd: Any) -> None:
        super().__init__()
        self.ssd = ssd

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.ssd.head(list(self.ssd.backbone(images).values()))


@cache
def theirs() -> Any:
    return ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=CLASSES + 1).eval()


def sharpened(network: Raw) -> Raw:
    """With class scores that are far enough apart to keep their order in spite of rounding."""
    for predictor in network.ssd.head.classification_head.module_list:
        predictor[1].weight *= 10
    return network


def ours_like(ssd: nn.Module) -> DetectionModel:
    """Both networks register their layers from the picture to the boxes, so the names follow from the order."""
    ours = mbseg.create_detector(
        "mobilenet_v3_large", reduced_tail=True, num_classes=CLASSES, box_plan="torchvision"
    ).eval()
    pairs = zip(ours.state_dict(), ssd.state_dict().values(), strict=True)
    ours.load_state_dict({key: tensor + EPSILON if "running_var" in key else tensor for key, tensor in pairs})
    return ours


def random_boxes(count: int, seed: int = 0, size: Size = SIZE) -> Tensor:
    """xyxy with an area."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * torch.tensor([size[1] - 2.0, size[0] - 2.0])
    return torch.cat([corners, corners + 1 + 40 * torch.rand(count, 2, generator=generator)], dim=1)


def random_objects(counts: list[int]) -> list[Objects]:
    generator = torch.Generator().manual_seed(3)
    return [
        Objects(random_boxes(count, seed), torch.randint(0, CLASSES, (count,), generator=generator))
        for seed, count in enumerate(counts)
    ]


def random_raw(pictures: int, *, sharpness: float) -> RawDetections:
    generator = torch.Generator().manual_seed(5)
    logits = sharpness * torch.randn(pictures, len(BOXES), CLASSES + 1, generator=generator)
    return RawDetections(logits, torch.randn(pictures, len(BOXES), 4, generator=generator))


def in_their_words(raw: RawDetections) -> dict[str, Tensor]:
    return {"cls_logits": raw.class_logits, "bbox_regression": raw.box_offsets}


def assert_same_detections(ours: Detections, theirs: dict[str, Tensor]) -> None:
    """Each has its like among the others: near-equal scores may come in any order."""
    found, expected = rows(ours.boxes, ours.scores, ours.labels + 1), rows(**theirs)
    assert found.shape == expected.shape
    alike = torch.isclose(found[:, None], expected, rtol=1e-4, atol=2e-3).all(2)
    assert alike.any(0).all() and alike.any(1).all()


def rows(boxes: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
    return torch.cat([1000 * scores[:, None], labels[:, None], boxes], dim=1)


@pytest.mark.parametrize("size", [(320, 320), (130, 200)], ids=str)
@torch.no_grad()
def test_raw_outputs_equal_torchvisions(size: Size) -> None:
    images = torch.randn(2, 3, *size)
    network = calibrated(Raw(deepcopy(theirs())), images)
    expected, raw = network(images), ours_like(network.ssd)(images)
    assert_same_features(raw.class_logits, expected["cls_logits"], tolerance=1e-4)
    assert_same_features(raw.box_offsets, expected["bbox_regression"], tolerance=1e-4)


@torch.no_grad()
def test_final_detections_equal_torchvisions_up_to_order() -> None:
    network = sharpened(calibrated(Raw(deepcopy(theirs())), torch.randn(2, 3, 320, 320)))
    ours, pictures = ours_like(network.ssd), [torch.rand(3, 200, 310), torch.rand(3, 97, 64)]
    images, _ = network.ssd.transform(pictures)
    raw, boxes = ours(images.tensors), ours.default_boxes((320, 320))
    found = postprocess(raw, boxes, image_size=(320, 320), picture_sizes=[(200, 310), (97, 64)])
    for one, expected in zip(found, network.ssd(pictures), strict=True):
        assert len(one.scores) == 300
        assert_same_detections(one, expected)


@pytest.mark.parametrize("size", [(320, 320), (130, 200), (257, 64)], ids=str)
@torch.no_grad()
def test_default_boxes_equal_torchvisions(size: Size) -> None:
    images = torch.randn(1, 3, *size)
    features = list(theirs().backbone(images).values())
    (expected,) = theirs().anchor_generator(ImageList(images, [size]), features)
    model = mbseg.create_detector("mobilenet_v3_large", reduced_tail=True, num_classes=1, box_plan="torchvision")
    torch.testing.assert_close(model.default_boxes(size), expected)


def test_offsets_equal_torchvisions_both_ways() -> None:
    boxes = random_boxes(len(BOXES))
    offsets = CODER.encode_single(boxes, BOXES)
    torch.testing.assert_close(encode(boxes, BOXES), offsets)
    torch.testing.assert_close(decode(3 * offsets, BOXES), CODER.decode_single(3 * offsets, BOXES))


@pytest.mark.parametrize("objects", [1, 7, 60, 300])
@pytest.mark.parametrize("seed", range(3))
def test_matches_equal_torchvisions(objects: int, seed: int) -> None:
    boxes = random_boxes(objects, seed)
    expected = SSDMatcher(0.5)(box_iou(boxes, BOXES))
    assert (expected >= 0).any()
    assert torch.equal(match(boxes, BOXES, iou_threshold=0.5), expected)


@pytest.mark.parametrize("counts", [[3, 1], [0, 5], [2, 0, 0, 12], [0, 0]], ids=str)
def test_losses_equal_torchvisions(counts: list[int]) -> None:
    objects, raw = random_objects(counts), random_raw(len(counts), sharpness=2)
    targets = [{"boxes": boxes, "labels": labels + 1} for boxes, labels in objects]
    matches = [match(boxes, BOXES) for boxes, _ in objects]
    expected = theirs().compute_loss(targets, in_their_words(raw), [BOXES] * len(counts), matches)
    losses = DetectionLoss()(raw, BOXES, objects)
    torch.testing.assert_close(losses["classification"], expected["classification"])
    torch.testing.assert_close(losses["boxes"], expected["bbox_regression"])


@pytest.mark.parametrize("sharpness", [0.1, 1, 4, 12])
def test_selected_detections_equal_torchvisions(sharpness: float) -> None:
    """From nothing but near-ties, where all rounds are needed, to a few sure ones."""
    raw, picture_sizes = random_raw(2, sharpness=sharpness), [(50, 333), (96, 128)]
    expected = theirs().postprocess_detections(in_their_words(raw), [BOXES] * 2, [SIZE] * 2)
    expected = theirs().transform.postprocess(expected, [SIZE] * 2, picture_sizes)
    found = postprocess(raw, BOXES, image_size=SIZE, picture_sizes=picture_sizes)
    for one, theirs_ in zip(found, expected, strict=True):
        assert len(one.scores) > 100
        assert_same_detections(one, theirs_)
