"""What this machine's CPU does at most: multiply-adds and bytes a second, measured."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch
from torch.nn import functional

from mbseg.analysis.timing import torch_threads
from mbseg.errors import ConfigError
from mbseg.runtime.torch_backend import Precision

DTYPES: Mapping[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
MATRIX_SIDES = (256, 1024)
CONVOLUTION_SIDES = (16, 32, 64)
CHANNELS = 128
CACHE_PARTS = (64, 16, 4)  # the smallest lies in the level above, which is faster still
MEMORY_MULTIPLE = 4
CPUS = Path("/sys/devices/system/cpu")
ASSUMED_CACHE_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Peaks:
    """The best rates of many trials. A machine that is busy with other work shows less than it could."""

    madds_per_second: float
    memory_bytes_per_second: float
    cache_bytes_per_second: float
    cache_bytes: int  # of the last level; a virtual machine may share with others what it is told of
    threads: int
    precision: Precision


class Trial(NamedTuple):
    """Work whose rate is measured."""

    resource: Literal["madds", "memory", "cache"]
    amount: int  # multiply-adds or bytes of one run
    run: Callable[[], object]


def measure_peaks(*, threads: int | None = None, precision: Precision = "fp32", seconds: float = 2.0) -> Peaks:
    """Measures for about `seconds` with torch's threads, None: as many as it uses, and with one of them.

    The best counts. Where fewer cores are free than there are threads, these wait for one another, and one does more.
    Raises ConfigError for a precision that does not exist, or threads below 1.
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"no precision named {precision!r}; there are {list(get_args(Precision))}")
    if threads is not None and threads < 1:
        raise ConfigError(f"threads is {threads}; give 1 or more, or nothing to keep torch's own number")
    cache_bytes = last_level_cache()
    rates: dict[str, float] = defaultdict(float)
    with torch.inference_mode(), torch_threads(threads) as used:
        trials = [*computing(DTYPES[precision]), *moving(cache_bytes)]
        for count in {1, used}:
            with torch_threads(count):
                fastest = fastest_runs([trial.run for trial in trials], seconds / len({1, used}))
            for trial, taken in zip(trials, fastest, strict=True):
                rates[trial.resource] = max(rates[trial.resource], trial.amount / taken)
    return Peaks(rates["madds"], rates["memory"], rates["cache"], cache_bytes, used, precision)


def computing(dtype: torch.dtype) -> list[Trial]:
    """Matrix products and, since they come from another library, which may be faster, 3x3 convolutions.

    The small ones are over before a busy machine interrupts them.
    """
    products = [matrix_product(side, dtype) for side in MATRIX_SIDES]
    return [*products, *(convolution(side, dtype) for side in CONVOLUTION_SIDES)]


def moving(cache_bytes: int) -> list[Trial]:
    in_cache = [Trial("cache", *pass_over(cache_bytes // part)) for part in CACHE_PARTS]
    return [*in_cache, Trial("memory", *pass_over(MEMORY_MULTIPLE * cache_bytes))]


def matrix_product(side: int, dtype: torch.dtype) -> Trial:
    left, right, product = (torch.ones(side, side, dtype=dtype) for _ in range(3))
    return Trial("madds", side**3, lambda: torch.matmul(left, right, out=product))


def convolution(side: int, dtype: torch.dtype) -> Trial:
    shapes = ((1, CHANNELS, side, side), (CHANNELS, CHANNELS, 3, 3))
    images, weight = (torch.ones(shape, dtype=dtype).to(memory_format=torch.channels_last) for shape in shapes)
    return Trial("madds", side**2 * weight.numel(), lambda: functional.conv2d(images, weight, padding=1))


def pass_over(size: int) -> tuple[int, Callable[[], object]]:
    """Reads and writes `size` bytes in place: faster than a copy, whose target is fetched to be overwritten."""
    values = torch.ones(size // 4)
    return 2 * values.nbytes, values.relu_


def fastest_runs(runs: Sequence[Callable[[], object]], seconds: float) -> list[float]:
    """The seconds of each one's quickest run; who has had the least time is next, so that all see the same load."""
    spent, fastest = [0.0] * len(runs), [math.inf] * len(runs)
    while sum(spent) < seconds or math.inf in fastest:
        place = spent.index(min(spent))
        start = time.perf_counter()
        runs[place]()
        taken = time.perf_counter() - start
        spent[place] += taken
        fastest[place] = min(fastest[place], taken)
    return fastest


def last_level_cache(cpus: Path = CPUS) -> int:
    """Bytes of all last-level caches together, as Linux tells them; 32 MiB are assumed where nothing is told.

    Threads may run on any core, so that every cache counts; too much here keeps a bound a bound.
    """
    levels: dict[int, dict[str, int]] = defaultdict(dict)
    for size in cpus.glob("cpu[0-9]*/cache/index[0-9]*/size"):
        level, sharers = ((size.parent / name).read_text().strip() for name in ("level", "shared_cpu_list"))
        levels[int(level)][sharers] = 1024 * int(size.read_text().strip().removesuffix("K"))
    return sum(levels[max(levels)].values()) if levels else ASSUMED_CACHE_BYTES
