"""Pretrained backbones: fetched from the libraries that publish them, or read from a file."""

from collections.abc import Sequence
from pathlib import Path

import torch

from mbseg.backbones.base import Backbone
from mbseg.backbones.mobilenet import MobileNet
from mbseg.backbones.zoo import MOBILENETS, TIMM, known_taps, network_spec, plan_backbone
from mbseg.errors import ConfigError
from mbseg.weights.foreign import IMAGENET_MEAN, IMAGENET_STD, normalization
from mbseg.weights.hubs import fetch
from mbseg.weights.keymap import State, is_tensorflows, recognize, rename, strip
from mbseg.weights.report import KeyReport, load_state
from mbseg.weights.states import read_state
from mbseg.weights.store import BackboneFacts, read_backbone_facts

IMAGENET = "imagenet"
PUBLISHED = {  # backbone -> width -> the library that publishes it, and its name there
    "mobilenet_v1": {1.0: "timm:mobilenetv1_100.ra4_e3600_r224_in1k", 1.25: "timm:mobilenetv1_125.ra4_e3600_r224_in1k"},
    "mobilenet_v2": {
        0.5: "timm:mobilenetv2_050.lamb_in1k",
        1.0: "torchvision:mobilenet_v2",
        1.4: "timm:mobilenetv2_140.ra_in1k",
    },
    "mobilenet_v3_large": {0.75: "timm:tf_mobilenetv3_large_075.in1k", 1.0: "torchvision:mobilenet_v3_large"},
    "mobilenet_v3_small": {
        0.5: "timm:mobilenetv3_small_050.lamb_in1k",
        0.75: "timm:mobilenetv3_small_075.lamb_in1k",
        1.0: "torchvision:mobilenet_v3_small",
    },
    "mobilenet_v3_large_minimal": {1.0: "timm:tf_mobilenetv3_large_minimal_100.in1k"},
    "mobilenet_v3_small_minimal": {1.0: "timm:tf_mobilenetv3_small_minimal_100.in1k"},
}


def load_backbone_weights(
    backbone: Backbone, source: str, *, name: str, width_mult: float, fresh: Sequence[str] = ()
) -> KeyReport:
    """Fills the backbone `name` of width `width_mult` from "imagenet" (downloaded once) or from a file.

    A file may be torchvision's, timm's or mbseg's, a backbone or a whole model. What lies behind the deepest tap is
    left out, keys that start with one of `fresh` stay as initialised, everything else has to fit. Raises ConfigError
    for a width without published weights and WeightsError for a failed download and for a file that is missing,
    damaged, unknown or does not fit; nothing is then loaded.
    """
    if name.startswith(TIMM):
        from mbseg.weights.timm_features import load_timm  # timm takes a second to import

        return load_timm(backbone, None if source == IMAGENET else Path(source))
    if source == IMAGENET:
        state, origin = fetch_imagenet(name, width_mult)
    else:
        state, origin = read_state(Path(source)), source
    renamed, ignored = rename_for(name, state, origin)
    behind = dict.fromkeys(renamed.keys() & unbuilt_keys(backbone, name), "behind the deepest tap")
    wanted = {key: tensor for key, tensor in renamed.items() if key not in behind}
    return load_state(backbone, wanted, origin=origin, fresh=fresh, ignored={**ignored, **behind})


def rename_for(name: str, state: State, origin: str) -> tuple[State, dict[str, str]]:
    """Other libraries' names are known of the MobileNets; of the others, only our own files."""
    return rename(state, recognize(state, origin), network_spec(name)) if name in MOBILENETS else strip(state)


def expectations(backbone: Backbone, source: str, *, name: str, width_mult: float) -> str:
    """The keys to set with these weights where they differ from what is usual; "" where nothing does."""
    facts = published_facts(name, width_mult) if source == IMAGENET else file_facts(Path(source))
    if facts is None:
        return ""
    padding = facts.settings.get("padding", "symmetric")
    has_another = isinstance(backbone, MobileNet) and backbone.padding != padding
    keys = [f"model.backbone.padding={padding}"] if has_another else []
    if (facts.mean, facts.std) != (IMAGENET_MEAN, IMAGENET_STD):
        keys += [f"data.mean={list(facts.mean)}", f"data.std={list(facts.std)}"]
    return " ".join(key.replace(" ", "") for key in keys)


def published_facts(name: str, width_mult: float) -> BackboneFacts | None:
    source = PUBLISHED.get(name, {}).get(width_mult, "")
    mean, std = normalization(name, tensorflows=is_tensorflows(source))
    return BackboneFacts({"padding": "tensorflow"} if is_tensorflows(source) else {}, mean, std)


def file_facts(path: Path) -> BackboneFacts | None:
    return read_backbone_facts(path) if path.suffix == ".safetensors" else None


def unbuilt_keys(backbone: Backbone, name: str) -> set[str]:
    """Keys of the whole network that this backbone, built to its deepest tap, does without."""
    with torch.device("meta"):
        whole = plan_backbone(name, taps=known_taps(name)).build()
    return whole.state_dict().keys() - backbone.state_dict().keys()


def fetch_imagenet(name: str, width_mult: float) -> tuple[State, str]:
    """A published ImageNet state under its library's own names, and where it comes from.

    Raises ConfigError for a width without published weights and WeightsError if the download fails.
    """
    published = PUBLISHED.get(name, {})
    if width_mult not in published:
        widths = f"only of widths {sorted(published)}" if published else "of no width"
        raise ConfigError(
            f"ImageNet weights of {name} are published {widths}, not {width_mult}; give a file as "
            f"model.backbone.weights=FILE, or null to start from scratch"
        )
    source = published[width_mult]
    return fetch(source), source
