"""A full-text search as a statement. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Double, Select, Table, cast, func, literal, select

from .filters.matching import any_word
from .projection import Projection
from .schema import Field
from .words import text_vector

_BY_LENGTH = 1  # of ts_rank_cd: the rank is divided by 1 + the logarithm of the text's length


@dataclass(frozen=True, slots=True)
class TextSearch:
    """The entities whose text has any of a text's words, best first; NULL has none."""

    table: Table
    field: Field
    key: str
    place: str
    limit: int
    projection: Projection
    conditions: Sequence[ColumnElement[bool]]

    def statement(self, text: str) -> Select[Any] | None:
        """Rows of key, rank, place and the projection's columns; None where there is no word to look for."""
        query = any_word(self.field, text)
        if query is None:
            return None
        key, vector = self.table.c[self.key], text_vector(self.field, self.table.c[self.field.name])
        rank: ColumnElement[float] = cast(
            func.pg_catalog.ts_rank_cd(vector, query, literal(_BY_LENGTH, literal_execute=True)), Double()
        )
        matches = vector.op("@@", return_type=Boolean(), is_comparison=True)(query)
        place = self.table.c[self.place]
        found = select(key.label("vecstore.id"), rank.label("vecstore.rank"), place.label("vecstore.place"))
        found = found.add_columns(*self.projection.columns(self.table)).where(matches, *self.conditions)
        return found.order_by(rank.desc(), key, place).limit(literal(self.limit, literal_execute=True))
