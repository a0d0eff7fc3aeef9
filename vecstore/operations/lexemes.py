"""What text search makes of texts that are in no collection."""

from __future__ import annotations

from .. import catalog
from ..database import Database
from ..errors import InvalidArgument
from ..lexemes import Lexeme, debugged, lexemes_of
from ..words import DEFAULT_CONFIGURATION
from .texts import checked_texts


def lexemes(database: Database, texts: object, text_search: str | None) -> list[list[Lexeme]]:
    given = checked_texts(texts)
    name = DEFAULT_CONFIGURATION if text_search is None else text_search
    with database.reading("read the words of texts") as connection:
        known = catalog.text_search_configurations(connection)
        if name not in known:
            raise InvalidArgument(f"no text search configuration {name!r:.80}; there are: {', '.join(known)}")
        return lexemes_of(given, [(*row,) for row in connection.execute(debugged(given, name))])
