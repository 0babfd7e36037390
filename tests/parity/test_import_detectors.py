"""Detectors and TensorFlow's graphs, imported: the networks they were, in files that need no config."""

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import ssdlite320_mobilenet_v3_large

import mbseg
from mbseg.backbones.variant import Variant
from mbseg.boxes.default_boxes import BoxShape
from mbseg.data.description import load_description
from mbseg.errors import MbsegError
from mbseg.evaluation import evaluate
from mbseg.importing import import_weights
from mbseg.models.detection import DetectionModel
from mbseg.models.segmentation import SegmentationModel
from mbseg.weights.from_graphdef import read_graphdef
from mbseg.weights.imported import Imported
from tests.graphdef_writer import Writer, write_deeplab, write_detector, write_shapes
from tests.helpers import assert_same_features, calibrated

TENSORFLOW = Variant(padding="tensorflow")
COCO_SSDLITE = "torchvision:ssdlite320_mobilenet_v3_large"


def lively(model: nn.Module) -> nn.Module:
    """With batch norms of which no two parameters are alike."""
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None and part.running_var is not None
            for values in (part.weight.data, part.running_var):
                values.uniform_(0.5, 2)
            for values in (part.bias.data, part.running_mean):
                values.normal_()
    return model


def deeplab(aspp: str = "none", stride: int = 16, *, at: str = "c5", width_mult: float = 1.0) -> SegmentationModel:
    return lively(
        mbseg.create_segmenter(
            "mobilenet_v2",
            aspp=aspp,
            head_at=at,
            output_stride=stride,
            width_mult=width_mult,
            head_channels=16,
            num_classes=5,
            align_corners=True,
            variant=TENSORFLOW,
        )
    )  # type: ignore[return-value]


@cache
def detector(scores: str = "sigmoid", width_mult: float = 1.0, *, reduced_tail: bool = False) -> DetectionModel:
    torch.manual_seed(3)
    return lively(
        mbseg.create_detector(
            "mobilenet_v2",
            image_size=(200, 300),
            num_classes=2,
            width_mult=width_mult,
            reduced_tail=reduced_tail,
            scores=scores,
            variant=TENSORFLOW,
        )
    )  # type: ignore[return-value]


