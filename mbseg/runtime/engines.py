"""What can run a network here, and what runs it fastest."""

import importlib.util
import logging
import shutil
import statistics
from collections.abc import Mapping
from functools import partial
from time import perf_counter
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from mbseg.analysis.timing import Laps, Report, share_time
from mbseg.boxes.geometry import Size
from mbseg.errors import ConfigError, first_line
from mbseg.runtime.answers import FramePredictor, UInt8Array
from mbseg.runtime.names import EngineName, Precision

logger = logging.getLogger(__name__)

Name = TypeVar("Name", bound=str)
SECONDS = 1.0  # for all engines together


class Engine(NamedTuple):
    """What an engine needs, and can do."""

    modules: tuple[str, ...]  # the conversion's too
    extra: str  # of mbseg, that installs them
    precisions: tuple[Precision, ...]


ENGINES: Mapping[EngineName, Engine] = {
    "torch": Engine((), "", ("fp32", "bf16")),
    "compiled": Engine((), "", ("fp32", "bf16")),
    "onnxruntime": Engine(("onnx", "onnxscript", "onnxruntime"), "export", ("fp32",)),
    "openvino": Engine(("onnx", "onnxscript", "openvino"), "openvino", ("fp32", "bf16")),
}


class Fastest(NamedTuple):
    """The predictor that was chosen, and milliseconds a frame of all, the fastest first."""

    predictor: FramePredictor
    milliseconds: Mapping[str, float]


def check_installed(engine: EngineName) -> None:
    """Raises ConfigError."""
    if missing := missing_modules(engine):
        extra = ENGINES[engine].extra
        raise ConfigError(f"{missing[0]} is not installed; {engine} needs it: pip install 'mbseg[{extra}]'")


def missing_modules(engine: EngineName) -> list[str]:
    return [module for module in ENGINES[engine].modules if importlib.util.find_spec(module) is None]


def check_engine(engine: EngineName, precision: Precision, device: torch.device) -> None:
    """Raises ConfigError for an engine that is not installed, or cannot do what is asked."""
    check_installed(engine)
    if engine == "compiled" and not has_compiler():
        raise ConfigError("torch.compile needs a C++ compiler, and there is none; install one, or use torch")
    if precision not in ENGINES[engine].precisions:
        able = [name for name, one in ENGINES.items() if precision in one.precisions]
        raise ConfigError(f"{engine} has no {precision}; use {', '.join(able)}")
    if engine in ("onnxruntime", "openvino") and device.type != "cpu":
        raise ConfigError(f"{engine} runs on the CPU here, and the device is {device}; use torch, or device=cpu")


def usable_engines(precision: Precision, device: torch.device) -> list[EngineName]:
    """Those that are installed, can do what is asked, and are soon ready for it."""
    able = [name for name, engine in ENGINES.items() if precision in engine.precisions and not missing_modules(name)]
    return [name for name in able if name == "torch" or (name != "compiled" and device.type == "cpu")]


def has_compiler() -> bool:
    return any(shutil.which(compiler) for compiler in ("c++", "g++", "clang++"))


def fastest(
    predictors: Mapping[Name, FramePredictor],
    frame_size: Size | None,
    *,
    seconds: float = SECONDS,
    on_run: Report = lambda _what, _done, _total: None,
) -> Fastest:
    """The fastest on a frame of that size, each measured in turn for its share of the time.

    A single one is taken as it is. What cannot run the network is left out, and told. Raises ConfigError if none can.
    """
    if len(predictors) == 1 or frame_size is None:
        return Fastest(next(iter(predictors.values())), {})
    frame = drawn_frame(frame_size)
    able = {name: one for name, one in predictors.items() if name == "torch" or can_run(one, frame)}
    if not able:
        raise ConfigError(f"neither {' nor '.join(predictors)} can run this network; take the weights it was made of")
    laps = share_time([partial(run, one, frame) for one in able.values()], seconds, on_run)
    medians = [statistics.median(lap["frame"] for lap in several) for several in laps]
    order = sorted(zip(medians, able, strict=True))
    milliseconds: dict[str, float] = {name: median for median, name in order}
    logger.info("a frame takes %s", ", ".join(f"{name} {value:.0f} ms" for name, value in milliseconds.items()))
    return Fastest(able[order[0][1]], milliseconds)


def can_run(predictor: FramePredictor, frame: UInt8Array) -> bool:
    """Converts the network for its first frame. Some networks cannot be, and every engine says so in its own way."""
    try:
        predictor(frame)
    except Exception as error:
        logger.warning("%s is left out, it cannot run this network: %s", predictor.description, first_line(error))
        return False
    return True


def run(predictor: FramePredictor, frame: UInt8Array) -> Laps:
    start = perf_counter()
    predictor(frame)
    return {"frame": 1000 * (perf_counter() - start)}


def drawn_frame(size: Size) -> UInt8Array:
    """Coarse patches of colour [H, W, 3]: of noise, networks see something else at every place."""
    height, width = size
    patches = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    return patches[np.arange(height) * 4 // height][:, np.arange(width) * 6 // width]
