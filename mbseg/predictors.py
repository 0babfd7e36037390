"""Finished models ready for frames: of a weights file, a run folder, a config or an exported file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mbseg import build_detection
from mbseg.analysis.timing import Report
from mbseg.boxes.geometry import Size
from mbseg.boxes.postprocess import Selection
from mbseg.build import builder
from mbseg.build_common import labels
from mbseg.data.labels import Palette
from mbseg.engine.device import pick_device, use_threads
from mbseg.errors import ConfigError
from mbseg.exported_models import exported_experiment, file_engines, file_predictor, is_exported
from mbseg.models.box_prediction import BoxPredictor
from mbseg.models.detection import SMALLEST_SIDE, DetectionModel
from mbseg.models.framing import Protocol
from mbseg.models.joint import JointModel
from mbseg.models.joint_prediction import JointPredictor
from mbseg.models.prediction import Predictor
from mbseg.models.segmentation import SegmentationModel
from mbseg.runtime import network_engine, torch_backend
from mbseg.runtime.answers import FramePredictor
from mbseg.runtime.artifact import read_artifact
from mbseg.runtime.engines import check_engine, fastest, usable_engines
from mbseg.runtime.names import Backend, EngineName, Precision
from mbseg.runtime.network_engine import Graphs, Network
from mbseg.runtime.torch_predictor import TorchDetector, TorchJoint, TorchSegmenter
from mbseg.targets import read_target
from mbseg.video.boxes import LEAST_SCORE
from mbseg.video.names import Names
from mbseg.weights.report import load_state

CPU = torch.device("cpu")
TORCH_BACKENDS: dict[EngineName, torch_backend.Backend] = {"torch": "fused", "compiled": "compiled"}
COARSEST_CELL = 32  # pixels: the shortest longer side of a segmenter's picture
LONGEST_SIDE = 4096  # pixels: beyond it logits alone take gigabytes


@dataclass(frozen=True)
class Options:
    """How a model is to be used, whatever it was evaluated with."""

    longer_side: int | None = None  # frames are resized to it; None: treated as in the protocol of the weights
    least_score: float | None = None  # boxes below are left out; None: 0.5


@dataclass(frozen=True)
class Loaded:
    """A predictor, and what its answers mean."""

    predictor: FramePredictor
    task: str
    classes: tuple[str, ...]
    palette: Palette  # RGB
    origin: str  # the file with the weights
    device: torch.device
    milliseconds: Mapping[str, float]  # a frame in every engine that was tried, the fastest first; of one, none


def names(loaded: Loaded) -> tuple[Names | None, Names | None]:
    """What a class map's classes are called, and what boxes are, of which none holds the background."""
    known = Names(loaded.classes, loaded.palette)
    if loaded.task == "detection":
        return None, known
    return known, Names(known.classes[1:], known.palette[1:]) if loaded.task == "joint" else None


def load_predictor(
    target: str,
    overrides: Sequence[str] = (),
    *,
    run: Path,
    backend: Backend = "auto",
    precision: Precision = "fp32",
    longer_side: int | None = None,
    least_score: float | None = None,
    frame_size: Size | None = None,
    on_run: Report = lambda _what, _done, _total: None,
) -> Loaded:
    """The network of a weights file, run folder, config (then of the best weights of `run`) or exported file, for use.

    "auto" measures what is installed on frames of `frame_size`, and takes torch where that is not known: conversions
    pay for streams. Raises ConfigError, WeightsError or DataError for what cannot be used.
    """
    options = Options(longer_side, least_score)
    if is_exported(target):
        return load_exported(Path(target), overrides, backend, precision, options, frame_size, on_run)
    experiment, state, origin = read_target(target, overrides, weights=None, run=run)
    check_options(options, experiment.task, origin)
    device = pick_device(experiment.device)
    engines = chosen_engines(backend, precision, device, frame_size)
    use_threads(experiment.threads)
    task = builder(experiment.task).task(experiment, weights=False)
    load_state(task.model, state, origin=origin)
    predictors = {
        engine: frame_predictor(task.to(device).predictor, model, engine_text(engine, precision, device), options)
        for engine, model in in_engines(task.model, engines, precision, device).items()
    }
    chosen = fastest(predictors, frame_size, on_run=on_run)
    known = labels(experiment)
    return Loaded(chosen.predictor, experiment.task, known.classes, known.palette, origin, device, chosen.milliseconds)


