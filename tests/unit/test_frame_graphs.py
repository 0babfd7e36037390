"""Graphs that take frames give what PyTorch gives, whatever the size of the frame."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mbseg
from mbseg.backbones.base import Backbone, FeatureInfo, Features
from mbseg.boxes.detections import Detections
from mbseg.boxes.postprocess import Selection, select
from mbseg.detectors import create_detector
from mbseg.models.box_prediction import BoxPredictor
from mbseg.models.detection import DetectionModel
from mbseg.models.framing import Protocol, Size
from mbseg.models.prediction import Predictor
from mbseg.models.segmentation import SegmentationModel
from mbseg.nn.conv import ConvNormAct, Padding
from mbseg.nn.norm import Normalize
from mbseg.runtime.agreement import Agreement, found_again
from mbseg.runtime.answers import UInt8Array
from mbseg.runtime.exported import ExportedPredictor
from mbseg.runtime.frame_graphs import detection_to_onnx, segmentation_to_onnx
from mbseg.runtime.onnx_suppression import suppression
from mbseg.runtime.sessions import SessionEngine, open_session
from mbseg.runtime.torch_predictor import TorchDetector, TorchSegmenter
from tests.helpers import calibrated

ENGINES: list[SessionEngine] = ["onnxruntime", "openvino"]
SIZES = [(64, 96), (65, 97), (90, 71), (33, 140)]
NORMALIZE = Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.25))
CPU = torch.device("cpu")


def picture(size: Size) -> UInt8Array:
    """Blots of colour."""
    coarse = torch.rand(1, 3, 6, 7)
    image: UInt8Array = (
        (255 * F.interpolate(coarse, size, mode="bicubic").clamp(0, 1))[0].byte().permute(1, 2, 0).numpy()
    )
    return np.ascontiguousarray(image)


def images(size: Size) -> torch.Tensor:
    """Normalised, to calibrate on."""
    pixels = torch.stack([torch.from_numpy(picture(size)) for _ in range(4)])
    normalized: torch.Tensor = NORMALIZE(pixels.permute(0, 3, 1, 2))
    return normalized


class ThreeConvolutions(Backbone):
    """A small network in which sizes count: half of every map is left three times."""

    def __init__(self, padding: Padding) -> None:
        super().__init__()
        self.feature_info = {"c3": FeatureInfo(8, 8)}
        self.layers = nn.Sequential(
            *(ConvNormAct(before, 8, 3, stride=2, activation=nn.ReLU6(), padding=padding) for before in (3, 8, 8))
        )

    def forward(self, images: Tensor) -> Features:
        return {"c3": self.layers(images)}


class Classifier(nn.Conv2d):
    def forward(self, features: Features) -> Tensor:  # type: ignore[override]
        return super().forward(features["c3"])


def segmenter(*, align_corners: bool = True, padding: Padding = "symmetric") -> SegmentationModel:
    model = SegmentationModel(ThreeConvolutions(padding), Classifier(8, 5, 1), align_corners=align_corners)
    return calibrated(model, images((96, 128)))


@pytest.mark.parametrize(
    ("protocol", "align_corners", "padding"),
    [
        (Protocol(), True, "symmetric"),
        (Protocol(), False, "tensorflow"),
        (Protocol(pad_to=(97, 97)), True, "symmetric"),
        (Protocol(resize_longer_side=80), True, "symmetric"),
        (Protocol(resize_longer_side=80, pad_to=(81, 81)), False, "symmetric"),
    ],
)
def test_class_maps_of_every_frame_size_are_pytorchs(protocol: Protocol, align_corners: bool, padding: Padding) -> None:
    predictor = Predictor(segmenter(align_corners=align_corners, padding=padding), NORMALIZE, protocol)
    graph = segmentation_to_onnx(predictor.model, NORMALIZE, predictor.framing)
    onnx.checker.check_model(graph, full_check=True)
    expected = TorchSegmenter(predictor, CPU, "torch")
    frames = [picture(size) for size in SIZES]
    answers = [expected(frame) for frame in frames]
    assert len(np.unique(np.concatenate([answer.mask.ravel() for answer in answers if answer.mask is not None]))) > 1
    for engine in ENGINES:
        found, agreement = ExportedPredictor(open_session(graph, engine)), Agreement()
        for frame, answer in zip(frames, answers, strict=True):
            agreement.add(answer, found(frame))
        assert agreement.shares["pixels"] > 0.999


def test_a_graph_of_one_size_says_so_and_can_be_stopped_at_its_logits() -> None:
    predictor = Predictor(segmenter(), NORMALIZE, Protocol())
    graph = segmentation_to_onnx(predictor.model, NORMALIZE, predictor.framing, size=(64, 96))
    session = open_session(graph, "onnxruntime", outputs=["logits"])
    assert session.inputs == {"image": (1, 64, 96, 3)}
    frame = picture((64, 96))
    pixels = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        logits = predictor.model(NORMALIZE(F.pad(pixels, (0, 1, 0, 1), mode="replicate")))
    assert logits.std() > 0.1
    torch.testing.assert_close(torch.from_numpy(session(frame[None])["logits"]), logits, rtol=1e-3, atol=1e-3)


def test_a_graph_tells_nothing_of_the_machine_it_was_made_on() -> None:
    predictor = Predictor(segmenter(), NORMALIZE, Protocol())
    content = segmentation_to_onnx(predictor.model, NORMALIZE, predictor.framing, size=(64, 64)).SerializeToString()
    assert str(Path(mbseg.__file__).parent).encode() not in content
    assert b"stack_trace" not in content


def detector() -> DetectionModel:
    size = (96, 128)
    model = create_detector("mobilenet_v2", width_mult=0.35, num_classes=3, image_size=size)
    for part in model.head.class_predictors:
        torch.nn.init.normal_(part.get_parameter("pointwise.weight"), std=0.1)
    return calibrated(model, images(size))


def test_boxes_of_a_frame_that_needs_no_resizing_are_pytorchs() -> None:
    model, selection = detector(), Selection(score_threshold=0.05, detections=40)
    expected = TorchDetector(BoxPredictor(model, NORMALIZE, selection), CPU, "torch")
    graph = detection_to_onnx(model, NORMALIZE, selection)
    onnx.checker.check_model(graph, full_check=True)
    frame = picture(model.image_size)
    answer = expected(frame).detections
    assert answer is not None and len(answer.scores) == 40
    for engine in ENGINES:
        found = ExportedPredictor(open_session(graph, engine))(frame).detections
        assert found is not None and len(found.scores) == 40
        assert found_again(answer, found).float().mean() > 0.9  # random scores lie close together


def assert_same(found: Detections, expected: Detections) -> None:
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.boxes, expected.boxes, rtol=1e-3, atol=0.02)
    assert torch.equal(found.labels, expected.labels)


def test_boxes_lie_in_the_frames_own_pixels() -> None:
    model, selection = detector(), Selection(score_threshold=0.05)
    found = ExportedPredictor(open_session(detection_to_onnx(model, NORMALIZE, selection), "onnxruntime"))
    small = picture(model.image_size)
    large = small.repeat(3, axis=0).repeat(3, axis=1)
    answers = [found(frame).detections for frame in (small, large)]
    assert answers[0] is not None and answers[1] is not None
    torch.testing.assert_close(answers[1].boxes[:5], 3 * answers[0].boxes[:5], rtol=0.02, atol=2)


def predictions() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Boxes and probabilities: many classes, one class, and nothing probable."""
    for boxes, classes, level in ((300, 6, 0.0), (500, 1, 1.0), (200, 4, -20.0)):
        corners = 200 * torch.rand(boxes, 2)
        yield (
            torch.cat([corners, corners + 5 + 60 * torch.rand(boxes, 2)], 1),
            (torch.randn(boxes, classes) + level).sigmoid(),
        )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "selection", [Selection(), Selection(0.6, 0.3, candidates=20, detections=30), Selection(0.0, 0.7, 5, 1000)]
)
def test_suppression_keeps_what_select_keeps(engine: SessionEngine, selection: Selection) -> None:
    graph = suppression(selection)
    onnx.checker.check_model(graph, full_check=True)
    for boxes, probabilities in predictions():
        assert_same(run(graph, engine, boxes, probabilities), select(boxes, probabilities, selection))


def run(graph: onnx.ModelProto, engine: SessionEngine, boxes: torch.Tensor, probabilities: torch.Tensor) -> Detections:
    """With the boxes as a constant: sessions take one input."""
    whole = onnx.ModelProto()
    whole.CopyFrom(graph)
    del whole.graph.input[0]
    whole.graph.initializer.append(onnx.numpy_helper.from_array(boxes[None].numpy(), "decoded_boxes"))
    outputs = open_session(whole, engine)(probabilities[None].numpy())
    found = (torch.from_numpy(outputs[name]) for name in ("boxes", "scores", "labels"))
    return Detections(*found)
