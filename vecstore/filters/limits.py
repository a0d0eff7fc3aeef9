"""How large a filter may be, found out in one pass over its text before it is parsed."""

from __future__ import annotations

import re

from .errors import Fault

MAX_BYTES = 65_536
MAX_DEPTH = 100
MAX_ITEMS = 16_384

_TOKEN = re.compile(
    r"""(?P<raw>[rR](?:"[^"\n]*"|'[^'\n]*'))
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<unclosed>["'])
      | (?P<open>[(\[{]) | (?P<close>[)\]}]) | (?P<comma>,)
      | (?P<joint>(?:and|AND|or|OR)\b|&&|\|\|)
      | (?P<nesting>(?:not|NOT|exists|EXISTS|in|IN|like|LIKE)\b|\*\*|==|!=|=~|!~|<<|>>|<=|>=|[-+~!*/%<>&|^])
      | (?P<word>\w+)
    """,
    re.VERBOSE,
)


def check_size(text: str) -> None:
    """Raise Fault for a filter that is too long, too deep, or has too long a list."""
    size = len(text) if text.isascii() else len(text.encode(errors="replace"))
    if size > MAX_BYTES:
        raise Fault(0, f"the text has {size:,} bytes, at most {MAX_BYTES:,} are taken; long lists belong in a template")
    _check_nesting(text)


def _check_nesting(text: str) -> None:
    """Depth is brackets plus operators since the last `and`, `or` or comma of each bracket."""
    operators, items, depth = [0], [1], 0
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "unclosed":
            return  # the parser stops here as well
        if kind == "open":
            operators.append(0)
            items.append(1)
            depth += 1
        elif kind == "close" and len(operators) > 1:
            depth -= 1 + operators.pop()
            items.pop()
        elif kind == "nesting":
            operators[-1] += 1
            depth += 1
        elif kind in {"comma", "joint"}:
            depth -= operators[-1]
            operators[-1] = 0
            items[-1] += kind == "comma"
        if depth > MAX_DEPTH:
            raise Fault(token.start(), f"the filter is nested more than {MAX_DEPTH} deep")
        if items[-1] > MAX_ITEMS + 1 or (items[-1] > MAX_ITEMS and kind != "comma"):
            raise too_many(token.start(), items[-1])


def too_many(position: int, count: int) -> Fault:
    return Fault(position, f"a list of {count:,} items or more, at most {MAX_ITEMS:,} are taken")
