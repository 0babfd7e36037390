"""Facts of the machine that need no library: cores, memory, limits."""

import os
import re
import resource
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path("/")
SHARED_MEMORY = "dev/shm"
SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
LIMITS = {
    "open files": resource.RLIMIT_NOFILE,
    "seconds of CPU": resource.RLIMIT_CPU,
    "bytes of a file": resource.RLIMIT_FSIZE,
    "bytes of memory": resource.RLIMIT_AS,
}


@dataclass(frozen=True)
class Machine:
    """What this process may use."""

    system: str
    cores: int
    usable_cores: int  # that this process may run on
    cpu_quota: float | None  # how many cores' time its cgroup gives; None: no limit
    load: float  # processes that wanted a core, over the last minute
    thread_settings: Mapping[str, str]  # of the environment
    memory: int  # bytes, all of these
    free_memory: int
    memory_limit: int | None  # of its cgroup
    shared_memory: int | None  # free in /dev/shm; None: there is none
    nvidia_driver: str | None = None
    limits: Mapping[str, int] = field(default_factory=dict)  # by the names of LIMITS; what is not limited is not in it

    @property
    def core_time(self) -> float:
        """Cores' worth of time that can be had."""
        return min(self.usable_cores, self.cpu_quota or self.usable_cores)


def gather_machine(root: Path = ROOT) -> Machine:
    cores = os.cpu_count() or 1
    memory, free_memory = memory_of(root)
    return Machine(
        system=sys.platform,
        cores=cores,
        usable_cores=len(os.sched_getaffinity(0)) if sys.platform == "linux" else cores,
        cpu_quota=min(cpu_quotas(root), default=None),
        load=os.getloadavg()[0],
        thread_settings={name: os.environ[name] for name in SETTINGS if name in os.environ},
        memory=memory,
        free_memory=free_memory,
        memory_limit=min((limit for limit in memory_limits(root) if limit < memory), default=None),
        shared_memory=free_bytes(root / SHARED_MEMORY),
        nvidia_driver=nvidia_driver(root),
        limits=dict(limits()),
    )


def memory_of(root: Path) -> tuple[int, int]:
    """All, and what can be had without swapping; where Linux's /proc is missing, all counts as free."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return memory, memory
    kilobytes = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
    return 1024 * kilobytes["MemTotal"], 1024 * kilobytes["MemAvailable"]


def cpu_quotas(root: Path) -> Iterator[float]:
    """Of the process's cgroup and of all above it, which hold too; both versions of cgroups, as far as limited."""
    for folder in cgroup_folders(root, "cpu"):
        quota, period = read_words(folder / "cpu.max", 2)
        if quota is None:
            (quota,), (period,) = (
                read_words(folder / "cpu.cfs_quota_us", 1),
                read_words(folder / "cpu.cfs_period_us", 1),
            )
        if quota and period and quota > 0:
            yield quota / period


def memory_limits(root: Path) -> Iterator[int]:
    for folder in cgroup_folders(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            if (limit := read_words(folder / name, 1)[0]) is not None:
                yield limit


def cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """Innermost first. Inside a container the path may be the host's, of which only the top is mounted."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mount = root / "sys/fs/cgroup"
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if not controllers or controller in controllers.split(","):
            top = mount / controller if controllers else mount
            inner = top / path.lstrip("/")
            yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(top))


def read_words(file: Path, count: int) -> list[int | None]:
    """Numbers of a kernel's file; None for "max", and for all where there is no such file."""
    try:
        words = file.read_text().split()
    except OSError:
        words = []
    numbers = [int(word) if re.fullmatch(r"-?\d+", word) else None for word in words]
    return (numbers + [None] * count)[:count]


def free_bytes(folder: Path) -> int | None:
    try:
        told = os.statvfs(folder)
    except OSError:
        return None
    return told.f_bavail * told.f_frsize


def nvidia_driver(root: Path) -> str | None:
    """Its version as the kernel's module tells it, whether torch can use it or not."""
    try:
        found = re.search(r"\d+\.\d+(\.\d+)?", (root / "proc/driver/nvidia/version").read_text())
    except OSError:
        return None
    return found[0] if found else None


def limits() -> Iterator[tuple[str, int]]:
    """What `ulimit` shows."""
    for name, number in LIMITS.items():
        soft, _ = resource.getrlimit(number)
        if soft != resource.RLIM_INFINITY:
            yield name, soft
