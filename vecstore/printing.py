"""Figures and tables as text, for people. Pure, and without rich: the same text in a terminal, a log and a test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from html import escape

_DURATIONS = (("days", 86_400), ("h", 3_600), ("min", 60))
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


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page: a heading, then lines, or a table where there are columns."""

    heading: str
    lines: Sequence[str] = ()
    columns: Sequence[Column] = ()
    rows: Sequence[Sequence[str]] = ()


def page(title: str, sections: Iterable[Section]) -> str:
    """A title and sections as text."""
    return "\n\n".join([title, *map(_section, sections)])


def _section(section: Section) -> str:
    body = [table(section.columns, section.rows)] if section.columns else []
    text = "\n".join([*body, *section.lines])
    return "\n".join([section.heading, *(f"  {line}" for line in text.splitlines())])


def page_html(title: str, sections: Iterable[Section]) -> str:
    """The same as HTML, for a notebook: every text of it escaped."""
    return "".join([f"<h4>{escape(title)}</h4>", *map(_section_html, sections)])


def _section_html(section: Section) -> str:
    parts = [f"<p><b>{escape(section.heading)}</b></p>"]
    if section.columns:
        heads = "".join(f"<th>{escape(column.heading)}</th>" for column in section.columns)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in section.rows)
        parts.append(f"<table><tr>{heads}</tr>{body}</table>")
    if section.lines:
        parts.append("".join(["<ul>", *(f"<li>{escape(line)}</li>" for line in section.lines), "</ul>"]))
    return "".join(parts)


def seconds_text(seconds: float) -> str:
    """A duration to two figures, for that is what an estimate is worth."""
    if seconds < 1:
        return "under a second"
    unit, step = next(((unit, step) for unit, step in _DURATIONS if seconds >= 2 * step), ("s", 1))
    number = seconds / step
    return f"about {number:,.0f} {unit}" if number >= 10 else f"about {number:.1f} {unit}"  # noqa: PLR2004


def days_text(period: timedelta) -> str:
    """A period that somebody has set, exactly: 7 days, 0:30:00."""
    return str(period).removesuffix(", 0:00:00")
