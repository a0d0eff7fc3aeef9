"""Build and drop indexes, in a transaction or online."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Float, Table, func, literal, select, text
from sqlalchemy.exc import DBAPIError

from .. import catalog, ddl, tables
from ..database import Database
from ..ddl import IndexScope, set_local
from ..description import CollectionDescription, IndexDescription, IndexState
from ..errors import (
    IndexExists,
    InvalidData,
    OperationRefused,
    VecstoreError,
    driver_error,
    sqlstate_of,
)
from ..naming import PARENT_TABLE, check_index_name, index_name, leaf_index_name
from ..schema import Field, Hnsw, IndexSpec, IvfFlat, Metric, check_index
from ..tables import OPERATORS, qualified_operator
from .locking import locked


class IndexQualityWarning(UserWarning):
    """An index was built that searches will gain little from."""


_log = logging.getLogger(__name__)

_PROGRAM_LIMIT_EXCEEDED = "54000"
_SHOWN_KEYS = 5


def create(database: Database, collection: str, field_name: str, spec: IndexSpec, name: str | None) -> str:
    """Build on the parent, in one transaction: searches go on, writers wait."""

    def work(connection: Connection) -> str:
        description = locked(connection, collection)
        field, chosen = _chosen(description, field_name, spec, name)
        connection.execute(ddl.lock_out_writers(description.name, PARENT_TABLE))
        _check_rows(database, connection, description, field, spec)
        statement = ddl.create_index(
            description.name, PARENT_TABLE, chosen, field, spec, extension_schema=database.facts.extension_schema
        )
        with _naming_limits(field):
            connection.execute(statement)
        return chosen

    return database.alter(f"create index on {field_name!r} of {collection!r}", [collection], work)


def _chosen(
    description: CollectionDescription, field_name: str, spec: IndexSpec, name: str | None
) -> tuple[Field, str]:
    """The field and the index's name, or the error that says why it cannot be built."""
    field = description.schema.field(field_name)
    check_index(spec, field)
    metric = spec.metric if isinstance(spec, Hnsw | IvfFlat) else None
    chosen = (
        index_name(field_name, metric=metric, taken=description.relations) if name is None else check_index_name(name)
    )
    for index in description.indexes:
        same = index.field == field_name and index.metric is metric and type(index.spec) is type(spec)
        if index.state is IndexState.INVALID and (same or index.name == chosen):
            raise IndexExists(
                f"index {index.name!r} of collection {description.name!r} was left unfinished by an interrupted build: "
                "drop_index() it, or build it anew with online=True"
            )
        if same:
            by = "" if metric is None else f" by {metric}"
            raise IndexExists(
                f"field {field_name!r} of collection {description.name!r} has an index{by}: {index.name!r}"
            )
    if chosen in description.relations:
        raise IndexExists(f"collection {description.name!r} has a table or index {chosen!r}: choose another name")
    return field, chosen


def _check_rows(
    database: Database, connection: Connection, description: CollectionDescription, field: Field, spec: IndexSpec
) -> None:
    """Refuse rows that the index would silently leave out; warn of clusters that could not be found."""
    table = tables.table_of(description, database.facts.extension_schema)
    if isinstance(spec, Hnsw | IvfFlat) and spec.metric is Metric.COSINE:
        _check_directions(connection, table, description, field, database.facts.extension_schema)
    if isinstance(spec, IvfFlat):
        some = select(literal(1)).select_from(table).limit(spec.lists).subquery()
        rows = connection.execute(select(func.count()).select_from(some)).scalar_one()
        if rows < spec.lists:
            warnings.warn(
                f"IvfFlat on {field.name!r} of {description.name!r}: {rows:,} rows for {spec.lists:,} lists; its "
                "clusters are found when it is built, so load the data first, or drop and create it again after",
                IndexQualityWarning,
                stacklevel=2,
            )


def _check_directions(
    connection: Connection, table: Table, description: CollectionDescription, field: Field, extension_schema: str
) -> None:
    """A vector that is zero, or nearly, has no cosine distance even to itself: an index by COSINE leaves it out."""
    vector = table.c[field.name]
    operator = qualified_operator(OPERATORS[Metric.COSINE], extension_schema)
    itself: ColumnElement[float] = vector.op(operator, return_type=Float())(vector)
    key = table.c[description.schema.primary_key.name]
    lost = (
        connection.execute(select(key).where(itself == literal(math.nan)).order_by(key).limit(_SHOWN_KEYS))
        .scalars()
        .all()
    )
    if lost:
        raise InvalidData(
            f"field {field.name!r} of collection {description.name!r}: no index by COSINE while there are vectors "
            f"of length zero, which have no direction; {key.name}: {', '.join(map(repr, lost))}",
            field=field.name,
        )


@contextmanager
def _naming_limits(field: Field) -> Iterator[None]:
    """A row that does not fit into the index is the data's fault, not the server's."""
    try:
        yield
    except DBAPIError as exc:
        cause = driver_error(exc)
        if cause is None or sqlstate_of(exc) != _PROGRAM_LIMIT_EXCEEDED:
            raise
        raise InvalidData(
            f"field {field.name!r} holds a value that cannot be indexed: {cause.diag.message_primary}", field=field.name
        ) from exc


