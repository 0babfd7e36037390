"""A training from its config to its result: everything is checked before the run folder is touched."""

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
from mbseg.engine.device import pick_device, use_threads, uses_bf16, worker_count
from mbseg.engine.fit import FitSettings, Hooks, Scores, Trainer
from mbseg.engine.optim import OptimizerSettings
from mbseg.engine.run_folder import RunFolder
from mbseg.engine.schedule import Schedule
from mbseg.errors import RunError
from mbseg.files import write_atomically
from mbseg.nn.fake_quantize import fake_quantized
from mbseg.tasks.base import Task
from mbseg.weights.store import save_weights


def train(experiment: Experiment, folder: RunFolder, *, resume: bool) -> Scores:
    """Trains, and gives the best evaluation's scores; a finished run gives its result at once.

    Raises ConfigError, DataError, WeightsError for what cannot be trained, RunError for a folder that is taken and for
    a loss that is not finite.
    """
    folder.refuse_if_taken(resume=resume)
    experiment = with_classes(experiment)
    check_resumed_config(experiment, folder)
    if result := folder.read_result():
        if not folder.best.exists():
            raise RunError(
                f"{folder.path} is finished, but {folder.best.name} is gone; remove the folder to train again"
            )
        return result
    device = distributed.local_device(pick_device(experiment.device))
    use_threads(experiment.threads)
    place = distributed.start(device)
    goes_on = resume and folder.last.exists()
    trainer = make_trainer(experiment, folder, device, place, pretrained=not goes_on)
    if place.is_main:
        folder.make()
        write_atomically(folder.config, to_yaml(experiment).encode())
        if not goes_on:
            folder.forget_metrics_behind(0)  # of a run that was killed before its first checkpoint
    if goes_on:
        trainer.resume()
    score = trainer.task.score
    result = result_of(folder, trainer.fit(), score)
    if place.is_main:
        lines = list(folder.read_metrics())
        write_atomically(folder.curve, learning_curve(lines, score=score, title=folder.path.name))
        folder.write_result(result)
    distributed.stop()
    return result


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


def result_of(folder: RunFolder, last: Scores, score: str) -> Scores:
    """The best evaluation's scores, where its weights lie, and what the last one came to."""
    best = max(folder.evaluations(), key=lambda line: line[score], default=last)
    scores = {name: value for name, value in best.items() if name not in ("part", "seconds")}
    return {**scores, f"last_{score}": last[score], "seconds": last["seconds"], "weights": str(folder.best)}
