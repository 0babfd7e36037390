"""How long every layer of a network takes here."""

import copy
import itertools
import statistics
import time
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mbseg.analysis.timing import FEWEST_ROUNDS, torch_threads

Start = tuple[str, float]  # a layer's name and the second at which it starts


def measure_layers(
    model: nn.Module,
    image_size: tuple[int, int],
    *,
    layers: Iterable[str],
    batch: int = 1,
    threads: int | None = None,
    seconds: float = 2.0,
) -> dict[str, float]:
    """Median milliseconds from the start of each of the modules `layers` to that of the next one, on the CPU.

    Batch norm, activation and whatever else follows a layer thus count to it, and all together take as long as the
    network but for what comes before the first. A module that holds others is left out, since its work cannot be told
    from theirs. It runs a copy, eager, in float32 and channels_last.
    """
    net = copy.deepcopy(model).float().eval().to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, *image_size).to(memory_format=torch.channels_last)
    starts = watch_starts(net, layers)
    with torch_threads(threads), torch.inference_mode():
        run_once(net, images, starts)
        deadline = time.perf_counter() + seconds
        passes: list[dict[str, float]] = []
        while len(passes) < FEWEST_ROUNDS or time.perf_counter() < deadline:
            passes.append(run_once(net, images, starts))
    return {name: statistics.median(times[name] for times in passes) for name in passes[0]}


def watch_starts(net: nn.Module, layers: Iterable[str]) -> list[Start]:
    """A list to which `net` appends, whenever one of the `layers` starts."""
    starts: list[Start] = []

    def start(name: str, _module: nn.Module, _inputs: Any) -> None:
        starts.append((name, time.perf_counter()))

    for name in set(layers):
        module = net.get_submodule(name)
        if not list(module.children()):
            module.register_forward_pre_hook(partial(start, name))
    return starts


def run_once(net: nn.Module, images: Tensor, starts: list[Start]) -> dict[str, float]:
    """The milliseconds of each layer in one pass; one that runs several times has the sum."""
    starts.clear()
    net(images)
    starts.append(("", time.perf_counter()))
    times: dict[str, float] = defaultdict(float)
    for (name, begin), (_, end) in itertools.pairwise(starts):
        times[name] += 1000 * (end - begin)
    return times
