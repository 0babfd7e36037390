"""`mbseg demo`: from a weights file and a stream to a drawn stream, and every way to end."""

import json
import os
import signal
from collections import deque
from pathlib import Path
from time import sleep

import cv2
import numpy as np
import pytest
import torch

from mbseg import build, build_common, build_segmentation, predictors
from mbseg.cli import main
from mbseg.commands import demo
from mbseg.config.load import make_experiment
from mbseg.models.framing import Protocol
from mbseg.models.prediction import Predictor
from mbseg.nn.fuse import fused
from mbseg.nn.norm import Normalize
from mbseg.runtime.answers import Answer
from mbseg.runtime.torch_predictor import TorchSegmenter
from mbseg.video.outputs import Video
from mbseg.video.overlay import overlay
from mbseg.video.painter import Painter
from mbseg.video.play import FrameTimes
from mbseg.video.sinks import Shown
from mbseg.video.sources import Frame, open_source
from mbseg.weights.store import save_weights
from tests.helpers import calibrated

pytestmark = pytest.mark.usefixtures("late_signals_do_nothing")

SIZE = (48, 64)
STAGES = {"decode", "infer", "draw", "write"}
ENDINGS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
TREE = {
    "device": "cpu",
    "data": {"kind": "camvid", "root": "datasets/camvid"},
    "model": {"backbone": {"width_mult": 0.35}, "head": {"channels": 8}},
    "train": {"steps": 1},
}


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that sees differences, though it was never trained."""
    torch.manual_seed(0)
    experiment = make_experiment(TREE, source="test")
    patches = torch.nn.functional.interpolate(torch.randn(16, 3, 5, 5), (65, 65))
    model = calibrated(build_segmentation.model(experiment.model, 11, weights=False), patches)
    with torch.no_grad():
        model.head.classifier.weight.normal_()
        model.head.classifier.bias -= model(patches).mean((0, 2, 3))
    file = tmp_path_factory.mktemp("demo") / "small.safetensors"
    save_weights(file, model.state_dict(), build_common.model_card(experiment, {}))
    return file


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Six frames with as much blue as there is no red."""
    return write_video(tmp_path / "in.avi", 6)


def write_video(path: Path, frames: int) -> Path:
    with Video(path, size=SIZE, fps=10) as sink:
        for number in range(frames):
            pixels = np.random.default_rng(number).integers(0, 60, (*SIZE, 3)).astype(np.uint8)
            pixels += np.array([180, 60, 0], np.uint8)
            sink.write(Shown(Frame("", pixels), Answer(), pixels))
    return path


def run(weights: Path, *arguments: str | Path) -> int:
    return main(["demo", str(weights), "--backend", "torch", *map(str, arguments)])


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".avi"])
def test_a_video_comes_out_drawn_with_its_size_rate_and_length(
    suffix: str, weights: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / f"out{suffix}"
    assert run(weights, "--source", video, "--output", output, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["frames"], result["interrupted"], result["network_size"]) == (6, None, [49, 65])
    assert result["fps"] > 0
    assert 0 < result["latency_ms"]["p50"] <= result["latency_ms"]["p95"]
    assert set(result["stages_ms"]) == STAGES
    drawn = open_source(str(output))
    assert (drawn.size, drawn.fps) == (SIZE, 10)
    for before, after in zip(open_source(str(video)).frames, drawn.frames, strict=True):
        assert np.abs(before.pixels.astype(int) - after.pixels).mean() > 5
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["in.avi", output.name])


def test_pictures_keep_their_names_and_sizes_and_are_drawn_as_the_model_sees_them(
    weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    sizes = {"9.png": (40, 61), "10.png": (33, 50)}
    for number, (name, size) in enumerate(sizes.items()):
        patches = np.random.default_rng(number).integers(0, 256, (3, 4, 3)).astype(np.uint8)
        pixels = cv2.resize(patches, size[::-1], interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(tmp_path / "in" / name), pixels)
    assert run(weights, "--source", tmp_path / "in", "--output", tmp_path / "out") == 0
    model = build.load(weights)
    assert model.card is not None
    predictor = Predictor(model, Normalize(model.card.mean, model.card.std), Protocol())
    for name in sizes:
        image = cv2.imread(str(tmp_path / "in" / name))[..., ::-1].copy()
        mask = predictor(torch.from_numpy(image).permute(2, 0, 1)[None])[0].numpy()
        expected = overlay(image, mask, model.card.palette)
        drawn = cv2.imread(str(tmp_path / "out" / name))[..., ::-1]
        assert drawn.shape == image.shape
        assert (np.abs(drawn.astype(int) - expected) <= 1).mean() > 0.99  # fused: a pixel may change sides
        assert len(np.unique(mask)) > 1


def test_a_single_picture_becomes_a_picture(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "in.jpg"), np.full((*SIZE, 3), 99, np.uint8))
    assert run(weights, "--source", tmp_path / "in.jpg", "--output", tmp_path / "deep" / "out.png") == 0
    assert cv2.imread(str(tmp_path / "deep" / "out.png")).shape == (*SIZE, 3)
    said = capsys.readouterr().out
    assert said.startswith("frames          1\nspeed ")
    assert f"written         {tmp_path / 'deep' / 'out.png'}" in said


