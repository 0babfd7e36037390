"""Which device computes, and in which precision it is fastest."""

import os
import sys

import torch

from mbseg.errors import ConfigError

MAX_WORKERS = 8


def pick_device(name: str) -> torch.device:
    """`auto`: cuda, else mps, else cpu. Raises ConfigError for a device that is not there."""
    if name == "auto":
        return torch.device(best_device())
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"no device named {name!r}; use auto, cuda, mps or cpu") from None
    if not is_there(device):
        raise ConfigError(f"device {name} is not there on this machine; use auto or cpu")
    return device


def best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def is_there(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    return device.type == "cpu" or (device.type == "mps" and torch.backends.mps.is_available())


def uses_bf16(precision: str, device: torch.device) -> bool:
    """For `auto`: whether the device multiplies bf16 natively, since elsewhere bf16 is slower than fp32."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def worker_count(asked: int | None) -> int:
    """Loader processes: as many as asked, else one for each core that this process may use, at most MAX_WORKERS."""
    if asked is not None:
        return asked
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(MAX_WORKERS, cores)


def use_threads(threads: int | None) -> None:
    """torch's threads on the CPU; None leaves them as they are."""
    if threads:
        torch.set_num_threads(threads)
