"""torchvision's segmenters on MobileNetV3, imported: the same logits, and a file that needs no config."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import segmentation

import mbseg
from mbseg.errors import ConfigError, WeightsError
from mbseg.importing import import_weights
from tests.helpers import calibrated

NAMES = ["deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"]
SIZES = [(224, 224), (321, 321), (513, 513)]


def theirs_of(name: str, *, num_classes: int = 21) -> nn.Module:
    return getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=num_classes)


def pictures(size: tuple[int, int]) -> Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(7))


def saved(theirs: nn.Module, folder: Path) -> Path:
    torch.save(theirs.state_dict(), folder / "theirs.pth")
    return folder / "theirs.pth"


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_logits_equal_torchvisions(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    images = pictures(size)
    theirs = calibrated(theirs_of(name), images)
    import_weights(f"torchvision:{name}", tmp_path / "ours.safetensors", weights=saved(theirs, tmp_path))
    ours = mbseg.load(tmp_path / "ours.safetensors")
    logits = ours(images[:1])
    upsampled = nn.functional.interpolate(logits, size, mode="bilinear", align_corners=ours.align_corners)
    expected = theirs(images[:1])["out"]
    assert expected.std() > 0.005
    assert (upsampled - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_an_auxiliary_head_is_ignored_with_its_reason(tmp_path: Path) -> None:
    theirs = segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, aux_loss=True)
    result = import_weights(str(saved(theirs, tmp_path)), tmp_path / "ours.safetensors")
    assert {key.partition(".")[0] for key in result["ignored"]} == {"aux_classifier"}
    assert len(result["loaded"]) + len(result["ignored"]) == len(theirs.state_dict())


def test_the_file_carries_classes_preprocessing_and_protocol(tmp_path: Path) -> None:
    import_weights(
        "torchvision:lraspp_mobilenet_v3_large",
        tmp_path / "ours.safetensors",
        weights=saved(theirs_of("lraspp_mobilenet_v3_large"), tmp_path),
    )
    card = mbseg.load(tmp_path / "ours.safetensors").card
    assert card is not None
    assert card.classes[15] == "person"
    assert card.mean == (0.485, 0.456, 0.406)
    assert card.config["model"]["backbone"]["dilation_plan"] == "torchvision"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state.pop("backbone.7.block.1.0.weight"),
            r"1 missing \(backbone.blocks.6.depthwise.conv",
        ),
        (lambda state: state.update({"classifier.more": torch.zeros(1)}), r"1 unexpected \(head.classifier.more\)"),
        (lambda state: state.update({"classifier.cbr.0.weight": torch.zeros(1)}), r"1 of another shape or type"),
    ],
)
def test_a_half_matching_file_is_refused_with_the_list(change, message: str, tmp_path: Path) -> None:
    state = theirs_of("lraspp_mobilenet_v3_large").state_dict()
    change(state)
    torch.save(state, tmp_path / "half.pth")
    with pytest.raises(WeightsError, match=message):
        import_weights(str(tmp_path / "half.pth"), tmp_path / "ours.safetensors")
    assert list(tmp_path.iterdir()) == [tmp_path / "half.pth"]


def test_the_other_segmenter_is_not_the_one_that_was_named(tmp_path: Path) -> None:
    weights = saved(theirs_of("lraspp_mobilenet_v3_large"), tmp_path)
    with pytest.raises(WeightsError, match="is not of torchvision:deeplabv3_mobilenet_v3_large"):
        import_weights("torchvision:deeplabv3_mobilenet_v3_large", tmp_path / "ours.safetensors", weights=weights)


def test_outputs_of_an_unknown_number_need_a_data_set(tmp_path: Path) -> None:
    weights = saved(theirs_of("lraspp_mobilenet_v3_large", num_classes=3), tmp_path)
    with pytest.raises(ConfigError, match=r"has 3 outputs .*data.kind=folder data.root=DIR data.classes="):
        import_weights(str(weights), tmp_path / "ours.safetensors")
    named = ["data.kind=folder", "data.root=pictures", "data.classes=[background, cat, dog]"]
    import_weights(str(weights), tmp_path / "ours.safetensors", named)
    assert mbseg.load(tmp_path / "ours.safetensors").card.classes == ("background", "cat", "dog")
