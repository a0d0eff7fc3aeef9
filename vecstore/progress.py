"""What is shown on a terminal while something takes long, drawn by rich where it is installed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from .errors import MissingExtra

T = TypeVar("T")

Show = Callable[[float, str], None]
"""Shows which part of something is done, from 0 to 1, and what it is at."""

_NEEDS_RICH = "progress=True needs rich: pip install 'vecstore[progress]'"


def tracked(pieces: Iterable[T], *, total: int, what: str) -> Iterable[T]:
    """Hand the pieces on, and show on stderr how many of them went. Raises MissingExtra without rich."""
    try:
        from rich.console import Console  # noqa: PLC0415 - optional
        from rich.progress import track  # noqa: PLC0415 - optional
    except ImportError as exc:
        raise MissingExtra(_NEEDS_RICH) from exc
    return track(pieces, total=total, description=what, console=Console(stderr=True))


@contextmanager
def measured(what: str) -> Iterator[Show]:
    """A bar on stderr for what is told how far it is. Raises MissingExtra without rich."""
    try:
        from rich.console import Console  # noqa: PLC0415 - optional
        from rich.progress import (  # noqa: PLC0415 - optional
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
        )
    except ImportError as exc:
        raise MissingExtra(_NEEDS_RICH) from exc
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[phase]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=1.0, phase="")
        yield lambda done, phase: progress.update(task, completed=done, phase=phase)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show, on a terminal, that something is under way and for how long; nothing elsewhere, nor without rich."""
    if not sys.stderr.isatty():
        yield
        return
    try:
        from rich.console import Console  # noqa: PLC0415 - optional
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - optional
    except ImportError:
        yield
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(what, total=None)
        yield
