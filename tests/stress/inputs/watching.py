"""Readers at work in a process that is watched: its time, its memory, what it writes and how it ends."""

import os
import pickle
import resource
import shutil
import time
import traceback
import warnings
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import NamedTuple

from mbseg.errors import MbsegError
from tests.stress.inputs.picture_seeds import Files, put
from tests.stress.inputs.readers import READERS, Reader
from tests.stress.processes import BOOKS, SERVER

LONGEST = 5.0  # seconds for one input
MEMORY = 1 << 30  # bytes above what the libraries take
LONGEST_LINE = 5000  # characters
WARMING = 120.0  # seconds until a process has imported everything
CANARY = "nothing below this folder's neighbour may touch it"
OUTSIDE = Path("/tmp/outside.txt")  # where some damaged names lead


class Case(NamedTuple):
    """One damaged input; the same numbers give the same bytes."""

    seed: int
    reader: str
    number: int


class Outcome(NamedTuple):
    """What became of a case."""

    kind: str  # read, refused; anything else is a fault
    text: str = ""
    seconds: float = 0.0
    megabytes: int = 0  # the most that the process had above its libraries, so far

    @property
    def is_fault(self) -> bool:
        return self.kind not in ("read", "refused")


def damaged(case: Case, seeds: list[Files]) -> Files:
    """A file changed in one form, or in some bytes; what belongs to it is whole."""
    chance = Random(f"{case.seed} {case.reader} {case.number}")
    reader, files, other = READERS[case.reader], chance.choice(seeds), chance.choice(seeds)
    name, content = next(iter(files.items()))
    spare = next(iter(other.values()))
    if reader.forms and chance.random() < 0.5:
        return {**files, name: chance.choice(reader.forms)(content, spare, chance)}
    for _ in range(chance.choice((1, 1, 2, 4))):
        content = chance.choice(reader.damage)(content, spare, chance)
    return {**files, name: content}


def serve(link: Connection, corpus: Path, place: Path) -> None:
    """Takes cases until there are no more. The readers see a folder of their own and 1 GiB."""
    inside = enter(place)
    seeds: dict[str, list[Files]] = pickle.loads(corpus.read_bytes())
    warnings.simplefilter("ignore")
    for name, reader in READERS.items():
        for files in seeds[name]:
            outcome = judged(reader, put(inside, files))
            assert not outcome.is_fault, (name, outcome)
            clear(inside)
    usual = limit_memory()
    link.send("ready")
    while case := link.recv():
        started = time.monotonic()
        path = put(inside, damaged(case, seeds[case.reader]))
        before = contents(place)
        outcome = judged(READERS[case.reader], path)
        if not outcome.is_fault and (changed := contents(place) ^ before):
            outcome = Outcome("wrote", f"touched {sorted(changed)[:3]}")
        clear(inside)
        used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - usual) >> 10
        link.send(outcome._replace(seconds=time.monotonic() - started, megabytes=used))


def enter(place: Path) -> Path:
    """A folder to work in, with others around it that nobody may touch."""
    inside = place / "inside"
    for folder in (inside, place / "home", place / "temporary"):
        folder.mkdir(parents=True, exist_ok=True)
    (place / "canary.txt").write_text(CANARY)
    os.environ.update(HOME=str(place / "home"), TMPDIR=str(place / "temporary"))
    os.chdir(inside)
    return inside


def clear(inside: Path) -> None:
    for path in inside.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def contents(place: Path) -> set[tuple[str, int, int]]:
    """Name, size and time of every file, and of the one that damaged names lead to."""
    files = [path for path in place.rglob("*") if not path.is_dir()] + [OUTSIDE] * OUTSIDE.exists()
    return {(str(path), path.lstat().st_size, path.lstat().st_mtime_ns) for path in files}


def limit_memory() -> int:
    """To what it is now and MEMORY; returns the resident kilobytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def judged(reader: Reader, path: Path) -> Outcome:
    try:
        reader.read(path)
    except MbsegError as error:
        text = str(error)
        is_line = text.isprintable() and 0 < len(text) <= LONGEST_LINE
        return Outcome("refused" if is_line else "no line", text[:200])
    except BaseException as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/mbseg/" in frame.filename]
        where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno} {frames[-1].name}" if frames else "?"
        return Outcome(f"{type(error).__name__} at {where}", " ".join(str(error).split())[:200])
    return Outcome("read")


class Watched:
    """A process with readers, begun anew when it has died, hung or grown old."""

    OLD = 1000  # inputs

    def __init__(self, corpus: Path, place: Path) -> None:
        self.corpus = corpus
        self.place = place
        self.age = self.OLD
        self.link: Connection
        self.process: BaseProcess | None = None

    def begin(self) -> None:
        self.end()
        self.link, theirs = SERVER.Pipe()
        self.process = SERVER.Process(target=serve, args=(theirs, self.corpus, self.place))
        with BOOKS:
            self.process.start()
        theirs.close()
        self.age = 0
        assert self.link.poll(WARMING)
        self.link.recv()  # that it is ready: every reader has read what is whole

    def end(self) -> None:
        if self.process is not None:
            self.link.close()
            with BOOKS:
                self.process.kill()
                self.process.join()
            self.process = None

    def judge(self, case: Case) -> Outcome:
        if self.age >= self.OLD:
            self.begin()
        self.age += 1
        self.link.send(case)
        if not self.link.poll(LONGEST):
            self.age = self.OLD
            return Outcome("hang", f"over {LONGEST:g} s")
        try:
            outcome: Outcome = self.link.recv()
        except EOFError:
            return self.died()
        return outcome

    def died(self) -> Outcome:
        assert self.process is not None
        with BOOKS:
            self.process.join()
        code, self.process, self.age = self.process.exitcode, None, self.OLD
        return Outcome("died", f"exit code {code}")
