"""Weights of other libraries under our names: the formats, how they are told apart, and the renaming."""

from collections.abc import Callable, Mapping
from pathlib import PurePath
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor

from mbseg.backbones.blockspec import NetworkSpec
from mbseg.errors import WeightsError
from mbseg.nn.conv import NORM_EPSILON
from mbseg.weights import from_timm, from_torchvision
from mbseg.weights.report import short

State = dict[str, Tensor]
Names = Mapping[str, str]


class Format(NamedTuple):
    """One way in which files name the layers of a backbone."""

    title: str
    mark: str  # a key that only this format has
    names: Callable[[NetworkSpec], Names] | None = None  # module -> our module; None: they are ours
    prefix: str = ""  # of every key of the backbone
    ignored: Names = MappingProxyType({})  # first part of other keys -> why they are not wanted
    epsilon: float = NORM_EPSILON  # of the batch norms it was trained with
    ignored_unless_named: Names = MappingProxyType({})  # the same of parts that only some networks have a place for
    is_tensorflows: bool = False  # taken over from there: padding, inputs in [-1, 1]


TIMM = Format(
    "timm",
    "conv_stem.weight",
    from_timm.backbone_names,
    ignored=from_timm.CLASSIFIER,
    ignored_unless_named=from_timm.BEHIND_THE_POOLING,
)
V3_EPSILON = from_torchvision.EPSILON_V3
FORMATS = (
    Format("an mbseg backbone", "stem.conv.weight"),
    Format(
        "an mbseg model",
        "backbone.stem.conv.weight",
        prefix="backbone.",
        ignored={"head": "the head", "extras": "the extra layers"},
    ),
    Format(
        "torchvision's V2",
        "features.1.conv.0.0.weight",
        from_torchvision.v2_names,
        ignored=from_torchvision.CLASSIFIER,
    ),
    Format(
        "torchvision's V3",
        "features.1.block.0.0.weight",
        from_torchvision.v3_names,
        ignored=from_torchvision.CLASSIFIER,
        epsilon=V3_EPSILON,
    ),
    Format(
        "torchvision's segmenters on V3",
        "backbone.1.block.0.0.weight",
        from_torchvision.segmenter_names,
        prefix="backbone.",
        ignored={"classifier": "the head", **from_torchvision.AUXILIARY},
        epsilon=V3_EPSILON,
    ),
    TIMM,
)


def recognize(state: Mapping[str, Tensor], origin: str) -> Format:
    """The format of a state by its keys. Raises WeightsError for none of them.

    timm's tf_ files have the keys of its others, but TensorFlow's epsilon.
    """
    for known in FORMATS:
        if known.mark in state:
            is_tensorflows_timm = known is TIMM and is_tensorflows(origin)
            tensorflows = known._replace(epsilon=from_timm.EPSILON_TENSORFLOW, is_tensorflows=True)
            return tensorflows if is_tensorflows_timm else known
    found = ", ".join(short(key) for key in list(state)[:3]) or "no keys at all"
    titles = "; ".join(f"{known.title} ({known.mark})" for known in FORMATS)
    raise WeightsError(f"{origin} holds no backbone that mbseg knows: found {found}; it reads {titles}")


def is_tensorflows(origin: str) -> bool:
    """Whether timm took them over from TensorFlow (epsilon, padding, inputs in [-1, 1]); only the name tells."""
    return PurePath(origin.rpartition("timm:")[2]).name.startswith("tf_")


def rename(state: Mapping[str, Tensor], known: Format, network: NetworkSpec) -> tuple[State, dict[str, str]]:
    """The backbone's tensors under our names, and the keys left out with the reason; unknown keys stay as they are.

    `network` is the MobileNet in question at width 1, of which only the structure matters.
    """
    names = known.names(network) if known.names else {}
    unnamed = {part: why for part, why in known.ignored_unless_named.items() if part not in names}
    reasons = {**known.ignored, **unnamed}
    ignored = {key: reasons[part] for key in state if (part := key.partition(".")[0]) in reasons}
    renamed = {}
    for key, tensor in state.items():
        if key not in ignored:
            module, dot, parameter = key.removeprefix(known.prefix).rpartition(".")
            renamed[names.get(module, module) + dot + parameter] = tensor
    return absorb_epsilon(renamed, known.epsilon), ignored


def absorb_epsilon(state: Mapping[str, Tensor], epsilon: float) -> State:
    """Batch norm divides by sqrt(variance + epsilon): another epsilon goes into the variance, and nothing changes."""
    difference = epsilon - NORM_EPSILON
    return {
        key: tensor + difference if key.endswith(".running_var") and tensor.is_floating_point() else tensor
        for key, tensor in state.items()
    }


def strip(state: Mapping[str, Tensor]) -> tuple[State, dict[str, str]]:
    """The backbone's tensors of our own file, a backbone or a whole model, and the head's keys with the reason."""
    prefix = "backbone." if any(key.startswith("backbone.") for key in state) else ""
    ignored = {key: "the head" for key in state if not key.startswith(prefix)}
    return {key.removeprefix(prefix): tensor for key, tensor in state.items() if key not in ignored}, ignored
