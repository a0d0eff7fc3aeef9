"""What is shown on a terminal while something takes long, drawn by rich where it is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from .errors import MissingExtra

T = TypeVar("T")


def tracked(pieces: Iterable[T], *, total: int, what: str) -> Iterable[T]:
    """Hand the pieces on, and show on stderr how many of them went. Raises MissingExtra without rich."""
    try:
        from rich.console import Console  # noqa: PLC0415 - optional
        from rich.progress import track  # noqa: PLC0415 - optional
    except ImportError as exc:
        raise MissingExtra("progress=True needs rich: pip install 'vecstore[progress]'") from exc
    return track(pieces, total=total, description=what, console=Console(stderr=True))


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
