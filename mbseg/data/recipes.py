"""What is known of making each data set: where it goes, what it comes in, what is there when it is complete."""

from pathlib import Path
from typing import NamedTuple

from mbseg.errors import ConfigError
from mbseg.naming import hint


class Recipe(NamedTuple):
    """How one data set is made."""

    kind: str  # its description: datasets/<kind>.yaml
    folder: str  # its usual place below `datasets`
    masks: tuple[str, ...] = ()  # splits of pictures with masks, all there when it is complete
    boxes: tuple[str, ...] = ()  # the same with boxes
    parts: tuple[str, ...] = ()  # the folders that together tell it when unpacked; none: it is drawn
    archives: tuple[str, ...] = ()  # what it comes in, as its description names them
    added_to: str | None = None  # the data set that it completes in place

    def boxes_name(self, split: str) -> str:
        """What a split is called that counts other pictures with boxes than with masks."""
        return f"{split} (boxes)" if split in self.masks else split


TRAIN_VAL = ("train", "val")
RECIPES = {
    "voc2012": Recipe(
        kind="voc",
        folder="voc2012",
        masks=TRAIN_VAL,
        boxes=TRAIN_VAL,
        parts=("JPEGImages", "SegmentationClass", "ImageSets"),
        archives=("voc2012",),
    ),
    "sbd": Recipe(
        kind="voc",
        folder="voc2012",
        masks=("train_aug",),
        parts=("cls", "img"),
        archives=("sbd",),
        added_to="voc2012",
    ),
    "voc2007": Recipe(
        kind="voc2007",
        folder="voc2007",
        boxes=("trainval", "test"),
        parts=("JPEGImages", "Annotations", "ImageSets"),
        archives=("trainval", "test"),
    ),
    "coco2017": Recipe(
        kind="coco",
        folder="coco2017",
        boxes=("train2017", "val2017"),
        parts=("annotations", "train2017", "val2017"),
        archives=("train2017", "val2017", "annotations"),
    ),
    "camvid": Recipe(
        kind="camvid",
        folder="camvid",
        masks=TRAIN_VAL,
        parts=("train", "trainannot", "val", "valannot"),
        archives=("camvid",),
    ),
    "cityscapes": Recipe(
        kind="cityscapes",
        folder="cityscapes",
        masks=TRAIN_VAL,
        parts=("leftImg8bit", "gtFine"),
        archives=("leftImg8bit", "gtFine"),
    ),
    "shapes": Recipe(kind="shapes", folder="shapes", masks=TRAIN_VAL),
}


def recipe_named(name: str) -> Recipe:
    """Raises ConfigError for an unknown name."""
    if name not in RECIPES:
        raise ConfigError(f"no data set {name!r} can be prepared; {hint(name, RECIPES)}")
    return RECIPES[name]


def usual_root(name: str) -> Path:
    """Where the shipped configs look for the data set. Raises ConfigError for an unknown name."""
    return Path("datasets", recipe_named(name).folder)
