"""Exported files ready for frames; their last steps are left to mbseg, which is many times faster at them."""

from collections.abc import Sequence
from pathlib import Path

import torch

from mbseg import build_segmentation
from mbseg.boxes.postprocess import Selection
from mbseg.build import untrained
from mbseg.build_common import labels
from mbseg.config.load import make_experiment
from mbseg.config.schema import Experiment
from mbseg.errors import ConfigError, WeightsError
from mbseg.models.framing import Framing, Stretching, framing_of
from mbseg.models.segmentation import SegmentationModel
from mbseg.runtime.artifact import Artifact
from mbseg.runtime.engines import check_installed, missing_modules
from mbseg.runtime.names import Backend, Precision, SessionEngine
from mbseg.runtime.session_predictor import Endings, SessionPredictor
from mbseg.runtime.sessions import open_session

ENGINES_OF: dict[str, tuple[SessionEngine, ...]] = {".onnx": ("onnxruntime", "openvino"), ".xml": ("openvino",)}
FREE_KEYS = ("threads=", "device=cpu", "device=auto", "data.", "evaluate.selection.")


def is_exported(target: str) -> bool:
    return Path(target).suffix in ENGINES_OF


def exported_experiment(path: Path, artifact: Artifact, overrides: Sequence[str]) -> Experiment:
    """The experiment that made the file.

    Raises ConfigError for overrides that would have no effect, WeightsError for a config of other classes or task.
    """
    fixed = [one for one in overrides if not one.startswith(FREE_KEYS)]
    if fixed:
        raise ConfigError(
            f"{fixed[0]} has no effect on {path}, which runs on the CPU as it was exported; only threads, data.KEY and "
            "evaluate.selection.KEY have: leave it away, or export anew with it"
        )
    made_by = make_experiment(artifact.card.config, source=str(path))
    if (made_by.task, labels(made_by).classes) != (artifact.task, artifact.card.classes):
        raise WeightsError(f"{path} is damaged: its task or its classes are not those of its config; export it again")
    return make_experiment(artifact.card.config, overrides, source=str(path))


def file_engines(path: Path, backend: Backend) -> list[SessionEngine]:
    """Those to be tried. Raises ConfigError if none can run such a file."""
    able = ENGINES_OF[path.suffix]
    if backend == "auto":
        installed = [engine for engine in able if not missing_modules(engine)]
        if not installed:
            check_installed(able[0])
        return installed
    chosen = [engine for engine in able if engine == backend]
    if not chosen:
        raise ConfigError(f"{backend} cannot run {path}; use {' or '.join(able)}")
    check_installed(chosen[0])
    return chosen


def file_predictor(
    path: Path,
    artifact: Artifact,
    engine: SessionEngine,
    experiment: Experiment,
    selection: Selection,
    *,
    for_stream: bool,
) -> SessionPredictor:
    """The file in an engine; `selection` is of boxes, and not read without them. See `open_session`."""
    segments, detects = experiment.task != "detection", experiment.task != "segmentation"
    endings = Endings(
        framing_of_file(experiment) if segments else None,
        selection if detects else None,
        experiment.model.image_size if detects else None,
    )
    precision: Precision = "bf16" if artifact.precision == "bf16" else "fp32"
    session = open_session(path, engine, precision=precision, outputs=endings.tensors, for_stream=for_stream)
    return SessionPredictor(session, endings, f"{engine} {artifact.precision}, {torch.get_num_threads()} threads")


def framing_of_file(experiment: Experiment) -> Framing | Stretching:
    if experiment.task == "joint":
        return Stretching(experiment.model.image_size, experiment.model.align_corners)
    model = untrained(experiment, device="meta")
    assert isinstance(model, SegmentationModel)
    return framing_of(model, build_segmentation.protocol(experiment))
