"""What import-weights takes, what it refuses, and what its files are good for."""

import logging
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision.models import mobilenet_v2, segmentation

import mbseg
from mbseg.backbones.zoo import MOBILENETS, known_taps
from mbseg.cli import main
from mbseg.errors import MbsegError
from mbseg.importing import import_weights
from mbseg.weights import hubs
from mbseg.weights.foreign import find_width


def classifier_file(folder: Path) -> Path:
    torch.save(mobilenet_v2(weights=None, width_mult=0.5).state_dict(), folder / "theirs.pth")
    return folder / "theirs.pth"


def segmenter_file(folder: Path) -> Path:
    theirs = segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)
    save_file(theirs.state_dict(), folder / "theirs.safetensors")
    return folder / "theirs.safetensors"


def test_a_classifier_becomes_a_backbone_to_start_from(tmp_path: Path) -> None:
    result = import_weights(str(classifier_file(tmp_path)), tmp_path / "ours.safetensors")
    assert result["kind"] == "backbone"
    assert result["model"]["backbone"] == {"name": "mobilenet_v2", "width_mult": 0.5}
    model = mbseg.create_segmenter("mobilenet_v2", width_mult=0.5, weights=str(tmp_path / "ours.safetensors"))
    theirs = torch.load(tmp_path / "theirs.pth", weights_only=True)
    assert torch.equal(model.backbone.stem.conv.weight, theirs["features.0.0.weight"])


