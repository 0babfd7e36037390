"""Multiply-adds of a running network, under two accountings.

native  what is computed: every convolution (and matrix product) and nothing else.
tf      what TensorFlow's profiler charged in 2018, and so what the MobileNet papers print: a dilated k x k convolution
        as if its output were padded to multiples of the rate (space_to_batch), and some element-wise work.
"""

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

Accounting = Literal["native", "tf"]

aten = torch.ops.aten
ADDITIONS = (aten.add.Tensor, aten.add_.Tensor)
PRODUCTS = (aten.mul.Tensor, aten.mul_.Tensor)
HARD_SWISHES = (aten.hardswish.default, aten.hardswish_.default)


class Charge(NamedTuple):
    """The price of one operation."""

    kind: str
    madds: float  # the tf accounting knows halves


class Operation(NamedTuple):
    """One charged operation, and where it ran."""

    module: str  # path of the innermost module; "" is the model itself
    kind: str
    output_shape: tuple[int, ...]
    madds: float


class OperationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, records every operation that costs multiply-adds.

    `path` comes from `module_path`; the sums and products of the modules `unpriced` are free, as LR-ASPP's were in tf.
    """

    def __init__(self, path: Sequence[str], accounting: Accounting, unpriced: Container[str] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.path = path
        self.unpriced = unpriced
        self.charge = CHARGES[accounting]
        self.operations: list[Operation] = []

    def __torch_dispatch__(self, func: OpOverload, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in (*ADDITIONS, *PRODUCTS) and self.path[-1] in self.unpriced:
            return output
        if charge := self.charge(func, args, output):
            self.operations.append(Operation(self.path[-1], charge.kind, tuple(output.shape), charge.madds))
        return output


@contextmanager
def module_path(model: nn.Module) -> Iterator[list[str]]:
    """The names of the modules of `model` that are running just now, the innermost last."""
    path: list[str] = []

    def enter(name: str, _module: nn.Module, _inputs: Any) -> None:
        path.append(name)

    def leave(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        path.pop()

    hooks = []
    for name, module in model.named_modules():
        hooks += [module.register_forward_pre_hook(partial(enter, name)), module.register_forward_hook(leave)]
    try:
        yield path
    finally:
        for hook in hooks:
            hook.remove()


def charge_native(func: OpOverload, args: Sequence[Any], output: Any) -> Charge | None:
    """out_h * out_w * out_ch * (in_ch / groups) * k_h * k_w of a convolution; the like for a matrix product."""
    if func.overloadpacket not in flop_registry:
        return None
    madds = flop_registry[func.overloadpacket](*args, out_val=output) // 2  # 1 multiply-add = 2 FLOPs
    kind = describe_convolution(args) if func is aten.convolution.default else "matrix product"
    return Charge(kind, madds)


def charge_tf(func: OpOverload, args: Sequence[Any], output: Any) -> Charge | None:
    if func is aten.convolution.default:
        return charge_tf_convolution(args, output)
    if func in ADDITIONS and joins_maps(args):
        return Charge("residual addition", 0.5 * output.numel())
    if func in PRODUCTS and gates_channels(args):
        return Charge("squeeze-and-excite product", output.numel())
    if func in HARD_SWISHES:
        return Charge("h-swish", 1.5 * output.numel())
    return charge_native(func, args, output)


CHARGES: Mapping[Accounting, Callable[[OpOverload, Sequence[Any], Any], Charge | None]] = {
    "native": charge_native,
    "tf": charge_tf,
}


def charge_tf_convolution(args: Sequence[Any], output: Tensor) -> Charge:
    _, weight, bias, _, _, dilation, *_ = args
    native = charge_native(aten.convolution.default, args, output)
    assert native is not None
    sizes = output.shape[2:]
    rates = [rate if kernel > 1 else 1 for kernel, rate in zip(weight.shape[2:], dilation, strict=True)]
    padded = [math.ceil(size / rate) * rate for size, rate in zip(sizes, rates, strict=True)]
    madds = native.madds / math.prod(sizes) * math.prod(padded)
    return Charge(native.kind, madds if bias is None else madds + 0.5 * output.numel())


def charge_tf_picture(images: Tensor, output: Any) -> Iterator[Operation]:
    """What is charged before and behind the network: preprocessing, and the arg-max over the classes at full size."""
    height, width = images.shape[-2:]
    yield Operation("", "preprocessing", tuple(images.shape), 3 * height * width)
    logits = output.get("out") if isinstance(output, Mapping) else output  # torchvision's segmenters return a dict
    if isinstance(logits, Tensor) and logits.ndim == 4:
        classes = logits.shape[1]
        yield Operation("", "arg-max", (1, height, width), 0.5 * classes * height * width)


def joins_maps(operands: Sequence[Any]) -> bool:
    """Two feature maps of one shape [N, C, H, W], as in a residual block."""
    left, right = operands[:2]
    return isinstance(left, Tensor) and isinstance(right, Tensor) and left.ndim == 4 and left.shape == right.shape


def gates_channels(operands: Sequence[Any]) -> bool:
    """A feature map and one factor a channel, [N, C, H, W] and [N, C, 1, 1]."""
    left, right = operands[:2]
    if not (isinstance(left, Tensor) and isinstance(right, Tensor) and left.ndim == right.ndim == 4):
        return False
    return left.shape != right.shape and (1, 1) in (left.shape[2:], right.shape[2:])


def describe_convolution(args: Sequence[Any]) -> str:
    """For example "conv 3x3 s2", "depthwise 3x3 d4", "conv 1x1"; groups, stride and dilation where they are not 1."""
    images, weight, _, stride, _, dilation, transposed, _, groups = args
    depthwise = groups > 1 and groups == images.shape[1]
    name = "transposed conv" if transposed else "depthwise" if depthwise else "conv"
    words = [name, "x".join(str(size) for size in weight.shape[2:])]
    words += [f"s{stride[0]}"] if stride[0] > 1 else []
    words += [f"d{dilation[0]}"] if dilation[0] > 1 else []
    words += [f"g{groups}"] if groups > 1 and not depthwise else []
    return " ".join(words)


def count_params(model: nn.Module) -> int:
    """Every parameter once, batch norm's affine ones included; buffers are none."""
    return sum(parameter.numel() for parameter in model.parameters())


def own_params(model: nn.Module) -> dict[str, int]:
    """The parameters that each module holds itself; one that several share belongs to the first."""
    seen: set[nn.Parameter] = set()
    counts = {}
    for name, module in model.named_modules():
        own = set(module.parameters(recurse=False)) - seen
        seen |= own
        counts[name] = sum(parameter.numel() for parameter in own)
    return counts
