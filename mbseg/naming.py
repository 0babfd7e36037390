"""What a name may be, and what to say of one that nobody knows."""

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

MOST_CLASSES = 10_000  # LVIS, the largest known data set, has 1,203
MOST_NAMES = 24  # that are listed
UNNAMEABLE = ("Cc", "Cs", "Zl", "Zp")  # control characters, halves of characters, ends of lines and paragraphs


def is_one_line(name: str) -> bool:
    """Without control characters; odd spaces, which macOS puts into the names of its screenshots, are no harm."""
    return name.isprintable() or not any(unicodedata.category(character) in UNNAMEABLE for character in name)


def hint(name: str, known: Iterable[str]) -> str:
    """The nearest of the known names, or those of its folder, or all of them, folders for too many in a line."""
    names = list(known)
    if nearest := get_close_matches(name, names, n=1):
        return f"did you mean {nearest[0]}?"
    folder = name.split("/")[0] + "/"
    names = [each for each in names if each.startswith(folder)] or names
    if len(names) > MOST_NAMES:
        names = list(dict.fromkeys(f"{each.split('/')[0]}/..." if "/" in each else each for each in names))
    more = [f"{len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
    return f"there are {', '.join([*names[:MOST_NAMES], *more])}"
