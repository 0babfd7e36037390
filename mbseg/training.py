"""A training from its config to its result: everything is checked before the run folder is touched."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mbseg.analysis.charts import learning_curve
from mbseg.build import builder
from mbseg.build_common import model_card, with_classes
from mbseg.checks import check_resumed_config
from mbseg.config.load import to_yaml
from mbseg.config.schema import Experiment
from mbseg.data.loaders import (
    BatchLoader,
    Samples,
    check_batch_size,
    evaluation_loader,
    steps_per_epoch,
    training_loader,
)
from mbseg.engine import distributed
from mbseg.engine.deterministic import deterministic
from mbseg.engine.device import pick_device, use_threads, uses_bf16, worker_count
from mbseg.engine.fit import FitSettings, Hooks, Trainer
from mbseg.engine.lock import locked
from mbseg.engine.optim import OptimizerSettings
from mbseg.engine.progress import Progress, Scores
from mbseg.engine.run_folder import RunFolder
from mbseg.engine.schedule import Schedule
from mbseg.errors import RunError
from mbseg.files import write_atomically
from mbseg.nn.fake_quantize import fake_quantized
from mbseg.tasks.base import Task
from mbseg.weights.store import save_weights


def train(experiment: Experiment, folder: RunFolder, *, resume: bool) -> Scores:
    """Trains, and gives the best evaluation's scores; a finished run gives its result at once.

    Raises ConfigError, DataError, WeightsError for what cannot be trained, RunError for a folder that is taken, a loss
    that is not finite and a disk that refuses, and Interrupted when it was told to end, with everything saved.
    """
    experiment = with_classes(experiment)
    device = distributed.local_device(pick_device(experiment.device))
    use_threads(experiment.threads)
    look = partial(look_into, folder, experiment, resume=resume)
    with distributed.joined(device) as place:
        if result := distributed.on_main(place, look):
            return result
        with held(folder.path, place), deterministic(experiment.train.deterministic):
            # another one may have trained here until now
            return distributed.on_main(place, look) or trained(experiment, folder, device, place, resume=resume)


def look_into(folder: RunFolder, experiment: Experiment, *, resume: bool) -> Scores | None:
    """The result of a run that is finished. Raises RunError or ConfigError for a folder that is not to be used."""
    folder.refuse_if_taken(resume=resume)
    check_resumed_config(experiment, folder)
    result = folder.read_result()
    if result and not folder.best.exists():
        raise without_best(folder)
    return result


def without_best(folder: RunFolder) -> RunError:
    return RunError(f"{folder.path} is finished, but {folder.best.name} is gone; remove the folder to train again")


@contextmanager
def held(folder: Path, place: distributed.Place) -> Iterator[None]:
    """The folder locked, by one process for all."""
    with ExitStack() as locks:
        distributed.on_main(place, lambda: locks.enter_context(locked(folder)))
        yield


def trained(
    experiment: Experiment, folder: RunFolder, device: torch.device, place: distributed.Place, *, resume: bool
) -> Scores:
    """The result of a training begun, or gone on with, in a folder that nobody else uses."""
    goes_on = resume and has_checkpoint(folder, place)
    trainer = make_trainer(experiment, folder, device, place, pretrained=not goes_on)
    if not goes_on:
        distributed.on_main(place, partial(forget_killed, folder, trainer.settings.checkpoint_every))
    distributed.on_main(place, partial(begin, experiment, folder))
    if goes_on:
        trainer.resume()
    result = result_of(trainer.fit(), trainer.task.score, folder)
    distributed.on_main(place, partial(finish, folder, result, trainer.task.score))
    return result


def has_checkpoint(folder: RunFolder, place: distributed.Place) -> bool:
    """Whether the main process has one, which then travels to all. Raises RunError if only others do."""
    there = distributed.on_main(place, folder.last.exists)
    if distributed.any_process(folder.last.exists() and not there):
        raise RunError(
            f"{folder.last} lies on another machine than the main process; put {folder.path} where all machines see it"
        )
    return there


def forget_killed(folder: RunFolder, checkpoint_every: int) -> None:
    """Forgets a run that was killed before its first checkpoint. Raises RunError for one that has lost it since."""
    if folder.has_lost_checkpoint(checkpoint_every):
        raise RunError(f"{folder.last} is gone, so this run cannot go on; remove the folder, or name another --output")
    folder.best.unlink(missing_ok=True)
    folder.forget_metrics_behind(0, evaluated=0)


def begin(experiment: Experiment, folder: RunFolder) -> None:
    folder.make()
    write_atomically(folder.config, to_yaml(experiment).encode())


def finish(folder: RunFolder, result: Scores, score: str) -> None:
    curve = learning_curve(list(folder.read_metrics()), score=score, title=folder.path.name)
    write_atomically(folder.curve, curve)
    folder.write_result(result)


def make_trainer(
    experiment: Experiment, folder: RunFolder, device: torch.device, place: distributed.Place, *, pretrained: bool
) -> Trainer:
    """All that a training needs, built and checked; nothing is written yet. A resumed one has its own weights."""
    parts = builder(experiment.task)
    parts.check(experiment)
    training = parts.dataset(experiment, experiment.data.train, augment=True)
    validation = parts.dataset(experiment, experiment.data.val, augment=False)
    check_batch_size(len(training), experiment.train.batch_size, place.world)
    task = parts.task(experiment, weights=pretrained)
    task.loss = parts.loss(experiment, training)
    if experiment.train.quantization_aware:
        task.predict_with(fake_quantized(task.model))
    settings = fit_settings(experiment, task.score, len(training), device, place)
    if experiment.train.compile:
        task.model.compile()
    return Trainer(
        task,
        settings,
        folder,
        make_hooks(experiment, task, training, validation, folder, settings, place),
        device,
        place,
    )


def fit_settings(
    experiment: Experiment, score: str, pictures: int, device: torch.device, place: distributed.Place
) -> FitSettings:
    config = experiment.train
    optimizer = config.optimizer
    batches = steps_per_epoch(pictures, config.batch_size, place.world)
    per_epoch = max(1, batches // config.accumulate)
    steps = config.steps or max(1, batches * (config.epochs or 1) // config.accumulate)
    evaluate_every = min(config.evaluate_every or per_epoch, steps)
    head_factor = 10 if optimizer.name == "sgd" else 1
    return FitSettings(
        schedule=Schedule(steps, config.schedule.name, config.schedule.power, config.schedule.warmup_steps),
        optimizer=OptimizerSettings(
            optimizer.name,
            optimizer.learning_rate,
            optimizer.head_learning_rate or optimizer.learning_rate * head_factor,
            optimizer.weight_decay,
            optimizer.momentum,
        ),
        batch_size=config.batch_size * config.accumulate * place.world,
        evaluate_every=evaluate_every,
        checkpoint_every=min(config.checkpoint_every or evaluate_every, steps),
        score=score,
        log_every=config.log_every,
        accumulate=config.accumulate,
        clip_norm=config.clip_norm,
        ema_decay=config.ema_decay,
        evaluate_average=experiment.evaluate.ema,
        freeze_norm=config.freeze_norm,
        max_nonfinite_steps=config.max_nonfinite_steps,
        bf16=uses_bf16(config.precision, device),
        seed=config.seed,
        extent={"pictures": pictures, "processes": place.world, "steps": steps},
    )


def make_hooks(
    experiment: Experiment,
    task: Task,
    training: Samples,
    validation: Samples,
    folder: RunFolder,
    settings: FitSettings,
    place: distributed.Place,
) -> Hooks:
    workers = worker_count(experiment.data.workers)
    to_gpu = experiment.device != "cpu" and torch.cuda.is_available()
    validation_batches = evaluation_loader(
        validation, workers=workers, rank=place.rank, world=place.world, pin_memory=to_gpu
    )
    count = min(experiment.train.samples, len(validation))
    fixed = [index * len(validation) // count for index in range(count)]

    def batches(first: int) -> BatchLoader:
        return training_loader(
            training,
            experiment.train.batch_size,
            seed=experiment.train.seed,
            start_step=first,
            steps=settings.schedule.steps * settings.accumulate - first,
            workers=workers,
            rank=place.rank,
            world=place.world,
            pin_memory=to_gpu,
        )

    return Hooks(
        batches=batches,
        validation=lambda: validation_batches,
        save_best=partial(save_best, experiment, folder.best),
        draw=partial(draw_samples, experiment, task, validation, fixed, folder.samples),
    )


def save_best(experiment: Experiment, path: Path, state: dict[str, Tensor], scores: Scores) -> None:
    save_weights(path, state, model_card(experiment, scores))


def draw_samples(
    experiment: Experiment, task: Task, validation: Any, indices: list[int], folder: Path, step: int
) -> None:
    """Truth and prediction in fixed validation pictures, as `samples/<step>_<name>.jpg`."""
    task.eval()
    for index in indices:
        name, drawn = builder(experiment.task).sheet(experiment, task, validation, index)
        write_picture(folder / f"{step:06d}_{name.replace('/', '_')[-100:]}.jpg", drawn)


def write_picture(path: Path, pixels: Any) -> None:
    data = BytesIO()
    Image.fromarray(pixels).save(data, "JPEG" if path.suffix == ".jpg" else "PNG", quality=90)
    write_atomically(path, data.getvalue())


def result_of(progress: Progress, score: str, folder: RunFolder) -> Scores:
    """The best evaluation's scores, where its weights lie, and what the last one came to.

    Raises RunError where the weights were removed behind the last evaluation.
    """
    best, last = progress.best, progress.last
    if not best:
        raise without_best(folder)
    assert last
    scores = {name: value for name, value in best.items() if name != "seconds"}
    return {**scores, f"last_{score}": last[score], "seconds": last["seconds"], "weights": str(folder.best)}
