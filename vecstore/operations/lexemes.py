"""What text search makes of texts, and where in them are the words that are looked for."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from .. import catalog
from ..database import Database
from ..errors import InvalidArgument
from ..highlighting import Highlighter
from ..lexemes import Lexeme, debugged, lexemes_of
from ..words import DEFAULT_CONFIGURATION, configuration_of
from .opening import opened
from .texts import checked_texts, text_field


def lexemes(database: Database, texts: object, text_search: str | None) -> list[list[Lexeme]]:
    given = checked_texts(texts)
    name = DEFAULT_CONFIGURATION if text_search is None else text_search
    with database.reading("read the words of texts") as connection:
        known = catalog.text_search_configurations(connection)
        if name not in known:
            raise InvalidArgument(f"no text search configuration {name!r:.80}; there are: {', '.join(known)}")
        return _read(connection, given, name)


def _read(connection: Connection, texts: Sequence[str], configuration: str) -> list[list[Lexeme]]:
    return lexemes_of(texts, [(*row,) for row in connection.execute(debugged(texts, configuration))])


def highlight(
    database: Database, collection: str, texts: object, words: object, *, field: str | None, how: Highlighter
) -> list[list[str]]:
    """Of each text, its fragments; none of NULL."""
    looked_for, given = checked_texts(words), _listed(texts)
    held = [text or "" for text in given]
    with opened(database, collection, "highlight") as there:
        configuration = configuration_of(text_field(there.description.schema, field))
        found = _read(there.connection, [*looked_for, *held], configuration)
    sought = {it.text for lexemes in found[: len(looked_for)] for it in lexemes}
    corpus = zip(held, found[len(looked_for) :], strict=True)
    return [how.fragments(text, lexemes, sought) for text, lexemes in corpus]


def _listed(texts: object) -> Sequence[str | None]:
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        raise InvalidArgument(f"highlight() takes a list of texts, got {type(texts).__name__}")
    checked_texts([text for text in texts if text is not None])
    return texts
