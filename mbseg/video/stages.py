"""Work handed from thread to thread: a stage works a few items ahead of whoever takes them, and either can end it."""

from collections import deque
from collections.abc import Iterator
from threading import Condition, Thread
from typing import Generic, Self, TypeVar, final

Item = TypeVar("Item")


@final
class Channel(Generic[Item]):
    """Items on their way from one thread to another, at most `size` of them waiting; both sides may close it.

    The second error is never seen: what comes behind the first close is dropped, be it an item or an error.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[Item] = deque()
        self._changed = Condition()  # its lock lets a signal handler close the channel that its own thread waits for
        self._closed = False
        self._error: BaseException | None = None

    def wait_for_room(self) -> bool:
        """Before an item is made, so that it is as new as can be; False once nobody wants any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._size)
            return not self._closed

    def put(self, item: Item) -> None:
        with self._changed:
            if not self._closed:
                self._items.append(item)
                self._changed.notify_all()

    def close(self, error: BaseException | None = None) -> None:
        """Items that wait can still be taken; behind them comes the error, or the end."""
        with self._changed:
            if not self._closed:
                self._closed, self._error = True, error
                self._changed.notify_all()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed)
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
        if self._error is not None:
            raise self._error
        raise StopIteration


@final
class Stage(Generic[Item]):
    """Takes `items` in a thread of its own, up to `ahead` of them before they are asked for.

    They come out in order; an error that taking one raises comes out behind those before it.
    """

    def __init__(self, name: str, items: Iterator[Item], *, ahead: int) -> None:
        self._items = items
        self._channel = Channel[Item](ahead)
        self._thread = Thread(target=self._work, name=name, daemon=True)  # whoever leaves at once does not wait for it
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        return self._channel

    def stop(self) -> None:
        """No further items are taken; those that are there can still be had."""
        self._channel.close()

    def join(self) -> None:
        self._thread.join()

    def _work(self) -> None:
        try:
            while self._channel.wait_for_room():
                self._channel.put(next(self._items))
        except StopIteration:
            self._channel.close()
        except BaseException as error:  # raised again where the items are taken
            self._channel.close(error)
