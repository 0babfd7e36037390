"""A large JSON file read value by value, so that memory does not grow with the file."""

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

WINDOW = 1 << 20  # bytes that are read at once
LARGEST_VALUE = 1 << 22  # characters of one entry, which may take 25 times as many bytes as Python objects
LONGEST_TOKEN = 16  # characters that json leaves unread where one is cut: \\ud83d\\ude00 has twelve
WHITESPACE = re.compile(r"[ \t\r\n]*")


class JsonStream:
    """A place in a file of UTF-8. Methods raise ValueError for what is no JSON, OSError for what cannot be read."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._scan = json.JSONDecoder().raw_decode
        self._text = ""
        self._position = 0
        self._dropped = 0  # characters before `_text`

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def peek(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            self._position = WHITESPACE.match(self._text, self._position).end()  # type: ignore[union-attr]
            if self._position < len(self._text):
                return self._text[self._position]
            if not self._read_on(WINDOW):
                return ""

    def take(self, allowed: str) -> str:
        """The next character, which must be one of these."""
        character = self.peek()
        if not character or character not in allowed:
            raise self._fault(f"{' or '.join(allowed)} expected, not {character!r}" if character else "it is cut short")
        self._position += 1
        return character

    def value(self) -> object:
        """The next value, whole."""
        self.peek()
        wanted = WINDOW
        while True:
            try:
                value, end = self._scan(self._text, self._position)
                # a number may go on in the next window: 4 with .5e-3
                if self._text[end : end + 3].strip(".eE+-") or not self._read_on(WINDOW):
                    self._position = end
                    return value
            except json.JSONDecodeError as error:
                place = self._dropped + error.pos
                if self._is_final(error) or not self._read_on(wanted):
                    raise ValueError(f"{error.msg}, at character {place}") from error
            except RecursionError as error:
                raise self._fault("lists in lists without end") from error
            if len(self._text) - self._position > LARGEST_VALUE:
                raise self._fault(f"a value of more than {LARGEST_VALUE:,} characters")
            wanted *= 2  # so that a long value is not tried anew for every window

    def elements(self) -> Iterator[object]:
        """The values of the list that begins here, one by one."""
        self.take("[")
        if self.peek() == "]":
            self.take("]")
            return
        while True:
            yield self.value()
            if self.take(",]") == "]":
                return

    def members(self) -> Iterator[str]:
        """The keys of the object that begins here; each one's value has to be taken before the next key."""
        self.take("{")
        if self.peek() == "}":
            self.take("}")
            return
        while True:
            key = self.value() if self.peek() == '"' else self.take('"')
            self.take(":")
            yield str(key)
            if self.take(",}") == "}":
                return

    def finish(self) -> None:
        if self.peek():
            raise self._fault("the file goes on behind its value")

    def _read_on(self, size: int) -> bool:
        """Drops what is behind, and appends what the next bytes hold; False at the end of the file."""
        content = self._file.read(size)
        self._dropped += self._position
        self._text = self._text[self._position :] + self._decoder.decode(content, final=not content)
        self._position = 0
        return bool(content)

    def _is_final(self, error: json.JSONDecodeError) -> bool:
        """Whether it stands so far before the end of what is read that reading on cannot mend it."""
        is_cut = error.msg.startswith("Unterminated string")
        return not is_cut and len(self._text) - error.pos > LONGEST_TOKEN

    def _fault(self, what: str) -> ValueError:
        return ValueError(f"{what}, at character {self._dropped + self._position}")
