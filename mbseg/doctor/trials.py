"""What is tried in a process of its own, which a broken library may take down; it tells of every trial in JSON.

`python -m mbseg.doctor.trials FOLDER`: a line when a trial begins, one with its result or error when it is over.
"""

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from mbseg.errors import first_line

MODULES = (  # in the order in which they need one another: those with compiled parts, and what uses them all
    "numpy",
    "scipy",
    "numba",
    "PIL.Image",
    "cv2",
    "pycocotools.mask",
    "matplotlib",
    "safetensors",
    "torch",
    "torchvision",
    "timm",
    "segmentation_models_pytorch",
    "albumentations",
    "mbseg.doctor.self_test",
)
IMPORT, TORCH = "import ", "torch"
UNFINISHED = "unfinished"  # what is told of a trial when it begins

Trial = Callable[[], Any]  # gives what JSON can say
Tell = Callable[[Mapping[str, Any]], None]


def main() -> None:
    """Ends with the first trial that fails, but for imports, of which all are tried."""
    tell, scratch = teller(), Path(sys.argv[1])
    importable = [attempt(IMPORT + module, partial(import_one, module), tell) for module in MODULES]
    if all(importable) and attempt(TORCH, torch_facts, tell):
        from mbseg.doctor.self_test import STEPS

        for name, step in STEPS.items():
            if not attempt(name, partial(step, scratch), tell):
                return


def teller() -> Tell:
    """Tells on stdout, and sends there to stderr whatever libraries print, in Python or in C."""
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return lambda message: print(json.dumps(message), file=told)


def attempt(name: str, trial: Trial, tell: Tell) -> bool:
    """Whether it went well; all that can be wrong with an installation may be raised here."""
    tell({"trial": name, "error": UNFINISHED})
    start = time.perf_counter()
    try:
        outcome = {"result": trial()}
    except Exception as error:
        outcome = {"error": f"{type(error).__name__}: {first_line(error)}"}
    tell({"trial": name, "seconds": time.perf_counter() - start, **outcome})
    return "error" not in outcome


def import_one(module: str) -> None:
    import_module(module)


def torch_facts() -> dict[str, Any]:
    import cv2
    import torch

    from mbseg.doctor.machine_checks import TorchFacts

    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        devices = tuple(accelerators())
    kind, version = ("ROCm", torch.version.hip) if torch.version.hip else ("CUDA", torch.version.cuda)
    capabilities = torch.cpu.get_capabilities()
    facts = TorchFacts(
        torch_threads=torch.get_num_threads(),
        opencv_threads=cv2.getNumThreads(),
        capabilities={name: value for name, value in capabilities.items() if isinstance(value, bool)},
        built_for=f"{kind} {version}" if version else None,
        devices=devices,
        complaints=tuple(str(complaint.message).partition("\n")[0] for complaint in complaints),
    )
    return asdict(facts)


def accelerators() -> Iterator[str]:
    import torch

    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(number)
            yield f"{about.name} ({about.total_memory / 1e9:.0f} GB)"
    elif torch.backends.mps.is_available():
        yield "Apple GPU (MPS)"


if __name__ == "__main__":
    main()