def test_a_segmenter_becomes_a_file_that_loads_with_no_config(tmp_path: Path) -> None:
    result = import_weights(str(segmenter_file(tmp_path)), tmp_path / "ours.safetensors", ["data.root=elsewhere"])
    assert result["kind"] == "model"
    model = mbseg.load(tmp_path / "ours.safetensors")
    assert model.card.config["data"]["root"] == "elsewhere"
    assert model(torch.zeros(1, 3, 65, 65)).shape == (1, 21, 9, 9)


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("theirs.pth", "ours.pth", "the output is .*ours.pth; a weights file of mbseg ends in .safetensors"),
        ("theirs.pth", "theirs.safetensors", "theirs.safetensors exists already; remove it or name another file"),
        ("theirs.pth", "no/ours.safetensors", "there is no folder .*no to write ours.safetensors into"),
        ("theirs.onnx", "ours.safetensors", r"cannot import .*theirs.onnx; give torchvision:NAME, timm:NAME or a file"),
        ("missing.pth", "ours.safetensors", "there is no weights file .*missing.pth"),
        ("missing.tflite", "ours.safetensors", "missing.tflite"),
    ],
)
def test_what_cannot_be_imported_is_refused_in_a_line(source: str, output: str, message: str, tmp_path: Path) -> None:
    classifier_file(tmp_path)
    segmenter_file(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(MbsegError, match=message) as refusal:
        import_weights(str(tmp_path / source), tmp_path / output)
    assert "\n" not in str(refusal.value)
    assert sorted(tmp_path.iterdir()) == before


def test_a_local_file_goes_with_a_librarys_name_only(tmp_path: Path) -> None:
    path = classifier_file(tmp_path)
    with pytest.raises(MbsegError, match="--weights goes with torchvision:NAME or timm:NAME"):
        import_weights(str(path), tmp_path / "ours.safetensors", weights=path)


def test_keys_for_a_backbone_are_refused_as_it_carries_no_config(tmp_path: Path) -> None:
    with pytest.raises(MbsegError, match=r"is a backbone, which carries no config; leave data.kind=voc away"):
        import_weights(str(classifier_file(tmp_path)), tmp_path / "ours.safetensors", ["data.kind=voc"])


def test_our_own_file_needs_no_import(tmp_path: Path) -> None:
    import_weights(str(segmenter_file(tmp_path)), tmp_path / "ours.safetensors")
    with pytest.raises(MbsegError, match=r"ours.safetensors is an mbseg model already; use it as it is"):
        import_weights(str(tmp_path / "ours.safetensors"), tmp_path / "again.safetensors")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("torchvision:mobilenet_v9", "torchvision has no model 'mobilenet_v9'; did you mean mobilenet_v"),
        ("timm:mobilenetv9_100", "timm has no model 'mobilenetv9_100'; the nearest are mobilenetv"),
        ("torchvision:", "torchvision has no model ''"),
    ],
)
def test_a_misspelt_name_is_told_the_nearest(source: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(MbsegError, match=message):
        import_weights(source, tmp_path / "ours.safetensors")


def test_names_of_both_libraries_go_through_one_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    theirs = timm.create_model("mobilenetv3_small_050", pretrained=False).state_dict()
    monkeypatch.setattr(hubs, "fetch_timm", lambda name: theirs if name == "mobilenetv3_small_050" else {})
    result = import_weights("timm:mobilenetv3_small_050", tmp_path / "ours.safetensors")
    assert result["model"]["backbone"] == {"name": "mobilenet_v3_small", "width_mult": 0.5}


def test_the_command_reports_every_key_and_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import-weights", str(classifier_file(tmp_path)), str(tmp_path / "ours.safetensors")]) == 0
    out = capsys.readouterr().out
    assert "loaded   312 tensors" in out
    assert "ignored  2: classifier.1.weight, classifier.1.bias (ImageNet classes)" in out
    assert f"model.backbone.weights={tmp_path / 'ours.safetensors'} model.backbone.name=mobilenet_v2" in out


def test_an_imported_backbone_says_what_it_expects(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    theirs = timm.create_model("tf_mobilenetv3_small_minimal_100", pretrained=False)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    source, ours = "timm:tf_mobilenetv3_small_minimal_100", tmp_path / "ours.safetensors"
    import_weights(source, ours, weights=tmp_path / "theirs.pth")
    logging.getLogger("mbseg").propagate = True
    mbseg.create_backbone("mobilenet_v3_small_minimal", taps=["c2"], weights=str(ours))
    assert "these weights expect model.backbone.padding=tensorflow data.mean=[0.5,0.5,0.5]" in caplog.text


@pytest.mark.parametrize("name", MOBILENETS)
@pytest.mark.parametrize("width_mult", [0.1, 0.15, 0.3, 0.35, 0.8, 0.85, 1.0, 1.15, 1.2])
def test_every_width_of_every_mobilenet_is_told_apart(name: str, width_mult: float) -> None:
    """V3-Small at 0.3 and 0.35, for one, has the same blocks' outputs, and another last convolution."""
    with torch.device("meta"):
        network = mbseg.create_backbone(name, width_mult=width_mult, taps=known_taps(name))
    assert find_width(name, network.state_dict()) == width_mult


def test_a_data_set_of_ones_own_does_not_keep_the_root_of_voc(tmp_path: Path) -> None:
    classes = ", ".join(f"class{index}" for index in range(21))
    keys = ["data.kind=list", "data.root=mine", f"data.classes=[{classes}]"]
    import_weights(str(segmenter_file(tmp_path)), tmp_path / "ours.safetensors", keys)
    assert mbseg.load(tmp_path / "ours.safetensors").card.config["data"]["root"] == "mine"
    with pytest.raises(MbsegError, match=r"data.root"):
        import_weights(str(tmp_path / "theirs.safetensors"), tmp_path / "again.safetensors", [keys[0], keys[2]])


def refusal(state: object, folder: Path, source: str = "") -> str:
    """What import-weights says of a state; nothing may be written."""
    torch.save(state, folder / "theirs.pth")
    with pytest.raises(MbsegError) as caught:
        import_weights(
            source or str(folder / "theirs.pth"),
            folder / "ours.safetensors",
            weights=folder / "theirs.pth" if source else None,
        )
    assert not (folder / "ours.safetensors").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def v2_state() -> dict[str, torch.Tensor]:
    return mobilenet_v2(weights=None, width_mult=0.5).state_dict()


FIRST = "features.0.0.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {FIRST: torch.full((16, 3, 3, 3), torch.nan)},
            "is damaged: backbone.stem.conv.weight holds values that are not",
        ),
        ({5: torch.zeros(1)}, "save the model's state_dict"),
        ({FIRST: torch.tensor(1.0)}, "not the layers of any of"),
        (
            {FIRST: torch.zeros(16, 3, 3, 3).to(torch.float8_e4m3fn)},
            "torch.float8_e4m3fn, which no network of mbseg has",
        ),
        ({FIRST: torch.zeros(1).expand(10**13)}, "save the model's state_dict"),
        ({"features.0.1.running_var": torch.zeros(16, dtype=torch.int64)}, "1 of another shape or type"),
        ({"features.1\x1b[31m" + "a" * 3000: torch.zeros(1)}, "not the layers of any of"),
    ],
)
def test_odd_states_are_refused_in_one_short_line(
    change: dict[object, torch.Tensor], message: str, tmp_path: Path
) -> None:
    said = refusal({**v2_state(), **change}, tmp_path)
    assert message in said
    assert len(said) < 600


def test_a_file_of_another_network_than_the_one_named_is_refused(tmp_path: Path) -> None:
    assert "is not of torchvision:mobilenet_v3_large" in refusal(v2_state(), tmp_path, "torchvision:mobilenet_v3_large")
    assert "timm has no model 'nonsense'" in refusal(v2_state(), tmp_path, "timm:nonsense")


def test_only_timms_files_are_tensorflows_by_their_name(tmp_path: Path) -> None:
    torch.save(v2_state(), tmp_path / "tf_mine.pth")
    result = import_weights(str(tmp_path / "tf_mine.pth"), tmp_path / "ours.safetensors")
    assert "padding" not in result["model"]["backbone"]
    assert result["mean"] == [0.485, 0.456, 0.406]


def test_a_prefix_of_data_parallel_is_taken_off(tmp_path: Path) -> None:
    state = {"model": {"state_dict": {f"module.{key}": tensor for key, tensor in v2_state().items()}}}
    torch.save(state, tmp_path / "theirs.pth")
    assert import_weights(str(tmp_path / "theirs.pth"), tmp_path / "ours.safetensors")["kind"] == "backbone"
