"""What is found is called and drawn like this."""

from collections.abc import Sequence
from typing import NamedTuple

from mbseg.video.overlay import Colour


class Names(NamedTuple):
    """Classes and the colours (RGB) to draw them in, by class id."""

    classes: Sequence[str]
    palette: Sequence[Colour]