def create_online(database: Database, collection: str, field_name: str, spec: IndexSpec, name: str | None) -> str:
    """Build without keeping writers waiting: the parent's index alone, each leaf's concurrently, then attached.

    Not a transaction: on any error what was built is dropped again, and what a killed client left is dropped by the
    next build of that index, or by repair(). Other structural changes of the collection wait meanwhile, for a guard
    holds its lock in a transaction that does nothing else.
    """
    doing = f"create index on {field_name!r} of {collection!r} online"

    with database.autocommitting(doing) as builder:

        def guarded(guard: Connection) -> str:
            build = _Build.planned(database, locked(guard, collection), field_name, spec, name)
            # Last, and without parameters: it ends the portal of the statement before, whose snapshot the build
            # would wait for until the end of time.
            guard.execute(set_local("idle_in_transaction_session_timeout", 0))
            build.run_or_undo(builder)
            return build.name

        return database.alter(doing, [collection], guarded)


def _unfinished(
    description: CollectionDescription, field_name: str, spec: IndexSpec, name: str | None
) -> IndexDescription | None:
    """What an interrupted build of the same index left; nobody is building it, for the collection is locked."""
    for index in description.indexes:
        same = index.name == name if name else (index.field, index.spec) == (field_name, spec)
        if index.state is IndexState.INVALID and same:
            return index
    return None


@dataclass(frozen=True)
class _Build:
    """An online build: the steps, and how to undo them."""

    database: Database
    description: CollectionDescription
    field: Field
    spec: IndexSpec
    name: str

    @classmethod
    def planned(
        cls,
        database: Database,
        description: CollectionDescription,
        field_name: str,
        spec: IndexSpec,
        name: str | None,
    ) -> _Build:
        """The build, with what is left of an earlier one out of its way."""
        doing = f"look at {description.name!r}"
        unfinished = _unfinished(description, field_name, spec, name)
        if unfinished is not None:
            drop_unfinished(database, description, unfinished.name)
            with database.reading(doing) as connection:
                description = catalog.describe(connection, description.name)
        if description.foreign_leaves:
            raise OperationRefused(
                f"collection {description.name!r} has partitions outside its schema, "
                f"{', '.join(description.foreign_leaves)}: build the index with online=False"
            )
        field, chosen = _chosen(description, field_name, spec, name or (unfinished.name if unfinished else None))
        with database.reading(doing) as connection:
            _check_rows(database, connection, description, field, spec)
        return cls(database, description, field, spec, chosen)

    def run_or_undo(self, builder: Connection) -> None:
        try:
            with _naming_limits(self.field):
                self._run(builder)
        except BaseException:
            self._undo()
            raise

    def _run(self, builder: Connection) -> None:
        self._patiently(self._statement(PARENT_TABLE, self.name, IndexScope.PARENT_ONLY))
        for leaf in self.description.leaves:
            leaf_index = leaf_index_name(self.name, leaf)
            builder.execute(self._statement(leaf, leaf_index, IndexScope.CONCURRENTLY))
            self._patiently(ddl.attach_index(self.description.name, self.name, leaf_index))

    def _statement(self, table: str, index: str, scope: IndexScope) -> ddl.Statement:
        extension_schema = self.database.facts.extension_schema
        return ddl.create_index(
            self.description.name, table, index, self.field, self.spec, extension_schema=extension_schema, scope=scope
        )

    def _patiently(self, statement: ddl.Statement) -> None:
        """In a transaction of its own, tried again while others hold the lock."""
        self.database.alter(
            f"create index {self.name!r} of {self.description.name!r} online",
            (),
            lambda connection: connection.execute(statement),
        )

    def _undo(self) -> None:
        try:
            drop_unfinished(self.database, self.description, self.name)
        except VecstoreError:
            _log.warning(
                "the unfinished index %s of collection %s could not be dropped; store.repair() does it",
                self.name,
                self.description.name,
                exc_info=True,
            )


_RELATIONS = text("""
    SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname = ANY (:names)
""")


def drop_unfinished(database: Database, description: CollectionDescription, name: str) -> None:
    """Drop an index that a build left invalid, and the leaves' indexes that were not attached to it yet."""
    leaf_indexes = [leaf_index_name(name, leaf) for leaf in description.leaves]

    def work(connection: Connection) -> None:
        # The parent's first: it takes along the indexes that are attached to it.
        for index in (name, *leaf_indexes):
            parameters = {"schema": description.name, "names": [index]}
            if connection.execute(_RELATIONS, parameters).first() is not None:
                connection.execute(ddl.drop_index(description.name, index))

    database.alter(f"drop the unfinished index {name!r} of {description.name!r}", (), work)


def drop(database: Database, collection: str, name: str | None) -> None:
    def work(connection: Connection) -> None:
        description = locked(connection, collection)
        index = description.only_index() if name is None else description.index(name)
        if index.state is IndexState.INVALID:
            drop_unfinished(database.bound_to(connection), description, index.name)
        else:
            connection.execute(ddl.drop_index(description.name, index.name))

    what = "the index" if name is None else f"index {name!r}"
    database.alter(f"drop {what} of {collection!r}", [collection], work)
