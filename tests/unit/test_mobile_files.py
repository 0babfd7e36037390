"""Programs for phones say what PyTorch says; their files know what they are."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mbseg
from mbseg.boxes.postprocess import Selection
from mbseg.errors import ConfigError
from mbseg.models.box_prediction import BoxPredictor
from mbseg.models.framing import Protocol
from mbseg.models.joint_prediction import JointPredictor
from mbseg.models.prediction import Predictor
from mbseg.models.segmentation import ModelCard
from mbseg.nn.norm import Normalize
from mbseg.runtime import mobile_files
from mbseg.runtime.agreement import Agreement
from mbseg.runtime.answers import FramePredictor, UInt8Array
from mbseg.runtime.artifact import SUFFIXES, Artifact, Format, Precision
from mbseg.runtime.exported import ExportedPredictor
from mbseg.runtime.litert_file import resize_what_is_expanded, with_facts
from mbseg.runtime.mobile_files import check_mobile, mobile_file, program_of, suppressed
from mbseg.runtime.sessions import Array, Session
from mbseg.runtime.torch_predictor import TorchDetector, TorchJoint, TorchSegmenter
from mbseg.runtime.whole_programs import traced
from mbseg.targets import read_target
from tests.helpers import calibrated

SIZE = (64, 96)
CPU = torch.device("cpu")
NORMALIZE = Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.25))
SELECTION = Selection(score_threshold=0.05, detections=40)
TASKS = ["segmentation", "detection", "joint"]
FORMATS: list[Format] = ["executorch", "litert"]


def frames(count: int) -> list[UInt8Array]:
    """Blots of colour."""
    pixels = 255 * F.interpolate(torch.rand(count, 3, 6, 7), SIZE, mode="bicubic").clamp(0, 1)
    return [np.ascontiguousarray(one.byte().permute(1, 2, 0).numpy()) for one in pixels]


def images() -> torch.Tensor:
    """Normalised, to calibrate on."""
    pixels = torch.stack([torch.from_numpy(frame) for frame in frames(4)])
    normalized: torch.Tensor = NORMALIZE(pixels.permute(0, 3, 1, 2))
    return normalized


def spread(model: nn.Module, *names: str) -> None:
    """Makes a random network decided: its answers differ from place to place."""
    for name in names:
        nn.init.normal_(model.get_parameter(name), std=0.5)


def reference(task: str) -> FramePredictor:
    if task == "segmentation":
        segmenter = mbseg.create_segmenter("mobilenet_v2", width_mult=0.35, num_classes=5, head_channels=8)
        spread(segmenter, "head.classifier.weight")
        return TorchSegmenter(Predictor(calibrated(segmenter, images()), NORMALIZE, Protocol()), CPU, "torch")
    if task == "detection":
        detector = mbseg.create_detector("mobilenet_v2", width_mult=0.35, num_classes=3, image_size=SIZE)
        for part in detector.head.class_predictors:
            spread(part, "pointwise.weight")
        return TorchDetector(BoxPredictor(calibrated(detector, images()), NORMALIZE, SELECTION), CPU, "torch")
    joint = mbseg.create_joint("mobilenet_v2", width_mult=0.35, num_classes=4, image_size=SIZE, head="lraspp")
    spread(joint, "segmentation_head.classifier.weight")
    return TorchJoint(JointPredictor(calibrated(joint, images()), NORMALIZE, SELECTION), CPU, "torch")


class ProgramSession(Session):
    """A traced program, run by torch."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        self.module = program.module()
        self.inputs = {"image": (1, *SIZE, 3)}
        self.outputs = tuple(program.call_spec.out_spec.context)
        self.description = "torch.export"

    @torch.no_grad()
    def __call__(self, values: Array) -> dict[str, Array]:
        return {name: tensor.numpy() for name, tensor in self.module(image=torch.from_numpy(values)).items()}


def shares(expected: FramePredictor, session: Session) -> dict[str, float]:
    found, agreement = ExportedPredictor(suppressed(session, expected)), Agreement()
    for frame in frames(3):
        agreement.add(expected(frame), found(frame))
    return agreement.shares


