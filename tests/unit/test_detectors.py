"""create_detector: which maps it reads, what it refuses, and that every size of picture can be trained on."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import mbseg
from mbseg.backbones.zoo import MOBILENETS
from mbseg.boxes.detections import Objects
from mbseg.boxes.matching import UNMATCHED, match
from mbseg.boxes.postprocess import postprocess
from mbseg.errors import ConfigError
from mbseg.models.detection import DetectionModel
from mbseg.tasks.detection_losses import DetectionLoss
from mbseg.weights.store import BackboneFacts, save_backbone

SIDES = st.integers(64, 200)


def small_detector(**changes: object) -> DetectionModel:
    return mbseg.create_detector(**{"backbone": "mobilenet_v3_small", "width_mult": 0.35, "num_classes": 3} | changes)


@pytest.mark.parametrize("name", MOBILENETS)
def test_it_reads_the_expansion_and_the_last_convolution_where_there_are_such(name: str) -> None:
    taps = mbseg.create_detector(name, width_mult=0.35).extras.taps
    assert taps == (("c4", "c5") if name in ("mobilenet_v1", "fd_mobilenet") else ("c4_expansion", "last_conv"))


@pytest.mark.parametrize("maps", [("c4", "c5"), ("c4_expansion", "c5"), ("c4", "last_conv"), ("c3", "c4", "last_conv")])
def test_the_maps_can_be_chosen(maps: tuple[str, ...]) -> None:
    model = small_detector(maps=maps).eval()
    raw = model(torch.zeros(1, 3, 96, 128))
    boxes = model.default_boxes((96, 128))
    assert len(model.extras.channels) == len(maps) + 4
    assert raw.class_logits.shape == (1, len(boxes), 4)
    assert raw.box_offsets.shape == (1, len(boxes), 4)


def test_below_width_1_the_last_convolution_of_v2_shrinks_in_detectors_only() -> None:
    detector = mbseg.create_detector("mobilenet_v2", width_mult=0.5)
    assert detector.backbone.feature_info["last_conv"].channels == 640
    assert mbseg.create_backbone("mobilenet_v2", width_mult=0.5, taps=["last_conv"]).feature_info["last_conv"] == (
        1280,
        32,
    )
    assert detector.extras.channels == [288, 640, 256, 128, 128, 64]


def test_below_width_1_all_but_the_last_convolution_of_v2_starts_from_given_weights(tmp_path: Path) -> None:
    whole = mbseg.create_backbone("mobilenet_v2", width_mult=0.5, taps=["last_conv"])
    file = tmp_path / "imagenet.safetensors"
    save_backbone(file, whole.state_dict(), BackboneFacts({}, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
    started = mbseg.create_detector("mobilenet_v2", width_mult=0.5, weights=str(file)).backbone.state_dict()
    same = {key for key, tensor in whole.state_dict().items() if torch.equal(tensor, started[key])}
    assert {key for key in started if not key.startswith("last_conv.")} <= same


def test_asking_for_the_default_boxes_leaves_the_model_as_it_is() -> None:
    model = small_detector()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    model.default_boxes((64, 96))
    assert model.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


@settings(max_examples=8)
@given(size=st.tuples(SIDES, SIDES), batch=st.integers(1, 3), objects=st.integers(0, 20))
def test_a_training_step_at_any_size_and_batch_gives_finite_losses_and_gradients(
    size: tuple[int, int], batch: int, objects: int
) -> None:
    model = small_detector(image_size=size)
    corners = torch.rand(objects, 2) * (torch.tensor([size[1], size[0]]) - 10)
    target = Objects(torch.cat([corners, corners + 9], dim=1), torch.zeros(objects, dtype=torch.int64))
    losses = DetectionLoss()(model(torch.randn(batch, 3, *size)), model.default_boxes(size), [target] * batch)
    torch.stack(list(losses.values())).sum().backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert all(one.grad is None or one.grad.isfinite().all() for one in model.parameters())


def test_a_few_steps_find_the_objects_again() -> None:
    """From the picture to the pixels of the original, with everything between."""
    model, loss = small_detector(image_size=96), DetectionLoss()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 96, 96, generator=generator)
    objects = [
        Objects(torch.tensor([[8.0, 8, 40, 44], [50, 40, 90, 90]]), torch.tensor([0, 2])),
        Objects(torch.tensor([[30.0, 20, 70, 60]]), torch.tensor([1])),
    ]
    boxes = model.default_boxes((96, 96))
    assert all((match(one.boxes, boxes) != UNMATCHED).any() for one in objects)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        torch.stack(list(loss(model(images), boxes, objects).values())).sum().backward()
        optimizer.step()
    found = postprocess(model(images), boxes, image_size=(96, 96), picture_sizes=[(96, 96), (192, 48)])
    for one, expected, stretch in zip(found, objects, ([1.0, 1.0], [0.5, 2.0]), strict=True):
        count = len(expected.labels)
        order = one.labels[:count].argsort()
        assert one.labels[:count][order].tolist() == expected.labels.tolist()
        torch.testing.assert_close(one.boxes[:count][order], expected.boxes * torch.tensor(stretch * 2), rtol=0, atol=6)


def test_sigmoid_scores_start_as_rare() -> None:
    model = small_detector(scores="sigmoid")
    for predictor in model.head.class_predictors:
        assert isinstance(predictor[1], nn.Conv2d) and predictor[1].bias is not None
        torch.testing.assert_close(predictor[1].bias.sigmoid(), torch.full_like(predictor[1].bias, 0.01))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"head": "ssd"}, "head is 'ssd'; it can be ssdlite"),
        ({"num_classes": 0}, "num_classes is 0"),
        ({"num_classes": 1.5}, "num_classes is 1.5"),
        ({"image_size": 63}, r"image_size is 63; it is a number of pixels or \(height, width\), 64 or more each"),
        ({"image_size": (320, 8)}, r"image_size is \(320, 8\)"),
        ({"image_size": (320,)}, r"image_size is \(320,\)"),
        ({"image_size": (64.5, 64)}, r"image_size is \(64.5, 64\)"),
        ({"image_size": "320"}, "image_size is '320'"),
        ({"image_size": None}, "image_size is None"),
        ({"maps": "c4"}, r"maps is 'c4'; it is a list of feature maps, fine to coarse, such as \['c4'\]"),
        ({"reduced_tail": "detection"}, "it is True or False here, as detection has one tail"),
        ({"maps": ("last_conv", "c4")}, r"strides \[32, 16\]; name each once, the finer ones first"),
        ({"maps": ("c4", "c4")}, "name each once"),
        ({"maps": ()}, "no feature map asked for"),
        ({"maps": ("c9",)}, "no feature map named"),
        ({"width_mult": 9}, "width_mult is 9"),
        ({"backbone": "mobilenet_v1", "reduced_tail": True}, "mobilenet_v1 has no reduced tail"),
        ({"backbone": "resnet101_beta"}, "has no widths"),
        ({"scores": "tanh"}, "scores is 'tanh'; it can be softmax or sigmoid"),
        ({"box_plan": "mine"}, "box_plan is 'mine'; it can be standard or torchvision"),
    ],
)
def test_what_does_not_go_together_is_refused_before_weights_are_looked_for(
    arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        small_detector(weights="missing.pth", **arguments)
