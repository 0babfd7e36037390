"""Weights of `timm:<name>`: timm fills its own networks, from its host or from a file of the whole model."""

import contextlib
import sys
from pathlib import Path

from mbseg.backbones.base import Backbone
from mbseg.backbones.timm_adapter import TimmBackbone, create_network
from mbseg.errors import WeightsError, first_line
from mbseg.weights.keymap import State, strip
from mbseg.weights.report import KeyReport, load_state
from mbseg.weights.states import read_state

OURS = ("backbone.network.", "network.")


def load_timm(backbone: Backbone, path: Path | None) -> KeyReport:
    """From a file of ours, a file of timm's, or (None) timm's host. Raises WeightsError; nothing is then loaded."""
    assert isinstance(backbone, TimmBackbone)
    state = read_state(path) if path else {}
    if any(key.startswith(OURS) for key in state):
        own, ignored = strip(state)
        return load_state(backbone, own, origin=str(path), ignored=ignored)
    origin = str(path) if path else f"timm:{backbone.plan.name}"
    return load_state(backbone, fetch_features(backbone, path), origin=origin)


def fetch_features(backbone: TimmBackbone, path: Path | None) -> State:
    plan = backbone.plan
    try:
        with contextlib.redirect_stdout(sys.stderr):
            network = create_network(plan.name, plan.output_stride, plan.out_indices, pretrained=True, weights=path)
    except Exception as error:  # timm and its hub have exceptions of their own
        missing = f"no weights of timm:{plan.name} could be downloaded"
        raise WeightsError(
            f"{f'{path} does not fit timm:{plan.name}' if path else missing} ({first_line(error)})"
        ) from error
    return {f"network.{key}": tensor for key, tensor in network.state_dict().items()}
