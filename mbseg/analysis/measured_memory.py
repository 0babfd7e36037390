"""The memory that a pass takes at its worst moment, as the operating system sees it."""

import copy
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from mbseg.analysis.profile import shape_only
from mbseg.processes import ending_with_this

PROCESS = Path("/proc/self")
RESET_HIGH_WATER_MARK = "5"  # see proc_pid_clear_refs(5)
# A block of this many bytes or more goes back to the system when it is freed, see mallopt(3). Otherwise glibc keeps
# most, and the pieces between them, and the process stays two to five times as large as what is in use.
ALLOCATION = {"MALLOC_MMAP_THRESHOLD_": str(2**16)}


def measure_peak_memory(model: nn.Module, image_size: tuple[int, int], *, threads: int | None = None) -> int | None:
    """The bytes that a process grows by in one pass of one picture: eager, float32, channels_last, in inference mode.

    An independent check of `PeakMemory`, which counts tensors: this is the high-water mark of the resident memory of
    a fresh process above what was resident before. So it has in it, beside the picture and the activations, what
    operations take for themselves, such as the weights that oneDNN reorders for a convolution: a lot in small pictures.
    The weights themselves are not in it, nor what the first pass of a process sets up.

    On CUDA it is what torch's allocator gave out. None where nothing can be measured: Linux alone can set the mark
    back, and a process that takes too much is killed. `threads` are torch's; None: as many as here. `model` takes
    images [1, 3, H, W] and is left as it is.
    """
    device = next(model.parameters()).device
    if device.type == "cuda":
        return allocated_growth(model, image_size, device)
    if device.type != "cpu" or not has_high_water_mark():
        return None
    command = [sys.executable, "-m", __name__, *map(str, (*image_size, threads or torch.get_num_threads()))]
    own = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    environment = {**own, **ALLOCATION, "PYTHONPATH": os.pathsep.join(sys.path)}  # it knows the same classes
    shapes = pickle.dumps(shape_only(model))
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # an interrupt from the keyboard is for this process
        preexec_fn=ending_with_this(),
    ) as child:
        said, _ = child.communicate(shapes)
    return int(said) if child.returncode == 0 else None


def has_high_water_mark() -> bool:
    return sys.platform == "linux" and (PROCESS / "clear_refs").exists()


def measure_here(height: int, width: int, threads: int) -> int:
    """What the fresh process does: the growth for the network whose shapes come from stdin."""
    torch.set_num_threads(threads)
    run = one_pass(with_values(pickle.load(sys.stdin.buffer)), (height, width), torch.device("cpu"))
    run()  # loads and sets up what stays
    (PROCESS / "clear_refs").write_text(RESET_HIGH_WATER_MARK)
    before = resident_bytes("VmRSS")
    run()
    return resident_bytes("VmHWM") - before


@torch.no_grad()
def with_values(shadow: nn.Module) -> nn.Module:
    """On the CPU, channels_last; all weights are 1, for memory does not depend on them."""
    net = shadow.to_empty(device="cpu").to(memory_format=torch.channels_last)
    for tensor in (*net.parameters(), *net.buffers()):
        tensor.fill_(1)
    return net


def one_pass(net: nn.Module, image_size: tuple[int, int], device: torch.device) -> Callable[[], None]:
    @torch.inference_mode()
    def run() -> None:
        net(torch.rand(1, *image_size, 3, device=device).permute(0, 3, 1, 2))  # laid out as channels_last

    return run


def resident_bytes(name: str) -> int:
    """A figure of /proc/self/status, which are in KiB."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", (PROCESS / "status").read_text(), re.MULTILINE)
    assert found
    return 1024 * int(found[1])


def allocated_growth(model: nn.Module, image_size: tuple[int, int], device: torch.device) -> int:
    run = one_pass(copy.deepcopy(model).eval().to(memory_format=torch.channels_last), image_size, device)
    run()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    return torch.cuda.max_memory_allocated(device) - before


if __name__ == "__main__":
    print(measure_here(*map(int, sys.argv[1:])))
