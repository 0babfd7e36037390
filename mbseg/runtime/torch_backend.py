"""torch's ways to run a finished network: as it was built, with batch norm folded, or compiled; in fp32 or bf16."""

import copy
import importlib
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from mbseg.boxes.detections import RawDetections
from mbseg.models.detection import DetectionModel
from mbseg.models.joint import JointModel, JointPredictions
from mbseg.models.segmentation import SegmentationModel
from mbseg.nn.fuse import fused
from mbseg.runtime.silence import silence

Backend = Literal["eager", "fused", "compiled"]
Precision = Literal["fp32", "bf16"]
Model = TypeVar("Model", bound=SegmentationModel | DetectionModel | JointModel)
Predictions = TypeVar("Predictions", Tensor, RawDetections, JointPredictions)


def prepare(model: Model, *, backend: Backend = "eager", precision: Precision = "fp32") -> Model:
    """A copy of `model` for use, not for training: in eval mode, channels_last, float32 in and out in any precision.

    "fused" folds batch norm into the convolutions. "compiled" is torch.compile on that: for MobileNetV2 at 513 x 513 on
    a CPU it took 25 to 46 seconds, which every new size of pictures does, and saved 6 to 9 % of a run.
    """
    prepared = copy.deepcopy(model) if backend == "eager" else fused(model)
    if precision == "bf16":
        prepared.to(torch.bfloat16)  # behind the folding, whose factors would be rounded too
    prepared.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    prepared.register_forward_pre_hook(to_network)
    prepared.register_forward_hook(to_float32)
    if backend == "compiled":
        with silence():
            importlib.import_module("torch.utils.cpp_extension")  # looks for CUDA, and complains
        prepared.compile(dynamic=False, options={"freezing": True})
    return prepared


def describe(backend: Backend = "eager", precision: Precision = "fp32") -> str:
    """In words, for beside a latency."""
    return f"torch {backend} channels_last {precision}"


def changes(backend: Backend, precision: Precision) -> list[str]:
    """What is done to a network beyond running it as it was built, in words, for beside a score."""
    words = {"eager": [], "fused": ["batch norm fused"], "compiled": ["batch norm fused", "compiled"]}[backend]
    return words if precision == "fp32" else [precision, *words]


def to_network(network: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    """A hook before `forward`: images as the weights are."""
    dtype = next(network.parameters()).dtype
    return inputs[0].to(dtype, memory_format=torch.channels_last)


def to_float32(_network: nn.Module, _inputs: tuple[Tensor], predictions: Predictions) -> Predictions:
    """A hook behind `forward`."""
    converted: Predictions = tree_map(Tensor.float, predictions)
    return converted
