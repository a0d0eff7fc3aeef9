"""Patterns: LIKE's, and RE2's regular expressions in PostgreSQL's dialect.

Both engines agree on whether there is a match for what is translated here; what PostgreSQL has no word for is refused.
"""

from __future__ import annotations

import re

from .errors import Fault, unsupported

MAX_PATTERN = 1_000
_MAX_REPEAT = 255  # PostgreSQL's
_MAX_REPEATS = 1_000  # all counted repetitions of a pattern multiplied

_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": "\\t\\n\\f\\r "}
_WORD = "[A-Za-z0-9_]"
_BORDER = f"(?:(?<!{_WORD})(?={_WORD})|(?<={_WORD})(?!{_WORD}))"
_NO_BORDER = f"(?:(?<!{_WORD})(?!{_WORD})|(?<={_WORD})(?={_WORD}))"
_ANCHORS = {"A": "\\A", "z": "\\Z", "b": _BORDER, "B": _NO_BORDER}
_CONTROLS = {"a": "\\x07", "f": "\\f", "n": "\\n", "r": "\\r", "t": "\\t", "v": "\\v"}
_POSIX = re.compile(r"\[:(?:alnum|alpha|blank|cntrl|digit|graph|lower|print|punct|space|upper|xdigit):\]")
_REPEAT = re.compile(r"\{([0-9]+)(?:(,)([0-9]*))?\}")
_FLAGS = re.compile(r"\(\?([ismU]+)\)")
_HEX = re.compile(r"\\x(?:\{([0-9a-fA-F]{1,6})\}|([0-9a-fA-F]{2}))")
_GROUP = re.compile(r"\(\?P?<[A-Za-z_]\w*>", re.ASCII)
_LAST_CODE_POINT = 0x10FFFF


def check_like(pattern: str, position: int) -> str:
    """Raise Fault for a pattern whose last backslash escapes nothing."""
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        raise Fault(position, "the pattern ends in a backslash that escapes nothing")
    return pattern


def translated(pattern: str, position: int) -> str:
    """The regular expression in PostgreSQL's words."""
    if len(pattern) > MAX_PATTERN:
        raise Fault(position, f"a regular expression has at most {MAX_PATTERN:,} characters")
    return _Translation(pattern, position).whole()


