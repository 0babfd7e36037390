"""Weights of other libraries under our names: the formats, how they are told apart, and the renaming."""

from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import NamedTuple

from torch import Tensor

from mbseg.backbones.blockspec import NetworkSpec
from mbseg.errors import WeightsError
from mbseg.weights import from_timm, from_torchvision

State = dict[str, Tensor]
Names = Mapping[str, str]
EPSILON = 1e-5  # of batch norm here


class Format(NamedTuple):
    """One way in which files name the layers of a backbone."""

    title: str
    mark: str  # a key that only this format has
    names: Callable[[NetworkSpec], Names] | None  # module -> our module; None: they are ours
    prefix: str  # of every key of the backbone
    ignored: Names  # first part of other keys -> why they are not wanted
    epsilon: float = EPSILON  # of the batch norms it was trained with


def segmenter_names(network: NetworkSpec) -> Names:
    return from_torchvision.backbone_names(network, prefix="")


V3 = from_torchvision.EPSILON_V3
FORMATS = (
    Format("an mbseg backbone", "stem.conv.weight", None, "", {}),
    Format("an mbseg model", "backbone.stem.conv.weight", None, "backbone.", {"head": "the head"}),
    Format(
        "torchvision's V2",
        "features.1.conv.0.0.weight",
        from_torchvision.backbone_names,
        "",
        from_torchvision.CLASSIFIER,
    ),
    Format(
        "torchvision's V3",
        "features.1.block.0.0.weight",
        from_torchvision.backbone_names,
        "",
        from_torchvision.CLASSIFIER,
        V3,
    ),
    Format(
        "torchvision's segmenters on V3",
        "backbone.1.block.0.0.weight",
        segmenter_names,
        "backbone.",
        {"classifier": "the head", **from_torchvision.AUXILIARY},
        V3,
    ),
    Format("timm", "conv_stem.weight", from_timm.backbone_names, "", from_timm.CLASSIFIER),
)


def recognize(state: Mapping[str, Tensor], origin: str) -> Format:
    """The format of a state by its keys. Raises WeightsError for none of them."""
    for known in FORMATS:
        if known.mark in state:
            return tensorflows(known) if is_tensorflows(origin) else known
    found = ", ".join(list(state)[:3]) or "no keys at all"
    titles = "; ".join(f"{known.title} ({known.mark})" for known in FORMATS)
    raise WeightsError(f"{origin} holds no backbone that mbseg knows: found {found}; it reads {titles}")


def is_tensorflows(origin: str) -> bool:
    """timm's tf_ files have the keys of its others, but TensorFlow's epsilon and padding; only the name tells."""
    return PurePath(origin.removeprefix("timm:")).name.startswith("tf_")


def tensorflows(known: Format) -> Format:
    return known._replace(epsilon=from_timm.EPSILON_TENSORFLOW) if known.title == "timm" else known


def rename(state: Mapping[str, Tensor], known: Format, network: NetworkSpec) -> tuple[State, dict[str, str]]:
    """The backbone's tensors under our names, and the keys left out with the reason; unknown keys stay as they are.

    `network` is the MobileNet in question at width 1, of which only the structure matters.
    """
    names = known.names(network) if known.names else {}
    reasons = {**known.ignored, **superfluous(known, names)}
    ignored = {key: reasons[part] for key in state if (part := key.partition(".")[0]) in reasons}
    renamed = {}
    for key, tensor in state.items():
        if key not in ignored:
            module, dot, parameter = key.removeprefix(known.prefix).rpartition(".")
            renamed[names.get(module, module) + dot + parameter] = tensor
    return absorb_epsilon(renamed, known.epsilon), ignored


def superfluous(known: Format, names: Names) -> Names:
    """timm's V1 (its wider form) and V3 have a convolution behind the pooling, where V2's is a map's own."""
    return from_timm.HEAD_BEHIND_THE_POOLING if known.title == "timm" and "conv_head" not in names else {}


def absorb_epsilon(state: Mapping[str, Tensor], epsilon: float) -> State:
    """Batch norm divides by sqrt(variance + epsilon): another epsilon goes into the variance, and nothing changes."""
    difference = epsilon - EPSILON
    return {key: tensor + difference if key.endswith(".running_var") else tensor for key, tensor in state.items()}


def strip(state: Mapping[str, Tensor]) -> tuple[State, dict[str, str]]:
    """The backbone's tensors of our own file, a backbone or a whole model, and the head's keys with the reason."""
    prefix = "backbone." if any(key.startswith("backbone.") for key in state) else ""
    ignored = {key: "the head" for key in state if not key.startswith(prefix)}
    return {key.removeprefix(prefix): tensor for key, tensor in state.items() if key not in ignored}, ignored
