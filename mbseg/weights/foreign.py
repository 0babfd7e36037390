"""PyTorch weights of other libraries as whole networks: which network it is, and its tensors under our names."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mbseg.backbones.zoo import MOBILENETS, known_taps, network_spec, plan_backbone
from mbseg.boxes.default_boxes import box_shapes
from mbseg.errors import WeightsError
from mbseg.weights import from_torchvision
from mbseg.weights.imported import Imported
from mbseg.weights.keymap import State, absorb_epsilon, recognize, rename

WIDTHS = (1.0, *(percent / 100 for percent in range(10, 205, 5) if percent != 100))  # the plain one first
Triple = tuple[float, float, float]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)  # inputs in [-1, 1]
LRASPP = "classifier.cbr.0.weight"
DEEPLABV3 = "classifier.0.convs.0.0.weight"
SSDLITE = "backbone.features.1.0.1.0.weight"


def read_foreign(state: Mapping[str, Tensor], origin: str) -> Imported:
    """torchvision's segmenters and SSDLite on MobileNetV3; of MobileNet classifiers, its or timm's, the backbone.

    `origin` names the file, or "timm:NAME". Raises WeightsError for a state that is none of these.
    """
    if LRASPP in state:
        return read_segmenter(state, origin, from_torchvision.lraspp_names(), LRASPP_MODEL, "high_classifier")
    if DEEPLABV3 in state:
        return read_segmenter(state, origin, from_torchvision.deeplabv3_names(), DEEPLABV3_MODEL, "4")
    if SSDLITE in state:
        return read_ssdlite(state, origin)
    return read_classifier(state, origin)


LRASPP_MODEL = {
    "backbone": {"name": "mobilenet_v3_large", "dilation_plan": "torchvision"},
    "output_stride": 16,
    "head": {"kind": "lraspp", "at": "last_conv", "low_at": "c3_entry", "channels": 128},
    "align_corners": False,
}
DEEPLABV3_MODEL = {  # its rates are those of output stride 8
    "backbone": {"name": "mobilenet_v3_large", "dilation_plan": "torchvision"},
    "output_stride": 16,
    "head": {
        "kind": "deeplabv3",
        "aspp": "dense",
        "at": "last_conv",
        "channels": 256,
        "rates": [12, 24, 36],
        "refine": True,
        "dropout": 0.5,
    },
    "align_corners": False,
}


def read_segmenter(
    state: Mapping[str, Tensor],
    origin: str,
    head_names: Mapping[str, str],
    model: Mapping[str, Any],
    classifier: str,
) -> Imported:
    known = recognize(state, origin)
    body, ignored = rename(state, known, network_spec(model["backbone"]["name"]))
    head = {key: tensor for key, tensor in state.items() if key.startswith("classifier.")}
    bias = head.get(f"classifier.{classifier}.bias")
    if bias is None:
        raise WeightsError(f"{origin} has no classifier.{classifier}.bias, and so no number of classes")
    named = {f"head.{rename_key(key, head_names)}": tensor for key, tensor in head.items()}  # of PyTorch's epsilon
    return Imported(
        origin=origin,
        model=model,
        state={f"backbone.{key}": tensor for key, tensor in body.items()} | named,
        num_classes=bias.numel(),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        ignored={key: why for key, why in ignored.items() if key not in head},
    )


SSDLITE_BODY = "mobilenet_v3_large"
SSDLITE_MAPS = 6
SSDLITE_SIDE = 320


def read_ssdlite(state: Mapping[str, Tensor], origin: str) -> Imported:
    """torchvision's one SSDLite; its tail is reduced unless it was trained from ImageNet weights."""
    names = from_torchvision.ssdlite_names(network_spec(SSDLITE_BODY), SSDLITE_MAPS)
    named = {rename_key(key, names): tensor for key, tensor in state.items()}
    boxes = len(box_shapes(SSDLITE_MAPS, "torchvision")[0])
    bias, last = named.get("head.class_predictors.0.pointwise.bias"), named.get("backbone.last_conv.conv.weight")
    if bias is None or last is None or not last.ndim or bias.numel() % boxes or bias.numel() < 2 * boxes:
        raise WeightsError(f"{origin} looks like torchvision's SSDLite, but has no class scores or no last convolution")
    whole = network_spec(SSDLITE_BODY).last_conv_channels
    return Imported(
        origin=origin,
        model={
            "backbone": {"name": SSDLITE_BODY, "reduced_tail": len(last) != whole},
            "image_size": [SSDLITE_SIDE, SSDLITE_SIDE],
            "head": {"kind": "ssdlite", "box_plan": "torchvision"},
        },
        state=absorb_epsilon(named, from_torchvision.EPSILON_V3),
        num_classes=bias.numel() // boxes,
        mean=HALF,
        std=HALF,
        task="detection",
    )


def rename_key(key: str, names: Mapping[str, str]) -> str:
    module, dot, parameter = key.rpartition(".")
    return names.get(module, module) + dot + parameter


def read_classifier(state: Mapping[str, Tensor], origin: str) -> Imported:
    """The backbone of an ImageNet classifier, of the one network and width that has its shapes."""
    known = recognize(state, origin)
    if known.names is None:
        raise WeightsError(f"{origin} is {known.title} already; use it as it is")
    for name in MOBILENETS:
        renamed, ignored = rename(state, known, network_spec(name))
        width_mult = find_width(name, renamed)
        if width_mult is None:
            continue
        backbone = {"name": name, "width_mult": width_mult}
        backbone |= {"padding": "tensorflow"} if known.is_tensorflows else {}
        mean, std = normalization(name, tensorflows=known.is_tensorflows)
        whole = {f"backbone.{key}": tensor for key, tensor in renamed.items()}
        return Imported(origin, {"backbone": backbone}, whole, None, mean, std, ignored=ignored)
    raise WeightsError(
        f"{origin} has the keys of {known.title}, but not the layers of any of {', '.join(MOBILENETS)} at widths from "
        f"{min(WIDTHS)} to {max(WIDTHS)} (deeper ones, timm's with a d in the name, are none of them)"
    )


def find_width(name: str, state: State) -> float | None:
    """The width at which the MobileNet of that name has exactly these tensors; None where it never has."""
    stem = state.get("stem.conv.weight")
    for width_mult in WIDTHS:
        if stem is not None and stem.ndim and len(stem) == network_spec(name, width_mult).stem_channels:
            with torch.device("meta"):
                whole = plan_backbone(name, width_mult=width_mult, taps=known_taps(name)).build()
            if shapes(whole.state_dict()) == shapes(state):
                return width_mult
    return None


def shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {key: tensor.shape for key, tensor in state.items() if not key.endswith(".num_batches_tracked")}


def normalization(name: str, *, tensorflows: bool) -> tuple[Triple, Triple]:
    """Mean and deviation of the pictures: TensorFlow's networks and timm's own MobileNetV1 saw them in [-1, 1]."""
    return (HALF, HALF) if tensorflows or name == "mobilenet_v1" else (IMAGENET_MEAN, IMAGENET_STD)
