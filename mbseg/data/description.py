"""What is known of a data set before any of its files is read: `datasets/<kind>.yaml`."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from mbseg.data.labels import LabelMap, Palette, voc_palette
from mbseg.errors import ConfigError
from mbseg.resources import dataset_file
from mbseg.yaml_text import read_yaml_file

BACKGROUND = "background"


class Archive(BaseModel):
    """One file that holds a data set, or a part of it. A checksum of null is not known yet."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str  # of the file; with `login`, of the page that offers it
    file: str
    login: bool = False  # it is only given to those who have registered, so it cannot be downloaded here
    bytes: int | None = None
    md5: str | None = None
    sha256: str | None = None


class DatasetDescription(BaseModel):
    """Layout, classes and colours of a data set, and where its archives are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    layout: Literal["voc", "camvid", "cityscapes", "list", "folder", "coco"]
    classes: tuple[str, ...] | None = None  # null: the user names them (data.classes)
    category_ids: tuple[int, ...] | None = None  # COCO's number of each class, where they leave gaps
    label_values: tuple[int, ...] | None = None  # the value of each class in the masks; null: its id
    void: tuple[int, ...] = ()  # label values ignored like 255
    palette: Palette | None = None  # the colour of each class, void labels behind them
    splits: dict[str, int] = {}  # pictures in each list of the complete data set
    archives: dict[str, Archive] = {}

    @property
    def object_classes(self) -> tuple[str, ...] | None:
        """The classes that have boxes: the background is none of them."""
        return self.classes and tuple(name for name in self.classes if name != BACKGROUND)

    @property
    def categories(self) -> tuple[str, ...]:
        """The classes by COCO's numbers from 1 on, the gaps included: what networks with an output for each mean."""
        names = dict(zip(self.category_ids or (), self.classes or (), strict=True))
        return tuple(names.get(number, f"unused {number}") for number in range(1, max(names, default=0) + 1))

    @property
    def advice(self) -> str:
        """What to do where its folder is missing."""
        is_prepared = self.archives or self.name == "shapes"
        return "`mbseg prepare-dataset` makes one, or name another" if is_prepared else "name yours: data.root=DIR"

    @field_validator("palette", mode="before")
    @classmethod
    def voc_colours(cls, palette: object) -> object:
        return voc_palette() if palette == "voc" else palette

    @model_validator(mode="after")
    def a_label_value_for_each_class(self) -> Self:
        if self.label_values is not None and len(self.label_values) != len(self.classes or ()):
            raise ValueError(f"{len(self.label_values)} label_values for {len(self.classes or ())} classes")
        return self

    @model_validator(mode="after")
    def a_category_id_for_each_class(self) -> Self:
        if self.category_ids is not None and sorted({*self.category_ids}) != list(self.category_ids):
            raise ValueError("category_ids do not rise")
        if self.category_ids is not None and len(self.category_ids) != len(self.classes or ()):
            raise ValueError(f"{len(self.category_ids)} category_ids for {len(self.classes or ())} classes")
        return self

    def label_map(self, num_classes: int) -> LabelMap:
        """How masks are read; those of colours only where a colour's place in the palette is its label value.

        Raises ConfigError for another number of classes than there are label values.
        """
        if self.label_values is not None and len(self.label_values) != num_classes:
            raise ConfigError(
                f"{self.name} has {len(self.label_values)} classes; {num_classes} are named in data.classes"
            )
        palette = self.palette if self.label_values is None else None
        return LabelMap(num_classes, self.void, palette, self.label_values)


def load_description(kind: str) -> DatasetDescription:
    """Read `datasets/<kind>.yaml`. Raises ConfigError if there is none or it is damaged."""
    file = dataset_file(kind)
    try:
        return DatasetDescription.model_validate(read_yaml_file(file))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: {' '.join(str(error).split())}") from error
