"""What a command line may name: a config, or a weights file that carries its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from mbseg.build import check_fits
from mbseg.build_common import labels, model_card, with_classes
from mbseg.config.load import load_experiment, make_experiment
from mbseg.config.schema import Experiment
from mbseg.engine.checkpoint import load_checkpoint
from mbseg.engine.run_folder import RunFolder
from mbseg.errors import ConfigError, WeightsError
from mbseg.models.segmentation import ModelCard
from mbseg.weights.store import read_weights

State = dict[str, Tensor]
WEIGHTS_SUFFIX = ".safetensors"
CHECKPOINT_SUFFIX = ".pt"
EXPORTED_SUFFIXES = (".onnx", ".xml")
FOREIGN_SUFFIXES = (".tflite", ".pth", ".pb")
CONFIG_SUFFIXES = (".yaml", ".yml", "")


def experiment_of(target: str, overrides: Sequence[str]) -> Experiment:
    """The experiment of a config or of a weights file, overrides laid over it."""
    if target.endswith(WEIGHTS_SUFFIX):
        return read_own_config(Path(target), overrides)[0]
    check_not_foreign(target)
    return load_experiment(target, overrides)


def read_target(
    target: str, overrides: Sequence[str], *, weights: Path | None, run: Path
) -> tuple[Experiment, State, str]:
    """The experiment, the weights, and the file they come from."""
    if target.endswith(WEIGHTS_SUFFIX):
        if weights is not None:
            raise ConfigError(f"{target} is a weights file already; leave --weights away")
        return read_own_config(Path(target), overrides)
    if Path(target).is_dir():
        return read_target(str(best_of(Path(target), target)), overrides, weights=weights, run=run)
    check_not_foreign(target)
    if target.endswith(CHECKPOINT_SUFFIX):
        raise ConfigError(f"{target} does not carry its config; name that: mbseg evaluate CONFIG --weights {target}")
    experiment = with_classes(load_experiment(target, overrides))
    weights = weights or best_of(run, target)
    if weights.suffix == CHECKPOINT_SUFFIX:
        return experiment, checkpoint_state(weights, experiment), str(weights)
    state, card = read_weights(weights)
    if card is not None:
        check_card(card, experiment, weights)
    return experiment, state, str(weights)


def check_not_foreign(target: str) -> None:
    if target.endswith(".pte"):
        raise ConfigError(f"{target} is exported for ExecuTorch; mbseg itself runs exported .onnx and .xml files")
    if target.endswith(EXPORTED_SUFFIXES):
        raise ConfigError(f"{target} is exported already; name the {WEIGHTS_SUFFIX} that it was made from")
    if target.endswith(FOREIGN_SUFFIXES):
        raise ConfigError(
            f"mbseg does not run {target}; bring its weights in: mbseg import-weights {target} OUT.safetensors"
        )
    if Path(target).is_file() and Path(target).suffix not in (*CONFIG_SUFFIXES, CHECKPOINT_SUFFIX):
        raise ConfigError(
            f"{target} is of no kind that mbseg knows: weights are called *{WEIGHTS_SUFFIX}, exported files "
            f"*{' or *'.join(EXPORTED_SUFFIXES)}, configs *.yaml"
        )


def check_card(card: ModelCard, experiment: Experiment, weights: Path) -> None:
    """Raises WeightsError where weights would be scored under another meaning than they were trained with."""
    asked = model_card(experiment, {})
    for name, theirs, ours in (
        ("classes", card.classes, asked.classes),
        ("data.mean", card.mean, asked.mean),
        ("data.std", card.std, asked.std),
    ):
        if theirs != ours:
            raise WeightsError(f"{weights} was trained with {name} {list(theirs)}, not {list(ours)}")
    trained, head = trained_head(card), experiment.model.head
    for key, chosen in (("scores", head.scores), ("box_plan", head.box_plan)):
        if trained.get(key, chosen) != chosen:
            raise WeightsError(f"{weights} was trained with model.head.{key}={trained[key]}, not {chosen}")


def trained_head(card: ModelCard) -> Mapping[str, Any]:
    """The `model.head` section of the config that made the weights, which may be of another version."""
    model = card.config.get("model")
    head = model.get("head") if isinstance(model, Mapping) else None
    return head if isinstance(head, Mapping) else {}


def best_of(run: Path, config: str) -> Path:
    best = RunFolder(run).best
    if not best.exists():
        raise WeightsError(f"no weights {best}; train first (mbseg train {config}), or name a file with --weights")
    return best


def read_own_config(path: Path, overrides: Sequence[str]) -> tuple[Experiment, State, str]:
    state, card = read_weights(path)
    if card is None:
        raise WeightsError(
            f"{path} carries no config of mbseg: of a whole model, name one (mbseg evaluate CONFIG --weights {path}); "
            f"a backbone is what a training starts from (model.backbone.weights={path})"
        )
    experiment = make_experiment(card.config, overrides, source=str(path))
    check_card(card, experiment, path)
    check_fits(experiment, state, str(path), num_classes=len(labels(experiment).classes))
    return experiment, state, str(path)


def checkpoint_state(path: Path, experiment: Experiment) -> State:
    """Of a training's checkpoint, the averaged weights or (`evaluate.ema=false`) the raw ones."""
    checkpoint = load_checkpoint(path)
    average = checkpoint.average
    state: State = average["state"] if average and experiment.evaluate.ema else checkpoint.model
    return state
