"""A bar for long loads, drawn by rich where it is installed."""

from __future__ import annotations

from collections.abc import Iterable
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
