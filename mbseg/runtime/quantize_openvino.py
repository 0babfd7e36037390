"""Exported graphs for OpenVINO in int8, by NNCF's post-training quantisation."""

import os
from typing import TYPE_CHECKING, Any

from mbseg.errors import ConfigError
from mbseg.runtime.openvino_session import quiet_openvino, read
from mbseg.runtime.quantize import Pictures, between
from mbseg.runtime.signal_stack import signal_stack_kept
from mbseg.runtime.silence import silence

if TYPE_CHECKING:
    from onnx import ModelProto

CONVOLUTIONS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData")


def quantize_openvino(model: "ModelProto", pictures: Pictures) -> Any:
    """The openvino.Model of `model` with its network in int8: weights symmetric per output channel, maps per tensor.

    A map's range is that of its values in one picture, averaged over `pictures`.
    Raises ConfigError if OpenVINO or NNCF is not installed.
    """
    os.environ.setdefault("NNCF_CI", "1")  # read at import; without it NNCF reports its use to its makers
    try:
        with silence():
            quiet_openvino()
            import nncf
            from openvino._offline_transformations import apply_moc_transformations
    except ImportError as error:
        raise ConfigError(f"{error.name} is not installed, and int8 needs it: pip install 'mbseg[openvino]'") from error
    graph = read(model)
    apply_moc_transformations(graph, cf=False, smart_reshape=False)  # else NNCF meets depthwise convolutions in pieces
    name = graph.input(0).any_name
    others = {node.get_friendly_name() for node in graph.get_ordered_ops()} - network_nodes(graph)
    with silence(), signal_stack_kept():  # NNCF makes Cores of its own
        return nncf.quantize(
            graph,
            nncf.Dataset(pictures, lambda picture: {name: picture[None]}),
            preset=nncf.QuantizationPreset.MIXED,  # maps of h-swish and of linear bottlenecks are not symmetric
            subset_size=len(pictures),
            ignored_scope=nncf.IgnoredScope(names=sorted(others), validate=False),
        )


def network_nodes(graph: Any) -> set[str]:
    """The names of the nodes between the first and the last convolutions."""
    nodes = graph.get_ordered_ops()
    followers = {
        node.get_friendly_name(): {
            target.get_node().get_friendly_name() for output in node.outputs() for target in output.get_target_inputs()
        }
        for node in nodes
    }
    return between({node.get_friendly_name() for node in nodes if node.get_type_name() in CONVOLUTIONS}, followers)
