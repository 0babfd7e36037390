"""What became of every key when weights were loaded: nothing is dropped, left out or half-loaded in silence."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from mbseg.errors import WeightsError

LONGEST_KEY = 120  # characters
SHOWN = 3  # names of each kind that an error lists


@dataclass(frozen=True)
class KeyReport:
    """Every key of the model and of the file."""

    loaded: tuple[str, ...]
    fresh: tuple[str, ...]  # of the model: kept as initialised, on request
    ignored: Mapping[str, str]  # of the file: key -> why it was not wanted
    missing: tuple[str, ...]  # of the model, not in the file
    unexpected: tuple[str, ...]  # of the file, not in the model
    mismatched: Mapping[str, str]  # in both: key -> both shapes and types

    @property
    def fits(self) -> bool:
        return not (self.missing or self.unexpected or self.mismatched)

    @property
    def misfits(self) -> str:
        """What does not fit, in one line."""
        kinds = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of another shape or type": [f"{key}: {what}" for key, what in self.mismatched.items()],
        }
        return ", ".join(f"{len(keys)} {kind} ({first(keys)})" for kind, keys in kinds.items() if keys)

    def __str__(self) -> str:
        counts = [f"{len(self.loaded)} tensors loaded"]
        if self.fresh:
            counts.append(f"{len(self.fresh)} as initialised: {', '.join(groups(self.fresh))}")
        if self.ignored:
            reasons = Counter((group(key), why) for key, why in self.ignored.items())
            listed = (f"{name} ({why})" for name, why in reasons)
            counts.append(f"{len(self.ignored)} ignored: {', '.join(listed)}")
        if not self.fits:
            counts.append(self.misfits)
        return ", ".join(counts)


def load_state(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    origin: str,
    fresh: Sequence[str] = (),
    ignored: Mapping[str, str] | None = None,
) -> KeyReport:
    """Copies `state` into `module` if every key fits, and nothing otherwise.

    `origin` names the file in errors, keys that start with one of `fresh` keep the module's own values, and `ignored`
    are keys that a key map has already left out, with reasons. Raises WeightsError that lists what does not fit.
    """
    report = check_state(module, state, origin=origin, fresh=fresh, ignored=ignored)
    module.load_state_dict({key: state[key] for key in report.loaded}, strict=False)
    return report


def check_state(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    origin: str,
    fresh: Sequence[str] = (),
    ignored: Mapping[str, str] | None = None,
) -> KeyReport:
    """What `load_state` would do; `module` may be on "meta". Raises WeightsError."""
    report = compare(module.state_dict(), state, fresh=tuple(fresh), ignored=ignored or {})
    if not report.fits:
        raise WeightsError(f"{origin} does not fit the model: {report.misfits}")
    return report


def compare(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], *, fresh: tuple[str, ...], ignored: Mapping[str, str]
) -> KeyReport:
    """Sorts every key of the model's `own` tensors and of `state`."""
    wanted = {key: tensor for key, tensor in own.items() if not key.startswith(fresh)}
    offered = {key: tensor for key, tensor in state.items() if not key.startswith(fresh)}
    refused = {key: "starts afresh" for key in state if key.startswith(fresh)}
    mismatched = {
        key: f"{describe(offered[key])} in the file, {describe(tensor)} in the model"
        for key, tensor in wanted.items()
        if key in offered and not agree(offered[key], tensor)
    }
    return KeyReport(
        loaded=tuple(key for key in wanted if key in offered and key not in mismatched),
        fresh=tuple(key for key in own if key not in wanted),
        ignored={**ignored, **refused},
        missing=tuple(key for key in wanted if key not in offered and not is_optional(key)),
        unexpected=tuple(key for key in offered if key not in wanted),
        mismatched=mismatched,
    )


def is_optional(key: str) -> bool:
    """Files written before PyTorch 0.4.1 have no batch counters, and a fixed momentum never reads them."""
    return key.endswith(".num_batches_tracked")


def agree(tensor: Tensor, own: Tensor) -> bool:
    """Half precision loads into single; a quantised tensor does not load into a float one."""
    return tensor.shape == own.shape and tensor.is_floating_point() == own.is_floating_point()


def describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def first(keys: Sequence[str]) -> str:
    return ", ".join(short(key) for key in keys[:SHOWN]) + (", ..." if len(keys) > SHOWN else "")


def short(key: str) -> str:
    """A key as it may stand in a line: a file can hold any text."""
    printable = "".join(character if character.isprintable() else "?" for character in key)
    return printable if len(printable) <= LONGEST_KEY else f"{printable[:LONGEST_KEY]}..."


def groups(keys: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(group(key) for key in keys))


def group(key: str) -> str:
    """`classifier.1.weight` -> `classifier.*`."""
    return f"{key.partition('.')[0]}.*"
