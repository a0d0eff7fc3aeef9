"""Build and drop indexes, in a transaction or online."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from .. import catalog, ddl, tables
from ..database import Database
from ..ddl import IndexScope, set_local
from ..description import CollectionDescription, IndexDescription, IndexState, OtherIndex
from ..errors import (
    IndexExists,
    InvalidData,
    OperationRefused,
    VecstoreError,
    driver_error,
    sqlstate_of,
)
from ..indexing import Indexed, indexed
from ..naming import PARENT_TABLE, check_index_name, index_name, leaf_index_name, names_list
from ..schema import Hnsw, IndexSpec, IvfFlat, checked_properties
from .building import (
    IndexBuild,
    builds_go_on,
    is_about_to_be_built,
    lock_build,
    needed_memory,
    online_build,
    stop_builds,
    watched,
    with_memory,
    with_memory_of_session,
)
from .indexable import check_rows
from .locking import locked
from .objecting import Check, unchecked

_log = logging.getLogger(__name__)

# program_limit_exceeded: a text that is too long; numeric_value_out_of_range: a vector that half precision cannot hold.
_VALUE_REFUSED = frozenset({"54000", "22003"})


@dataclass(frozen=True, slots=True)
class Asked:
    """An index that is to be made: of which field or path, how, its name if it has one, and what travels with it."""

    field_name: str
    spec: IndexSpec
    name: str | None
    properties: Mapping[str, str] = field(default_factory=dict)


def create(database: Database, collection: str, asked: Asked, *, progress: bool = False) -> str:
    """Build on the parent, in one transaction: searches go on, writers wait."""

    def work(connection: Connection) -> str:
        description = locked(connection, collection)
        target = target_of(database, description, asked)
        chosen = _chosen(description, target, asked.name)
        connection.execute(ddl.lock_out_writers(description.name, PARENT_TABLE))
        check_rows(database, connection, description, target)
        with watched(database, description, chosen, progress=progress):
            build(database, connection, description, target, chosen)
        return chosen

    return database.alter(f"create index on {asked.field_name!r} of {collection!r}", [collection], work)


def build(
    database: Database, connection: Connection, description: CollectionDescription, target: Indexed, name: str
) -> None:
    """Build an index on the parent, in a transaction, with the memory that it needs."""
    table = tables.table_of(description, database.facts.extension_schema)
    needed = needed_memory(connection, description, table, target.field, target.spec)
    with _naming_limits(target), with_memory(connection, needed):
        for statement in _statements(description, target, name, IndexScope.TABLE):
            connection.execute(statement)


def target_of(database: Database, description: CollectionDescription, asked: Asked) -> Indexed:
    extension_schema = database.facts.extension_schema
    table = tables.table_of(description, extension_schema)
    target = indexed(description.schema, table, asked.field_name, asked.spec, extension_schema)
    return replace(target, properties=checked_properties(asked.properties))


def _statements(
    description: CollectionDescription, target: Indexed, name: str, scope: IndexScope
) -> Iterator[ddl.Statement]:
    """The index of the parent, and what it says of itself."""
    yield ddl.create_index(description.name, PARENT_TABLE, name, target.key, target.spec, scope=scope)
    if target.comment is not None:
        yield ddl.comment_on_index(description.name, name, target.comment)


def _is_same(index: IndexDescription, target: Indexed) -> bool:
    """Whether the one would make the other superfluous: options of a vector index do not."""
    # Between two vector indexes by one metric PostgreSQL would choose, by costs that know nothing of recall.
    metric = target.spec.metric if isinstance(target.spec, Hnsw | IvfFlat) else None
    same = index.spec == target.spec if metric is None else index.metric is metric
    return same and index.field == target.name


def _chosen(description: CollectionDescription, target: Indexed, name: str | None) -> str:
    """The index's name; raises IndexExists where it, or the index, is there."""
    chosen = (
        index_name(target.name, kind=target.kind, taken=description.relations)
        if name is None
        else check_index_name(name)
    )
    for index in description.indexes:
        same = _is_same(index, target)
        if index.state is IndexState.INVALID and (same or index.name == chosen):
            raise IndexExists(
                f"index {index.name!r} of collection {description.name!r} was left unfinished by an interrupted build: "
                "drop_index() it, or build it anew with online=True"
            )
        if same:
            raise IndexExists(
                f"field {target.name!r} of collection {description.name!r} has an index by {target.kind}: "
                f"{index.name!r}"
            )
    if chosen in description.relations:
        raise IndexExists(f"collection {description.name!r} has a table or index {chosen!r}: choose another name")
    return chosen


