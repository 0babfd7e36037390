"""Pretrained backbones from files: told apart by their keys, loaded whole or refused."""

import hashlib
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models
from torchvision.models import mobilenet_v2

from mbseg.backbones.base import Backbone
from mbseg.backbones.variant import Variant
from mbseg.create import create_backbone
from mbseg.errors import ConfigError, WeightsError
from mbseg.weights import imagenet
from mbseg.weights.foreign import read_foreign
from mbseg.weights.imagenet import expectations, load_backbone_weights
from mbseg.weights.report import KeyReport

WIDTH = 0.5


def small_backbone(*taps: str) -> Backbone:
    return create_backbone("mobilenet_v2", width_mult=WIDTH, taps=taps or ("c3",))


def load(backbone: Backbone, source: Path | str) -> KeyReport:
    return load_backbone_weights(backbone, str(source), name="mobilenet_v2", width_mult=WIDTH)


def first_convolution(backbone: Backbone) -> Tensor:
    return next(backbone.parameters()).detach().clone()


def save_torchvision(folder: Path) -> Path:
    torch.save(mobilenet_v2(weights=None, width_mult=WIDTH).state_dict(), folder / "theirs.pth")
    return folder / "theirs.pth"


@pytest.mark.parametrize(
    ("theirs", "stem"),
    [
        (lambda: mobilenet_v2(weights=None, width_mult=WIDTH), "features.0.0.weight"),
        (lambda: timm.create_model("mobilenetv2_050", pretrained=False), "conv_stem.weight"),
        (lambda: small_backbone("last_conv"), "stem.conv.weight"),
        (
            lambda: nn.ModuleDict({"backbone": small_backbone("c5"), "head": nn.Linear(1, 1)}),
            "backbone.stem.conv.weight",
        ),
    ],
    ids=["torchvision", "timm", "mbseg backbone", "mbseg model"],
)
def test_every_key_of_every_known_format_is_loaded_or_ignored_with_a_reason(theirs, stem: str, tmp_path: Path) -> None:
    state, backbone = theirs().state_dict(), small_backbone("c3")
    torch.save(state, tmp_path / "theirs.pth")
    report = load(backbone, tmp_path / "theirs.pth")
    assert torch.equal(first_convolution(backbone), state[stem])
    assert set(report.loaded) == set(backbone.state_dict())
    assert len(report.loaded) + len(report.ignored) == len(state)
    assert set(report.ignored.values()) <= {"behind the deepest tap", "ImageNet classes", "the head"}


def test_a_safetensors_file_loads_like_a_pth(tmp_path: Path) -> None:
    state, backbone = mobilenet_v2(weights=None, width_mult=WIDTH).state_dict(), small_backbone()
    save_file(state, tmp_path / "theirs.safetensors")
    load(backbone, tmp_path / "theirs.safetensors")
    assert torch.equal(first_convolution(backbone), state["features.0.0.weight"])


def test_weights_of_another_width_are_refused_and_nothing_is_loaded(tmp_path: Path) -> None:
    torch.save(mobilenet_v2(weights=None, width_mult=0.75).state_dict(), tmp_path / "wide.pth")
    backbone = small_backbone()
    before = first_convolution(backbone)
    with pytest.raises(WeightsError, match=r"wide.pth does not fit the model: .* of another shape"):
        load(backbone, tmp_path / "wide.pth")
    assert torch.equal(first_convolution(backbone), before)


def test_a_file_that_ends_before_the_deepest_tap_is_refused(tmp_path: Path) -> None:
    torch.save(small_backbone("c3").state_dict(), tmp_path / "short.pth")
    with pytest.raises(WeightsError, match=r"\d+ missing \(blocks.6.expand.conv.weight"):
        load(small_backbone("c4"), tmp_path / "short.pth")


def test_an_unknown_key_is_not_passed_over(tmp_path: Path) -> None:
    state = mobilenet_v2(weights=None, width_mult=WIDTH).state_dict() | {"features.3.attention": torch.zeros(1)}
    torch.save(state, tmp_path / "more.pth")
    with pytest.raises(WeightsError, match=r"1 unexpected \(features.3.attention\)"):
        load(small_backbone(), tmp_path / "more.pth")


def test_an_unknown_format_is_told_with_what_was_found_and_what_is_read(tmp_path: Path) -> None:
    torch.save({"layer1.weight": torch.zeros(1)}, tmp_path / "resnet.pth")
    with pytest.raises(WeightsError, match=r"resnet.pth .* found layer1.weight; it reads .*torchvision's V2 .*timm"):
        load(small_backbone(), tmp_path / "resnet.pth")


def test_a_state_beside_a_training_scripts_notes_is_found(tmp_path: Path) -> None:
    state, backbone = mobilenet_v2(weights=None, width_mult=WIDTH).state_dict(), small_backbone()
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "checkpoint.pth")
    load(backbone, tmp_path / "checkpoint.pth")
    assert torch.equal(first_convolution(backbone), state["features.0.0.weight"])


@pytest.mark.parametrize("content", [{"weights": {"a": torch.zeros(1)}, "epoch": 3}, [torch.zeros(1)]])
def test_a_checkpoint_with_more_than_tensors_is_told_what_to_save(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "checkpoint.pth")
    with pytest.raises(WeightsError, match=r"checkpoint.pth holds .*; save the model's state_dict\(\) alone"):
        load(small_backbone(), tmp_path / "checkpoint.pth")


