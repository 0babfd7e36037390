"""What the machine's facts mean for training and prediction; each check looks at facts alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mbseg.doctor.findings import Finding, fault, in_bytes, ok, warning
from mbseg.doctor.machine import Machine

LEAST_MEMORY, ENOUGH_MEMORY = 1_000_000_000, 4_000_000_000  # the libraries alone take half a gigabyte
ENOUGH_SHARED_MEMORY = 300_000_000  # two batches of 16 x 513 x 513 for each of 8 loader processes; Docker gives 64 MB
ENOUGH_FILES = 1024
ABILITIES = {  # torch.cpu.get_capabilities() -> what is said
    "avx2": "AVX2",
    "avx512_f": "AVX-512",
    "avx512_bf16": "AVX-512 bf16",
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX VNNI",
    "amx_bf16": "AMX bf16",
    "amx_int8": "AMX int8",
    "neon": "NEON",
    "bf16": "bf16",
    "i8mm": "int8 products",
    "sve": "SVE",
}
FAST_BF16 = ("avx512_bf16", "amx_bf16", "bf16")
FAST_INT8 = ("avx512_vnni", "avx_vnni", "amx_int8", "i8mm")


@dataclass(frozen=True)
class TorchFacts:
    """What torch and OpenCV tell of themselves and of the machine."""

    torch_threads: int
    opencv_threads: int
    capabilities: Mapping[str, bool]  # of the CPU
    built_for: str | None = None  # such as "CUDA 13.0"; None: the CPU alone
    devices: tuple[str, ...] = ()  # accelerators that it can use
    complaints: tuple[str, ...] = field(default=())  # its warnings while it looked for them


def check_machine(machine: Machine) -> Iterator[Finding]:
    yield check_cores(machine)
    yield check_load(machine)
    yield check_memory(machine)
    if machine.system == "linux":
        yield check_shared_memory(machine)
    yield check_limits(machine)


def check_torch(facts: TorchFacts, machine: Machine) -> Iterator[Finding]:
    yield check_threads(facts, machine)
    yield check_abilities(facts)
    yield check_accelerators(facts, machine)


def check_cores(machine: Machine) -> Finding:
    says = f"{machine.usable_cores} of {machine.cores} may be used"
    if machine.core_time == machine.usable_cores:
        return ok("cores", says)
    share = max(1, int(machine.core_time))
    advice = f"raise the limit (docker --cpus), or set threads={share} and data.workers={share}"
    return warning("cores", f"{says}, for {machine.core_time:g} cores' time (cgroup)", advice)


def check_load(machine: Machine) -> Finding:
    """Of the whole machine: a container sees its host's."""
    says = f"{machine.load:.1f} processes at work on {machine.cores} cores"
    if machine.load <= machine.cores:
        return ok("load", says)
    return warning("load", says, "measure speeds when it is quiet; training goes on, slower")


def check_memory(machine: Machine) -> Finding:
    limit = machine.memory_limit
    there = machine.free_memory if limit is None else min(machine.free_memory, limit)
    held = "" if limit is None else f", {in_bytes(limit)} allowed (cgroup)"
    says = f"{in_bytes(machine.free_memory)} of {in_bytes(machine.memory)} free{held}"
    advice = "end other programs or raise the limit; smaller data.crop_size and train.batch_size need less"
    if there < LEAST_MEMORY:
        return fault("memory", says, advice)
    return ok("memory", says) if there >= ENOUGH_MEMORY else warning("memory", says, advice)


def check_shared_memory(machine: Machine) -> Finding:
    """Through it loader processes hand over what they have read."""
    name, advice = "/dev/shm", "start the container with --shm-size=2g (or --ipc=host), or set data.workers=0"
    if machine.shared_memory is None:
        return fault(name, "not there: loader processes cannot hand over pictures", advice)
    says = f"{in_bytes(machine.shared_memory)} free"
    return ok(name, says) if machine.shared_memory >= ENOUGH_SHARED_MEMORY else warning(name, says, advice)


def check_limits(machine: Machine) -> Finding:
    says = ", ".join(f"{value} {name}" for name, value in machine.limits.items()) or "none"
    if machine.limits.get("open files", ENOUGH_FILES) < ENOUGH_FILES:
        return warning("limits", says, f"ulimit -n {ENOUGH_FILES}: loader processes keep many files open")
    if machine.limits.keys() - {"open files"}:
        return warning("limits", says, "a long training may be ended by them: raise them with ulimit")
    return ok("limits", says)


def check_threads(facts: TorchFacts, machine: Machine) -> Finding:
    settings = ", ".join(f"{name}={value}" for name, value in machine.thread_settings.items())
    says = f"torch uses {facts.torch_threads}, OpenCV {facts.opencv_threads}{f'; {settings}' if settings else ''}"
    cores = max(1, int(machine.core_time))
    if facts.torch_threads > cores:
        return warning("threads", says, f"more than cores, they wait for one another: set OMP_NUM_THREADS={cores}")
    if settings and facts.torch_threads < cores:
        return warning("threads", says, f"{cores} cores could be used: unset what is set, unless others share them")
    return ok("threads", says)


def check_abilities(facts: TorchFacts) -> Finding:
    """Which arithmetic is fast here."""
    able = {name for name in ABILITIES if facts.capabilities.get(name)}
    fast = ["fp32", *(["bf16"] if able & set(FAST_BF16) else []), *(["int8"] if able & set(FAST_INT8) else [])]
    says = f"{', '.join(ABILITIES[name] for name in ABILITIES if name in able) or 'none'}; fast in {', '.join(fast)}"
    if able & {"avx2", "neon"}:
        return ok("CPU", says)
    return warning("CPU", says, "without AVX2 or NEON networks run several times slower: use another machine")


def check_accelerators(facts: TorchFacts, machine: Machine) -> Finding:
    name, complaint = "accelerators", next(iter(facts.complaints), "")
    if facts.devices and not complaint:
        return ok(name, f"{facts.built_for or 'torch'}: {', '.join(facts.devices)}")
    if complaint:
        return warning(name, complaint, "update the driver, or install the torch that fits it (pytorch.org)")
    if machine.nvidia_driver is None:
        return ok(name, "none; the CPU computes")
    says = f"NVIDIA's driver {machine.nvidia_driver} is here, but torch ({facts.built_for or 'CPU alone'}) finds no GPU"
    return warning(name, says, "install a torch for CUDA that fits the driver (pytorch.org); see CUDA_VISIBLE_DEVICES")
