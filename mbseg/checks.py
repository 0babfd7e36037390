"""What must fit together before a training starts."""

import shutil
from collections.abc import Iterator
from typing import Any

from mbseg.config.load import make_experiment, read_yaml, to_tree
from mbseg.config.schema import Experiment
from mbseg.engine.run_folder import RunFolder
from mbseg.errors import ConfigError

FREE_TO_CHANGE = ("device", "threads", "data.root", "data.workers", "train.log_every", "train.samples")


def check_sizes(experiment: Experiment) -> None:
    """Raises ConfigError for a crop that the network cannot take."""
    crop, stride = experiment.data.crop_size, experiment.model.output_stride
    if min(crop) < stride:
        raise ConfigError(f"data.crop_size {list(crop)} is smaller than the output stride {stride}; make it larger")
    if experiment.train.batch_size == 1:
        raise ConfigError(
            "train.batch_size is 1: the batch norm behind the image pooling needs two pictures or more; "
            "use 2, and halve data.crop_size if memory is short"
        )
    if experiment.train.compile and not any(shutil.which(compiler) for compiler in ("c++", "g++", "clang++")):
        raise ConfigError("train.compile needs a C++ compiler, and there is none; install one or leave it off")
    step = experiment.train.loss.stride
    if step > 1 and (not experiment.model.align_corners or any((size - 1) % step for size in crop)):
        raise ConfigError(
            f"loss.stride {step} needs model.align_corners and a data.crop_size of {step} * k + 1, not {list(crop)}"
        )


def check_resumed_config(experiment: Experiment, folder: RunFolder) -> None:
    """Raises ConfigError where a run would be resumed with another config than it was started with."""
    if not folder.is_started():
        return
    if not folder.config.exists():
        raise ConfigError(f"{folder.path} has lost its config.yaml, so it cannot be resumed; name another --output")
    started = make_experiment(read_yaml(folder.config), source=str(folder.config))
    then, now = dict(flat(to_tree(started))), dict(flat(to_tree(experiment)))
    changed = [key for key in now if now[key] != then.get(key) and not key.startswith(FREE_TO_CHANGE)]
    if changed:
        key = changed[0]
        raise ConfigError(
            f"{folder.path} was started with {key}={then.get(key)}, not {now[key]}; resume with the same config, "
            f"or name another --output" + (f" ({len(changed)} keys differ)" if len(changed) > 1 else "")
        )


def flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
