"""Graphs run by other libraries than torch, all behind one small protocol."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from numpy.typing import NDArray

from mbseg.runtime.names import Precision, SessionEngine

if TYPE_CHECKING:
    from onnx import ModelProto

Array = NDArray[Any]


class Session(Protocol):
    """A graph with one input, ready to run on the CPU; it takes one call at a time."""

    inputs: Mapping[str, tuple[int | None, ...]]  # the shape of each; None: a size that is left open
    outputs: tuple[str, ...]
    description: str  # of what runs it, such as "openvino bf16, 2 threads"

    def __call__(self, values: Array) -> dict[str, Array]:
        """The outputs by name, in memory of their own."""


def open_session(
    graph: "ModelProto | Path",
    engine: SessionEngine,
    *,
    precision: Precision = "fp32",
    outputs: Sequence[str] | None = None,
    threads: int | None = None,
) -> Session:
    """An ONNX graph or an exported file made ready to run, with as many threads as torch uses unless told.

    With `outputs` it computes these and nothing behind them; they may be tensors inside the graph. `precision` is of
    what the file leaves open: what was quantised stays int8. ONNX Runtime has no bf16. Raises ConfigError if the engine
    is not installed, or the graph knows no such tensor, and WeightsError for a file that the engine cannot read.
    """
    threads = threads or torch.get_num_threads()
    if engine == "openvino":
        from mbseg.runtime.openvino_session import OpenVinoSession

        return OpenVinoSession(graph, precision=precision, outputs=outputs, threads=threads)
    from mbseg.runtime.onnxruntime_session import OnnxRuntimeSession

    assert precision == "fp32"
    return OnnxRuntimeSession(graph, outputs=outputs, threads=threads)
