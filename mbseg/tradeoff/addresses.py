"""Names made of contents: two trainings or two scores with one address are the same."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from mbseg.build_common import with_classes
from mbseg.config.load import Tree
from mbseg.config.schema import BackboneConfig, Experiment
from mbseg.weights.imagenet import IMAGENET, PUBLISHED
from mbseg.weights.states import sha256_of

LENGTH = 16  # hexadecimal digits
VERSION = 1  # a change of what a default means, or of how scores are counted, needs another
# For the weights that come out, but for rounding:
OF_NO_CONSEQUENCE = ("device", "threads", "data.workers", "train.log_every", "train.samples", "train.checkpoint_every")
ORIGIN = ("model.weights", "model.backbone.weights", "model.new_classifier")  # of the weights, no part of a network
OWN_PICTURES = ("folder", "list", "coco_json")  # kinds of data that mean another data set in every place
digest_of = cache(sha256_of)
TORCHVISION_V2_SHA256 = "b0353104"  # of mobilenet_v2's IMAGENET1K_V1, as torchvision's own file name says


def training_address(experiment: Experiment) -> str:
    """Of the weights that a training gives. Raises WeightsError where it starts from a file that is not there."""
    experiment = with_classes(experiment)
    weights = {
        "model": contents_of(experiment.model.weights),
        "backbone": backbone_contents(experiment.model.backbone),
        "averaged": experiment.evaluate.ema,
    }
    unnamed = ("model.weights", "model.backbone.weights", "evaluate", *OF_NO_CONSEQUENCE)
    return address({"weights": weights, "pictures": data_of(experiment), **without(chosen(experiment), unnamed)})


def score_address(training: str, experiment: Experiment) -> str:
    """Of the scores that these weights get in that experiment."""
    tree = without(chosen(with_classes(experiment)), ORIGIN)
    parts = {name: tree.get(name) for name in ("task", "model", "evaluate")}
    data = {name: tree["data"].get(name) for name in ("val", "classes", "mean", "std")}
    return address({"training": training, "pictures": data_of(experiment), **parts, **data})


def chosen(experiment: Experiment) -> Tree:
    """Without the keys that are at their defaults, so that a key more in the schema changes no address."""
    return experiment.model_dump(mode="json", exclude_defaults=True, exclude={"data": {"root"}})


def data_of(experiment: Experiment) -> str:
    """The data set; where it lies counts if that is all that tells which one it is. The others are taken as whole."""
    kind, root = experiment.data.kind, experiment.data.root
    return f"{kind} {root.resolve()}" if kind in OWN_PICTURES else kind


def address(tree: Any) -> str:
    return hashlib.sha256(json.dumps([VERSION, tree], sort_keys=True).encode()).hexdigest()[:LENGTH]


def without(tree: Tree, keys: tuple[str, ...]) -> Tree:
    """A copy without these dotted keys, and without the sections that are left empty."""
    copy: Tree = {}
    for name, value in tree.items():
        below = tuple(key.partition(".")[2] for key in keys if key.startswith(f"{name}."))
        kept = without(value, below) if isinstance(value, dict) else value
        if name not in keys and kept != {}:
            copy[name] = kept
    return copy


def backbone_contents(config: BackboneConfig) -> str | None:
    """ "imagenet" and the file that it stands for are the same weights."""
    if config.weights == IMAGENET:
        return PUBLISHED.get(config.name, {}).get(config.width_mult, IMAGENET)
    contents = contents_of(config.weights)
    if contents and contents.startswith(TORCHVISION_V2_SHA256):
        return PUBLISHED["mobilenet_v2"][1.0]
    return contents


def contents_of(file: str | None) -> str | None:
    return None if file is None else digest_of(Path(file))
