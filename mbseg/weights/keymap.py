"""Weights of other libraries under our names: the formats, how they are told apart, and the renaming."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor

from mbseg.errors import WeightsError
from mbseg.weights import from_timm, from_torchvision

State = dict[str, Tensor]
Names = Mapping[str, str]


class Format(NamedTuple):
    """One way in which files name the layers of a backbone."""

    title: str
    mark: str  # a key that only this format has
    names: Callable[[], Names] | None  # module -> our module; None: they are ours
    prefix: str  # of every key of the backbone
    ignored: Names  # first part of other keys -> why they are not wanted


FORMATS = (
    Format("an mbseg backbone", "stem.conv.weight", None, "", {}),
    Format("an mbseg model", "backbone.stem.conv.weight", None, "backbone.", {"head": "the head"}),
    Format("torchvision", "features.0.0.weight", from_torchvision.mobilenet_v2_names, "", from_torchvision.IGNORED),
    Format("timm", "conv_stem.weight", from_timm.mobilenet_v2_names, "", from_timm.IGNORED),
)


def recognize(state: Mapping[str, Tensor], origin: str) -> Format:
    """The format of a state by its keys. Raises WeightsError for none of them."""
    for known in FORMATS:
        if known.mark in state:
            return known
    found = ", ".join(list(state)[:3]) or "no keys at all"
    titles = "; ".join(f"{known.title} ({known.mark})" for known in FORMATS)
    raise WeightsError(f"{origin} holds no backbone that mbseg knows: found {found}; it reads {titles}")


def rename(state: Mapping[str, Tensor], known: Format) -> tuple[State, dict[str, str]]:
    """The backbone's tensors under our names, and the keys left out with the reason; unknown keys stay as they are."""
    names = known.names() if known.names else {}
    ignored = {key: known.ignored[part] for key in state if (part := key.partition(".")[0]) in known.ignored}
    renamed = {}
    for key, tensor in state.items():
        if key not in ignored:
            module, dot, parameter = key.removeprefix(known.prefix).rpartition(".")
            renamed[names.get(module, module) + dot + parameter] = tensor
    return renamed, ignored
