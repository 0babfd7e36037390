"""Every way to run a finished network that stays a torch model: in torch itself, or in another engine."""

from typing import Literal, TypeVar

import torch

from mbseg.models.detection import DetectionModel
from mbseg.models.joint import JointModel
from mbseg.models.segmentation import SegmentationModel
from mbseg.runtime import network_engine, torch_backend
from mbseg.runtime.engines import check_engine
from mbseg.runtime.names import Precision

Backend = Literal["eager", "fused", "compiled", "onnxruntime", "openvino"]
Model = TypeVar("Model", bound=SegmentationModel | DetectionModel | JointModel)


def prepare(model: Model, *, backend: Backend = "eager", precision: Precision = "fp32") -> Model:
    """A copy of `model` for use, not for training: in eval mode, float32 in and out in any precision."""
    if backend == "onnxruntime" or backend == "openvino":
        return network_engine.prepare(model, backend, precision)
    return torch_backend.prepare(model, backend=backend, precision=precision)


def check_backend(backend: Backend, precision: Precision, device: torch.device) -> None:
    """Before any long work. Raises ConfigError for what is not installed, or cannot do what is asked."""
    check_engine("torch" if backend == "eager" or backend == "fused" else backend, precision, device)


def describe(backend: Backend = "eager", precision: Precision = "fp32") -> str:
    """In words, for beside a latency."""
    if backend == "onnxruntime" or backend == "openvino":
        return f"{backend} {precision}"
    return torch_backend.describe(backend, precision)


def changes(backend: Backend, precision: Precision) -> list[str]:
    """What is done to a network beyond running it as it was built, in words, for beside a score."""
    if backend == "onnxruntime" or backend == "openvino":
        return [f"{backend} {precision}"]
    return torch_backend.changes(backend, precision)
