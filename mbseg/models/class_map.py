"""The class of every pixel straight from coarse logits: bilinear upsampling and arg-max in one."""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mbseg.errors import ConfigError

if TYPE_CHECKING:
    from mbseg.models.class_map_kernel import Axis

WORTHWHILE = 4  # pixels a logit; with fewer, looking for cells of one class costs more than it saves
PIXELS_PER_THREAD = 2**18  # fewer are done before another thread has woken up
PARTS_PER_THREAD = 4  # some parts have more mixed cells than others, and some threads less of a core


def class_map(logits: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """The classes [N, height, width], uint8, of logits [N, C, h, w] interpolated to size = (height, width).

    The same map as `interpolate(logits.float(), size, mode="bilinear", align_corners=align_corners).argmax(1)`, many
    times faster: only where neighbouring logits disagree is anything interpolated (`class_map_kernel`). Pixels may
    differ only where two classes are equal up to rounding; where the arithmetic is exact the first of equal classes
    wins. Logits on other devices than the CPU, logits that are not all finite and sizes that hardly enlarge go the
    plain way, with torch's results: a pixel that touches a NaN gets the first class that is NaN there.

    Raises ConfigError if the logits are not [N, C, h, w] with 1 to 256 classes, or a side of size is below 1.
    """
    check(logits, size)
    if logits.device.type == "cpu" and math.prod(size) >= WORTHWHILE * math.prod(logits.shape[2:]):
        values = logits.detach().permute(0, 2, 3, 1).float().contiguous()  # the classes of one place side by side
        if math.isfinite(values.sum()):  # one pass; infinities and NaN cannot cancel out
            return decide(values, size, align_corners)
    return interpolate_and_decide(logits.detach(), size, align_corners)


def check(logits: Tensor, size: tuple[int, int]) -> None:
    if logits.ndim != 4 or not all(logits.shape[1:]):
        raise ConfigError(f"logits of shape {list(logits.shape)}; class_map needs [N, C, h, w] with nothing but N zero")
    if logits.shape[1] > 256:
        raise ConfigError(f"{logits.shape[1]} classes; class_map gives uint8 and can tell 256 apart: use argmax")
    if min(size) < 1:
        raise ConfigError(f"size {tuple(size)}; class_map needs (height, width) of at least (1, 1)")


def interpolate_and_decide(logits: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    dense = functional.interpolate(logits.float(), size=size, mode="bilinear", align_corners=align_corners)
    # Both give the first of equals; argmax takes three times as long where the classes do not lie side by side.
    return (dense.max(1).indices if dense.is_contiguous() else dense.argmax(1)).to(torch.uint8)


def decide(values: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    """The classes [N, height, width] of finite float32 values [N, h, w, C], contiguous, on the CPU."""
    from mbseg.models import class_map_kernel  # on first use: `import mbseg` does not wait for numba

    mask = torch.empty((len(values), *size), dtype=torch.uint8)
    rows, columns = (axis(values.shape[1 + side], size[side], align_corners) for side in (0, 1))
    fill = partial(class_map_kernel.decide, values.numpy(), rows, columns, mask.numpy())
    share(fill, values.shape[0] * values.shape[1], mask.numel() // PIXELS_PER_THREAD)
    return mask


def share(fill: Callable[[int, int], None], bands: int, useful_threads: int) -> None:
    """Fill all bands on up to torch.get_num_threads() threads: this one, and helpers if they wake up in time."""
    threads = max(1, min(torch.get_num_threads(), useful_threads))
    count = 1 if threads == 1 else threads * PARTS_PER_THREAD
    parts = iter([(bands * part // count, bands * (part + 1) // count) for part in range(count)])

    def work() -> None:
        for start, stop in parts:
            fill(start, stop)

    helpers = [pool(threads - 1, os.getpid()).submit(work) for _ in range(threads - 1)]
    work()
    for helper in helpers:
        if not helper.cancel():  # it has begun
            helper.result()


@cache
def pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads kept for the next picture; of this process, because a forked child has none of its parent's."""
    return ThreadPoolExecutor(threads, thread_name_prefix=f"class_map_{process}")


def axis(logits: int, pixels: int, align_corners: bool) -> "Axis":
    """Where each pixel lies between the logits, rounded where torch rounds (it fuses multiply and add)."""
    from mbseg.models.class_map_kernel import Axis

    place = np.arange(pixels, dtype=np.float64)
    if align_corners:
        place *= np.float32((logits - 1) / max(pixels - 1, 1))
    else:
        place = np.maximum((place + 0.5) * np.float32(logits / pixels) - 0.5, 0)
    position = place.astype(np.float32)
    before = np.minimum(position.astype(np.int64), logits - 1)
    weight = np.clip(position - before.astype(np.float32), 0, 1)
    return Axis(np.searchsorted(before, np.arange(logits + 1)), before, np.minimum(before + 1, logits - 1), weight)
