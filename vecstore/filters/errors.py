"""What is wrong with a filter, and where."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import VecstoreError

_SHOWN_BEFORE = 60
_SHOWN_AFTER = 40


class FilterError(VecstoreError, ValueError):
    """A filter that cannot be understood, or that its collection cannot answer.

    `position` is the offset of the fault in the text, `expected` what could have stood there.
    """

    def __init__(self, message: str, *, position: int = 0, expected: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.position = position
        self.expected = tuple(expected)


class Fault(Exception):
    """What is wrong at a position."""

    def __init__(self, position: int, why: str, expected: Sequence[str] = ()) -> None:
        super().__init__(why)
        self.position = position
        self.why = why
        self.expected = tuple(expected)

    def shown_in(self, text: str) -> FilterError:
        """The error with the line of the filter and a caret under the place."""
        line, column = _excerpt(text, self.position)
        parts = [f"filter: {self.why}", f"  {line}", f"  {' ' * column}^"]
        if self.expected:
            parts.append(f"expected: {', '.join(self.expected)}")
        return FilterError("\n".join(parts), position=self.position, expected=self.expected)


def unsupported(position: int, what: str) -> Fault:
    """A construct of Milvus's language that vecstore does not have."""
    return Fault(position, f"{what} is not supported")


def _excerpt(text: str, position: int) -> tuple[str, int]:
    """The line of a position, cut around it, and the column of the position in what is left."""
    first = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    last = len(text) if end < 0 else end
    start = max(first, position - _SHOWN_BEFORE)
    stop = min(last, position + _SHOWN_AFTER)
    before, after = "…" if start > first else "", "…" if stop < last else ""
    shown = "".join(letter if letter.isprintable() else " " for letter in text[start:stop])
    return f"{before}{shown}{after}", position - start + len(before)
