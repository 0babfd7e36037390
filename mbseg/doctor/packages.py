"""What is installed beside what mbseg asks for. Nothing is imported: what cannot be imported is named here too."""

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions, metadata
from typing import NamedTuple

from mbseg.doctor.findings import Finding, fault, ok

HEADLESS = "opencv-python-headless"
OPENCV = ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")
SUCCESSOR = "albumentationsx"
FOR_DEVELOPERS = "dev"


class Need(NamedTuple):
    """A requirement of mbseg's own metadata."""

    name: str
    versions: str  # such as ">=2.10"; empty: any
    extra: str | None = None  # of mbseg, that brings it; None: mbseg cannot be without

    @property
    def for_pip(self) -> str:
        return f"'{self.name}{self.versions}'"


@dataclass(frozen=True)
class Packages:
    """Distributions by their normalized names."""

    python: str
    installed: Mapping[str, str]  # name -> version
    needs: Sequence[Need]


def gather_packages() -> Packages:
    from packaging.utils import canonicalize_name

    about = metadata("mbseg")
    installed: dict[str, str] = {}
    for one in distributions():
        name, version = one.metadata["Name"], one.metadata["Version"]
        if name and version:  # an installation that was interrupted leaves folders without them
            installed.setdefault(canonicalize_name(name), version)  # the first one is what Python finds
    extras = [extra for extra in about.get_all("Provides-Extra") or () if extra != FOR_DEVELOPERS]
    needs = needs_of(about.get_all("Requires-Dist") or (), extras)
    return Packages(platform.python_version(), installed, needs)


def needs_of(requirements: Sequence[str], extras: Sequence[str]) -> list[Need]:
    """What is always needed first, then what each extra brings."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    parsed = [Requirement(text) for text in requirements]
    always = [one for one in parsed if one.marker is None or one.marker.evaluate({"extra": ""})]
    needs = [Need(canonicalize_name(one.name), str(one.specifier)) for one in always]
    for extra in extras:
        brought = [one for one in parsed if one not in always and one.marker and one.marker.evaluate({"extra": extra})]
        needs += [Need(canonicalize_name(one.name), str(one.specifier), extra) for one in brought]
    return needs


def check_packages(packages: Packages) -> Iterator[Finding]:
    yield ok("Python", packages.python)
    yield ok("mbseg", packages.installed.get("mbseg", "not installed"))
    for need in packages.needs:
        if need.extra is None:
            yield check_need(need, packages.installed.get(need.name))
    for extra in dict.fromkeys(need.extra for need in packages.needs if need.extra):
        yield check_extra(extra, packages)


def check_need(need: Need, version: str | None) -> Finding:
    if version is None:
        return fault(need.name, "not installed", f"pip install {need.for_pip}")
    if not fits(version, need):
        return fault(need.name, f"{version} is installed, mbseg needs {need.versions}", f"pip install {need.for_pip}")
    return ok(need.name, version)


def check_extra(extra: str, packages: Packages) -> Finding:
    """Nobody needs all extras; those that are there have to fit."""
    needs = [need for need in packages.needs if need.extra == extra]
    found = {need: packages.installed[need.name] for need in needs if need.name in packages.installed}
    name = f"mbseg[{extra}]"
    for need, version in found.items():
        if not fits(version, need):
            return check_need(need, version)._replace(check=name, says=f"{need.name} {version}, not {need.versions}")
    if missing := [need.name for need in needs if need not in found]:
        return ok(name, f"without {', '.join(missing)}; pip install '{name}' brings what is missing")
    return ok(name, ", ".join(f"{need.name} {version}" for need, version in found.items()))


def fits(version: str, need: Need) -> bool:
    """A version that is none, of a build of one's own, is let pass."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion

    try:
        return SpecifierSet(need.versions).contains(version, prereleases=True)
    except InvalidVersion:
        return True


def check_opencv(packages: Packages) -> Finding:
    """Every build of OpenCV owns the folder cv2: what came last is found, and removing one removes both."""
    others = [name for name in OPENCV if name in packages.installed]
    if not others:
        return ok("OpenCV builds", f"{HEADLESS} alone")
    there = [name for name in (*others, HEADLESS) if name in packages.installed]
    says = f"{' and '.join(f'{name} {packages.installed[name]}' for name in there)}: only {HEADLESS} may own cv2"
    advice = f"pip uninstall -y {' '.join(there)} && pip install {HEADLESS}"
    return fault("OpenCV builds", says, advice)


def check_successor(packages: Packages) -> Finding:
    """AlbumentationsX lies in the folder of albumentations."""
    if SUCCESSOR not in packages.installed:
        return ok("licences", f"no {SUCCESSOR}, which is AGPL")
    says = f"{SUCCESSOR} {packages.installed[SUCCESSOR]} stands in for albumentations, and is under the AGPL"
    advice = f"pip uninstall -y {SUCCESSOR} albumentations && pip install 'albumentations>=2.0.8,<2.1'"
    return fault("licences", says, advice)
