"""A page that shows what every score costs: one HTML file whose own script draws all, with no request to anywhere."""

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from string import Template
from typing import Any

from mbseg.analysis.pareto import Point


def pareto_page(
    points: Sequence[Point], *, costs: Sequence[str], scores: Sequence[str], title: str, caption: str = ""
) -> bytes:
    """A chart of any of the scores over any of the costs, the first ones to begin with, above a table of all points."""
    script = read("pareto_chart.js") + read("pareto_page.js")
    page = Template(read("pareto_page.html")).substitute(
        title=html.escape(title),
        caption=html.escape(caption),
        style=read("pareto_page.css"),
        data=as_json({"costs": list(costs), "scores": list(scores), "points": [asdict(point) for point in points]}),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return page.encode()


def read(name: str) -> str:
    """A file that stands beside this one."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def as_json(data: dict[str, Any]) -> str:
    """JSON that cannot end the script element it stands in, whatever its texts hold."""
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c")
