"""The frames of the source on their way to everybody who watches."""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple

from mbseg.video.serve.messages import Encoded, encode
from mbseg.video.serve.newest import Newest
from mbseg.video.sinks import Shown, Sink


class Seen(NamedTuple):
    """A frame as a page gets it."""

    number: int
    captured: float  # perf_counter seconds
    encoded: Encoded


class Broadcast:
    """Keeps the newest frame; it is encoded when the first page asks for it, once for all of them."""

    def __init__(self) -> None:
        self.newest: Newest[Shown] = Newest()
        self.turn = asyncio.Lock()
        self.made: Seen | None = None

    async def after(self, seen: int) -> Seen:
        """A frame whose number is larger than `seen`; none between it and the newest."""
        await self.newest.after(seen)
        async with self.turn:
            number, shown = await self.newest.after(seen)  # there may be a newer one by now
            if self.made is None or self.made.number < number:
                self.made = Seen(number, shown.frame.captured, await asyncio.to_thread(encode_shown, shown))
            return self.made


class BrowserSink(Sink):
    """Hands frames to the pages and waits for none of them; pages draw for themselves."""

    draws = False

    def __init__(self, show: Callable[[Shown], None]) -> None:
        self.show = show

    def write(self, shown: Shown) -> None:
        self.show(shown)


def encode_shown(shown: Shown) -> Encoded:
    pixels = shown.frame.pixels
    return encode(shown.answer, (pixels.shape[0], pixels.shape[1]), pixels)


def milliseconds_since(moment: float) -> float:
    return 1000 * (perf_counter() - moment)
