"""Go through what is near to a vector, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..asking import Asked, check_limit
from ..database import Database
from ..errors import InvalidArgument
from ..hits import Hits
from ..search import Position
from ..vectors import as_query
from .explaining import replanned
from .opening import opened
from .programs import requested
from .searching import Answer, Query, answers, vectors_of


def search_pages(
    database: Database, collection: str, query: Query, asked: Asked, *, batch_size: int, limit: int | None
) -> Iterator[Hits]:
    """The pages; what is wrong with the question is found before the first is asked for."""
    check_limit(batch_size, name="batch_size")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise InvalidArgument(f"limit must be an int from 1, or None for all, got {limit!r}")
    with opened(database, collection, "search") as found:
        request = requested(found.description, found.facts, asked)
        vectors = vectors_of(found, request, query, asked)
        if len(as_query(request.field, request.metric, vectors)) != 1:
            raise InvalidArgument("search_iterator() takes one vector, or the id of one entity")
    return _pages(_Reader(database, collection, Query(vectors), asked), batch_size, limit)


def _pages(reader: _Reader, batch_size: int, limit: int | None) -> Iterator[Hits]:
    left = limit
    while left is None or left > 0:
        rows = batch_size if left is None else min(batch_size, left)
        hits = reader.read(rows)
        if hits:
            yield hits
        if len(hits) < rows:
            return
        left = None if left is None else left - rows


class _Reader:
    """Reads on from where it stopped, each time in a transaction of its own: in between it keeps nothing open."""

    def __init__(self, database: Database, collection: str, query: Query, asked: Asked) -> None:
        self._database = database
        self._collection = collection
        self._query = query
        self._asked = asked
        self._after: Position | None = None

    def read(self, rows: int) -> Hits:
        asked = replace(self._asked, limit=rows)

        def attempt() -> Answer:
            with opened(self._database, self._collection, "search") as found:
                return answers(found, self._query, asked, after=self._after)[0]

        answer = replanned(self._database, attempt)
        if answer.rows:
            before = 0 if self._after is None else self._after.count
            self._after = answer.request.position(answer.rows[-1], before + len(answer.rows))
        return answer.hits
