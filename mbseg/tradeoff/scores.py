"""Where a row's scores come from: found, or made from weights that are there."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbseg.build_common import labels
from mbseg.config.load import make_experiment, read_yaml
from mbseg.config.schema import Experiment
from mbseg.detectors import SSDLITE, default_maps
from mbseg.engine.run_folder import RunFolder
from mbseg.errors import RunError, WeightsError, first_line
from mbseg.evaluation import score
from mbseg.tradeoff.addresses import digest_of, score_address, training_address
from mbseg.tradeoff.published import head_options
from mbseg.tradeoff.results import Result, Results
from mbseg.tradeoff.rows import Row
from mbseg.weights.store import read_weights

logger = logging.getLogger(__name__)

COSTS = ("params", "madds", "image_size", "protocol", "weights")  # of what `score` gives, no scores


@dataclass(frozen=True)
class Given:
    """A file of weights that carries its config: imported, or trained elsewhere."""

    path: Path
    experiment: Experiment

    def fits(self, row: Row) -> bool:
        """Whether it is the network that the row trains; how it pads, and what else no table tells, may differ."""
        wanted = next(iter(row.trainings.values()))
        same_classes = labels(self.experiment).classes == labels(wanted).classes
        return same_classes and network_facts(self.experiment) == network_facts(wanted)


def read_given(paths: Sequence[Path]) -> list[Given]:
    """Raises WeightsError for a file that carries no config."""
    return [Given(path, make_experiment(card_config(path), source=str(path))) for path in paths]


def card_config(path: Path) -> dict[str, Any]:
    _, card = read_weights(path)
    if card is None:
        raise WeightsError(f"{path} carries no config of mbseg; bring it in with mbseg import-weights")
    return card.config


def network_facts(experiment: Experiment) -> tuple[object, ...]:
    """What tells networks apart; which weights they start from and how they pad is no part of it."""
    model = experiment.model
    backbone = model.backbone.model_copy(update={"weights": None, "padding": "symmetric"})
    if experiment.task == "detection":
        filled_in = {"kind": SSDLITE, "maps": model.head.maps or default_maps(backbone.name)}
        return (backbone, model.head.model_copy(update=filled_in), model.image_size)
    return (backbone, head_options(experiment), model.output_stride)


@dataclass
class Scorer:
    """Finds and makes scores; every one that it makes is kept at once."""

    results: Results
    runs: dict[str, RunFolder]  # finished ones, by address of the training
    given: Sequence[Given] = ()

    def scored(self, row: Row) -> list[Result]:
        """Of every seed that can be scored without training, else of a given file that fits."""
        found = [self.of_seed(row, seed) for seed in row.trainings]
        known = [result for result in found if result]
        fitting = None if known else self.fitting(row)
        return [self.of_file(row, fitting)] if fitting else known

    def fitting(self, row: Row) -> Given | None:
        return next((given for given in self.given if given.fits(row)), None)

    def missing(self, row: Row) -> list[int]:
        """The seeds that have to be trained."""
        if self.fitting(row):
            return []
        return [
            seed
            for seed, training in row.trainings.items()
            if training_address(training) not in self.runs and self.find(row, seed) is None
        ]

    def find(self, row: Row, seed: int) -> Result | None:
        return self.results.find(score_address(training_address(row.trainings[seed]), row.experiment))

    def of_seed(self, row: Row, seed: int) -> Result | None:
        if found := self.find(row, seed):
            return found
        training = training_address(row.trainings[seed])
        run = self.runs.get(training)
        if run is None:
            return None
        return self.make(row, row.experiment, run.best, seed=seed, origin=training, training=training_facts(run))

    def of_file(self, row: Row, given: Given) -> Result:
        """The file's own preprocessing and protocol, with the row's stride, scales and flip, on the row's pictures."""
        origin = f"{given.path.name} {digest_of(given.path)}"
        experiment = as_evaluated(given.experiment, row.experiment)
        found = self.results.find(score_address(origin, experiment))
        return found or self.make(row, experiment, given.path, seed=None, origin=origin, training={})

    def make(
        self, row: Row, experiment: Experiment, file: Path, *, seed: int | None, origin: str, training: dict[str, Any]
    ) -> Result:
        logger.info("scoring %s%s", row.name, "" if seed is None else f", seed {seed}")
        try:
            scores = score(experiment, read_weights(file)[0], origin=str(file))
        except (RuntimeError, MemoryError) as error:  # torch's, of a picture or a scale too large for the memory
            raise RunError(f"{row.name} could not be scored: {first_line(error)}") from error
        result = Result(
            address=score_address(origin, experiment),
            row=row.name,
            seed=seed,
            scores={name: value for name, value in scores.items() if name not in COSTS},
            protocol=scores["protocol"],
            weights=origin,
            training=training,
        )
        self.results.write(result)
        return result


def as_evaluated(own: Experiment, row: Experiment) -> Experiment:
    """A given file's experiment, evaluated as a row is."""
    asked = {"scales": row.evaluate.scales, "flip": row.evaluate.flip}
    asked |= {"backend": row.evaluate.backend, "precision": row.evaluate.precision}
    stride = {"output_stride": row.model.output_stride}
    return own.model_copy(
        update={
            "device": row.device,
            "threads": row.threads,
            "data": own.data.model_copy(update={name: getattr(row.data, name) for name in ("kind", "root", "val")}),
            "evaluate": own.evaluate.model_copy(update=asked),
            "model": own.model.model_copy(update=stride) if own.task == "segmentation" else own.model,
        }
    )


def training_facts(run: RunFolder) -> dict[str, Any]:
    """What a reader wants to know of it; `seconds` on whatever machine that was."""
    result = run.read_result() or {}
    return {
        "steps": result.get("step"),
        "seconds": result.get("seconds"),
        "threads": read_yaml(run.config).get("threads"),
    }
