"""Finished graphs as files: each format with its precisions."""

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from mbseg.errors import ConfigError, RunError
from mbseg.files import sync_folder, unfinished_folder
from mbseg.runtime.artifact import SUFFIXES, Artifact, Format, Precision, mark_openvino, seal_openvino, sealed_onnx
from mbseg.runtime.engines import check_installed
from mbseg.runtime.onnx_graph import check_installed as check_exporter
from mbseg.runtime.quantize import Pictures
from mbseg.runtime.sessions import Session, open_session

if TYPE_CHECKING:
    from onnx import ModelProto


class ExportFile(ABC):
    """What is to be written."""

    @abstractmethod
    def save(self, path: Path, artifact: Artifact) -> None:
        """All of it under `path`, with the facts."""

    @abstractmethod
    def session(self, path: Path) -> Session:
        """What was saved, in the engine that it is for."""


@final
class OnnxFile(ExportFile):
    def __init__(self, model: "ModelProto") -> None:
        self.model = model

    def save(self, path: Path, artifact: Artifact) -> None:
        path.write_bytes(sealed_onnx(self.model, artifact))

    def session(self, path: Path) -> Session:
        return open_session(path, "onnxruntime")


@final
class OpenVinoFile(ExportFile):
    """An .xml with its .bin; of `half` the size where weights are rounded to 16 bits."""

    def __init__(self, model: Any, *, half: bool) -> None:
        self.model = model
        self.half = half

    def save(self, path: Path, artifact: Artifact) -> None:
        from mbseg.runtime.openvino_session import quiet_openvino

        mark_openvino(self.model, artifact)
        try:
            quiet_openvino().save_model(self.model, path, compress_to_fp16=self.half)
        except RuntimeError as error:  # "basic_ios::clear: iostream error", whatever the cause
            raise OSError(errno.EIO, "OpenVINO could not write all of it; is the disk full?") from error
        seal_openvino(path)

    def session(self, path: Path) -> Session:
        return open_session(path, "openvino", precision="bf16" if self.half else "fp32")


def check_format(file_format: Format, precision: Precision) -> None:
    """Raises ConfigError for what cannot be made, or is not installed."""
    if file_format == "onnx" and precision == "bf16":
        raise ConfigError(
            "ONNX Runtime computes nothing in bf16 on a CPU; take --precision int8, or --format openvino for bf16"
        )
    check_exporter()
    check_installed("openvino" if file_format == "openvino" else "onnxruntime")


def export_file(model: "ModelProto", file_format: Format, precision: Precision, calibrate_on: Pictures) -> ExportFile:
    """The graph in that format and precision; the pictures are for int8."""
    if file_format == "onnx":
        if precision == "int8":
            from mbseg.runtime.quantize_onnx import quantize_onnx

            model = quantize_onnx(model, calibrate_on)
        return OnnxFile(model)
    if precision == "int8":
        from mbseg.runtime.quantize_openvino import quantize_openvino

        return OpenVinoFile(quantize_openvino(model, calibrate_on), half=False)
    from mbseg.runtime.openvino_session import read

    return OpenVinoFile(read(model), half=precision == "bf16")


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """A file of that name in a hidden folder beside. Raises RunError if writing fails."""
    try:
        with unfinished_folder(path) as folder:
            yield folder / path.name
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from error


def files_of(path: Path) -> list[Path]:
    """All that belongs to an exported file, in the order of writing: who finds the last one has all."""
    return [path.with_suffix(".bin"), path] if path.suffix == SUFFIXES["openvino"] else [path]


def put_in_place(made: Path, path: Path) -> None:
    """Gives a file that is whole its final name, on the disk before the name is.

    An old .xml is gone first, as OpenVINO would run it with the new .bin: no rename gives both files their names at one
    moment, and an export killed in between leaves no pair at all.
    """
    for file in files_of(made):
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    if len(files_of(path)) > 1:
        path.unlink(missing_ok=True)
    for file, final_name in zip(files_of(made), files_of(path), strict=True):
        file.replace(final_name)
    sync_folder(path.parent)
