"""The page, put together: one HTML file with its style and script inside, which asks nobody but its server."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from string import Template

STYLES, SCRIPTS = ("page.css",), ("stage.js", "camera.js", "page.js")


@cache
def demo_page() -> str:
    return Template(read("page.html")).substitute(style=joined(STYLES), script=joined(SCRIPTS))


def content_security_policy() -> str:
    """Runs and shows what stands in the page itself, and connects to where it came from."""
    return (
        f"default-src 'none'; script-src {allowed(joined(SCRIPTS))}; style-src {allowed(joined(STYLES))}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def allowed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def joined(names: tuple[str, ...]) -> str:
    """Files that stand beside this one."""
    return "".join((Path(__file__).parent / name).read_text(encoding="utf-8") for name in names)


def read(name: str) -> str:
    return joined((name,))
