"""Weights of other libraries and formats, made into files that every command takes with no config."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mbseg.build import builder
from mbseg.build_common import labels, model_card, whole_backbone
from mbseg.config.load import make_experiment
from mbseg.config.schema import Experiment
from mbseg.data.description import load_description
from mbseg.errors import ConfigError, WeightsError
from mbseg.weights.foreign import read_foreign
from mbseg.weights.hubs import check_is, check_known, fetch
from mbseg.weights.imported import Imported
from mbseg.weights.report import KeyReport, load_state, short
from mbseg.weights.states import read_state
from mbseg.weights.store import BackboneFacts, save_backbone, save_weights

Tree = dict[str, Any]

LIBRARIES = ("torchvision:", "timm:")
SUFFIXES = (".tflite", ".pb", ".pth", ".pt", ".safetensors")
DATA: dict[int, Tree] = {  # outputs -> the data set they stand for
    21: {"kind": "voc", "root": "datasets/voc2012"},
    19: {"kind": "cityscapes", "root": "datasets/cityscapes"},
}
VOC_OBJECTS = 20  # classes without the background
COCO: Tree = {"kind": "coco", "root": "datasets/coco2017", "train": "train2017", "val": "val2017"}


def import_weights(
    source: str, output: Path, overrides: Sequence[str] = (), *, weights: Path | None = None
) -> dict[str, Any]:
    """Writes `source`, "torchvision:NAME", "timm:NAME" or a file, as a weights file of mbseg.

    `weights` is a local file with the tensors of a library's network, in place of a download. `overrides` are laid over
    the config that the file will carry. The result tells what became of every key. Raises ConfigError for a source that
    is not known and an output that exists, WeightsError for a file that does not fit; nothing is then written.
    """
    check_output(output)
    imported = read_source(source, weights)
    check_finite(imported)
    if imported.num_classes is None:
        report = write_backbone(imported, output, overrides)
    else:
        report = write_model(imported, output, overrides)
    return {
        "output": str(output),
        "origin": imported.origin,
        "kind": "backbone" if imported.num_classes is None else "model",
        "model": dict(imported.model),
        "mean": list(imported.mean),
        "std": list(imported.std),
        "loaded": list(report.loaded),
        "ignored": dict(report.ignored),
    }


def check_output(output: Path) -> None:
    if output.suffix != ".safetensors":
        raise ConfigError(f"the output is {output}; a weights file of mbseg ends in .safetensors")
    if output.exists():
        raise ConfigError(f"{output} exists already; remove it or name another file")
    if not output.parent.is_dir():
        raise ConfigError(f"there is no folder {output.parent} to write {output.name} into")


def check_finite(imported: Imported) -> None:
    """Raises WeightsError for weights that diverged or are damaged."""
    for key, tensor in imported.state.items():
        if not torch.isfinite(tensor).all():
            raise WeightsError(f"{imported.origin} is damaged: {short(key)} holds values that are not finite")


def read_source(source: str, weights: Path | None) -> Imported:
    if source.startswith(LIBRARIES):
        check_known(source)
        if weights is None:
            return read_foreign(fetch(source), source)
        state = read_state(weights)
        check_is(state, source, weights)
        return read_foreign(state, f"{weights} as {source}")
    if weights is not None:
        raise ConfigError(f"--weights goes with torchvision:NAME or timm:NAME; {source} is a file itself")
    path = Path(source)
    if path.suffix == ".tflite":
        from mbseg.weights.from_tflite import read_tflite

        return read_tflite(path)
    if path.suffix == ".pb":
        from mbseg.weights.from_graphdef import read_graphdef

        return read_graphdef(path)
    if path.suffix in SUFFIXES:
        return read_foreign(read_state(path), source)
    raise ConfigError(f"cannot import {source}; give torchvision:NAME, timm:NAME or a file ({', '.join(SUFFIXES)})")


def write_model(imported: Imported, output: Path, overrides: Sequence[str]) -> KeyReport:
    """Built, filled strictly, and only then written."""
    experiment = experiment_for(imported, overrides)
    classes = labels(experiment).classes
    if len(classes) != classes_of(imported):
        raise WeightsError(
            f"{counted(imported)}, {experiment.data.kind} has {len(classes)} classes; "
            f"name the data set (data.kind=...) or the classes (data.classes=[...])"
        )
    model = builder(experiment.task).model(experiment.model, len(classes), weights=False)
    report = load_state(model, imported.state, origin=imported.origin, ignored=imported.ignored)
    save_weights(output, model.state_dict(), model_card(experiment, {}))
    return report


def experiment_for(imported: Imported, overrides: Sequence[str]) -> Experiment:
    """The config that the file will carry; the number of outputs decides the data set unless an override does."""
    named = next((one.partition("=")[2] for one in reversed(overrides) if one.startswith("data.kind=")), None)
    data = data_for(imported)
    if named is None and not data:
        raise ConfigError(unknown_outputs(imported))
    if named not in (None, data.get("kind")):
        data = {}
    data |= {"mean": list(imported.mean), "std": list(imported.std)}
    tree = {"task": imported.task, "model": dict(imported.model), "data": data, "evaluate": dict(imported.evaluate)}
    return make_experiment(tree, overrides, source=imported.origin)


def data_for(imported: Imported) -> Tree:
    """The `data` section that the number of outputs stands for; empty where it is no data set's."""
    classes = classes_of(imported)
    if imported.task == "segmentation":
        return dict(DATA.get(classes, {}))
    if classes == VOC_OBJECTS:
        return dict(DATA[VOC_OBJECTS + 1])
    known = coco_classes()
    return {**COCO, "classes": list(known[classes])} if classes in known else {}


def unknown_outputs(imported: Imported) -> str:
    if imported.task == "segmentation":
        known = ", ".join(f"{outputs}: {data['kind']}" for outputs, data in DATA.items())
        keys = "data.kind=folder data.root=DIR data.classes=[background, ...]"
    else:
        known = ", ".join([f"{VOC_OBJECTS + 1}: voc", *(f"{classes + 1}: coco" for classes in coco_classes())])
        names = "person" if classes_of(imported) == 1 else "first, second, ..."
        keys = f"data.kind=coco_json data.root=DIR data.val=val data.classes=[{names}]"
    return f"{counted(imported)} ({known}); say what they are: {keys}"


def coco_classes() -> dict[int, tuple[str, ...]]:
    """COCO's classes, by their number: those that are used, and all of its category ids with the gaps between them."""
    description = load_description(COCO["kind"])
    return {len(names): names for names in (description.object_classes or (), description.categories)}


def classes_of(imported: Imported) -> int:
    """Segmentation counts the background, detection does not."""
    assert imported.num_classes is not None
    return imported.num_classes - 1 if imported.task == "detection" else imported.num_classes


def counted(imported: Imported) -> str:
    background = ", one of them for the background" if imported.task == "detection" else ""
    return f"{imported.origin} has {imported.num_classes} outputs{background}"


def write_backbone(imported: Imported, output: Path, overrides: Sequence[str]) -> KeyReport:
    """A classifier's backbone alone, to the last map that it has."""
    if overrides:
        raise ConfigError(f"{imported.origin} is a backbone, which carries no config; leave {overrides[0]} away")
    backbone = whole_backbone(imported.model["backbone"])
    state = {key.removeprefix("backbone."): tensor for key, tensor in imported.state.items()}
    report = load_state(backbone, state, origin=imported.origin, ignored=imported.ignored)
    facts = BackboneFacts(dict(imported.model["backbone"]), imported.mean, imported.std)
    save_backbone(output, backbone.state_dict(), facts)
    return report
