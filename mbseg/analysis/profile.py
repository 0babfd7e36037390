"""What a network costs: parameters, multiply-adds and activation memory, without computing a single value."""

import copy
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

import torch
from torch import Tensor, nn

from mbseg.analysis.complexity import (
    Accounting,
    Operation,
    OperationCounter,
    charge_tf_picture,
    count_params,
    module_path,
    own_params,
)
from mbseg.analysis.memory import PeakMemory
from mbseg.errors import ConfigError
from mbseg.heads.lraspp import LRASPP
from mbseg.models.detection import SMALLEST_SIDE, DetectionModel
from mbseg.models.framing import scaled
from mbseg.models.joint import JointModel

LARGEST_SIDE = 65536  # pixels
USUAL_SIZE = (513, 513)  # of VOC's segmenters
DETECTORS = (DetectionModel, JointModel)  # made for one size and one pass


@dataclass(frozen=True)
class LayerCost:
    """One kind of work in one module."""

    name: str  # path of the module; "" is the model itself
    kind: str  # "conv 3x3 s2", "residual addition", ...; the class of a module that only holds parameters
    output_shape: tuple[int, ...]  # in the largest pass; empty where no multiply-adds are charged
    params: int
    madds: float  # summed over the passes; the tf accounting knows halves


@dataclass(frozen=True)
class Cost:
    """What one picture costs. The layers add up to `params` and, rounded, to `madds`."""

    params: int
    madds: int  # summed over the passes; 1 = 2 FLOPs
    peak_activation_bytes: int  # of the largest pass, float32, picture to logits or raw detections, weights not counted
    layers: tuple[LayerCost, ...]
    image_size: tuple[int, int]
    accounting: Accounting
    scales: tuple[float, ...]
    flip: bool


class Pass(NamedTuple):
    """One picture at one size through the network."""

    operations: list[Operation]
    peak_bytes: int


def profile(
    model: nn.Module,
    *,
    image_size: tuple[int, int] | None = None,
    accounting: Accounting = "native",
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
) -> Cost:
    """The cost of `model` on one picture of `image_size` (height, width), a batch of one.

    None is a detector's own size, and 513 x 513 for others. There is one pass for each of `scales`, at
    `int((n - 1) * scale + 1)` pixels a side, and with `flip` a second one of its mirror image; a detector, with a
    segmentation head beside it or without, has a single pass. The model may be any that takes images [1, 3, H, W]; it
    is left as it is. Raises ConfigError for an image size, scales, a flip or an accounting that does not exist.
    """
    image_size = image_size or usual_size(model)
    check_request(image_size, accounting, scales)
    if isinstance(model, DETECTORS):
        check_detector_request(image_size, scales, flip)
    shadow = shape_only(model)
    passes = [run_pass(shadow, scaled(image_size, scale), accounting) for scale in scales]
    mirrored = 2 if flip else 1
    operations = [operation for one in passes for operation in one.operations * mirrored]
    layers = tuple(layers_of(shadow, operations))
    return Cost(
        params=count_params(shadow),
        madds=round(sum(layer.madds for layer in layers)),
        peak_activation_bytes=max(one.peak_bytes for one in passes),
        layers=layers,
        image_size=image_size,
        accounting=accounting,
        scales=tuple(scales),
        flip=flip,
    )


def check_detector_request(image_size: tuple[int, int], scales: Sequence[float], flip: bool) -> None:
    if flip or tuple(scales) != (1.0,):
        raise ConfigError(f"scales are {list(scales)} and flip is {flip}; a detector has one pass, so leave them away")
    if min(image_size) < SMALLEST_SIDE:
        raise ConfigError(
            f"image size is {list(image_size)}; a detector's pictures have {SMALLEST_SIDE} pixels a side or more"
        )


def usual_size(model: nn.Module) -> tuple[int, int]:
    return model.image_size if isinstance(model, DETECTORS) else USUAL_SIZE


def shape_only(model: nn.Module) -> nn.Module:
    """A copy in eval mode on the meta device, in float32: shapes without values. No weight is copied."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): hollow(tensor) for tensor in tensors}).eval()


def hollow(tensor: Tensor) -> Tensor:
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    empty = torch.empty_like(tensor, dtype=dtype, device="meta")
    return nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty


@torch.no_grad()
def run_pass(shadow: nn.Module, image_size: tuple[int, int], accounting: Accounting) -> Pass:
    images = torch.empty(1, 3, *image_size, device="meta")
    with (
        module_path(shadow) as path,
        PeakMemory(shadow, images) as memory,
        OperationCounter(path, accounting, unpriced_modules(shadow)) as counter,
    ):
        output = shadow(images)
    around = charge_tf_picture(images, output) if accounting == "tf" else ()
    return Pass([*counter.operations, *around], memory.peak_bytes)


def unpriced_modules(model: nn.Module) -> set[str]:
    """LR-ASPP's product and sum are in no figure of the MobileNetV3 paper."""
    return {name for name, module in model.named_modules() if isinstance(module, LRASPP)}


def layers_of(model: nn.Module, operations: Iterable[Operation]) -> Iterator[LayerCost]:
    """One row for each kind of work of each module, in the order in which the modules are registered."""
    by_module: dict[str, dict[str, list[Operation]]] = defaultdict(lambda: defaultdict(list))
    for operation in operations:
        by_module[operation.module][operation.kind].append(operation)
    params = own_params(model)
    for name, module in model.named_modules():
        for kind, same in by_module[name].items():
            yield LayerCost(name, kind, largest_shape(same), params.pop(name, 0), sum(one.madds for one in same))
        if unclaimed := params.pop(name, 0):
            yield LayerCost(name, type(module).__name__, (), unclaimed, 0)


def largest_shape(operations: Iterable[Operation]) -> tuple[int, ...]:
    return max((operation.output_shape for operation in operations), key=math.prod)


def check_request(image_size: tuple[int, int], accounting: Accounting, scales: Sequence[float]) -> None:
    if accounting not in get_args(Accounting):
        raise ConfigError(f"no accounting named {accounting!r}; there are {list(get_args(Accounting))}")
    if not scales or min(scales) <= 0:
        raise ConfigError(f"scales are {list(scales)}; give one or more numbers above 0")
    if min(image_size) < 1 or max(image_size) > LARGEST_SIDE:
        raise ConfigError(
            f"image size is {list(image_size)}; height and width must be 1 or more, {LARGEST_SIDE} at most"
        )
