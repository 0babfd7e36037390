"""What a check has come to, and how it is told."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

Level = Literal["ok", "warning", "fault"]


class Finding(NamedTuple):
    """One line of the report."""

    check: str
    level: Level
    says: str
    advice: str = ""  # what to do; empty where nothing is to be done


def ok(check: str, says: str) -> Finding:
    return Finding(check, "ok", says)


def warning(check: str, says: str, advice: str) -> Finding:
    """It works, but not as well as it could, or not for everything."""
    return Finding(check, "warning", says, advice)


def fault(check: str, says: str, advice: str) -> Finding:
    """Something of mbseg does not work here."""
    return Finding(check, "fault", says, advice)


def count(findings: Iterable[Finding], level: Level) -> int:
    return sum(finding.level == level for finding in findings)


def as_text(findings: Sequence[Finding]) -> str:
    """A line each, and below what is not ok the one that says what to do."""
    names, levels = (max(len(finding[column]) for finding in findings) for column in (0, 1))
    lines = []
    for check, level, says, advice in findings:
        lines.append(f"{level:<{levels}}  {check:<{names}}  {says}")
        if advice:
            lines.append(f"{'':<{levels}}  {'':<{names}}  -> {advice}")
    return "\n".join(lines)


def as_tree(findings: Sequence[Finding]) -> dict[str, Any]:
    """For JSON."""
    return {
        "faults": count(findings, "fault"),
        "warnings": count(findings, "warning"),
        "findings": [finding._asdict() for finding in findings],
    }


def summary(findings: Sequence[Finding]) -> str:
    """For example "2 faults and 1 warning in 48 checks"."""
    faults, warnings = (numbered(count(findings, level), level) for level in ("fault", "warning"))
    return f"{faults} and {warnings} in {len(findings)} checks"


def numbered(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def in_bytes(amount: float) -> str:
    """2.5e9 -> "2.5 GB"."""
    return f"{amount / 1e9:.1f} GB" if amount >= 1e9 else f"{amount / 1e6:.0f} MB"