def test_without_output_it_only_measures_and_stops_where_told(
    weights: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(weights, "--source", video, "--frames", "4", "--longer-side", "33", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["frames"], result["output"], result["network_size"]) == (4, None, [33, 33])
    assert [path.name for path in tmp_path.iterdir()] == ["in.avi"]


def test_longer_side_wins_over_the_padding_of_an_imported_protocol(
    weights: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    padded = ["evaluate.pad_to=[81,81]", "--source", str(video), "--frames", "1", "--json"]
    assert run(weights, *padded) == 0
    assert json.loads(capsys.readouterr().out)["network_size"] == [81, 81]
    assert run(weights, *padded, "--longer-side", "33") == 0
    assert json.loads(capsys.readouterr().out)["network_size"] == [33, 33]


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_interruption_leaves_a_playable_video_and_the_figures_so_far(
    ending: signal.Signals,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    draw, drawn = Painter.__call__, []

    def draw_and_end(self: Painter, frame: np.ndarray, answer: Answer) -> np.ndarray:
        drawn.append(answer)
        if len(drawn) == 12:  # two of them warm up
            os.kill(os.getpid(), ending)
        return draw(self, frame, answer)

    monkeypatch.setattr(Painter, "__call__", draw_and_end)
    long = write_video(tmp_path / "in.avi", 300)
    before = [signal.getsignal(number) for number in ENDINGS]
    assert run(weights, "--source", long, "--output", tmp_path / "out.mp4", "--json") == 128 + ending
    result = json.loads(capsys.readouterr().out)
    assert result["interrupted"] == ending.name
    assert 9 <= result["frames"] < 300
    assert len(list(open_source(str(tmp_path / "out.mp4")).frames)) == result["frames"]
    assert [signal.getsignal(number) for number in ENDINGS] == before


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_ending_before_the_stream_begins_is_an_interruption(
    ending: signal.Signals,
    weights: Path,
    video: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(predictors, "read_target", lambda *_arguments, **_names: signal.raise_signal(ending))
    assert run(weights, "--source", video) == 128 + ending
    assert capfd.readouterr().err == "interrupted\n"


def test_a_file_played_as_a_camera_drops_what_the_network_has_no_time_for(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(TorchSegmenter, "__call__", lambda _self, image: Answer(np.zeros(image.shape[:2], np.uint8)))
    monkeypatch.setattr(Painter, "__call__", lambda _self, frame, _answer: sleep(0.25) or frame)
    assert run(weights, "--source", write_video(tmp_path / "in.avi", 12), "--live", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["dropped"] > 2
    assert result["frames"] + result["dropped"] >= 11


def test_smoothing_and_opacity_change_what_is_drawn(weights: Path, video: Path, tmp_path: Path) -> None:
    def drawn(*arguments: str) -> np.ndarray:
        assert run(weights, "--source", video, "--output", tmp_path / "out", "--overwrite", *arguments) == 0
        return np.stack([cv2.imread(str(path)) for path in sorted((tmp_path / "out").iterdir())]).astype(int)

    plain, steadied, bare = drawn(), drawn("--smooth", "0.8"), drawn("--opacity", "0")
    assert np.abs(steadied[0] - plain[0]).mean() == 0
    assert np.abs(steadied - plain).mean() > 0.5
    source = np.stack([frame.pixels for frame in open_source(str(video)).frames]).astype(int)
    assert np.abs(bare - source).mean() < 3 < np.abs(plain - source).mean()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "nowhere.mp4"], "nowhere.mp4: there is no such file or folder"),
        (["--source", "in.avi", "--output", "out.mkv"], "cannot be written; name a video"),
        (["--source", "in.avi", "--output", "in.avi", "--overwrite"], "would replace the source"),
        (["--source", "in.avi", "--output", "in.avi/out.mp4"], "cannot be made"),
        (["--source", "in.avi", "--frames", "0"], "--frames is 0; it must be 1 or more"),
        (["--source", "in.avi", "--longer-side", "-3"], "--longer-side is -3"),
        (["--source", "in.avi", "--longer-side", "4097"], "--longer-side is 4097; it must be 32 to 4096"),
        (["--source", "in.avi", "--least-score", "0.3"], "--least-score is for detection"),
        (["--source", "in.avi", "--smooth", "1"], "--smooth is 1; it must be 0 or more (off), and below 1"),
        (["--source", "in.avi", "--opacity", "2"], "--opacity is 2; it lies between 0"),
        (["--source", "in.avi", "--window"], "--window: "),
        (["--source", "in.avi", "--token", "secret"], "add --serve PORT"),
        (["--serve", "0", "--output", "out.mp4"], "--output and --window show a --source"),
        (["--source", "in.avi", "evaluate.flp=true"], "did you mean evaluate.flip?"),
        (["--source", ""], "--source is missing"),
        ([], "--source is missing"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    arguments: list[str],
    message: str,
    weights: Path,
    video: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    before = video.read_bytes()
    assert run(weights, *arguments) == 2
    said = capfd.readouterr()
    assert message in said.err
    assert (said.out, said.err.strip().count("\n")) == ("", 0)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == {video: before}


def test_a_fused_network_computes_the_same_without_batch_norm(weights: Path) -> None:
    model = build.load(weights)
    images = torch.randn(1, 3, 65, 97)
    folded = fused(model)
    assert not [part for part in folded.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert [part for part in model.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        expected = model(images)
        assert expected.std() > 1e-3
        torch.testing.assert_close(folded(images), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_the_progress_bar_shows_medians_of_the_stages_and_drops() -> None:
    times = [FrameTimes(1, infer, 3, 4, 30) for infer in (20, 21, 90)]
    assert demo.stages_text(deque(times), 0) == "decode 1.0, infer 21.0, draw 3.0, write 4.0, latency 30.0 ms"
    assert demo.stages_text(deque(times), 7).endswith(", 7 dropped")
