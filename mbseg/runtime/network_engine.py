"""torch models whose forward pass another engine computes; all else about them stays as it is."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from mbseg.boxes.detections import RawDetections
from mbseg.boxes.geometry import Size
from mbseg.models.detection import DetectionModel
from mbseg.models.joint import JointModel, JointPredictions
from mbseg.models.segmentation import SegmentationModel
from mbseg.nn.fuse import fused
from mbseg.runtime.engines import check_engine
from mbseg.runtime.frame_graphs import outputs_of
from mbseg.runtime.names import Precision, SessionEngine
from mbseg.runtime.onnx_graph import Port, to_onnx
from mbseg.runtime.sessions import Session, open_session

if TYPE_CHECKING:
    from onnx import ModelProto

logger = logging.getLogger(__name__)

MOST_SIZES = 64  # of pictures that a network is kept for
Network = SegmentationModel | DetectionModel | JointModel
Model = TypeVar("Model", bound=Network)


def prepare(model: Model, engine: SessionEngine, precision: Precision, graphs: "Graphs | None" = None) -> Model:
    """A copy of `model` in eval mode on the CPU, whose predictions `engine` computes: float32 in and out.

    It is converted when it meets pictures of a size for the first time, which takes seconds, and runs with as many
    threads as torch does then. The pictures of a batch are computed one by one. `graphs` are of the same model, for
    several engines to share. Raises ConfigError for an engine that is not installed, or has not this precision.
    """
    check_engine(engine, precision, torch.device("cpu"))
    prepared = fused(model)
    prepared.cpu().requires_grad_(False)
    prepared.forward = EngineForward(graphs or Graphs(model), engine, precision)  # type: ignore[method-assign, assignment]
    return prepared


class Graphs:
    """A network in ONNX, converted for one size of pictures after the other."""

    def __init__(self, network: Network) -> None:
        self.network = fused(network).cpu().requires_grad_(False)
        self._latest: tuple[Size, ModelProto] | None = None

    def of(self, size: Size) -> "ModelProto":
        if self._latest is None or self._latest[0] != size:
            logger.info("converting the network for pictures of %d x %d", *size)
            self._latest = size, to_graph(self.network, size)
        return self._latest[1]


class EngineForward:
    """What stands in for a network's `forward`."""

    def __init__(self, graphs: Graphs, engine: SessionEngine, precision: Precision) -> None:
        self.graphs = graphs
        self.engine = engine
        self.precision: Precision = precision
        self._sessions: dict[Size, Session] = {}

    def __call__(self, images: Tensor) -> Tensor | RawDetections | JointPredictions:
        session = self._session((images.shape[-2], images.shape[-1]))
        last = images.permute(0, 2, 3, 1).contiguous()
        found = [session(one[None].numpy()) for one in last]
        return predictions({name: torch.cat([torch.from_numpy(one[name]) for one in found]) for name in found[0]})

    def _session(self, size: Size) -> Session:
        if size not in self._sessions:
            if len(self._sessions) == MOST_SIZES:
                self._sessions.clear()
            self._sessions[size] = open_session(self.graphs.of(size), self.engine, precision=self.precision)
        return self._sessions[size]


def predictions(outputs: Mapping[str, Tensor]) -> Tensor | RawDetections | JointPredictions:
    """In the form in which the network itself gives them."""
    if "class_logits" not in outputs:
        return outputs["logits"]
    raw = RawDetections(outputs["class_logits"], outputs["box_offsets"])
    return JointPredictions(outputs["logits"], raw) if "logits" in outputs else raw


class InChannelsLast(nn.Module):
    """A network that takes images as channels_last ones lie in memory: [N, H, W, 3]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor | RawDetections | JointPredictions:
        predictions: Tensor | RawDetections | JointPredictions = self.network(images.permute(0, 3, 1, 2))
        return predictions


def to_graph(network: Network, size: Size) -> "ModelProto":
    """For one size: sizes left open take torch many times as long, and both engines' runs a tenth longer."""
    return to_onnx(InChannelsLast(network), [Port("images", (1, *size, 3))], outputs_of(network))
