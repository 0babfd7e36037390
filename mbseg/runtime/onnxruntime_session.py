"""Graphs run by ONNX Runtime."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, final

from mbseg.errors import ConfigError, WeightsError, first_line
from mbseg.runtime.engines import check_installed
from mbseg.runtime.sessions import Array, Session

if TYPE_CHECKING:
    from onnx import ModelProto

ERRORS_ONLY = 3  # of ONNX Runtime's log levels


@final
class OnnxRuntimeSession(Session):
    """What `sessions.open_session` makes; fp32, or as the graph was quantised."""

    def __init__(self, graph: "ModelProto | Path", *, outputs: Sequence[str] | None, threads: int) -> None:
        check_installed("onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = ERRORS_ONLY
        onnxruntime.disable_telemetry_events()
        try:
            self._session = onnxruntime.InferenceSession(
                content(graph, outputs), options, providers=["CPUExecutionProvider"]
            )
        except ConfigError:
            raise
        except Exception as error:  # its classes derive from nothing else
            name = graph if isinstance(graph, Path) else "the graph"
            raise WeightsError(f"ONNX Runtime cannot read {name}: {first_line(error)}") from error
        self.inputs = {
            port.name: tuple(size if isinstance(size, int) else None for size in port.shape)
            for port in self._session.get_inputs()
        }
        self.outputs = tuple(port.name for port in self._session.get_outputs())
        self.description = f"onnxruntime fp32, {threads} threads"

    def __call__(self, values: Array) -> dict[str, Array]:
        (name,) = self.inputs
        return dict(zip(self.outputs, self._session.run(None, {name: values}), strict=True))


def content(graph: "ModelProto | Path", outputs: Sequence[str] | None) -> str | bytes:
    """What ONNX Runtime is to read: a whole file by its name, anything else as bytes."""
    if isinstance(graph, Path) and outputs is None:
        return str(graph)
    import onnx

    model = onnx.load(graph) if isinstance(graph, Path) else graph
    data: bytes = (model if outputs is None else cut(model, outputs)).SerializeToString()
    return data


def cut(model: "ModelProto", outputs: Sequence[str]) -> "ModelProto":
    """The part of a graph that computes `outputs`. Raises ConfigError for what is not in it."""
    import onnx

    from mbseg.runtime.onnx_graph import cut_at

    known = {name for node in model.graph.node for name in node.output}
    if unknown := set(outputs) - known:
        raise ConfigError(f"the graph has no tensor named {sorted(unknown)}")
    return cut_at(onnx.shape_inference.infer_shapes(model), outputs)  # of int8 files the types inside are not noted
