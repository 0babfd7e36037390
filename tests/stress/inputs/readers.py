"""Every reader of a stranger's file, as the commands call it, and the damage that gets furthest into it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mbseg
from mbseg.checks import check_resumed_config
from mbseg.config.grid import base_tree, combinations, load_grid
from mbseg.config.load import load_experiment, make_experiment, merge, read_yaml, to_yaml
from mbseg.data.coco import read_coco
from mbseg.data.description import load_description
from mbseg.data.labels import LabelMap, voc_palette
from mbseg.data.layouts import find_pairs
from mbseg.data.prepare import prepare
from mbseg.data.reading import read_image, read_mask
from mbseg.data.unpacking import unpack
from mbseg.data.voc_detection import read_annotation
from mbseg.engine.checkpoint import load_checkpoint
from mbseg.engine.run_folder import RunFolder
from mbseg.exported_models import exported_experiment
from mbseg.importing import import_weights
from mbseg.prediction.merging import merge as merge_shards
from mbseg.runtime.artifact import read_artifact
from mbseg.weights.store import read_backbone_facts
from tests.stress.inputs import structured
from tests.stress.inputs.mutations import BYTES, TEXT, Mutation

CLASSES = ("disc", "square", "triangle", "ring", "star", "cross", "cat", "dog")
LABELS = LabelMap(7, (), voc_palette(), None)


@dataclass(frozen=True)
class Reader:
    """`read` takes the damaged file, with what belongs to it beside it, and leaves nothing behind."""

    read: Callable[[Path], object]
    damage: tuple[Mutation, ...] = BYTES  # to any content, again and again
    forms: tuple[Mutation, ...] = ()  # to whole content only


def read_config(path: Path) -> None:
    to_yaml(load_experiment(str(path)))


def read_override(path: Path) -> None:
    load_experiment("quickstart", [path.read_text(errors="surrogateescape")])


def read_grid(path: Path) -> None:
    grid, where = load_grid(str(path))
    base = base_tree(grid, where)
    for block in grid.rows:
        for one in combinations(block)[:2]:
            make_experiment(merge(base, one.changes), source=str(path))


def read_lists(path: Path) -> None:
    find_pairs(load_description("list"), path.parent, "train")


def read_voc_lists(path: Path) -> None:
    find_pairs(load_description("voc"), path.parents[2], "train")


def read_archive(path: Path) -> None:
    with TemporaryDirectory(dir=path.parent) as folder:
        unpack(path, Path(folder) / "unpacked")


def read_data_archive(path: Path) -> None:
    prepare("camvid", path.parent / "camvid", path)


def read_stranger(path: Path) -> None:
    output = path.parent / "imported.safetensors"
    import_weights(str(path), output)
    output.unlink()


def read_exported(path: Path) -> None:
    graph = path.with_suffix(".xml") if path.suffix == ".bin" else path
    exported_experiment(graph, read_artifact(graph), [])


def read_metrics(path: Path) -> None:
    RunFolder(path.parent).evaluations()


def read_manifest(path: Path) -> None:
    with TemporaryDirectory(dir=path.parent.parent) as folder:
        merge_shards([path.parent], Path(folder) / "merged")


def read_result(path: Path) -> None:
    RunFolder(path.parent).read_result()


def read_run_config(path: Path) -> None:
    check_resumed_config(make_experiment(read_yaml(path), source=str(path)), RunFolder(path.parent))


READERS: dict[str, Reader] = {
    "PNG pictures": Reader(read_image, BYTES, (structured.png_chunk,)),
    "other pictures": Reader(read_image),
    "masks": Reader(lambda path: read_mask(path, LABELS)),
    "PNG masks": Reader(lambda path: read_mask(path, LABELS), BYTES, (structured.png_chunk,)),
    "VOC's XML": Reader(lambda path: read_annotation(path, path, 1, CLASSES), TEXT),
    "COCO's JSON": Reader(lambda path: read_coco(path, [path.parent]), TEXT, (structured.json_tree,)),
    "list files": Reader(read_lists, TEXT),
    "VOC's lists": Reader(read_voc_lists, TEXT),
    "configs": Reader(read_config, TEXT, (structured.yaml_tree,)),
    "grids": Reader(read_grid, TEXT, (structured.yaml_tree,)),
    "overrides": Reader(read_override, TEXT),
    "tar archives": Reader(read_archive, BYTES, (structured.tar_member,)),
    "zip archives": Reader(read_archive, BYTES, (structured.zip_member,)),
    "archives of data sets": Reader(read_data_archive),
    "weights": Reader(mbseg.load, BYTES, (structured.safetensors_header,)),
    "backbones": Reader(read_backbone_facts, BYTES, (structured.safetensors_header,)),
    "PyTorch's files": Reader(read_stranger, BYTES, (structured.zip_member,)),
    "older PyTorch's files": Reader(read_stranger),
    "TFLite files": Reader(read_stranger),
    "frozen graphs": Reader(read_stranger),
    "exported files": Reader(read_exported),
    "checkpoints": Reader(load_checkpoint, BYTES, (structured.zip_member,)),
    "metrics": Reader(read_metrics, TEXT, (structured.json_lines,)),
    "manifests": Reader(read_manifest, TEXT, (structured.json_lines,)),
    "results": Reader(read_result, TEXT, (structured.json_tree,)),
    "configs of runs": Reader(read_run_config, TEXT, (structured.yaml_tree,)),
}