def test_a_file_that_would_run_code_is_not_unpickled(tmp_path: Path) -> None:
    torch.save({"weight": Path("/")}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"evil.pth is no PyTorch weights file, damaged, or holds more than tensors"):
        load(small_backbone(), tmp_path / "evil.pth")


@pytest.mark.parametrize("kept", [0, 100, -100])
def test_a_truncated_file_is_named(kept: int, tmp_path: Path) -> None:
    path = save_torchvision(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WeightsError, match=r"theirs.pth is no PyTorch weights file, damaged"):
        load(small_backbone(), path)


def test_the_checksum_in_a_files_name_is_verified(tmp_path: Path) -> None:
    data = save_torchvision(tmp_path).read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    good, bad = tmp_path / f"good-{sha256[:8]}.pth", tmp_path / "bad-b0353104.pth"
    good.write_bytes(data)
    bad.write_bytes(data)
    load(small_backbone(), good)
    with pytest.raises(WeightsError, match=rf"{bad} is damaged: .* SHA-256 b0353104..., it has {sha256[:8]}..."):
        load(small_backbone(), bad)


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"there is no weights file {tmp_path / name}"):
        load(small_backbone(), tmp_path / name)


def test_a_width_nobody_published_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"only of widths \[0.5, 1.0, 1.4\].*model.backbone.weights=FILE"):
        load_backbone_weights(small_backbone(), "imagenet", name="mobilenet_v2", width_mult=0.35)


def test_a_failed_download_says_how_to_use_a_local_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("Name or service not known\nand more")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    with pytest.raises(WeightsError) as caught:
        load(small_backbone(), "imagenet")
    assert "(Name or service not known); with a local file: model.backbone.weights=FILE" in str(caught.value)


def test_downloads_announce_themselves_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def announce(*_: object, **__: object) -> dict[str, Tensor]:
        print("Downloading")
        return timm.create_model("mobilenetv2_050", pretrained=False).state_dict()

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", announce)
    assert imagenet.fetch_imagenet("mobilenet_v2", WIDTH)[1] == "timm:mobilenetv2_050.lamb_in1k"
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "Downloading\n")


def test_weights_that_saw_other_pictures_say_which_keys_to_set() -> None:
    def said(name: str, padding: str = "symmetric") -> str:
        backbone = create_backbone(name, taps=["c2"], variant=Variant(padding=padding))
        return expectations(backbone, "imagenet", name=name, width_mult=1.0)

    halves = "data.mean=[0.5,0.5,0.5] data.std=[0.5,0.5,0.5]"
    assert said("mobilenet_v2") == ""
    assert said("mobilenet_v1") == halves
    assert said("mobilenet_v3_large_minimal") == f"model.backbone.padding=tensorflow {halves}"
    assert said("mobilenet_v3_large_minimal", "tensorflow") == halves


@pytest.mark.parametrize("name", imagenet.PUBLISHED)
def test_published_weights_are_those_of_a_backbone_that_there_is(name: str) -> None:
    for width_mult, source in imagenet.PUBLISHED[name].items():
        library, _, published = source.partition(":")
        if library == "timm":
            theirs = timm.create_model(published, pretrained=False).state_dict()
        else:
            theirs = models.get_model(published, weights=None).state_dict()
        found = read_foreign(theirs, source).model["backbone"]
        assert (found["name"], found["width_mult"]) == (name, width_mult)


@pytest.mark.parametrize("name", ["resnet101_beta", "timm:mobilenetv4_conv_small_050"])
def test_our_own_files_of_other_backbones_load(name: str, tmp_path: Path) -> None:
    model = nn.ModuleDict({"backbone": create_backbone(name, taps=["c2", "c3"]), "head": nn.Linear(1, 1)})
    torch.save(model.state_dict(), tmp_path / "ours.pth")
    backbone = create_backbone(name, taps=["c3"])
    report = load_backbone_weights(backbone, str(tmp_path / "ours.pth"), name=name, width_mult=1.0)
    assert set(report.ignored.values()) == {"the head"}
    assert torch.equal(first_convolution(backbone), first_convolution(model["backbone"]))


def test_a_file_of_timms_whole_model_fills_its_feature_maps(tmp_path: Path) -> None:
    theirs = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    backbone = create_backbone("timm:tf_efficientnet_lite0", taps=["c2"])
    load_backbone_weights(backbone, str(tmp_path / "theirs.pth"), name="timm:tf_efficientnet_lite0", width_mult=1.0)
    assert torch.equal(first_convolution(backbone), theirs.conv_stem.weight)


def test_a_file_of_another_timm_model_is_refused(tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet10t", pretrained=False).state_dict(), tmp_path / "other.pth")
    backbone = create_backbone("timm:tf_efficientnet_lite0", taps=["c2"])
    with pytest.raises(WeightsError, match=r"other.pth does not fit timm:tf_efficientnet_lite0"):
        load_backbone_weights(backbone, str(tmp_path / "other.pth"), name="timm:tf_efficientnet_lite0", width_mult=1.0)


def test_there_are_no_imagenet_weights_of_the_beta_resnet() -> None:
    backbone = create_backbone("resnet101_beta", taps=["c2"])
    with pytest.raises(ConfigError, match="ImageNet weights of resnet101_beta are published of no width"):
        load_backbone_weights(backbone, "imagenet", name="resnet101_beta", width_mult=1.0)
