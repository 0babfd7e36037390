"""What is damaged: whole files, one or more for each reader."""

from collections.abc import Iterator
from pathlib import Path

from mbseg.resources import shipped_folder
from tests.stress.inputs import picture_seeds, weight_seeds
from tests.stress.inputs.picture_seeds import Files

OVERRIDES = (
    b"train.steps=3",
    b"data.crop_size=[65, 65]",
    b"data.augment={flip: 0.1, scale: [1, 2]}",
    b"model.head.at=c5",
)


def make_corpus(folder: Path, run: Path, prediction: Path) -> dict[str, list[Files]]:
    """By reader; `run` is the folder of a finished training, `prediction` of a shard; `folder` is to write in."""
    masks, archives = list(picture_seeds.masks()), list(picture_seeds.archives())
    pictures, torch_files = list(picture_seeds.pictures()), list(weight_seeds.torch_files(folder))
    return {
        "PNG pictures": of_kind(pictures, ".png"),
        "other pictures": [files for files in pictures if files not in of_kind(pictures, ".png")],
        "masks": masks,
        "PNG masks": of_kind(masks, ".png"),
        "VOC's XML": list(picture_seeds.annotations()),
        "COCO's JSON": list(picture_seeds.coco_json()),
        "list files": list(picture_seeds.lists()),
        "VOC's lists": list(picture_seeds.voc_lists()),
        "configs": list(configs()),
        "grids": [
            {"grid.yaml": file.read_bytes()} for file in sorted(shipped_folder("configs").glob("tradeoff/*.yaml"))
        ],
        "overrides": [{"override": override} for override in OVERRIDES],
        "tar archives": of_kind(archives, ".tar"),
        "zip archives": of_kind(archives, ".zip"),
        "archives of data sets": archives,
        "weights": list(weight_seeds.safetensors(folder)),
        "backbones": list(weight_seeds.backbones(folder)),
        "PyTorch's files": torch_files[:1],
        "older PyTorch's files": torch_files[1:],
        "TFLite files": list(weight_seeds.tflite_files(folder)),
        "frozen graphs": list(weight_seeds.graphs(folder)),
        "exported files": list(weight_seeds.exported(folder)),
        "manifests": [weight_seeds.read(*sorted(prediction.iterdir(), key=lambda file: file.suffix != ".jsonl"))],
        **weight_seeds.run_files(run),
    }


def of_kind(seeds: list[Files], suffix: str) -> list[Files]:
    return [files for files in seeds if next(iter(files)).endswith(suffix)]


def configs() -> Iterator[Files]:
    folder = shipped_folder("configs")
    whole = (folder / "quickstart.yaml").read_bytes()
    yield {"config.yaml": whole}
    yield {"config.yaml": (folder / "quickstart_detection.yaml").read_bytes()}
    yield {"config.yaml": b"base: base.yaml\ntrain: {steps: 5}\n", "base.yaml": whole}
    yield {"base.yaml": whole, "config.yaml": b"base: base.yaml\n"}