def load_exported(
    path: Path,
    overrides: Sequence[str],
    backend: Backend,
    precision: Precision,
    options: Options,
    frame_size: Size | None,
    on_run: Report,
) -> Loaded:
    """A file of `mbseg export`, in the precision that it was exported in."""
    artifact = read_artifact(path)
    if precision == "bf16" != artifact.precision:
        raise ConfigError(f"--precision bf16: {path} was exported in {artifact.precision}; export it anew in bf16")
    if options.longer_side is not None:
        raise ConfigError(f"--longer-side: {path} resizes as it was exported; export it anew, or leave it away")
    check_options(options, artifact.task, str(path))
    experiment = exported_experiment(path, artifact, overrides)
    engines = file_engines(path, backend)
    use_threads(experiment.threads)
    selection = with_least_score(build_detection.selection(experiment), options.least_score)
    predictors = {
        engine: file_predictor(path, artifact, engine, experiment, selection, for_stream=frame_size is not None)
        for engine in (engines if frame_size else engines[:1])
    }
    chosen, card = fastest(predictors, frame_size, on_run=on_run), artifact.card
    return Loaded(chosen.predictor, artifact.task, card.classes, card.palette, str(path), CPU, chosen.milliseconds)


def check_options(options: Options, task: str, origin: str) -> None:
    """Raises ConfigError."""
    longer_side, least_score = options.longer_side, options.least_score
    shortest = COARSEST_CELL if task == "segmentation" else SMALLEST_SIDE
    if longer_side is not None and not shortest <= longer_side <= LONGEST_SIDE:
        raise ConfigError(f"--longer-side is {longer_side}; it must be {shortest} to {LONGEST_SIDE}")
    if least_score is not None and task == "segmentation":
        raise ConfigError(f"--least-score is for detection, and {origin} segments; leave it away")
    if least_score is not None and not 0 <= least_score <= 1:
        raise ConfigError(f"--least-score is {least_score:g}; scores lie between 0 and 1")


def chosen_engines(
    backend: Backend, precision: Precision, device: torch.device, frame_size: Size | None
) -> list[EngineName]:
    """Those to be tried. Raises ConfigError for one that cannot be used."""
    if backend == "auto":
        return usable_engines(precision, device) if frame_size else ["torch"]
    check_engine(backend, precision, device)
    return [backend]


def in_engines(
    model: Network, engines: Sequence[EngineName], precision: Precision, device: torch.device
) -> dict[EngineName, Network]:
    """The model in the form that each engine runs; what is converted is converted once for all."""
    graphs = Graphs(model)
    return {
        engine: torch_backend.prepare(model, backend=TORCH_BACKENDS[engine], precision=precision).to(device)
        if engine == "torch" or engine == "compiled"
        else network_engine.prepare(model, engine, precision, graphs)
        for engine in engines
    }


def engine_text(engine: EngineName, precision: Precision, device: torch.device) -> str:
    where = f"{torch.get_num_threads()} threads" if device.type == "cpu" else str(device)
    return f"{engine} {precision}, {where}"


def frame_predictor(
    own: Predictor | BoxPredictor | JointPredictor, model: Network, description: str, options: Options
) -> FramePredictor:
    """A task's own predictor at work on single frames, with its model in the form given."""
    device = next(model.parameters()).device
    if isinstance(own, Predictor):
        assert isinstance(model, SegmentationModel)
        protocol = with_longer_side(own.protocol, options.longer_side)
        return TorchSegmenter(Predictor(model, own.normalize, protocol), device, description)
    selection = with_least_score(own.selection, options.least_score)
    if isinstance(own, BoxPredictor):
        assert isinstance(model, DetectionModel)
        boxes = BoxPredictor(model, own.normalize, selection)
        return TorchDetector(boxes, device, description, longer_side=options.longer_side)
    assert isinstance(model, JointModel)
    both = JointPredictor(model, own.normalize, selection)
    return TorchJoint(both, device, description, longer_side=options.longer_side)


def with_longer_side(protocol: Protocol, longer_side: int | None) -> Protocol:
    """Resized pictures are not padded to the protocol's size."""
    return protocol if longer_side is None else replace(protocol, resize_longer_side=longer_side, pad_to=None)


def with_least_score(selection: Selection, least_score: float | None) -> Selection:
    """Boxes below are dropped before the suppression, which is quicker and leaves the others the same."""
    least = LEAST_SCORE if least_score is None else least_score
    return replace(selection, score_threshold=max(least, selection.score_threshold))
