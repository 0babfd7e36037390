"""What a name may be, and what to say of one that nobody knows."""

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

MOST_CLASSES = 10_000  # LVIS, the largest known data set, has 1,203
UNNAMEABLE = ("Cc", "Cs", "Zl", "Zp")  # control characters, halves of characters, ends of lines and paragraphs


def is_one_line(name: str) -> bool:
    """Without control characters; odd spaces, which macOS puts into the names of its screenshots, are no harm."""
    return name.isprintable() or not any(unicodedata.category(character) in UNNAMEABLE for character in name)


def hint(name: str, known: Iterable[str]) -> str:
    """The nearest of the known names, or all of them."""
    names = list(known)
    nearest = get_close_matches(name, names, n=1)
    return f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(names)}"
