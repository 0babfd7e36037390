"""From weights to a file that other programs run, compared with PyTorch on real pictures before it gets its name."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from mbseg.boxes.geometry import Size
from mbseg.build import builder
from mbseg.build_common import model_card
from mbseg.config.schema import Experiment
from mbseg.data.reading import read_image
from mbseg.data.shapes import shapes_scene
from mbseg.engine.device import use_threads
from mbseg.errors import ConfigError, DataError, RunError
from mbseg.files import sha256_of_file
from mbseg.frame_scores import frames
from mbseg.prediction.picture_list import find_pictures
from mbseg.predictors import Options, check_options, frame_predictor
from mbseg.quantizing import CALIBRATION_PICTURES, advice, calibration_pictures, scores_before_and_after
from mbseg.runtime.agreement import Agreement
from mbseg.runtime.answers import FramePredictor, UInt8Array
from mbseg.runtime.artifact import SUFFIXES, Artifact, Format, Precision
from mbseg.runtime.export_files import ExportFile, check_format, export_file, files_of, put_in_place, unfinished
from mbseg.runtime.exported import ExportedPredictor, resized
from mbseg.runtime.frame_graphs import detection_to_onnx, joint_to_onnx, segmentation_to_onnx
from mbseg.runtime.mobile_files import check_mobile, is_mobile, mobile_file, suppressed
from mbseg.runtime.quantize import Pictures
from mbseg.runtime.sessions import Session
from mbseg.runtime.torch_predictor import TorchDetector, TorchJoint, TorchSegmenter
from mbseg.targets import WEIGHTS_SUFFIX, read_target
from mbseg.weights.report import load_state
from mbseg.weights.store import read_weights

if TYPE_CHECKING:
    from onnx import ModelProto

logger = logging.getLogger(__name__)

COMPARED = 8  # pictures
DRAWN_SIZE = (360, 480)  # of pictures that stand in for real ones
LEAST_AGREEMENT: dict[Precision, dict[str, float]] = {
    "fp32": {"pixels": 0.995, "detections": 0.99},
    "bf16": {"pixels": 0.98, "detections": 0.95},
    "int8": {"pixels": 0.98, "detections": 0.95},
}
REMEDIES: dict[Precision, str] = {
    "fp32": "untrained weights magnify rounding: train them first; with trained ones this is a fault of the conversion "
    "or of the engine, and another --format may do",
    "bf16": "train it longer if it is untrained, or take --precision fp32",
    "int8": "calibrate with more pictures (--calibration), fine-tune with train.quantization_aware=true, or take bf16",
}
SMALLEST_SIDE, LARGEST_SIDE = 32, 4096  # pixels


@dataclass(frozen=True)
class Wanted:
    """What file is asked for."""

    file_format: Format
    precision: Precision = "fp32"
    size: Size | None = None  # (height, width) of the frames it takes; None: any
    output: Path | None = None  # None: beside the weights
    overwrite: bool = False
    least_score: float | None = None  # boxes below are left out; None: as in the config
    pictures: Path | None = None  # a folder to compare on; None: some of data.val
    calibration: int | None = None  # pictures, of int8; None: 40


def export(target: str, overrides: Sequence[str], wanted: Wanted, *, run: Path) -> dict[str, Any]:
    """Writes the network of a weights file, run folder or config (then the best weights of `run`) as `wanted`.

    The file tells which share of pixels or boxes it has in common with PyTorch; where that is too small, there is none.
    Raises ConfigError, WeightsError, DataError or RunError.
    """
    experiment, state, origin = read_target(target, overrides, weights=None, run=run)
    path = wanted.output or default_path(Path(origin), wanted)
    check(wanted, path, experiment, origin)
    check_runs_on_cpu(overrides)
    use_threads(experiment.threads)
    task = builder(experiment.task).task(experiment, weights=False)
    load_state(task.model, state, origin=origin)
    expected = reference(task, wanted)
    pictures = compared_pictures(experiment, wanted.pictures)
    made = file_of(expected, experiment, wanted)
    artifact = Artifact(experiment.task, wanted.precision, wanted.size, model_card(experiment, metrics_of(origin)))
    with unfinished(path) as draft:
        made.save(draft, artifact)
        predictor = run_as_others_do(made.session(draft), expected)
        agreement = agreed(expected, predictor, pictures, wanted)
        scores = scores_of(experiment, expected, predictor) if wanted.precision == "int8" else {}
        made.save(draft, replace(artifact, agreement=agreement.shares, **scores))
        put_in_place(draft, path)
    params = sum(parameter.numel() for parameter in task.model.parameters())
    return {
        **summary(path, wanted),
        "params": params,
        "agreement": agreement.shares,
        "compared": agreement.pictures,
        **scores,
    }


def default_path(origin: Path, wanted: Wanted) -> Path:
    """Beside the weights: best.onnx, best_int8.onnx."""
    precision = "" if wanted.precision == "fp32" else f"_{wanted.precision}"
    return origin.with_name(f"{origin.stem}{precision}{SUFFIXES[wanted.file_format]}")


def check(wanted: Wanted, path: Path, experiment: Experiment, origin: str) -> None:
    """Before any long work. Raises ConfigError for what cannot be made or written."""
    if is_mobile(wanted.file_format):
        check_mobile(wanted.file_format, wanted.precision, wanted.size, wanted.least_score)
    else:
        check_format(wanted.file_format, wanted.precision)
    check_options(Options(least_score=wanted.least_score), experiment.task, origin)
    if wanted.size and not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in wanted.size):
        raise ConfigError(
            f"--size is {wanted.size[0]} x {wanted.size[1]}; sides have {SMALLEST_SIDE} to {LARGEST_SIDE} pixels"
        )
    if wanted.calibration is not None and wanted.precision != "int8":
        raise ConfigError(f"--calibration is for int8, and --precision is {wanted.precision}; leave it away")
    if wanted.calibration is not None and wanted.calibration < 1:
        raise ConfigError(f"--calibration is {wanted.calibration}; it must be 1 or more")
    evaluate = experiment.evaluate
    if experiment.task == "segmentation" and (evaluate.flip or evaluate.scales != (1.0,)):
        raise ConfigError(
            "an exported file looks once at a picture: add evaluate.scales=[1.0] evaluate.flip=false to the command"
        )
    check_place(path, SUFFIXES[wanted.file_format], overwrite=wanted.overwrite)


def check_runs_on_cpu(overrides: Sequence[str]) -> None:
    """Raises ConfigError for another device that is asked for; the one of the training does not matter."""
    if other := [one for one in overrides if one.startswith("device=") and one not in ("device=cpu", "device=auto")]:
        raise ConfigError(f"{other[-1]} has no effect on an export, which runs on the CPU; leave it away")


def calibration(experiment: Experiment, wanted: Wanted) -> Pictures:
    """What int8 is made from; nothing in other precisions. Raises DataError where int8 lacks it."""
    if wanted.precision != "int8":
        return []
    count = CALIBRATION_PICTURES if wanted.calibration is None else wanted.calibration
    return calibration_pictures(experiment, count, size=wanted.size)


def check_place(path: Path, suffix: str, *, overwrite: bool) -> None:
    if path.suffix != suffix:
        raise ConfigError(f"--output is {path}; a file of this format is called *{suffix}")
    if not path.parent.is_dir():
        raise ConfigError(f"there is no folder {path.parent} to write {path.name} into")
    there = [file for file in files_of(path) if file.exists()]
    if there and not overwrite:
        raise ConfigError(f"{there[-1]} exists already; name another file with --output, or replace it: --overwrite")


def metrics_of(origin: str) -> dict[str, Any]:
    """What the weights scored, if they tell."""
    card = read_weights(Path(origin))[1] if origin.endswith(WEIGHTS_SUFFIX) else None
    return card.metrics if card else {}


def reference(task: Any, wanted: Wanted) -> FramePredictor:
    """The model as it was built, in PyTorch and fp32."""
    return frame_predictor(
        task.predictor, task.model.eval(), "torch fp32", Options(least_score=wanted.least_score or 0)
    )


def file_of(expected: FramePredictor, experiment: Experiment, wanted: Wanted) -> ExportFile:
    if is_mobile(wanted.file_format):
        assert wanted.size is not None
        return mobile_file(expected, wanted.file_format, wanted.size)
    graph, calibrate_on = frame_graph(expected, wanted.size), calibration(experiment, wanted)
    return export_file(graph, wanted.file_format, wanted.precision, calibrate_on)


def frame_graph(expected: FramePredictor, size: Size | None) -> "ModelProto":
    """The whole way of the reference, from the frame to the answer."""
    if isinstance(expected, TorchSegmenter):
        segmenter = expected.predictor
        return segmentation_to_onnx(segmenter.model, segmenter.normalize, segmenter.framing, size=size)
    if isinstance(expected, TorchDetector):
        detector = expected.predictor
        return detection_to_onnx(detector.model, detector.normalize, detector.selection, size=size)
    assert isinstance(expected, TorchJoint)
    joint = expected.predictor
    return joint_to_onnx(joint.model, joint.normalize, joint.selection, size=size)


def compared_pictures(experiment: Experiment, folder: Path | None) -> Iterator[UInt8Array]:
    """Those of a folder, or some of data.val, or drawn ones where the data is not at hand."""
    if folder is not None:
        return map(read_image, find_pictures(folder).paths[:COMPARED])
    try:
        split = builder(experiment.task).dataset(experiment, experiment.data.val, augment=False)
    except DataError as error:
        logger.warning("compared on drawn scenes, as %s; real pictures tell more: --pictures FOLDER", error)
        return (shapes_scene(0, "val", index, DRAWN_SIZE).image for index in range(COMPARED))
    return (frame for frame, _ in islice(frames(experiment.task, split), COMPARED))


def fitted(picture: UInt8Array, size: Size | None) -> UInt8Array:
    return picture if size is None else resized(picture, size, cv2.INTER_LINEAR)


def run_as_others_do(session: Session, expected: FramePredictor) -> FramePredictor:
    """The file in the plain engine."""
    return ExportedPredictor(suppressed(session, expected))


def agreed(
    expected: FramePredictor, found: FramePredictor, pictures: Iterable[UInt8Array], wanted: Wanted
) -> Agreement:
    """Shares of equal pixels and of detections found again. Raises RunError where they are too small."""
    least_score = least_score_of(expected)
    agreement = Agreement(least_score or 0)
    for picture in pictures:
        frame = fitted(picture, wanted.size)
        agreement.add(expected(frame), found(frame))
    if least_score is not None and "detections" not in agreement.shares:
        raise RunError(
            "nothing is detected in the pictures compared, which proves nothing; name others: --pictures FOLDER"
        )
    for what, share in agreement.shares.items():
        least = LEAST_AGREEMENT[wanted.precision][what]
        if share < least:
            raise RunError(
                f"the {wanted.file_format} file in {wanted.precision} gives {share:.2%} of PyTorch's {what}, and "
                f"{least:.1%} are asked for; nothing was written: {REMEDIES[wanted.precision]}"
            )
    return agreement


def least_score_of(expected: FramePredictor) -> float | None:
    """Boxes below are left out; None where there are no boxes at all."""
    return expected.predictor.selection.score_threshold if isinstance(expected, TorchDetector | TorchJoint) else None


def scores_of(experiment: Experiment, before: FramePredictor, after: FramePredictor) -> dict[str, Any]:
    """What int8 does to the scores over data.val, if that is at hand."""
    try:
        change = scores_before_and_after(experiment, before, after)
    except DataError as error:
        logger.warning("not scored, as %s", error)
        return {}
    if said := advice(experiment, change):
        logger.warning("%s: %s", change, said)
    return {"scores": change._asdict()}


def summary(path: Path, wanted: Wanted) -> dict[str, Any]:
    files = files_of(path)
    return {
        "file": str(path),
        "format": wanted.file_format,
        "precision": wanted.precision,
        "input_size": None if wanted.size is None else list(wanted.size),
        "megabytes": sum(file.stat().st_size for file in files) / 1e6,
        "sha256": sha256_of_file(path),
    }
