"""torch modules as ONNX graphs: one message that holds everything, under names that a reader can use."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from mbseg.errors import ConfigError, RunError
from mbseg.runtime.silence import silence

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 18  # what torch writes without converting; ONNX Runtime and OpenVINO read it


class Port(NamedTuple):
    """An input or output: its name, and its shape with names for sizes that are left open."""

    name: str
    shape: tuple[int | str, ...]
    dtype: torch.dtype = torch.float32

    def example(self) -> Tensor:
        """A tensor that fits; open sizes are 32 k + 1, which suits every network, and differ."""
        sizes = [161 + 32 * axis if isinstance(size, str) else size for axis, size in enumerate(self.shape)]
        return torch.zeros(sizes, dtype=self.dtype)


def to_onnx(module: nn.Module, inputs: Sequence[Port], outputs: Mapping[str, Sequence[str]]) -> "ModelProto":
    """The graph of a module in eval mode; `outputs` names the axes of each, for where a size is open.

    Raises ConfigError if ONNX is not installed, RunError for a module that torch cannot trace.
    """
    check_installed()
    try:
        with silence(), torch.no_grad():
            program = torch.onnx.export(
                module.eval(),
                tuple(port.example() for port in inputs),
                input_names=[port.name for port in inputs],
                output_names=list(outputs),
                dynamic_shapes=tuple(open_axes(port) for port in inputs),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise RunError(
            "torch cannot trace this network for pictures of any size; one size may do: --size H W"
        ) from error
    assert program is not None
    model = program.model_proto
    forget_origins(model)
    axes = [[str(size) for size in port.shape] for port in inputs] + [list(names) for names in outputs.values()]
    for value, names in zip([*model.graph.input, *model.graph.output], axes, strict=True):
        name_open_axes(value, names)
    return model


def joined(parts: "Sequence[ModelProto]", *, outputs: Sequence[str]) -> "ModelProto":
    """One graph of several; each part reads the inputs and the outputs of those before it under their names.

    What is no output of the whole keeps its name, so that a graph can be cut there (`cut_at`).
    """
    from onnx import compose, helper

    whole = helper.make_model(helper.make_graph([], "mbseg", [], []), opset_imports=parts[0].opset_import)
    known: dict[str, Any] = {}
    for index, part in enumerate(parts):
        graph = compose.add_prefix(part, f"{index}.", rename_inputs=False, rename_outputs=False).graph
        whole.graph.input.extend(port for port in graph.input if port.name not in known)
        known |= {port.name: port for port in [*graph.input, *graph.output]}
        whole.graph.node.extend(graph.node)
        whole.graph.initializer.extend(graph.initializer)
    inputs = [port.name for port in whole.graph.input]
    whole.graph.output.extend(known[name] for name in outputs)
    whole.graph.value_info.extend(port for name, port in known.items() if name not in {*inputs, *outputs})
    whole.ir_version = min(part.ir_version for part in parts)
    return whole


def cut_at(model: "ModelProto", outputs: Sequence[str]) -> "ModelProto":
    """The part of a graph that computes `outputs`, which it knows by name."""
    from onnx.utils import Extractor

    inputs = [port.name for port in model.graph.input]
    return Extractor(model).extract_model(inputs, list(outputs))


def check_installed() -> None:
    try:
        import onnx
        import onnxscript
    except ImportError as error:
        raise ConfigError(f"{error.name} is not installed; ONNX needs it: pip install 'mbseg[export]'") from error
    del onnx, onnxscript


def open_axes(port: Port) -> dict[int, Any]:
    return {axis: torch.export.Dim.DYNAMIC for axis, size in enumerate(port.shape) if isinstance(size, str)}


def forget_origins(model: "ModelProto") -> None:
    """Without the lines of source code, with their folders, that the exporter notes at every node."""
    graph = model.graph
    del graph.value_info[:]
    for entry in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del entry.metadata_props[:]
        entry.doc_string = ""


def name_open_axes(value: Any, names: Sequence[str]) -> None:
    for dimension, name in zip(value.type.tensor_type.shape.dim, names, strict=True):
        if not dimension.HasField("dim_value"):
            dimension.dim_param = name


def port_of(model: "ModelProto", name: str) -> Port:
    """One of a graph's inputs and outputs."""
    (value,) = (value for value in (*model.graph.input, *model.graph.output) if value.name == name)
    sizes = value.type.tensor_type.shape.dim
    return Port(name, tuple(size.dim_value if size.HasField("dim_value") else size.dim_param for size in sizes))
