"""Names made of contents: what changes them, and what does not."""

import hashlib
from pathlib import Path

import pytest

from mbseg.config.load import load_experiment
from mbseg.errors import WeightsError
from mbseg.tradeoff import addresses
from mbseg.tradeoff.addresses import digest_of, score_address, training_address

CONFIG = "camvid/deeplabv3_mobilenet_v2_os16_none"
DETECTOR = "coco/ssdlite_mobilenet_v2"


def trained(*overrides: str, config: str = CONFIG) -> str:
    return training_address(load_experiment(config, overrides))


def scored(*overrides: str, training: str = "one") -> str:
    return score_address(training, load_experiment(CONFIG, overrides))


@pytest.mark.parametrize(
    "override",
    [
        "device=cpu",
        "threads=1",
        "data.workers=3",
        "data.root=elsewhere",
        "train.log_every=7",
        "train.samples=0",
        "train.checkpoint_every=9",
        "evaluate.flip=true",
        "model.output_stride=16",
    ],
)
def test_what_changes_no_weights_changes_no_address(override: str) -> None:
    assert trained(override) == trained()


@pytest.mark.parametrize(
    "override",
    [
        "train.seed=1",
        "train.steps=10",
        "train.evaluate_every=77",
        "train.precision=fp32",
        "model.output_stride=8",
        "model.backbone.weights=null",
        "data.crop_size=[257, 257]",
        "data.kind=voc",
    ],
)
def test_what_changes_the_weights_changes_the_address(override: str) -> None:
    assert trained(override) != trained()


@pytest.mark.parametrize("override", ["evaluate.flip=true", "model.output_stride=8", "data.val=test"])
def test_one_training_has_a_score_for_every_way_to_look(override: str) -> None:
    assert scored(override) != scored()


def test_scores_belong_to_weights_not_to_how_they_were_started() -> None:
    assert scored("model.backbone.weights=null", "train.steps=3", "data.root=elsewhere") == scored()
    assert scored(training="another") != scored()


def test_the_place_tells_data_sets_of_ones_own_apart() -> None:
    own = ("data.kind=list", "data.classes=[a, b]")
    assert trained(*own, "data.root=here") != trained(*own, "data.root=there")


def test_weights_are_known_by_their_contents(tmp_path: Path) -> None:
    first, copy, other = (tmp_path / name for name in ("first.pth", "copy.pth", "other.pth"))
    for path, contents in ((first, b"same"), (copy, b"same"), (other, b"other")):
        path.write_bytes(contents)
    one, same, another = (trained(f"model.backbone.weights={path}") for path in (first, copy, other))
    assert one == same != another


def test_imagenet_and_torchvisions_own_file_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "downloaded.pth"
    path.write_bytes(b"torchvision's")
    monkeypatch.setattr(addresses, "TORCHVISION_V2_SHA256", hashlib.sha256(b"torchvision's").hexdigest()[:8])
    assert trained(f"model.backbone.weights={path}") == trained("model.backbone.weights=imagenet")


def test_torchvisions_file_name_is_the_checksum_that_we_know(shared_data: Path) -> None:
    path = shared_data / "weights/mobilenet_v2-b0353104.pth"
    assert digest_of(path).startswith(addresses.TORCHVISION_V2_SHA256)


def test_weights_that_are_not_there_are_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot read .*gone\.pth"):
        trained(f"model.backbone.weights={tmp_path / 'gone.pth'}")


def test_a_detectors_classes_may_be_named_or_left_to_its_data() -> None:
    named = load_experiment(DETECTOR).data.classes
    assert named is None
    from mbseg.build_common import labels

    classes = ", ".join(repr(name) for name in labels(load_experiment(DETECTOR)).classes)
    assert trained(f"data.classes=[{classes}]", config=DETECTOR) == trained(config=DETECTOR)
