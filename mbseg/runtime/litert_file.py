"""LiteRT, once TensorFlow Lite: .tflite files."""

from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from torch import nn

from mbseg.boxes.geometry import Size
from mbseg.runtime.artifact import FACTS, Artifact
from mbseg.runtime.export_files import ExportFile
from mbseg.runtime.sessions import Array, Session
from mbseg.runtime.silence import silence
from mbseg.runtime.whole_programs import traced

if TYPE_CHECKING:
    from torch.export import ExportedProgram

EXPAND, NEAREST = torch.ops.aten.expand.default, torch.ops.aten.upsample_nearest2d.vec


@final
class LiteRtFile(ExportFile):
    """A .tflite with named inputs and outputs, and the facts as JSON in its metadata."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def save(self, path: Path, artifact: Artifact) -> None:
        path.write_bytes(with_facts(self.content, artifact.to_json()))

    def session(self, path: Path) -> Session:
        return LiteRtSession(path, threads=torch.get_num_threads())


@final
class LiteRtSession(Session):
    """A .tflite in LiteRT's interpreter."""

    def __init__(self, path: Path, *, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._run = Interpreter(str(path), num_threads=threads).get_signature_runner()
        ((name, port),) = self._run.get_input_details().items()
        self.inputs = {name: tuple(int(size) for size in port["shape"])}
        self.outputs = tuple(self._run.get_output_details())
        self.description = f"litert fp32, {threads} threads"

    def __call__(self, values: Array) -> dict[str, Array]:
        outputs: dict[str, Array] = self._run(image=values)
        return outputs


def litert_file(program: nn.Module, size: Size) -> LiteRtFile:
    import litert_torch

    litert_torch.config.show_progress = False  # it goes to stdout
    exported = traced(program, size)
    resize_what_is_expanded(exported)
    module = exported.module()
    module.training = False  # litert-torch asks for it, and torch refuses eval()
    with silence():
        model = litert_torch.convert(module, sample_kwargs={"image": torch.zeros(1, *size, 3, dtype=torch.uint8)})
    return LiteRtFile(model.model_content())


def resize_what_is_expanded(program: "ExportedProgram") -> None:
    """Spreads single values over maps by a resize: expansions of NCHW tensors come out of litert-torch 0.10 broken,
    half turned to NHWC."""
    for node in program.graph.find_nodes(op="call_function", target=EXPAND):
        if node.args[0].meta["val"].shape[2:] == (1, 1):
            with program.graph.inserting_after(node):
                resized = program.graph.call_function(NEAREST, (node.args[0], list(node.meta["val"].shape[2:]), None))
            resized.meta = dict(node.meta)
            node.replace_all_uses_with(resized)
            program.graph.erase_node(node)
    program.graph_module.recompile()


def with_facts(content: bytes, facts: str) -> bytes:
    """The same file with one more entry in its metadata."""
    from ai_edge_litert.schema_py_generated import BufferT, MetadataT
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    buffer, entry = BufferT(), MetadataT()
    buffer.data = np.frombuffer(facts.encode(), np.uint8)
    entry.name, entry.buffer = FACTS, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
