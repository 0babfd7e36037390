"""The one place that downloads weights: from the libraries that publish them."""

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from mbseg.errors import ConfigError, WeightsError, first_line
from mbseg.naming import hint
from mbseg.weights.keymap import State


def fetch(source: str) -> State:
    """The state of "torchvision:NAME" or "timm:NAME" under the library's own names.

    The libraries keep what they fetched, so a second call needs no network. Raises WeightsError for a failed download
    and for a name that the library does not have.
    """
    check_known(source)
    library, _, name = source.partition(":")
    download = {"torchvision": fetch_torchvision, "timm": fetch_timm}[library]
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torch.hub announces downloads on stdout, which is for results
            return download(name)
    except WeightsError:
        raise
    except Exception as error:  # every hub has exceptions of its own
        raise WeightsError(
            f"weights {source} could not be downloaded ({first_line(error)}); with a local file: "
            f"model.backbone.weights=FILE in a config, --weights FILE of import-weights"
        ) from error


def check_known(source: str) -> None:
    """Before a minute of retries: a misspelt name is no matter of the network. Raises ConfigError."""
    library, _, name = source.partition(":")
    if library == "timm":
        from mbseg.backbones import timm_adapter

        timm_adapter.check_name(name)
        return
    from torchvision.models import list_models

    if name not in list_models():
        raise ConfigError(f"torchvision has no model {name!r}; {hint(name, ['mobilenet_v2', *list_models()])}")


def check_is(state: Mapping[str, Tensor], source: str, path: Path) -> None:
    """Raises WeightsError for a file that is not of the network `source`; its number of classes may be another."""
    library, _, name = source.partition(":")
    with torch.device("meta"):
        theirs = build_timm(name) if library == "timm" else build_torchvision(name)
    wanted = shapes_of(theirs.state_dict())
    differing = sorted(wanted.items() ^ shapes_of(state).items())
    if differing:
        raise WeightsError(
            f"{path} is not of {source}: {differing[0][0][:80]} is missing, another, or of another shape"
        )


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Of heads the names alone, as shapes depend on the number of classes; without what some files lack."""
    return {
        key: () if key.startswith(("classifier", "head.classification_head")) else tuple(tensor.shape)
        for key, tensor in state.items()
        if not key.startswith("aux_classifier") and not key.endswith(".num_batches_tracked")
    }


def build_timm(name: str) -> nn.Module:
    import timm

    network: nn.Module = timm.create_model(name, pretrained=False)
    return network


def build_torchvision(name: str) -> nn.Module:
    from torchvision.models import get_model

    network: nn.Module = get_model(name, weights=None, **({"weights_backbone": None} if "_mobilenet_" in name else {}))
    return network


def fetch_torchvision(name: str) -> State:
    """The weights that torchvision marks as the default, but V2's first, whose figures everyone quotes."""
    from torchvision.models import MobileNet_V2_Weights, get_model_weights

    weights = MobileNet_V2_Weights.IMAGENET1K_V1 if name == "mobilenet_v2" else get_model_weights(name).DEFAULT
    return dict(weights.get_state_dict(progress=True, check_hash=True))


def fetch_timm(name: str) -> State:
    """From the direct address where there is one: without a network, timm's own host retries for a minute."""
    import timm

    published = timm.get_pretrained_cfg(name)
    if published is None:
        raise WeightsError(f"timm has no weights {name}")
    if published.url:
        url = str(published.url)
        return dict(torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True))
    from timm.models import load_state_dict_from_hf

    return dict(load_state_dict_from_hf(published.hf_hub_id, weights_only=True))