@contextmanager
def _naming_limits(target: Indexed) -> Iterator[None]:
    """A row that does not fit into the index is the data's fault, not the server's."""
    try:
        yield
    except DBAPIError as exc:
        cause = driver_error(exc)
        if cause is None or sqlstate_of(exc) not in _VALUE_REFUSED:
            raise
        raise InvalidData(
            f"field {target.name!r} holds a value that cannot be indexed: {cause.diag.message_primary}",
            field=target.name,
        ) from exc


def create_online(database: Database, collection: str, asked: Asked, *, progress: bool = False) -> str:
    """Build without keeping writers waiting: the parent's index alone, each leaf's concurrently, then attached.

    Not a transaction: on any error what was built is dropped again, and what a killed client left is dropped by the
    next build of that index, or by repair(). Other structural changes of the collection wait meanwhile, for a guard
    holds its lock in a transaction that does nothing else; other builds as long as it takes.
    """
    doing = f"create index on {asked.field_name!r} of {collection!r} online"

    with database.autocommitting(doing) as builder:

        def guarded(guard: Connection) -> str:
            planned = _Build.planned(database, guard, locked(guard, collection), asked)
            # Last, and without parameters: it ends the portal of the statement before, whose snapshot the build
            # would wait for until the end of time.
            guard.execute(set_local("idle_in_transaction_session_timeout", 0))
            planned.run_or_undo(builder, progress=progress)
            return planned.name

        return database.alter(doing, [collection], guarded, held_up=lambda: builds_go_on(database, collection))


def _unfinished(description: CollectionDescription, target: Indexed, name: str | None) -> IndexDescription | None:
    """What an interrupted build of the same index left; nobody is building it, for the collection is locked."""
    for index in description.indexes:
        same = index.name == name if name else (index.field, index.spec) == (target.name, target.spec)
        if index.state is IndexState.INVALID and same:
            return index
    return None


@dataclass(frozen=True)
class _Build:
    """An online build: the steps, and how to undo them."""

    database: Database
    description: CollectionDescription
    target: Indexed
    name: str

    @classmethod
    def planned(
        cls,
        database: Database,
        guard: Connection,
        description: CollectionDescription,
        asked: Asked,
    ) -> _Build:
        """The build, with what is left of an earlier one out of its way; the guard tells of it from now on."""
        doing = f"look at {description.name!r}"
        target, name = target_of(database, description, asked), asked.name
        unfinished = _unfinished(description, target, name)
        if unfinished is not None:
            drop_unfinished(database, description, unfinished.name)
            with database.reading(doing) as connection:
                description = catalog.describe(connection, description.name)
        if description.foreign_leaves:
            raise OperationRefused(
                f"collection {description.name!r} has partitions outside its schema, "
                f"{', '.join(description.foreign_leaves)}: build the index with online=False"
            )
        chosen = _chosen(description, target, name or (unfinished.name if unfinished else None))
        lock_build(guard, description, chosen)
        with database.reading(doing) as connection:
            check_rows(database, connection, description, target)
        return cls(database, description, target, chosen)

    def run_or_undo(self, builder: Connection, *, progress: bool) -> None:
        table = tables.table_of(self.description, self.database.facts.extension_schema)
        needed = needed_memory(builder, self.description, table, self.target.field, self.target.spec)
        try:
            with (
                watched(self.database, self.description, self.name, progress=progress) as tell,
                _naming_limits(self.target),
                with_memory_of_session(self.database, builder, needed),
            ):
                self._run(builder, tell)
        except BaseException:
            self._undo()
            raise

    def _run(self, builder: Connection, tell: Callable[[int, int], None]) -> None:
        collection, key, spec = self.description.name, self.target.key, self.target.spec
        self._patiently(*_statements(self.description, self.target, self.name, IndexScope.PARENT_ONLY))
        for done, leaf in enumerate(self.description.leaves):
            tell(done, len(self.description.leaves))
            leaf_index = leaf_index_name(self.name, leaf)
            builder.execute(ddl.create_index(collection, leaf, leaf_index, key, spec, scope=IndexScope.CONCURRENTLY))
            self._patiently(ddl.attach_index(collection, self.name, leaf_index))

    def _patiently(self, *statements: ddl.Statement) -> None:
        """In a transaction of its own, tried again while others hold the lock."""

        def work(connection: Connection) -> None:
            for statement in statements:
                connection.execute(statement)

        self.database.alter(f"create index {self.name!r} of {self.description.name!r} online", (), work)

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


