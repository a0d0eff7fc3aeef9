"""Many rows at once for vector indexes: what it costs is said, or they are built after it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, literal, select, text

from .. import ddl, tables
from ..database import Database
from ..description import CollectionDescription, IndexDescription, IndexState
from ..schema import Hnsw, IvfFlat
from . import indexes
from .building import watched
from .indexes import Asked

# Into an HNSW index rows go one by one, by one process: 10,000 of 384 dimensions in 21 s, load and build in 4.5 s.
_MANY = 10_000
_CALLERS = 6  # frames up to whoever called Collection.insert()


class SlowLoadWarning(UserWarning):
    """Many rows go into the vector indexes of an empty collection, where building these afterwards is better."""


def warn_of_slow_load(
    database: Database, connection: Connection, description: CollectionDescription, rows: int
) -> None:
    """Warn where an empty collection is given so many rows that its vector indexes had better wait."""
    if rows < _MANY or all(index.metric is None for index in description.indexes):
        return
    table = tables.table_of(description, database.facts.extension_schema)
    if connection.execute(select(literal(1)).select_from(table).limit(1)).first() is not None:
        return
    costs = ", ".join(_cost(index) for index in description.indexes if index.metric is not None)
    warnings.warn(
        f"insert of {rows:,} rows into {description.name!r}, which is empty and indexed: {costs}. "
        "insert(..., rebuild_indexes=True) loads first and builds then, or create_index() after loading",
        SlowLoadWarning,
        stacklevel=_CALLERS,
    )


def _cost(index: IndexDescription) -> str:
    if isinstance(index.spec, IvfFlat):
        return f"{index.name!r} keeps the clusters that it found in no rows"
    return f"{index.name!r} takes them in one by one, several times slower than it is built from them"


# With their comments, whoever wrote these. One in a tablespace of somebody's choice is left where it is.
_COMMENTS = text("""
    SELECT c.relname, pg_catalog.obj_description(c.oid, 'pg_class') AS comment
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname = ANY (:names) AND c.reltablespace = 0
""")


@contextmanager
def rebuilding(
    database: Database, connection: Connection, description: CollectionDescription, *, progress: bool
) -> Iterator[None]:
    """Drop the vector indexes, and build them as they were after what is done meanwhile, in one transaction."""
    found = [index for index in description.indexes if _can_be_made_again(description, index)]
    parameters = {"schema": description.name, "names": [index.name for index in found]}
    comments: dict[str, str | None] = {row.relname: row.comment for row in connection.execute(_COMMENTS, parameters)}
    rebuilt = [index for index in found if index.name in comments]
    for index in rebuilt:
        connection.execute(ddl.drop_index(description.name, index.name))
    yield
    for index in rebuilt:
        assert isinstance(index.spec, Hnsw | IvfFlat)  # noqa: S101 - it has been looked at
        target = indexes.target_of(database, description, Asked(index.field, index.spec, index.name))
        with watched(database, description, index.name, progress=progress):
            indexes.build(database, connection, description, target, index.name)
        if comments[index.name] is not None:
            connection.execute(ddl.comment_on_index(description.name, index.name, comments[index.name]))


def _can_be_made_again(description: CollectionDescription, index: IndexDescription) -> bool:
    """Whether create_index() makes the very same; others, made by hand, are filled as rows come."""
    field = description.schema.by_name.get(index.field)
    if field is None or not isinstance(index.spec, Hnsw | IvfFlat) or index.state is not IndexState.READY:
        return False
    return index.half_precision == field.indexed_in_half_precision
