"""Figures and tables as text, for people. Pure, and without rich: the same text in a terminal, a log and a test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def bytes_text(size: int | None) -> str:
    """A size to three figures or so; a question mark for one that could not be measured."""
    if size is None:
        return "?"
    for unit, step in _UNITS:
        if size >= step:
            return f"{size / step:,.1f} {unit}"
    return f"{size} bytes"


def rows_text(rows: int | None, *, exact: bool = False) -> str:
    """A number of rows, with a tilde before one that is estimated."""
    return "?" if rows is None else f"{'' if exact else '~'}{rows:,}"


def counted(number: int, thing: str, things: str | None = None) -> str:
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


@dataclass(frozen=True, slots=True)
class Column:
    """A heading; numbers stand at the right."""

    heading: str
    number: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """Rows under headings, in columns as wide as they need to be."""
    widths = [max([len(column.heading), *(len(row[at]) for row in rows)]) for at, column in enumerate(columns)]
    lines = []
    for row in ([column.heading for column in columns], *rows):
        cells = [
            text.rjust(width) if column.number else text.ljust(width)
            for text, width, column in zip(row, widths, columns, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
