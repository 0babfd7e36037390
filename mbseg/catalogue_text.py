"""The catalogue in plain text and in Markdown: `mbseg models` and docs/models.md from the same tables."""

from collections.abc import Sequence
from textwrap import fill

from mbseg.analysis.report import layout
from mbseg.catalogue import Catalogue
from mbseg.catalogue_sections import Section, sections

WIDTH = 120  # characters of a line of words
PREFACE = """# What there is to build with

Written by `mbseg models --markdown > docs/models.md`; a test keeps it true. `mbseg models NAME` shows one backbone, and
one of timm's too; `--json` is for programs."""


def as_text(catalogue: Catalogue) -> str:
    return "\n\n".join(text_of(section) for section in sections(catalogue))


def text_of(section: Section) -> str:
    words = fill(section.text.replace("`", ""), WIDTH)
    table = layout([section.headings, *section.rows], section.text_columns)
    return f"{section.title.upper()}\n{words}\n\n{table}{numbered(section.notes)}"


def as_markdown(catalogue: Catalogue) -> str:
    return "\n\n".join([PREFACE, *(markdown_of(section) for section in sections(catalogue))])


def markdown_of(section: Section) -> str:
    numbers = len(section.headings) - section.text_columns
    rule = ("---",) * section.text_columns + ("---:",) * numbers
    rows = [(f"`{name}`", *cells) for name, *cells in section.rows]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in (section.headings, rule, *rows))
    return f"## {section.title}\n\n{fill(section.text, WIDTH)}\n\n{table}{numbered(section.notes)}"


def numbered(notes: Sequence[str]) -> str:
    lines = [f"{number}. {note}" for number, note in enumerate(notes, start=1)]
    return "\n".join(["\n", *lines]) if lines else ""
