"""The optimizer with its parameter groups: backbone and head, with and without weight decay."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from mbseg.tasks.base import Task


@dataclass(frozen=True)
class OptimizerSettings:
    """Rates at the schedule's factor 1."""

    name: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.007  # of the backbone
    head_learning_rate: float = 0.07
    weight_decay: float = 4e-5
    momentum: float = 0.9  # sgd


def make_optimizer(task: Task, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Every trainable parameter in one of four groups; each group keeps its full rate as `base_rate`."""
    groups = list(parameter_groups(task, settings))
    if settings.name == "adamw":
        return torch.optim.AdamW(groups)
    return torch.optim.SGD(groups, momentum=settings.momentum)


def parameter_groups(task: Task, settings: OptimizerSettings) -> Iterator[dict[str, Any]]:
    """Biases and batch norm are not decayed: they have one dimension, all other weights have more."""
    in_backbone = {id(parameter) for parameter in task.backbone.parameters()}
    for rate, of_backbone in ((settings.learning_rate, True), (settings.head_learning_rate, False)):
        for decay, is_matrix in ((settings.weight_decay, True), (0.0, False)):
            parameters = [
                parameter
                for parameter in trainable(task)
                if (id(parameter) in in_backbone) == of_backbone and (parameter.ndim > 1) == is_matrix
            ]
            if parameters:
                yield {"params": parameters, "lr": rate, "base_rate": rate, "weight_decay": decay}


def trainable(module: nn.Module) -> Iterator[nn.Parameter]:
    return (parameter for parameter in module.parameters() if parameter.requires_grad)


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["base_rate"] * factor
