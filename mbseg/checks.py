"""What must fit together before a training starts."""

from collections.abc import Iterator
from typing import Any

from mbseg.config.load import make_experiment, read_yaml, to_tree
from mbseg.config.schema import Experiment
from mbseg.engine.run_folder import RunFolder
from mbseg.errors import ConfigError
from mbseg.runtime.engines import has_compiler

FREE_TO_CHANGE = (
    "device",
    "threads",
    "data.root",
    "data.workers",
    "train.deterministic",
    "train.max_nonfinite_steps",
    "train.log_every",
    "train.samples",
    "train.checkpoint_every",
)


def check_compiler(experiment: Experiment) -> None:
    """Raises ConfigError where `train.compile` cannot work."""
    if experiment.train.compile and not has_compiler():
        raise ConfigError("train.compile needs a C++ compiler, and there is none; install one or leave it off")


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
