"""Pretrained backbones: fetched from the libraries that publish them, or read from a file."""

import contextlib
import hashlib
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from mbseg.backbones.base import Backbone
from mbseg.backbones.dilation import LAST_CONV
from mbseg.backbones.zoo import build_backbone
from mbseg.errors import ConfigError, WeightsError
from mbseg.weights.keymap import State, recognize, rename
from mbseg.weights.report import KeyReport, load_state
from mbseg.weights.store import read_weights

IMAGENET = "imagenet"


def load_backbone_weights(backbone: Backbone, source: str, *, name: str, width_mult: float) -> KeyReport:
    """Fills the backbone `name` of width `width_mult` from "imagenet" (downloaded once) or from a file.

    A file may be torchvision's, timm's or mbseg's, a backbone or a whole model. What lies behind the deepest tap is
    left out, everything else has to fit. Raises ConfigError for a width without published weights and WeightsError
    for a failed download and for a file that is missing, damaged, unknown or does not fit; nothing is then loaded.
    """
    if source == IMAGENET:
        state, origin = fetch_imagenet(name, width_mult)
    else:
        state, origin = read_state(Path(source)), source
    renamed, ignored = rename(state, recognize(state, origin))
    behind = dict.fromkeys(renamed.keys() & unbuilt_keys(backbone, name), "behind the deepest tap")
    wanted = {key: tensor for key, tensor in renamed.items() if key not in behind}
    return load_state(backbone, wanted, origin=origin, ignored={**ignored, **behind})


def unbuilt_keys(backbone: Backbone, name: str) -> set[str]:
    """Keys of the whole network that this backbone, built to its deepest tap, does without."""
    with torch.device("meta"):
        whole = build_backbone(name, taps=[LAST_CONV])
    return whole.state_dict().keys() - backbone.state_dict().keys()


def fetch_imagenet(name: str, width_mult: float) -> tuple[State, str]:
    """A published ImageNet state under its library's own names, and where it comes from.

    The libraries keep what they fetched, so a second call needs no network. Raises ConfigError for a width without
    published weights and WeightsError if the download fails.
    """
    published = PUBLISHED.get(name, {})
    if width_mult not in published:
        raise ConfigError(
            f"no ImageNet weights are published for {name} of width {width_mult}, only for {sorted(published)}; "
            f"choose one of these, give a file as model.backbone.weights=FILE, or null to start from scratch"
        )
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torch.hub announces downloads on stdout, which is for results
            return published[width_mult]()
    except Exception as error:  # every hub has exceptions of its own
        raise WeightsError(
            f"ImageNet weights for {name} of width {width_mult} could not be downloaded "
            f"({first_line(error)}); with a local file: model.backbone.weights=FILE"
        ) from error


def fetch_torchvision_v2() -> tuple[State, str]:
    from torchvision.models import MobileNet_V2_Weights

    weights = MobileNet_V2_Weights.IMAGENET1K_V1
    return dict(weights.get_state_dict(progress=True, check_hash=True)), f"torchvision:{weights}"


def fetch_timm(tag: str) -> tuple[State, str]:
    import timm

    published = timm.get_pretrained_cfg(tag)
    assert published is not None
    url = str(published.url)  # where there is no network, timm's other host retries for a minute
    state = torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
    return state, f"timm:{tag}"


PUBLISHED: dict[str, dict[float, Callable[[], tuple[State, str]]]] = {
    "mobilenet_v2": {
        0.5: lambda: fetch_timm("mobilenetv2_050.lamb_in1k"),
        1.0: fetch_torchvision_v2,
        1.4: lambda: fetch_timm("mobilenetv2_140.ra_in1k"),
    },
}


def read_state(path: Path) -> State:
    """The tensors of a .safetensors file or of one that torch.save wrote. Raises WeightsError."""
    if path.suffix == ".safetensors":
        return read_weights(path)[0]
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}")
    check_promised_hash(path)
    return read_torch_file(path)


def read_torch_file(path: Path) -> State:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever it stumbles over
        raise WeightsError(f"{path} is no PyTorch weights file, damaged, or holds more than tensors") from error
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path} holds {summary(content)}; save the model's state_dict() alone, names to tensors")
    return dict(content)


def check_promised_hash(path: Path) -> None:
    """PyTorch's hubs end a file's stem with the first digits of its SHA-256: mobilenet_v2-b0353104.pth."""
    promise = re.search(r"-([0-9a-f]{8,64})$", path.stem)
    if promise is None:
        return
    sha256 = sha256_of(path)
    if not sha256.startswith(promise[1]):
        raise WeightsError(
            f"{path} is damaged: its name promises SHA-256 {promise[1]}..., it has {sha256[:8]}... "
            f"(rename the file if these digits are no checksum)"
        )


def sha256_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error


def summary(content: object) -> str:
    if isinstance(content, Mapping):
        return f"the keys {sorted(map(str, content))[:3]}"
    return f"a {type(content).__name__}"


def first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
