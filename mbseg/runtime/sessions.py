"""Graphs run by other libraries than torch, all behind one small protocol."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from numpy.typing import NDArray

from mbseg.errors import WeightsError
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


def frame_size(session: Session) -> tuple[int, int] | None:
    """(height, width) of the one frame [1, H, W, 3] that a graph takes; None: of any.

    Raises WeightsError for a graph that takes anything else.
    """
    shapes = list(session.inputs.values())
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][0] not in (None, 1) or shapes[0][3] not in (None, 3):
        raise WeightsError(
            f"{session.description}: the graph takes {shapes}; one frame, [1, height, width, 3], is read"
        )
    _, height, width, _ = shapes[0]
    return None if height is None or width is None else (height, width)


def open_session(
    graph: "ModelProto | Path",
    engine: SessionEngine,
    *,
    precision: Precision = "fp32",
    outputs: Sequence[str] | None = None,
    threads: int | None = None,
    for_stream: bool = True,
) -> Session:
    """An ONNX graph or an exported file made ready to run, with as many threads as torch uses unless told.

    With `outputs` it computes these and nothing behind them; they may be tensors inside the graph. `precision` is of
    what the file leaves open: what was quantised stays int8. ONNX Runtime has no bf16. Not `for_stream`, the same input
    gives the same bits whatever came before it. Raises ConfigError if the engine is not installed, or the graph knows
    no such tensor, and WeightsError for a file that the engine cannot read.
    """
    threads = threads or torch.get_num_threads()
    if engine == "openvino":
        from mbseg.runtime.openvino_session import OpenVinoSession

        return OpenVinoSession(graph, precision=precision, outputs=outputs, threads=threads, for_stream=for_stream)
    from mbseg.runtime.onnxruntime_session import OnnxRuntimeSession

    assert precision == "fp32"
    return OnnxRuntimeSession(graph, outputs=outputs, threads=threads)
