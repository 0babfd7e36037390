"""Small weights, checkpoints, run folders and exported files, each written by what writes them for users."""

from collections.abc import Iterator
from pathlib import Path

import torch
from onnx import parser
from torch import nn
from torchvision.models import mobilenet_v2

import mbseg
from mbseg.build_common import model_card
from mbseg.config.load import make_experiment
from mbseg.config.schema import Experiment
from mbseg.models.segmentation import ModelCard
from mbseg.runtime.artifact import Artifact
from mbseg.runtime.export_files import OnnxFile, OpenVinoFile, files_of
from mbseg.runtime.openvino_session import core
from mbseg.weights.store import BackboneFacts, save_backbone, save_weights
from tests.graphdef_writer import Writer as GraphWriter
from tests.graphdef_writer import write_deeplab
from tests.parity.test_tflite import write_body, write_plain
from tests.stress.inputs.picture_seeds import Files
from tests.tflite_writer import Writer as TfliteWriter

GRAPH = """
<ir_version: 8, opset_import: ["": 18]>
plus (float[n] x) => (float[n] y) <float[1] one = {1}> { y = Add (x, one) }
"""
TREE = {
    "model": {"backbone": {"name": "mobilenet_v2", "width_mult": 0.1}, "head": {"channels": 8}},
    "data": {"kind": "shapes", "root": "datasets/shapes"},
    "train": {"steps": 2},
}


def experiment() -> Experiment:
    return make_experiment(TREE, source="seeds")


def card() -> ModelCard:
    return model_card(experiment(), {"miou": 0.5, "step": 2})


def segmenter() -> nn.Module:
    return mbseg.create_segmenter("mobilenet_v2", width_mult=0.1, head_channels=8, num_classes=len(card().classes))


def safetensors(folder: Path) -> Iterator[Files]:
    path = folder / "weights.safetensors"
    save_weights(path, segmenter().state_dict(), card())
    yield read(path)


def backbones(folder: Path) -> Iterator[Files]:
    path, body = folder / "backbone.safetensors", mbseg.create_backbone("mobilenet_v2", width_mult=0.1, taps=("c2",))
    facts = BackboneFacts({"name": "mobilenet_v2", "width_mult": 0.1}, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    save_backbone(path, body.state_dict(), facts)
    yield read(path)


def torch_files(folder: Path) -> Iterator[Files]:
    state = mobilenet_v2(width_mult=0.1, num_classes=2).state_dict()
    for number, content in enumerate((state, {"model": {f"module.{key}": value for key, value in state.items()}})):
        torch.save(content, folder / "weights.pth", _use_new_zipfile_serialization=number == 0)
        yield read(folder / "weights.pth")


def tflite_files(folder: Path) -> Iterator[Files]:
    for taps in ("c5",), ("c2",):
        backbone = mbseg.create_backbone("mobilenet_v1", width_mult=0.1, taps=taps)
        writer = TfliteWriter()
        picture = writer.tensor([1, 64, 64, 3])
        pooled = writer.pool(write_body(writer, picture, backbone))
        result = write_plain(writer, pooled, nn.Conv2d(writer.shape(pooled)[3], 7, 1))
        yield read(writer.save(folder / "network.tflite", picture, result))


def graphs(folder: Path) -> Iterator[Files]:
    model = mbseg.create_segmenter("mobilenet_v2", width_mult=0.1, head_channels=8, align_corners=True)
    yield read(write_deeplab(GraphWriter(), model).save(folder / "network.pb"))
    writer = GraphWriter()
    writer.classifier(
        "logits/semantic", nn.Conv2d(8, 2, 1), writer.conv_norm_act("Conv", model.backbone.stem, writer.picture())
    )
    yield read(writer.save(folder / "network.pb"))


def exported(folder: Path) -> Iterator[Files]:
    artifact = Artifact("segmentation", "fp32", (64, 64), card(), {"pixels": 0.999})
    model = parser.parse_model(GRAPH)
    OnnxFile(model).save(folder / "network.onnx", artifact)
    yield read(folder / "network.onnx")
    OpenVinoFile(core().read_model(model.SerializeToString()), half=False).save(folder / "network.xml", artifact)
    binary, graph = files_of(folder / "network.xml")
    yield read(graph, binary)
    yield read(binary, graph)


def run_files(run: Path) -> dict[str, list[Files]]:
    """Of a finished training, by reader: the file that is damaged, and the others beside it."""
    names = {
        "checkpoints": "last.pt",
        "configs of runs": "config.yaml",
        "metrics": "metrics.jsonl",
        "results": "result.json",
    }
    return {
        reader: [read(run / name, *(run / other for other in names.values() if other != name))]
        for reader, name in names.items()
    }


def read(*files: Path) -> Files:
    return {file.name: file.read_bytes() for file in files}