def build_of(database: Database, collection: str, name: str) -> IndexBuild | None:
    with database.reading(f"look at index {name!r} of {collection!r}") as connection:
        return online_build(connection, catalog.describe(connection, collection), name)


# Of these names, the indexes that no other takes along when it is dropped.
_SEPARATE = text("""
    SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname = ANY (:names)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid)
    ORDER BY c.oid
""")


def drop_unfinished(database: Database, description: CollectionDescription, name: str) -> None:
    """Drop an index that a build left invalid, and the leaves' indexes that were not attached to it yet."""

    def work(connection: Connection) -> None:
        for statement in _drop_separately(connection, description, name):
            connection.execute(statement)

    def stopped() -> bool:
        """What a client that was killed has left to the server to build."""
        with database.reading(f"look at {description.name!r}") as connection:
            stop_builds(connection, description, name)
        return False

    database.alter(f"drop the unfinished index {name!r} of {description.name!r}", (), work, held_up=stopped)


def _drop_separately(connection: Connection, description: CollectionDescription, name: str) -> list[ddl.Statement]:
    names = [name, *(leaf_index_name(name, leaf) for leaf in description.leaves)]
    separate = connection.execute(_SEPARATE, {"schema": description.name, "names": names}).scalars()
    return [ddl.drop_index(description.name, index) for index in separate]


class _Undone(Exception):
    """The index that is to be dropped is gone: who was building it has undone it."""


def drop(database: Database, collection: str, name: str | None, *, check: Check = unchecked) -> None:
    stopped: set[str] = set()

    def look(description: CollectionDescription) -> None:
        if stopped and stopped.isdisjoint(index.name for index in description.indexes):
            raise _Undone

    def work(connection: Connection) -> None:
        description = locked(connection, collection)
        check(connection)
        look(description)
        for statement in drop_statements(connection, description, meant(description, name)):
            connection.execute(statement)

    def stop() -> bool:
        """An index that is to go need not be built."""
        with database.reading(f"look at {collection!r}") as connection:
            description = catalog.describe(connection, collection)
            look(description)
            if name is not None and is_about_to_be_built(connection, description, name):
                return False
            index = meant(description, name).name
            if stop_builds(connection, description, index):
                stopped.add(index)
        return False

    what = "the index" if name is None else f"index {name!r}"
    with suppress(_Undone):
        database.alter(f"drop {what} of {collection!r}", [collection], work, held_up=stop)


def meant(description: CollectionDescription, name: str | None) -> IndexDescription:
    """The index of this name; without one, the one there is."""
    return description.only_index() if name is None else description.index(name)


def drop_statements(
    connection: Connection, description: CollectionDescription, index: IndexDescription
) -> list[ddl.Statement]:
    """The index with those of all leaves; of an unfinished one, the leaves' that are not attached to it as well."""
    if index.state is IndexState.INVALID:
        return _drop_separately(connection, description, index.name)
    return [ddl.drop_index(description.name, index.name)]


def alter_properties(
    database: Database, collection: str, name: str, properties: Mapping[str, str], delete: Iterable[str]
) -> None:
    """Change some properties of an index and leave the others; nobody waits."""
    gone = names_list(delete, "delete")

    def work(connection: Connection) -> None:
        description = locked(connection, collection)
        index = description.index(name)
        if isinstance(index.spec, OtherIndex):
            raise OperationRefused(
                f"index {name!r} of collection {description.name!r} was made by SQL: COMMENT ON INDEX"
            )
        kept = {key: value for key, value in index.properties.items() if key not in gone}
        target = target_of(database, description, Asked(index.field, index.spec, name, {**kept, **properties}))
        connection.execute(ddl.comment_on_index(description.name, name, target.comment))

    database.alter(f"alter properties of index {name!r} of {collection!r}", [collection], work)
