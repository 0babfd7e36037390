"""What is known of a data set before any of its files is read: `datasets/<kind>.yaml`."""

from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from mbseg.data.labels import Palette, voc_palette
from mbseg.errors import ConfigError
from mbseg.resources import dataset_file

BACKGROUND = "background"


class Archive(BaseModel):
    """One file that holds a data set, or a part of it. A checksum of null is not known yet."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    file: str
    bytes: int | None = None
    md5: str | None = None
    sha256: str | None = None


class DatasetDescription(BaseModel):
    """Layout, classes and colours of a data set, and where its archives are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    layout: Literal["voc", "camvid", "list", "folder", "coco"]
    classes: tuple[str, ...] | None = None  # null: the user names them (data.classes)
    palette: Palette | None = None  # the colour of each label value, void labels included
    void: tuple[int, ...] = ()  # label values ignored like 255
    splits: dict[str, int] = {}  # pictures in each list of the complete data set
    archives: dict[str, Archive] = {}

    @property
    def object_classes(self) -> tuple[str, ...] | None:
        """The classes that have boxes: the background is none of them."""
        return self.classes and tuple(name for name in self.classes if name != BACKGROUND)

    @field_validator("palette", mode="before")
    @classmethod
    def voc_colours(cls, palette: object) -> object:
        return voc_palette() if palette == "voc" else palette


def load_description(kind: str) -> DatasetDescription:
    """Read `datasets/<kind>.yaml`. Raises ConfigError if there is none or it is damaged."""
    file = dataset_file(kind)
    try:
        return DatasetDescription.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"{file}: {' '.join(str(error).split())}") from error
