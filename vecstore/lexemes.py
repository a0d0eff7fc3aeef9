"""Lexemes: what text search makes of a text, word by word, as PostgreSQL's ts_debug() explains it. Pure.

https://www.postgresql.org/docs/current/textsearch-debugging.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import TextClause, text

from .words import qualified

# Such a token is followed by the parts of itself, as tokens of their own.
_WITH_PARTS = frozenset({"asciihword", "hword", "numhword", "url"})

_DEBUGGED = text("""
    SELECT given.number, debugged.alias, debugged.token, debugged.lexemes
    FROM pg_catalog.unnest(CAST(:texts AS text[])) WITH ORDINALITY AS given (content, number)
    CROSS JOIN LATERAL pg_catalog.ts_debug(
        CAST(CAST(:configuration AS text) AS pg_catalog.regconfig), given.content
    ) WITH ORDINALITY AS debugged (alias, description, token, dictionaries, dictionary, lexemes, place)
    ORDER BY given.number, debugged.place
""")


@dataclass(frozen=True, slots=True)
class Lexeme:
    """A word of a text, in the form in which it is searched for.

    text        'fox' for "Foxes", by an English configuration
    position    as in a tsvector: from 1, words that are dropped, such as "the", counted
    start, end  it was made of the text's characters from `start` to `end`, excluded
    """

    text: str
    position: int
    start: int
    end: int


Token = tuple[int, str, str, Sequence[str] | None]
"""Which text, from 1; the token's kind, the token, its lexemes: none of what is dropped, NULL of what is no word."""


def debugged(texts: Sequence[str], configuration: str) -> TextClause:
    """The tokens of the texts, in their order."""
    return _DEBUGGED.bindparams(texts=list(texts), configuration=qualified(configuration))


def lexemes_of(texts: Sequence[str], tokens: Iterable[Token]) -> list[list[Lexeme]]:
    """Of each text, in the order of its words."""
    found: list[list[Token]] = [[] for _ in texts]
    for token in tokens:
        found[token[0] - 1].append(token)
    return [list(_of_one(whole, parts)) for whole, parts in zip(texts, found, strict=True)]


def _of_one(whole: str, tokens: Iterable[Token]) -> Iterator[Lexeme]:
    start = position = 0
    for _, kind, token, lexemes in tokens:
        start = whole.index(token, start)
        end = start + len(token)
        if lexemes is not None:
            position += 1
            yield from (Lexeme(it, position, start, end) for it in lexemes)
        if kind not in _WITH_PARTS:
            start = end
