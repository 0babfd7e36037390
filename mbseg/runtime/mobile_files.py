"""Formats of phones and boards: frames of one size, and no suppression of boxes among their operators."""

import importlib.util
from typing import final

import torch
from torch import nn

from mbseg.boxes.geometry import Size
from mbseg.boxes.postprocess import Selection, select
from mbseg.errors import ConfigError
from mbseg.runtime.answers import FramePredictor
from mbseg.runtime.artifact import Format, Precision
from mbseg.runtime.export_files import ExportFile
from mbseg.runtime.session_predictor import BOX_TENSORS as ALL_BOXES
from mbseg.runtime.sessions import Array, Session
from mbseg.runtime.torch_predictor import TorchDetector, TorchJoint, TorchSegmenter
from mbseg.runtime.whole_programs import DetectionProgram, JointProgram, SegmentationProgram

MODULES: dict[Format, tuple[str, ...]] = {
    "executorch": ("executorch",),
    "litert": ("litert_torch", "ai_edge_litert"),
}


def is_mobile(file_format: Format) -> bool:
    return file_format in MODULES


def check_mobile(file_format: Format, precision: Precision, size: Size | None, least_score: float | None) -> None:
    """Raises ConfigError for what cannot be made, or is not installed."""
    if precision != "fp32":
        raise ConfigError(f"--format {file_format} is made in fp32; take --format openvino for {precision}")
    if size is None:
        raise ConfigError(f"a file of --format {file_format} takes frames of one size: name it, --size HEIGHT WIDTH")
    if least_score is not None:
        raise ConfigError(
            f"--least-score: a file of --format {file_format} gives all boxes with their probabilities; leave it away"
        )
    if missing := [module for module in MODULES[file_format] if importlib.util.find_spec(module) is None]:
        raise ConfigError(
            f"{missing[0]} is not installed; --format {file_format} needs it: pip install 'mbseg[{file_format}]', "
            "best in an environment of its own"
        )


def mobile_file(expected: FramePredictor, file_format: Format, size: Size) -> ExportFile:
    """The whole way of the reference, from a frame of `size` to the class map, or to all boxes."""
    program = program_of(expected)
    if file_format == "litert":
        from mbseg.runtime.litert_file import litert_file

        return litert_file(program, size)
    from mbseg.runtime.executorch_file import executorch_file

    return executorch_file(program, size)


def program_of(expected: FramePredictor) -> nn.Module:
    if isinstance(expected, TorchSegmenter):
        segmenter = expected.predictor
        return SegmentationProgram(segmenter.model, segmenter.normalize, segmenter.framing)
    if isinstance(expected, TorchDetector):
        return DetectionProgram(expected.predictor.model, expected.predictor.normalize)
    assert isinstance(expected, TorchJoint)
    return JointProgram(expected.predictor.model, expected.predictor.normalize)


@final
class Suppressed(Session):
    """A session that gives all boxes, with the choice among them behind it."""

    def __init__(self, session: Session, selection: Selection) -> None:
        self.session = session
        self.selection = selection
        self.inputs = session.inputs
        self.outputs = (*(name for name in session.outputs if name not in ALL_BOXES), "boxes", "scores", "labels")
        self.description = session.description

    def __call__(self, values: Array) -> dict[str, Array]:
        outputs = self.session(values)
        boxes, probabilities = (torch.from_numpy(outputs.pop(name)[0]) for name in ALL_BOXES)
        found = select(boxes, probabilities, self.selection)
        return {
            **outputs,
            "boxes": found.boxes.numpy(),
            "scores": found.scores.numpy(),
            "labels": found.labels.numpy(),
        }


def suppressed(session: Session, expected: FramePredictor) -> Session:
    """With the choice of boxes that the reference makes, if the file itself makes none."""
    if not {*ALL_BOXES} <= {*session.outputs}:
        return session
    assert isinstance(expected, TorchDetector | TorchJoint)
    return Suppressed(session, expected.predictor.selection)