@pytest.mark.parametrize("task", TASKS)
def test_a_whole_program_says_what_its_parts_say(task: str) -> None:
    expected = reference(task)
    program = traced(program_of(expected), SIZE)
    assert min(shares(expected, ProgramSession(program)).values()) > 0.99
    resize_what_is_expanded(program)
    assert min(shares(expected, ProgramSession(program)).values()) > 0.99


def test_single_values_are_spread_by_a_resize() -> None:
    program = traced(program_of(reference("segmentation")), SIZE)
    resize_what_is_expanded(program)
    called = [str(node.target) for node in program.graph.nodes]
    assert "aten.upsample_nearest2d.vec" in called and "aten.expand.default" not in called


@pytest.mark.filterwarnings("ignore")  # the converters' own
@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("task", TASKS)
def test_files_say_what_pytorch_says(task: str, file_format: Format, tmp_path: Path) -> None:
    for module in mobile_files.MODULES[file_format]:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    expected = reference(task)
    made, path = mobile_file(expected, file_format, SIZE), tmp_path / f"file{SUFFIXES[file_format]}"
    for agreement in ({}, {"pixels": 0.5}):
        artifact = Artifact(task, "fp32", SIZE, CARD, agreement)
        made.save(path, artifact)
        assert facts_of(path) == artifact.to_json()
    session = made.session(path)
    assert session.inputs == {"image": (1, *SIZE, 3)}
    assert min(shares(expected, session).values()) > 0.99


CARD = ModelCard(("void", "ärmel"), ((0, 0, 0), (1, 2, 3)), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), {}, {})


def facts_of(path: Path) -> str:
    return facts_of_pte(path) if path.suffix == ".pte" else facts_of_tflite(path.read_bytes())


def facts_of_pte(path: Path) -> str:
    from executorch.runtime import Runtime

    (facts,) = Runtime.get().load_program(path).load_method("mbseg").execute([])
    return str(facts)


def facts_of_tflite(content: bytes) -> str:
    from ai_edge_litert.schema_py_generated import Model

    model = Model.GetRootAs(content)
    entries = [model.Metadata(index) for index in range(model.MetadataLength())]
    (buffer,) = (entry.Buffer() for entry in entries if entry.Name() == b"mbseg")
    return bytes(model.Buffers(buffer).DataAsNumpy()).decode()


def test_facts_in_a_tflite_change_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="LiteRT judges the file")
    from ai_edge_litert.interpreter import Interpreter

    from tests.tflite_writer import Writer

    writer = Writer()
    picture = writer.tensor([1, 2, 2, 1])
    path = writer.save(tmp_path / "plain.tflite", picture, writer.resize(picture, (4, 4)))
    facts = json.dumps({"classes": ["sky", "ärmel"]})
    sealed = with_facts(path.read_bytes(), facts)
    assert facts_of_tflite(sealed) == facts
    answers = []
    for content in (path.read_bytes(), sealed):
        interpreter = Interpreter(model_content=content)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.float32([[[[1], [2]], [[3], [4]]]]))
        interpreter.invoke()
        answers.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    assert answers[0].std() > 0.5
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize(
    ("precision", "size", "least_score", "words"),
    [
        ("int8", SIZE, None, "is made in fp32; take --format openvino for int8"),
        ("fp32", None, None, "--size HEIGHT WIDTH"),
        ("fp32", SIZE, 0.5, "--least-score: .* gives all boxes"),
        ("fp32", SIZE, None, r"no_such_module is not installed; .* 'mbseg\[(executorch|litert)\]', best in an environ"),
    ],
)
def test_what_cannot_be_made_is_one_line(
    file_format: Format,
    precision: Precision,
    size: tuple[int, int] | None,
    least_score: float | None,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(mobile_files.MODULES, file_format, ("no_such_module",))
    with pytest.raises(ConfigError, match=words) as caught:
        check_mobile(file_format, precision, size, least_score)
    assert "\n" not in str(caught.value)


def test_mbseg_itself_runs_no_pte() -> None:
    with pytest.raises(ConfigError, match=r"exported for ExecuTorch; mbseg itself runs exported \.onnx and \.xml"):
        read_target("best.pte", [], weights=None, run=Path("runs/best"))
