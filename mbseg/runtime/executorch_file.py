"""ExecuTorch: .pte files, computed by XNNPACK on the CPUs of phones and boards."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, final

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


@final
class ExecuTorchFile(ExportFile):
    """A .pte: its method `forward` gives the outputs in their order, its method `mbseg` the facts as JSON."""

    def __init__(self, lowered: "ExportedProgram", outputs: Sequence[str]) -> None:
        self.lowered = lowered
        self.outputs = tuple(outputs)

    def save(self, path: Path, artifact: Artifact) -> None:
        from executorch.exir import EdgeProgramManager

        with silence():
            facts = {FACTS: artifact.to_json()}
            manager = EdgeProgramManager(copy.deepcopy(self.lowered), constant_methods=facts)
            path.write_bytes(manager.to_executorch().buffer)

    def session(self, path: Path) -> Session:
        return ExecuTorchSession(path, self.outputs)


@final
class ExecuTorchSession(Session):
    """A .pte in ExecuTorch's own runtime, which has no names for outputs."""

    def __init__(self, path: Path, outputs: Sequence[str]) -> None:
        from executorch.runtime import Runtime

        method = Runtime.get().load_program(path).load_method("forward")
        assert method is not None
        self._method = method
        self.inputs = {"image": tuple(method.metadata.input_tensor_meta(0).sizes())}
        self.outputs = tuple(outputs)
        self.description = "executorch fp32"

    def __call__(self, values: Array) -> dict[str, Array]:
        found = self._method.execute([torch.from_numpy(values)])
        return {name: tensor.numpy().copy() for name, tensor in zip(self.outputs, found, strict=True)}


def executorch_file(program: nn.Module, size: Size) -> ExecuTorchFile:
    """What XNNPACK can compute is its own; the rest runs in ExecuTorch's portable kernels."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    exported = traced(program, size)
    with silence():
        edge = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    return ExecuTorchFile(edge.exported_program(), exported.call_spec.out_spec.context)  # a dict's keys
