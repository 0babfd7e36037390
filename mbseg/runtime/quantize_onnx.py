"""Exported graphs for ONNX Runtime in int8: rounded ahead, within the ranges of real pictures (static QDQ)."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbseg.errors import ConfigError
from mbseg.runtime.quantize import Pictures, between
from mbseg.runtime.silence import silence

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

CONVOLUTIONS = ("Conv", "ConvTranspose")


def quantize_onnx(model: "ModelProto", pictures: Pictures) -> "ModelProto":
    """`model` with its network in int8: weights symmetric per output channel, maps uint8 per tensor.

    A map's range is that of its values over all `pictures`; percentiles and entropy were no better on VOC and CamVid,
    and hold whole maps in memory. uint8 maps and int8 weights are what the CPU's dot products take: with int8 maps ONNX
    Runtime is three times slower.
    Raises ConfigError if ONNX Runtime is not installed.
    """
    check_installed()
    prepared = prepare(model)
    quantized = quantize_nodes(prepared, network_nodes(prepared.graph), pictures)
    restore(quantized, model)
    return quantized


def check_installed() -> None:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ConfigError(f"{error.name} is not installed, and int8 needs it: pip install 'mbseg[export]'") from error
    del onnx, onnxruntime


def prepare(model: "ModelProto") -> "ModelProto":
    """A copy whose nodes have names, and where the network's own results are outputs: those keep their names."""
    from onnx import ModelProto, TensorProto, helper
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    prepared = ModelProto()
    prepared.CopyFrom(model)
    graph = prepared.graph
    for index, node in enumerate(graph.node):
        node.name = node.name or f"node_{index}"
    for name in results(graph, network_nodes(graph)) - {output.name for output in graph.output}:
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    add_pre_process_metadata(prepared)  # the exporter folds constants already; else ONNX Runtime asks for it on stderr
    return prepared


def network_nodes(graph: "GraphProto") -> set[str]:
    """The names of the nodes between the first and the last convolutions."""
    readers: dict[str, set[str]] = {}
    for node in graph.node:
        for tensor in node.input:
            readers.setdefault(tensor, set()).add(node.name)
    followers = {node.name: set().union(*(readers.get(tensor, ()) for tensor in node.output)) for node in graph.node}
    return between({node.name for node in graph.node if node.op_type in CONVOLUTIONS}, followers)


def results(graph: "GraphProto", network: set[str]) -> set[str]:
    """The tensors that `network` makes and other nodes read."""
    made = {tensor for node in graph.node if node.name in network for tensor in node.output}
    return made & {tensor for node in graph.node if node.name not in network for tensor in node.input}


def quantize_nodes(prepared: "ModelProto", network: set[str], pictures: Pictures) -> "ModelProto":
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static

    with tempfile.TemporaryDirectory(prefix="mbseg-int8-") as folder, silence():
        file = Path(folder) / "int8.onnx"
        quantize_static(
            prepared,
            file,
            PictureReader(prepared.graph.input[0].name, pictures),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=[node.name for node in prepared.graph.node if node.name not in network],
        )
        return onnx.load(file)


class PictureReader:
    """Pictures as ONNX Runtime asks for them when it calibrates."""

    def __init__(self, name: str, pictures: Pictures) -> None:
        self.name = name
        self.pictures = iter(pictures)

    def get_next(self) -> dict[str, Any] | None:
        picture = next(self.pictures, None)
        return None if picture is None else {self.name: picture[None]}


def restore(quantized: "ModelProto", model: "ModelProto") -> None:
    """The outputs and the notes of the graph as it came."""
    del quantized.graph.output[:], quantized.graph.value_info[:], quantized.metadata_props[:]
    quantized.graph.output.extend(model.graph.output)
    quantized.graph.value_info.extend(model.graph.value_info)
    quantized.metadata_props.extend(model.metadata_props)
