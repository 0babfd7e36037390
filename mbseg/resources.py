"""The YAML files that come with mbseg: in an installed wheel beside the code, in a checkout at its root."""

from pathlib import Path

from mbseg.errors import ConfigError
from mbseg.files import is_file
from mbseg.naming import hint

PACKAGE = Path(__file__).parent


def shipped_folder(name: str) -> Path:
    """The folder `configs` or `datasets`: the wheel's own first, as site-packages may hold a stranger's `datasets`."""
    packaged = PACKAGE / "_data" / name
    return packaged if packaged.is_dir() else PACKAGE.parent / name


def dataset_file(name: str) -> Path:
    """The description of the data set `name`, say "voc". Raises ConfigError for an unknown one."""
    file = shipped_folder("datasets") / f"{name}.yaml"
    if not is_file(file):
        raise ConfigError(f"no data set named {name!r}; {hint(name, dataset_names())}")
    return file


def dataset_names() -> list[str]:
    return sorted(file.stem for file in shipped_folder("datasets").glob("*.yaml"))


def config_file(name: str) -> Path | None:
    """The shipped config `name`, say "voc/NAME", with or without its suffix; None if there is none."""
    file = shipped_folder("configs") / f"{name.removesuffix('.yaml')}.yaml"
    return file if is_file(file) else None


def config_names() -> list[str]:
    folder = shipped_folder("configs")
    return sorted(file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.yaml"))
