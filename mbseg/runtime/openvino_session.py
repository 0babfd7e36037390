"""Graphs run by OpenVINO on the CPU."""

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from mbseg.errors import ConfigError, WeightsError, first_line
from mbseg.runtime.engines import check_installed
from mbseg.runtime.names import Precision
from mbseg.runtime.sessions import Array, Session
from mbseg.runtime.signal_stack import signal_stack_kept

if TYPE_CHECKING:
    from onnx import ModelProto

TELEMETRY = "openvino_telemetry"
MOST_SIZES = 4  # of input whose compiled graphs are kept
Shape = tuple[int, ...]


@final
class OpenVinoSession(Session):
    """What `sessions.open_session` makes.

    `for_stream`, a graph of any size is compiled once more for a size that comes twice in succession, as the frames of
    a video do: that takes about a second, and saves a tenth of every run. Pictures of many sizes go without. The last
    bits of an answer then depend on what came before it, which those of files must not.
    """

    def __init__(
        self,
        graph: "ModelProto | Path",
        *,
        precision: Precision,
        outputs: Sequence[str] | None,
        threads: int,
        for_stream: bool,
    ) -> None:
        check_installed("openvino")
        self._model = cut(read(graph), outputs)
        self._settings = settings(precision, threads)
        self._for_stream = for_stream
        self._compiled: dict[Shape, Any] = {}
        self._general: Any = None
        self._latest: Shape = ()
        self.inputs = {
            port.any_name: tuple(None if size.is_dynamic else size.get_length() for size in port.partial_shape)
            for port in self._model.inputs
        }
        self.outputs = tuple(port.any_name for port in self._model.outputs)
        self.description = f"openvino {precision}, {threads} threads"

    def __call__(self, values: Array) -> dict[str, Array]:
        found = self._request(values.shape).infer([values], share_inputs=True)
        return {name: found[place] for place, name in enumerate(self.outputs)}

    def _request(self, shape: Shape) -> Any:
        """Compiled for any size, or for this one."""
        is_again, self._latest = shape == self._latest, shape
        if shape in self._compiled:
            return self._compiled[shape]
        if is_again and self._for_stream and self._model.is_dynamic():
            if len(self._compiled) == MOST_SIZES:
                self._compiled.clear()
            model = self._model.clone()
            model.reshape(list(shape))
            self._compiled[shape] = self._compile(model)
            return self._compiled[shape]
        if self._general is None:
            self._general = self._compile(self._model)
        return self._general

    def _compile(self, model: Any) -> Any:
        return core().compile_model(model, "CPU", self._settings).create_infer_request()


@cache
def core() -> Any:
    """The one openvino.Core of this process, with its CPU plugin loaded."""
    with signal_stack_kept():
        made = quiet_openvino().Core()
        made.get_property("CPU", "FULL_DEVICE_NAME")
    return made


def quiet_openvino() -> Any:
    """The module openvino; importing it as it comes would report that to its makers."""
    telemetry = sys.modules.get(TELEMETRY)
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        import openvino
    finally:
        del sys.modules[TELEMETRY]
        if telemetry is not None:
            sys.modules[TELEMETRY] = telemetry
    return openvino


def read(graph: "ModelProto | Path") -> Any:
    """An openvino.Model. Raises WeightsError."""
    try:
        return core().read_model(graph if isinstance(graph, Path) else graph.SerializeToString())
    except RuntimeError as error:
        name = graph if isinstance(graph, Path) else "the graph"
        raise WeightsError(f"OpenVINO cannot read {name}: {first_line(error)}") from error


def cut(model: Any, outputs: Sequence[str] | None) -> Any:
    """The part of a model that computes `outputs` (None: all of it)."""
    if outputs is None:
        return model
    known = {name: port for node in model.get_ops() for port in node.outputs() for name in port.get_names()}
    if unknown := set(outputs) - set(known):
        raise ConfigError(f"the graph has no tensor named {sorted(unknown)}")
    return quiet_openvino().Model([known[name] for name in outputs], model.get_parameters())


def settings(precision: Precision, threads: int) -> dict[str, Any]:
    """One picture at a time; fp32 has to be asked for, since OpenVINO takes bf16 where the CPU has it."""
    openvino = quiet_openvino()
    properties, hint = openvino.properties, openvino.properties.hint
    return {
        hint.performance_mode(): hint.PerformanceMode.LATENCY,
        hint.inference_precision(): openvino.Type.bf16 if precision == "bf16" else openvino.Type.f32,
        properties.inference_num_threads(): threads,
    }
