"""What the suites measure: printed at the end of a run, and kept in a file that the next run adds to."""

import json
from datetime import date
from pathlib import Path
from typing import Any

FILE = Path("runs/stress.json")


class Figures:
    """Of all suites, by their names."""

    def __init__(self) -> None:
        self.noted: dict[str, dict[str, Any]] = {}

    def note(self, suite: str, figures: dict[str, Any]) -> None:
        self.noted[suite] = {"date": date.today().isoformat(), **figures}

    def keep(self) -> None:
        """Each suite in place of its last time's figures; another's stay."""
        before = json.loads(FILE.read_text()) if FILE.exists() else {}
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text(json.dumps({**before, **self.noted}, indent=2) + "\n")

    def table(self) -> str:
        rows = [(suite, name, value) for suite, figures in self.noted.items() for name, value in figures.items()]
        width = max((len(name) for _, name, _ in rows), default=0)
        lines, last = [], ""
        for suite, name, value in rows:
            lines += [f"\n{suite}"] if suite != last else []
            lines.append(f"  {name:{width}}  {value}")
            last = suite
        return "\n".join(lines)
