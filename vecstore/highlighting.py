"""Highlighting: what a text was found by, marked in it. Pure.

Words are those of text search, so "foxes" is marked where "fox" is looked for; the form of the answer is Milvus's.
https://milvus.io/docs/text-highlighter.md
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from .errors import InvalidArgument
from .lexemes import Lexeme

Span = tuple[int, int]
"""Where something begins in a text, and where it has ended."""


@dataclass(frozen=True, slots=True)
class Highlighter:
    """How words are marked, and how much is shown of the text around them. Sizes are in characters.

    pre_tags, post_tags  what stands before and after a word; several are taken in turns in each fragment
    fragment_offset      how far before its first word a fragment begins
    fragment_size        how long it is, without tags; longer where its last word would be cut
    num_of_fragments     the most of one text

    Raises InvalidArgument.
    """

    pre_tags: Sequence[str] = ("<em>",)
    post_tags: Sequence[str] = ("</em>",)
    fragment_offset: int = 0
    fragment_size: int = 100
    num_of_fragments: int = 5

    def __post_init__(self) -> None:
        for name, tags in (("pre_tags", self.pre_tags), ("post_tags", self.post_tags)):
            listed = tags if isinstance(tags, list | tuple) else ()
            if not listed or not all(isinstance(tag, str) for tag in listed):
                raise InvalidArgument(f"{name} must be a list of one text or more, got {tags!r:.80}")
        for name, number, least in (
            ("fragment_offset", self.fragment_offset, 0),
            ("fragment_size", self.fragment_size, 1),
            ("num_of_fragments", self.num_of_fragments, 0),
        ):
            if type(number) is not int or number < least:
                raise InvalidArgument(f"{name} must be an int from {least}, got {number!r:.40}")

    def fragments(self, text: str, lexemes: Iterable[Lexeme], words: Container[str]) -> list[str]:
        """The pieces of a text around the words in it, from the first on; none where there is no word.

        lexemes  of the text
        words    lexemes, too
        """
        spans = _joined(sorted((it.start, it.end) for it in lexemes if it.text in words))
        return [self._marked(text, fragment, within) for fragment, within in self._fragments(spans, len(text))]

    def _fragments(self, spans: Iterable[Span], length: int) -> list[tuple[Span, list[Span]]]:
        """Each with the spans within it."""
        found: list[tuple[Span, list[Span]]] = []
        for start, end in spans:
            if found and start <= found[-1][0][1]:
                (begin, until), within = found.pop()
                found.append(((begin, max(until, end)), [*within, (start, end)]))
            elif len(found) == self.num_of_fragments:
                break
            else:
                begin = max(0, start - self.fragment_offset)
                until = min(max(end, begin + self.fragment_size), length)
                found.append(((begin, until), [(start, end)]))
        return found

    def _marked(self, text: str, fragment: Span, within: Sequence[Span]) -> str:
        cursor, until = fragment
        parts = []
        for number, (start, end) in enumerate(within):
            before = self.pre_tags[number % len(self.pre_tags)]
            after = self.post_tags[number % len(self.post_tags)]
            parts += [text[cursor:start], before, text[start:end], after]
            cursor = end
        return "".join([*parts, text[cursor:until]])


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    """Those that meet or overlap as one."""
    last: Span | None = None
    for start, end in spans:
        if last is None or start > last[1]:
            if last is not None:
                yield last
            last = start, end
        else:
            last = last[0], max(last[1], end)
    if last is not None:
        yield last
