"""The least time in which a machine can run a network, layer by layer: the roofline (Williams et al., 2009).

Three roofs lie over a layer: its multiply-adds at the peak of matrix products; all bytes that it moves at the rate of
the cache; those that cannot be in the last-level cache at the rate of memory. The highest of the three is its bound.

So that it holds for every backend that computes layer by layer and directly (no Winograd), a layer is charged only
what none can leave out: it reads its input and its weights and writes its output once, in the precision's bytes. A
tensor that fits the last-level cache may lie there; of a larger one, what exceeds the cache goes through memory. All
else is free: batch norm, activations and sums, which backends fuse into the layers, pooling, resizing, concatenation.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mbseg.analysis.complexity import charge_native, module_path
from mbseg.analysis.peaks import DTYPES, Peaks
from mbseg.analysis.profile import check_request, shape_only
from mbseg.errors import ConfigError
from mbseg.models.framing import scaled

Roof = Literal["compute", "cache", "memory"]


@dataclass(frozen=True)
class LayerBound:
    """One kind of work in one module, summed over the passes."""

    name: str  # path of the module; "" is the model itself
    kind: str  # "conv 3x3 s2", "matrix product", ...
    madds: int
    bytes: int
    memory_bytes: int  # those of `bytes` that the last-level cache cannot hold
    compute_ms: float
    cache_ms: float
    memory_ms: float
    bound_ms: float  # the highest of the three, in every pass

    @property
    def bound_by(self) -> Roof:
        times: dict[Roof, float] = {"compute": self.compute_ms, "cache": self.cache_ms, "memory": self.memory_ms}
        return max(times, key=times.__getitem__)


@dataclass(frozen=True)
class Roofline:
    """The layers in the order in which they run; their bounds add up to `ms`."""

    layers: tuple[LayerBound, ...]
    peaks: Peaks

    @property
    def ms(self) -> float:
        return sum(layer.bound_ms for layer in self.layers)

    def share(self, roof: Roof) -> float:
        """The fraction of the bound that belongs to the layers bound by `roof`."""
        return sum(layer.bound_ms for layer in self.layers if layer.bound_by == roof) / (self.ms or 1)


class Work(NamedTuple):
    """One operation that costs multiply-adds, and the elements of each tensor that it reads or writes."""

    module: str
    kind: str
    madds: int
    tensors: tuple[int, ...]


def roofline(
    model: nn.Module,
    peaks: Peaks,
    *,
    image_size: tuple[int, int],
    batch: int = 1,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
) -> Roofline:
    """The bound of `model` on images [batch, 3, height, width], in `peaks.precision`; nothing is computed.

    The passes of `scales` and `flip` are those of `profile`, and add up. Raises ConfigError for an image size, a batch
    or scales that do not exist.
    """
    check_request(image_size, "native", scales)
    if batch < 1:
        raise ConfigError(f"batch is {batch}; it must be 1 or more")
    shadow = shape_only(model)
    passes = [work_of(shadow, (batch, 3, *scaled(image_size, scale))) for scale in scales]
    by_layer: dict[tuple[str, str], list[Work]] = defaultdict(list)
    for work in [work for one in passes for work in one * (2 if flip else 1)]:
        by_layer[work.module, work.kind].append(work)
    return Roofline(tuple(layer_bound(works, peaks) for works in by_layer.values()), peaks)


@torch.no_grad()
def work_of(shadow: nn.Module, shape: tuple[int, ...]) -> list[Work]:
    """The work of one pass of a model on the meta device."""
    images = torch.empty(shape, device="meta")
    with module_path(shadow) as path, WorkRecorder(path) as recorder:
        shadow(images)
    return list(recorder.work)


class WorkRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, records the work of every operation that costs multiply-adds."""

    def __init__(self, path: Sequence[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.path = path
        self.work: list[Work] = []

    def __torch_dispatch__(self, func: OpOverload, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if charge := charge_native(func, args, output):
            tensors = tuple(elements_moved(func, args, output))
            self.work.append(Work(self.path[-1], charge.kind, int(charge.madds), tensors))
        return output


def elements_moved(func: OpOverload, args: Sequence[Any], output: Any) -> Iterator[int]:
    """The elements of each operand and result. A convolution may skip pixels, as a 1x1 with stride 2 does."""
    operands = [leaf for leaf in tree_leaves((args, output)) if isinstance(leaf, Tensor)]
    if func is torch.ops.aten.convolution.default:
        images, weight = operands.pop(0), args[1]
        sides = zip(images.shape[2:], output.shape[2:], weight.shape[2:], strict=True)
        pixels = math.prod(min(side, positions * kernel) for side, positions, kernel in sides)
        yield images.shape[0] * images.shape[1] * pixels
    yield from (tensor.numel() for tensor in operands)


def layer_bound(works: Sequence[Work], peaks: Peaks) -> LayerBound:
    """What one layer costs over all passes."""
    moved = [bytes_moved(work, peaks) for work in works]
    passes = [roof_times(work.madds, *sizes, peaks) for work, sizes in zip(works, moved, strict=True)]
    compute_ms, cache_ms, memory_ms = (sum(column) for column in zip(*passes, strict=True))
    return LayerBound(
        name=works[0].module,
        kind=works[0].kind,
        madds=sum(work.madds for work in works),
        bytes=sum(total for total, _ in moved),
        memory_bytes=sum(excess for _, excess in moved),
        compute_ms=compute_ms,
        cache_ms=cache_ms,
        memory_ms=memory_ms,
        bound_ms=sum(max(times) for times in passes),
    )


def bytes_moved(work: Work, peaks: Peaks) -> tuple[int, int]:
    """All bytes, and those that the last-level cache cannot hold."""
    sizes = [elements * DTYPES[peaks.precision].itemsize for elements in work.tensors]
    return sum(sizes), sum(max(0, size - peaks.cache_bytes) for size in sizes)


def roof_times(madds: int, moved: int, from_memory: int, peaks: Peaks) -> tuple[float, float, float]:
    """The milliseconds of compute, cache and memory."""
    return (
        1000 * madds / peaks.madds_per_second,
        1000 * moved / peaks.cache_bytes_per_second,
        1000 * from_memory / peaks.memory_bytes_per_second,
    )