def assert_same_state(imported: Imported, model: nn.Module) -> None:
    expected = {key: value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    assert imported.state.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(imported.state[key], value, rtol=0, atol=1e-6 if "running_var" in key else 0)


@pytest.mark.parametrize(
    ("aspp", "stride", "at", "writer"),
    [
        ("none", 16, "c5", Writer()),
        ("dense", 8, "c5", Writer()),
        ("separable", 16, "c5", Writer(dilation_as_option=True)),
        ("none", 8, "last_conv", Writer(norm="FusedBatchNormV3", read=False)),
        ("dense", 32, "c5", Writer(norm="FusedBatchNormV2")),
    ],
)
def test_a_deeplab_written_as_a_graph_is_read_back(
    aspp: str, stride: int, at: str, writer: Writer, tmp_path: Path
) -> None:
    model = deeplab(aspp, stride, at=at, width_mult=0.5)
    writer.nodes.clear()
    imported = read_graphdef(write_deeplab(writer, model).save(tmp_path / "x.pb"))
    assert imported.model == {
        "backbone": {"name": "mobilenet_v2", "width_mult": 0.5, "padding": "tensorflow"},
        "output_stride": stride,
        "align_corners": True,
        "head": {"kind": "deeplabv3", "aspp": aspp, "at": at, "channels": 16},
    }
    assert (imported.task, imported.num_classes, imported.mean, imported.std) == (
        *("segmentation", 5),
        *((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    )
    assert_same_state(imported, model)


@pytest.mark.parametrize("pooling_first", [True, False])
def test_the_pooled_map_may_stand_on_either_side(pooling_first: bool, tmp_path: Path) -> None:
    model = deeplab()
    path = write_deeplab(Writer(), model, pooling_first=pooling_first).save(tmp_path / "x.pb")
    assert_same_state(read_graphdef(path), model)


def test_rates_that_do_not_follow_from_the_stride_are_kept(tmp_path: Path) -> None:
    model = lively(
        mbseg.create_segmenter("mobilenet_v2", aspp="dense", head_channels=16, rates=(3, 5, 7), variant=TENSORFLOW)
    )
    path = write_deeplab(Writer(), model).save(tmp_path / "x.pb")  # type: ignore[arg-type]
    imported = read_graphdef(path)
    assert imported.model["head"]["rates"] == [3, 5, 7]
    assert imported.evaluate == {"pad_to": [513, 513], "pad_value": 127.5}
    assert import_weights(str(path), tmp_path / "ours.safetensors")["kind"] == "model"


def test_batch_norm_folded_into_a_bias_becomes_the_identity(tmp_path: Path) -> None:
    model = deeplab()
    imported = read_graphdef(write_deeplab(Writer(fold=True), model).save(tmp_path / "x.pb"))
    expected = model.state_dict()["backbone.blocks.3.project.norm.bias"]
    torch.testing.assert_close(imported.state["backbone.blocks.3.project.norm.bias"], expected)
    norm = model.backbone.blocks[3].project.norm
    norm.load_state_dict(
        {
            key: imported.state.get(f"backbone.blocks.3.project.norm.{key}", value)
            for key, value in norm.state_dict().items()
        }
    )
    x = torch.randn(1, len(expected), 3, 3)
    torch.testing.assert_close(norm.eval()(x), x + expected[:, None, None])


def test_a_classifier_written_as_a_graph_becomes_a_backbone(tmp_path: Path) -> None:
    backbone = lively(mbseg.create_backbone("mobilenet_v2", taps=["c5", "last_conv"], width_mult=0.35))
    writer = Writer()
    x = writer.body("MobilenetV2/", backbone, writer.picture())["last_conv"]
    classes = nn.Conv2d(1280, 1001, 1)
    writer.classifier(
        "MobilenetV2/Logits/Conv2d_1c_1x1", classes, writer.node("MobilenetV2/Logits/AvgPool", "AvgPool", [x])
    )
    path = writer.save(tmp_path / "x.pb")
    assert torch.equal(read_graphdef(path).classifier["weight"], classes.weight)
    assert import_weights(str(path), tmp_path / "ours.safetensors")["kind"] == "backbone"
    ours = mbseg.create_backbone(
        "mobilenet_v2",
        taps=["last_conv"],
        width_mult=0.35,
        variant=TENSORFLOW,
        weights=str(tmp_path / "ours.safetensors"),
    )
    images = torch.randn(1, 3, 65, 65)
    assert_same_features(ours.eval()(images)["last_conv"], backbone.eval()(images)["last_conv"])


@pytest.mark.parametrize(
    ("scores", "width_mult", "reduced_tail"),
    [("sigmoid", 1.0, False), ("softmax", 0.35, False), ("sigmoid", 1.0, True)],
)
def test_an_ssdlite_written_as_a_graph_is_read_back(
    scores: str, width_mult: float, reduced_tail: bool, tmp_path: Path
) -> None:
    model = detector(scores, width_mult, reduced_tail=reduced_tail)
    imported = read_graphdef(write_detector(Writer(), model, iou_threshold=0.45).save(tmp_path / "x.pb"))
    backbone = {"name": "mobilenet_v2", "width_mult": width_mult, "padding": "tensorflow"}
    assert imported.model == {
        "backbone": backbone | ({"reduced_tail": True} if reduced_tail else {}),
        "image_size": [200, 300],
        "head": {"kind": "ssdlite", "maps": ["c4_expansion", "last_conv"], "scores": scores},
    }
    assert (imported.task, imported.num_classes) == ("detection", 3)
    assert imported.evaluate == {"selection": {"iou_threshold": 0.45}}
    assert_same_state(imported, model)


def test_other_default_boxes_are_refused(tmp_path: Path) -> None:
    writer = write_detector(Writer(), detector())
    write_shapes(writer, "MultipleGridAnchorGenerator/0", [BoxShape(0.1, 1), BoxShape(0.2, 3), BoxShape(0.2, 1 / 2)])
    with pytest.raises(MbsegError, match=r"on map 0 its default boxes have .* 0.1 \(1\), 0.2 \(3\), 0.2 \(0.5\)"):
        read_graphdef(writer.save(tmp_path / "x.pb"))


@pytest.mark.parametrize("place", [0, 2])
def test_another_box_coder_is_refused(place: int, tmp_path: Path) -> None:
    writer = write_detector(Writer(), detector())
    unpacked = writer.node("Postprocessor/Decode/unstack", "Unpack", ["boxes"])
    divisor = writer.constant("Postprocessor/Decode/truediv/y", 7.0)
    writer.node("Postprocessor/Decode/truediv", "RealDiv", [f"{unpacked}:{place}", divisor])
    with pytest.raises(MbsegError, match=f"divides by 7; {10 if place == 0 else 5} is read"):
        read_graphdef(writer.save(tmp_path / "x.pb"))


def test_a_detector_of_ones_own_classes_is_told_what_to_give(tmp_path: Path) -> None:
    path, ours = write_detector(Writer(), detector()).save(tmp_path / "x.pb"), tmp_path / "ours.safetensors"
    with pytest.raises(MbsegError) as refusal:
        import_weights(str(path), ours)
    keys = "data.kind=coco_json data.root=DIR data.val=val data.classes=[first, second, ...]"
    assert str(refusal.value).endswith(
        f"has 3 outputs, one of them for the background (21: voc, 81: coco, 91: coco); say what they are: {keys}"
    )
    with pytest.raises(MbsegError, match="3 outputs, one of them for the background, coco has 80 classes; name"):
        import_weights(str(path), ours, ["data.kind=coco", "data.root=x"])
    import_weights(str(path), ours, ["data.kind=coco_json", "data.root=x", "data.val=val", "data.classes=[cat, dog]"])
    model = mbseg.load(ours)
    assert model.card is not None
    assert (model.card.classes, model.card.config["task"]) == (("cat", "dog"), "detection")
    assert model.card.config["evaluate"]["selection"]["iou_threshold"] == 0.6


class Raw(nn.Module):
    """torchvision's network without what stands before and behind it."""

    def __init__(self, ssd: nn.Module) -> None:
        super().__init__()
        self.ssd = ssd

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.ssd.head(list(self.ssd.backbone(images).values()))  # type: ignore[operator]


@pytest.mark.parametrize("outputs", [81, 91])
@torch.no_grad()
def test_torchvisions_ssdlite_is_imported_by_its_names(outputs: int, tmp_path: Path) -> None:
    images = torch.randn(2, 3, 320, 320)
    ssd = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=outputs)
    theirs = calibrated(Raw(ssd), images)
    torch.save(ssd.state_dict(), tmp_path / "theirs.pth")
    result = import_weights(COCO_SSDLITE, tmp_path / "ours.safetensors", weights=tmp_path / "theirs.pth")
    assert len(result["loaded"]) == len(ssd.state_dict())
    ours = mbseg.load(tmp_path / "ours.safetensors")
    raw, expected = ours(images), theirs(images)
    assert_same_features(raw.class_logits, expected["cls_logits"], tolerance=1e-4)
    assert_same_features(raw.box_offsets, expected["bbox_regression"], tolerance=1e-4)
    assert ours.card is not None
    description = load_description("coco")
    assert ours.card.classes == (description.categories if outputs == 91 else description.classes)
    assert (ours.card.mean, ours.card.config["data"]["val"]) == ((0.5, 0.5, 0.5), "val2017")


def test_a_full_tail_is_told_by_its_shapes(tmp_path: Path) -> None:
    theirs = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None).state_dict()
    ours = mbseg.create_detector("mobilenet_v3_large", num_classes=90, box_plan="torchvision").state_dict()
    whole = dict(zip(theirs, ours.values(), strict=True))
    torch.save(whole, tmp_path / "theirs.pth")
    keys = ["data.kind=coco", "data.root=mine"]
    result = import_weights(str(tmp_path / "theirs.pth"), tmp_path / "ours.safetensors", keys)
    assert result["model"]["backbone"]["reduced_tail"] is False
    card = mbseg.load(tmp_path / "ours.safetensors").card
    assert card is not None
    assert (len(card.classes), card.config["data"]["root"]) == (90, "mine")


def test_cocos_own_ids_name_the_outputs() -> None:
    names = load_description("coco").categories
    assert len(names) == 90
    assert (names[0], names[11], names[12], names[89]) == ("person", "unused 12", "stop sign", "toothbrush")


def test_the_person_detector_finds_people(shared_data: Path, tmp_path: Path) -> None:
    """92.2 was measured in OpenVINO over all 120 pictures; these are the 30 of val."""
    ours = tmp_path / "person.safetensors"
    keys = ["data.kind=coco_json", f"data.root={shared_data / 'pennfudan'}", "data.classes=[person]"]
    import_weights(str(shared_data / "weights" / "ssdlite_mobilenet_v2_person_300.pb"), ours, keys)
    model = mbseg.load(ours)
    assert len(model.default_boxes((300, 300))) == 1917
    scores = evaluate(str(ours), ["data.workers=0"], weights=None, run=tmp_path)
    assert scores["images"] == 30
    assert scores["ap50"] > 0.9
