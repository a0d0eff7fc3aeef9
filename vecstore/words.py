"""What text search sees of a text: its words, as a tsvector. Pure.

The configuration is a literal with its schema, so that the same words are found whatever the search path, and that an
index on the very expression serves the condition. A field that is ranked by BM25 has its words in a column beside it,
which PostgreSQL fills: to make them of a text of 400 letters anew takes 45 µs, to read them one or two.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ColumnElement, Computed, String, cast, literal
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import REGCONFIG, TSVECTOR
from sqlalchemy.dialects.postgresql.ext import to_tsvector

from .naming import words_column
from .schema import Field

DEFAULT_CONFIGURATION = "simple"

_quote = postgresql.dialect().identifier_preparer.quote  # type: ignore[no-untyped-call]


def configuration_of(field: Field) -> str:
    """The name of a field's text search configuration, its schema before it if it is not PostgreSQL's own."""
    return field.text_search or DEFAULT_CONFIGURATION


def configuration(field: Field) -> ColumnElement[Any]:
    name = qualified(configuration_of(field))
    return cast(literal(name, String(), literal_execute=True), REGCONFIG())


def qualified(configuration: str) -> str:
    """A configuration's name with its schema, quoted: what becomes a regconfig, whatever the search path."""
    parts = configuration.split(".") if "." in configuration else ["pg_catalog", configuration]
    return ".".join(map(_quote, parts))


def words_of(field: Field, text: ColumnElement[Any]) -> ColumnElement[Any]:
    """The words of a text, made as those of the field are."""
    vector: ColumnElement[Any] = to_tsvector(configuration(field), text)  # type: ignore[no-untyped-call]
    return vector


def text_vector(field: Field, column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The words of a field, a column of its table: where they are kept, or made; also what an index holds."""
    if field.bm25 and isinstance(column, Column):
        kept: ColumnElement[Any] = column.table.c[words_column(field.name)]
        return kept
    return words_of(field, column)


def kept_words(field: Field) -> Column[Any]:
    """The column that keeps the words of a field."""
    made = words_of(field, Column(field.name))
    return Column(words_column(field.name), TSVECTOR(), Computed(made, persisted=True))
