"""Every picture and mask of a data set read and judged before training."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import NamedTuple, TypeVar

from mbseg.data.archives import Progress, silent
from mbseg.data.description import DatasetDescription
from mbseg.data.labels import LabelMap
from mbseg.data.layouts import list_pairs
from mbseg.data.reading import read_image, read_mask, size_text
from mbseg.data.samples import Pair
from mbseg.errors import DataError
from mbseg.processes import leave_signals_to_parent

AMONG = 256  # items that may be looked into when a process has died: more than several processes have in hand

Item = TypeVar("Item")
Found = TypeVar("Found")


class Fault(NamedTuple):
    """A file that cannot be trained or evaluated on as it is."""

    file: Path
    problem: str


def check_dataset(
    description: DatasetDescription,
    root: Path,
    splits: Sequence[str],
    classes: Sequence[str],
    *,
    processes: int | None = None,
    progress: Progress = silent,
) -> list[Fault]:
    """The faults of the named splits: lists, files, and pictures that stand in more than one split."""
    faults = []
    pairs: dict[str, list[Pair]] = {}
    for split in splits:
        try:
            pairs[split] = list_pairs(description, root, split)
        except DataError as error:
            faults.append(Fault(root, str(error)))
    faults += repeated_pictures({split: [pair.image for pair in listed] for split, listed in pairs.items()})
    every_pair = list(dict.fromkeys(pair for listed in pairs.values() for pair in listed))
    label_map = description.label_map(len(classes))
    faults += check_pairs(every_pair, label_map, processes=processes, progress=progress)
    return one_a_file(faults)


def one_a_file(faults: Sequence[Fault]) -> list[Fault]:
    """Each file once, with all its problems."""
    problems: dict[Path, list[str]] = {}
    for fault in dict.fromkeys(faults):
        problems.setdefault(fault.file, []).append(fault.problem)
    return [Fault(file, "; ".join(found)) for file, found in problems.items()]


def repeated_pictures(images: Mapping[str, Sequence[Path]]) -> list[Fault]:
    """Pictures listed twice in a split, or in two splits."""
    times = {split: Counter(listed) for split, listed in images.items()}
    twice = [
        Fault(image, f"listed {number} times in {split!r}")
        for split, numbers in times.items()
        for image, number in numbers.items()
        if number > 1
    ]
    shared = [
        Fault(image, f"both in {one!r} and in {other!r}")
        for one, other in combinations(times, 2)
        for image in times[one]
        if image in times[other]
    ]
    return twice + shared


def check_pairs(
    pairs: Sequence[Pair], label_map: LabelMap, *, processes: int | None = None, progress: Progress = silent
) -> list[Fault]:
    """Read both files of every pair."""
    check = partial(check_pair, label_map=label_map)
    found = check_each(check, pairs, processes, progress, died=lambda pair: [fault_of_death(pair.image, pair.mask)])
    return [fault for faults in found for fault in faults]


def check_each(
    check: Callable[[Item], Found],
    items: Sequence[Item],
    processes: int | None,
    progress: Progress,
    *,
    died: Callable[[Item], Found],
) -> Iterator[Found]:
    """What `check` finds of each item, in their order, in several processes (None: one for each core).

    An item of which a process dies, such as a picture that crashes its decoder, is left to `died`.
    """
    done = 0
    while done < len(items):
        try:
            for found in _in_processes(check, items[done:], processes, chunk=16):
                yield found
                progress("reading pictures", done := done + 1, len(items))
        except BrokenProcessPool:
            for found in _up_to_the_deadly_one(check, items[done:], died):
                yield found
                progress("reading pictures", done := done + 1, len(items))


def _in_processes(
    check: Callable[[Item], Found], items: Sequence[Item], processes: int | None, chunk: int
) -> Iterator[Found]:
    pool = ProcessPoolExecutor(processes, initializer=leave_signals_to_parent)
    try:
        yield from pool.map(check, items, chunksize=chunk)
    finally:
        pool.shutdown(cancel_futures=True)


def _up_to_the_deadly_one(
    check: Callable[[Item], Found], items: Sequence[Item], died: Callable[[Item], Found]
) -> Iterator[Found]:
    """One item after the other in a single process, until it dies."""
    done = 0
    try:
        for found in _in_processes(check, items[:AMONG], 1, chunk=1):
            yield found
            done += 1
    except BrokenProcessPool:
        yield died(items[done])


def check_pair(pair: Pair, label_map: LabelMap) -> list[Fault]:
    """The faults of one picture and its mask."""
    return list(_faults(pair, label_map))


def _faults(pair: Pair, label_map: LabelMap) -> Iterator[Fault]:
    image = mask = None
    try:
        image = read_image(pair.image)
    except DataError as error:
        yield fault_of(pair.image, error)
    try:
        mask = read_mask(pair.mask, label_map)
    except DataError as error:
        yield fault_of(pair.mask, error)
    if image is not None and mask is not None and mask.shape != image.shape[:2]:
        yield Fault(pair.mask, f"the mask is {size_text(mask)}, its picture {size_text(image)}")


def fault_of(file: Path, error: DataError) -> Fault:
    """The error without the file's name, with which it begins."""
    return Fault(file, str(error).removeprefix(str(file)).lstrip(": "))


def fault_of_death(*files: Path) -> Fault:
    """What is said of the files that the process of a check was reading when it died."""
    others = "".join(f" or {file}" for file in files[1:])
    return Fault(files[0], f"reading it{others} ended the process: a decoder crashed, or memory was short")
