"""`mbseg demo` with a detector: boxes over a stream, the same command and the same figures."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mbseg import build_common, build_detection
from mbseg.boxes.detections import Detections
from mbseg.build import load
from mbseg.cli import main
from mbseg.config.load import make_experiment
from mbseg.models.box_prediction import BoxPredictor
from mbseg.models.detection import DetectionModel
from mbseg.nn.norm import Normalize
from mbseg.predictors import load_predictor
from mbseg.runtime.answers import Answer
from mbseg.runtime.torch_predictor import TorchDetector
from mbseg.video.boxes import draw_boxes
from mbseg.video.outputs import Video
from mbseg.video.sinks import Shown
from mbseg.video.sources import Frame, open_source
from mbseg.weights.store import save_weights
from tests.helpers import calibrated

SIZE = (48, 64)
NETWORK_SIZE = (96, 128)
TREE = {
    "task": "detection",
    "device": "cpu",
    "data": {"kind": "voc", "root": "datasets/voc2012"},
    "model": {
        "backbone": {"name": "mobilenet_v3_small", "width_mult": 0.35},
        "head": {"kind": "ssdlite"},
        "image_size": NETWORK_SIZE,
    },
    "train": {"steps": 1},
}


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that finds something everywhere, though it was never trained."""
    torch.manual_seed(0)
    experiment = make_experiment(TREE, source="test")
    patches = torch.nn.functional.interpolate(torch.randn(16, 3, 5, 5), NETWORK_SIZE)
    model = calibrated(build_detection.model(experiment.model, 20, weights=False), patches)
    with torch.no_grad():
        for predictor in model.head.class_predictors:
            predictor.get_parameter("pointwise.weight").normal_(std=0.5)
    file = tmp_path_factory.mktemp("demo") / "detector.safetensors"
    save_weights(file, model.state_dict(), build_common.model_card(experiment, {}))
    return file


def noise(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    patches = np.random.default_rng(number).integers(0, 256, (3, 4, 3)).astype(np.uint8)
    return cv2.resize(patches, size[::-1], interpolation=cv2.INTER_NEAREST)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    with Video(tmp_path / "in.avi", size=SIZE, fps=10) as sink:
        for number in range(4):
            sink.write(Shown(Frame("", noise(number)), Answer(), noise(number)))
    return tmp_path / "in.avi"


def run(weights: Path, *arguments: str | Path) -> int:
    return main(["demo", str(weights), "--backend", "torch", *map(str, arguments)])


def loaded(weights: Path, *, longer_side: int | None = None, least_score: float | None = None) -> TorchDetector:
    made = load_predictor(str(weights), run=Path(), longer_side=longer_side, least_score=least_score).predictor
    assert isinstance(made, TorchDetector)
    return made


def boxes_in(frame: np.ndarray, detector: TorchDetector) -> Detections:
    found = detector(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)).detections
    assert found is not None
    return found


def test_a_video_comes_out_with_boxes_and_the_figures_of_every_demo(
    weights: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.mp4"
    assert run(weights, "--source", video, "--output", output, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["frames"], result["interrupted"], result["network_size"]) == (4, None, list(NETWORK_SIZE))
    assert set(result["stages_ms"]) == {"decode", "infer", "draw", "write"}
    drawn = open_source(str(output))
    assert (drawn.size, drawn.fps) == (SIZE, 10)
    for before, after in zip(open_source(str(video)).frames, drawn.frames, strict=True):
        assert np.abs(before.pixels.astype(int) - after.pixels).mean() > 5


def test_boxes_are_those_of_the_evaluation_whose_score_is_high_enough(weights: Path) -> None:
    frame, detector, model = noise(0, (60, 90)), loaded(weights), load(weights)
    assert isinstance(model, DetectionModel) and model.card is not None
    image = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), NETWORK_SIZE[::-1], interpolation=cv2.INTER_LINEAR)
    evaluated = BoxPredictor(
        model, Normalize(model.card.mean, model.card.std), replace(detector.predictor.selection, score_threshold=0.001)
    )
    (expected,) = evaluated(torch.from_numpy(image).permute(2, 0, 1)[None], [(60, 90)])
    found = boxes_in(frame, detector)
    count = int((expected.scores > 0.5).sum())
    assert 3 < count < len(expected.scores)
    assert len(found.scores) == count
    torch.testing.assert_close(found.scores, expected.scores[:count], rtol=0, atol=1e-3)
    torch.testing.assert_close(found.boxes, expected.boxes[:count], rtol=0, atol=0.05)
    assert torch.equal(found.labels, expected.labels[:count])


def test_pictures_are_drawn_in_the_colours_of_the_classes(weights: Path, tmp_path: Path) -> None:
    frame = noise(1, (200, 300))
    cv2.imwrite(str(tmp_path / "in.png"), frame)
    assert run(weights, "--source", tmp_path / "in.png", "--output", tmp_path / "out.png") == 0
    card, found = load(weights).card, boxes_in(frame, loaded(weights))
    assert card is not None
    boxes, labels, scores = found.boxes.numpy(), found.labels.numpy(), found.scores.numpy()
    expected = draw_boxes(frame[..., ::-1].copy(), boxes, labels, scores, card.classes, card.palette)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "out.png"))[..., ::-1], expected)


def test_a_higher_least_score_leaves_fewer_boxes(weights: Path) -> None:
    counts = [len(boxes_in(noise(0), loaded(weights, least_score=least)).scores) for least in (0.0, 0.5, 0.9, 1.0)]
    assert counts == sorted(set(counts), reverse=True)
    assert counts[-1] == 0


@pytest.mark.parametrize(
    ("frame", "longer_side", "network"),
    [((480, 640), 320, (240, 320)), ((301, 200), 100, (100, 66)), ((40, 1000), 320, (64, 320)), ((9, 9), 64, (64, 64))],
)
def test_with_a_longer_side_the_network_sees_the_frames_own_proportions(
    frame: tuple[int, int], longer_side: int, network: tuple[int, int], weights: Path
) -> None:
    detector = loaded(weights, longer_side=longer_side)
    assert detector.input_size(frame) == network
    found = boxes_in(noise(0, frame), detector)
    assert len(found.boxes) > 0
    assert (found.boxes >= 0).all()
    assert (found.boxes <= torch.tensor([*frame[::-1], *frame[::-1]]) + 1e-3).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--least-score", "1.5"], "--least-score is 1.5; scores lie between 0 and 1"),
        (["--longer-side", "63"], "--longer-side is 63; it must be 64 to 4096"),
        (["evaluate.flip=true"], "evaluate.flip belongs to segmentation"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], message: str, weights: Path, video: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(weights, "--source", video, "--output", tmp_path / "out.mp4", *arguments) == 2
    said = capfd.readouterr()
    assert message in said.err
    assert (said.out, said.err.strip().count("\n")) == ("", 0)
    assert [path.name for path in tmp_path.iterdir()] == ["in.avi"]
