"""A place for one value, of which only the newest counts."""

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Newest(Generic[T]):
    """Whoever puts a value in never waits; whoever wants one waits until it is newer than the last one seen."""

    def __init__(self) -> None:
        self.number = 0  # of the newest value; the first is 1
        self.value: T | None = None
        self.changed = asyncio.Event()

    def put(self, value: T) -> None:
        """In the thread of the loop."""
        self.number, self.value = self.number + 1, value
        self.changed.set()
        self.changed = asyncio.Event()

    async def after(self, seen: int) -> tuple[int, T]:
        """The newest value and its number, which is larger than `seen`."""
        while self.number <= seen:
            await self.changed.wait()
        assert self.value is not None, "numbers above 0 have a value"
        return self.number, self.value
