"""create_joint: one pass says what a segmenter and a detector with the same weights say in two."""

import pytest
import torch
from torch import Tensor, nn

import mbseg
from mbseg.boxes.postprocess import Selection
from mbseg.errors import ConfigError, DataError
from mbseg.models.box_prediction import BoxPredictor
from mbseg.models.detection import DetectionModel
from mbseg.models.joint import JointModel
from mbseg.models.joint_prediction import JointPredictor
from mbseg.models.segmentation import SegmentationModel
from mbseg.nn.norm import Normalize
from mbseg.runtime.torch_backend import prepare
from tests.helpers import calibrated

IMAGES = torch.randn(2, 3, 130, 97, generator=torch.Generator().manual_seed(3))
SIZE = (130, 97)
NETWORKS = [
    {"backbone": "mobilenet_v2", "output_stride": 16},
    {"backbone": "mobilenet_v2", "output_stride": 8, "head": "lraspp"},
    {"backbone": "mobilenet_v2", "output_stride": 32, "head": "deeplabv3plus", "head_channels": 16},
    {"backbone": "mobilenet_v2", "output_stride": 16, "head_at": "last_conv"},
    {"backbone": "mobilenet_v2", "output_stride": 8, "maps": ["c3", "c4", "c5"]},
    {"backbone": "mobilenet_v1", "output_stride": 16},
    {"backbone": "mobilenet_v3_small_minimal", "output_stride": 16, "head": "lraspp"},
    {"backbone": "timm:mobilenetv4_conv_small_050", "output_stride": 16, "width_mult": 1.0},
]


def small_joint(**changes: object) -> JointModel:
    return mbseg.create_joint(**{"backbone": "mobilenet_v2", "width_mult": 0.35, "num_classes": 4} | changes)


def alone(joint: JointModel, **network: object) -> tuple[SegmentationModel, DetectionModel]:
    """A segmenter and a detector with its weights."""
    settings = {"width_mult": 0.35, **network}
    maps = settings.pop("maps", None)
    of_boxes = {"backbone": settings["backbone"], "width_mult": settings["width_mult"], "maps": maps}
    if settings.get("head_at") == "last_conv":
        settings["variant"] = mbseg.Variant(narrow_last_conv=True)
    segmenter = mbseg.create_segmenter(**settings, num_classes=4)
    detector = mbseg.create_detector(**of_boxes, num_classes=3)
    fill(segmenter, joint, {"head.": "segmentation_head."})
    fill(detector, joint, {"head.": "detection_head."})
    return segmenter.eval(), detector.eval()


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    """Up to rounding, in units of their spread: it grows in the extra maps, whose batch norm saw a few cells."""
    spread = theirs.std()
    assert spread > 1e-3
    torch.testing.assert_close(ours / spread, theirs / spread, rtol=0, atol=0.01)


def fill(model: nn.Module, joint: JointModel, renamed: dict[str, str]) -> None:
    state = joint.state_dict()
    for own, theirs in renamed.items():
        state |= {key.replace(theirs, own, 1): value for key, value in state.items() if key.startswith(theirs)}
    model.load_state_dict({key: state[key] for key in model.state_dict()})


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: "-".join(map(str, network.values())))
@torch.no_grad()
def test_each_head_says_what_it_would_say_alone(network: dict[str, object]) -> None:
    joint = calibrated(small_joint(**network), IMAGES)
    segmenter, detector = alone(joint, **network)
    logits, raw = joint(IMAGES)
    assert_same(logits, segmenter(IMAGES))
    expected = detector(IMAGES)
    assert_same(raw.class_logits, expected.class_logits)
    assert_same(raw.box_offsets, expected.box_offsets)
    assert torch.equal(joint.default_boxes(SIZE), detector.default_boxes(SIZE))


@pytest.mark.parametrize(("head_at", "stride"), [("c5", 32), ("last_conv", 16)])
def test_the_last_convolution_is_dense_only_where_the_segmentation_head_reads_it(head_at: str, stride: int) -> None:
    joint = small_joint(head_at=head_at)
    assert joint.backbone.feature_info["last_conv"].stride == stride
    assert joint.steps["last_conv"] == 32 // stride


def test_the_backbone_is_counted_once() -> None:
    joint = mbseg.create_joint("mobilenet_v2", image_size=321)
    segmenter, detector = mbseg.create_segmenter("mobilenet_v2"), mbseg.create_detector("mobilenet_v2", num_classes=20)
    costs = [mbseg.profile(model, image_size=(321, 321)) for model in (joint, segmenter, detector)]
    of_body = sum(parameter.numel() for parameter in segmenter.backbone.parameters())
    assert costs[0].params == costs[1].params + costs[2].params - of_body
    assert costs[0].madds < 0.7 * (costs[1].madds + costs[2].madds)
    assert mbseg.profile(joint).image_size == (321, 321)


def test_a_network_made_ready_for_use_says_the_same() -> None:
    joint = calibrated(small_joint(), IMAGES)
    prepared = prepare(joint, backend="fused")
    with torch.inference_mode():
        for one, other in zip(parts(prepared(IMAGES)), parts(joint(IMAGES)), strict=True):
            assert_same(one, other)
        assert {part.dtype for part in parts(prepare(joint, precision="bf16")(IMAGES))} == {torch.float32}


def parts(predictions: tuple[Tensor, tuple[Tensor, Tensor]]) -> list[Tensor]:
    return [predictions[0], *predictions[1]]


def test_the_predictor_gives_masks_of_the_pictures_size_and_the_detectors_boxes() -> None:
    joint = calibrated(small_joint(align_corners=True), IMAGES)
    _, detector = alone(joint, backbone="mobilenet_v2")
    normalize, selection = Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)), Selection(score_threshold=0.3)
    images = torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8)
    sizes = [(65, 300), (200, 31)]
    answers = JointPredictor(joint, normalize, selection)(images, sizes)
    expected = BoxPredictor(detector, normalize, selection)(images, sizes)
    logits = joint(normalize(images)).logits
    for index, (mask, found) in enumerate(answers):
        one = logits[index : index + 1]
        dense = nn.functional.interpolate(one, size=sizes[index], mode="bilinear", align_corners=True)
        assert (mask == dense.argmax(1)[0]).float().mean() > 0.999
        assert len(found.boxes)
        torch.testing.assert_close(found.boxes, expected[index].boxes, rtol=1e-4, atol=1e-2)
    with pytest.raises(DataError, match="2 pictures and 1 sizes"):
        JointPredictor(joint, normalize, selection)(images, sizes[:1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 1}, "of a background and one kind of object it is 2"),
        ({"num_classes": 256}, "num_classes is 256; 1 to 255"),
        ({"head": "ssdlite"}, "no head named 'ssdlite'"),
        ({"maps": "c5"}, "maps is 'c5'; it is a list"),
        ({"maps": ["last_conv", "c4"]}, "the finer ones first"),
        ({"reduced_tail": "detection"}, "True or False here, and the tail of detection"),
        ({"scores": "relu"}, "scores is 'relu'"),
        ({"image_size": 32}, "image_size is 32"),
        ({"output_stride": 4}, "output stride 4 is not possible"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small_joint(**changes)