class _Translation:
    """One walk over a pattern, from the left."""

    def __init__(self, pattern: str, position: int) -> None:
        self.pattern, self.position, self.at = pattern, position, 0
        self.out: list[str] = []
        self.open = 0
        self.repeats = 1
        self.repeatable = False  # whether there is something that * could repeat
        self.flags = ""

    def whole(self) -> str:
        self._leading_flags()
        while self.at < len(self.pattern):
            self._step()
        if self.open:
            raise self._wrong("a bracket is not closed")
        return "".join([self._prefix(), *self.out])

    def _prefix(self) -> str:
        return "***:" + ("(?i)" if "i" in self.flags else "")

    def _wrong(self, why: str) -> Fault:
        return Fault(self.position, f"the regular expression is invalid: {why}, at its character {self.at + 1}")

    def _unsupported(self, what: str) -> Fault:
        return unsupported(self.position, f"{what} in a regular expression")

    def _leading_flags(self) -> None:
        found = _FLAGS.match(self.pattern)
        if found:
            self.flags, self.at = found[1], found.end()

    def _put(self, text: str, width: int, *, repeatable: bool) -> None:
        self.out.append(text)
        self.at += width
        self.repeatable = repeatable

    def _step(self) -> None:
        letter = self.pattern[self.at]
        if letter == "\\":
            self._escape()
        elif letter == "[":
            self._bracket()
        elif letter == "(":
            self._group()
        elif letter == ")":
            if not self.open:
                raise self._wrong("unexpected )")
            self.open -= 1
            self._put(")", 1, repeatable=True)
        elif letter in "*+?{":
            self._repetition(letter)
        else:
            self._plain(letter)

    def _plain(self, letter: str) -> None:
        multiline = "m" in self.flags
        special = {
            ".": "." if "s" in self.flags else "[^\\n]",
            "^": "(?:\\A|(?<=\\n))" if multiline else "\\A",
            "$": "(?:\\Z|(?=\\n))" if multiline else "\\Z",
            "|": "|",
        }
        self._put(special.get(letter) or _escaped(letter), 1, repeatable=letter not in "^$|")

    def _group(self) -> None:
        named = _GROUP.match(self.pattern, self.at)
        if named:
            width = named.end() - self.at
        elif self.pattern.startswith("(?:", self.at):
            width = 3
        elif self.pattern.startswith("(?", self.at):
            raise self._unsupported(f"{self.pattern[self.at : self.at + 4]}...")
        else:
            width = 1
        self.open += 1
        self._put("(?:", width, repeatable=False)

    def _repetition(self, letter: str) -> None:
        counted = _REPEAT.match(self.pattern, self.at) if letter == "{" else None
        if letter == "{" and counted is None:
            self._put("\\{", 1, repeatable=True)
            return
        if not self.repeatable:
            raise self._wrong(f"nothing before {letter} to repeat")
        text = counted[0] if counted else letter
        if counted:
            self._count(int(counted[1]), counted[2], counted[3])
        lazy = self.pattern.startswith("?", self.at + len(text))
        self._put(text, len(text) + lazy, repeatable=False)

    def _count(self, least: int, comma: str | None, most: str | None) -> None:
        last = least if not comma or not most else int(most)
        if last < least:
            raise self._wrong("a repetition with its bounds exchanged")
        if last > _MAX_REPEAT:
            raise self._unsupported(f"a repetition of more than {_MAX_REPEAT}")
        self.repeats *= max(last, 1)
        if self.repeats > _MAX_REPEATS:
            raise self._unsupported(f"repetition of {_MAX_REPEATS:,} and more in all")

    def _escape(self) -> None:
        letter = self._escaped_letter()
        if letter in _ANCHORS:
            self._put(_ANCHORS[letter], 2, repeatable=False)
        elif letter.lower() in _CLASSES:
            self._put(f"[{'^' if letter.isupper() else ''}{_CLASSES[letter.lower()]}]", 2, repeatable=True)
        elif letter == "Q":
            end = self.pattern.find("\\E", self.at)
            quoted = self.pattern[self.at + 2 : end if end >= 0 else None]
            width = len(quoted) + (4 if end >= 0 else 2)
            self._put("".join(map(_escaped, quoted)), width, repeatable=bool(quoted))
        else:
            self._put(*self._character(), repeatable=True)

    def _escaped_letter(self) -> str:
        letter = self.pattern[self.at + 1 : self.at + 2]
        if not letter:
            raise self._wrong("a lone backslash at the end")
        return letter

    def _character(self) -> tuple[str, int]:
        """An escaped character, and how many letters it took."""
        letter = self._escaped_letter()
        found = _HEX.match(self.pattern, self.at)
        if found:
            code = int(found[1] or found[2], 16)
            if not 0 < code <= _LAST_CODE_POINT:
                raise self._wrong("no such character")
            return f"\\U{code:08x}", len(found[0])
        if letter in _CONTROLS:
            return _CONTROLS[letter], 2
        if letter.isalnum() and letter.isascii():
            raise self._unsupported(f"\\{letter}") if letter in "pPC" else self._wrong(f"unknown escape \\{letter}")
        return _escaped(letter), 2

    def _bracket(self) -> None:
        """A class of characters."""
        self.at += 1
        parts = ["["]
        if self.pattern.startswith("^", self.at):
            parts.append("^")
            self.at += 1
        first, previous = True, ""
        while first or not self.pattern.startswith("]", self.at):
            part, is_single = self._member()
            if part == "-" and previous and not self.pattern.startswith("]", self.at):
                part = self._range(previous)
                previous = ""
                parts.append(part)
            else:
                parts.append("\\-" if part == "-" else part)
                previous = part if is_single else ""
            first = False
        self._put("".join([*parts, "]"]), 1, repeatable=True)

    def _range(self, first: str) -> str:
        last, is_single = self._member()
        if not is_single:
            raise self._wrong("a range that ends in a class")
        if _code(first) > _code(last):
            raise self._wrong("a range with its ends exchanged")
        return f"-{last if last != '-' else chr(92) + '-'}"

    def _member(self) -> tuple[str, bool]:
        """A member of a class of characters, and whether it is a single character."""
        posix = _POSIX.match(self.pattern, self.at)
        if posix:
            self.at = posix.end()
            return posix[0], False
        letter = self.pattern[self.at : self.at + 1]
        if not letter:
            raise self._wrong("[ is not closed")
        if letter != "\\":
            self.at += 1
            return letter if letter == "-" else _escaped(letter), True
        escaped = self._escaped_letter()
        if escaped in _CLASSES:
            self.at += 2
            return _CLASSES[escaped], False
        if escaped.lower() in _CLASSES:
            raise self._unsupported(f"[\\{escaped}]")
        text, width = self._character()
        self.at += width
        return text, True


def _escaped(letter: str) -> str:
    """A character that stands for itself."""
    return letter if letter.isalnum() or letter in " _" or not letter.isascii() else f"\\U{ord(letter):08x}"


def _code(text: str) -> int:
    """The code point of what _member() wrote."""
    if text.startswith("\\U"):
        return int(text[2:], base=16)  # noqa: FURB166 - \\U is no prefix of Python's
    controls = {"\\x07": 7, "\\f": 12, "\\n": 10, "\\r": 13, "\\t": 9, "\\v": 11}
    return controls.get(text) or ord(text[-1])
