"""Where frames go when they are finished; see `outputs` for files, `window` and `server` for live views."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple, Self, final

import numpy as np
from numpy.typing import NDArray

from mbseg.runtime.answers import Answer
from mbseg.video.frames import Frame

UInt8Array = NDArray[np.uint8]


class Shown(NamedTuple):
    """A finished frame."""

    frame: Frame
    answer: Answer
    drawn: UInt8Array | None  # [H, W, 3] BGR, the answer over the frame; None where no sink draws

    @property
    def picture(self) -> UInt8Array:
        """What is drawn, for a sink that draws."""
        assert self.drawn is not None
        return self.drawn


class Sink(ABC):
    """Takes frames while it is open; what it makes bears its final name only once it is whole."""

    draws: bool = True  # whether it wants the drawn picture, and not the answer only

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def write(self, shown: Shown) -> None:
        """Raises RunError if it cannot be written."""

    @property
    def wants_more(self) -> bool:
        """False once a viewer has had enough."""
        return True

    def __exit__(self, _kind: type[BaseException] | None, /, *_error: object) -> None:
        return


@final
class Nowhere(Sink):
    """For measuring."""

    def write(self, shown: Shown) -> None:
        pass


@final
class Together(Sink):
    """Several sinks at once; the first that has had enough ends them all."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self.sinks = sinks
        self.draws = any(sink.draws for sink in sinks)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            for sink in self.sinks:
                opened.enter_context(sink)
            self._open = opened.pop_all()
        return self

    def write(self, shown: Shown) -> None:
        for sink in self.sinks:
            sink.write(shown)

    @property
    def wants_more(self) -> bool:
        return all(sink.wants_more for sink in self.sinks)

    def __exit__(self, *error: Any) -> None:
        """Closes all, even if one fails."""
        self._open.__exit__(*error)
