"""Insert and upsert entities."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from reprlib import repr as shortened
from typing import Any

from sqlalchemy import Connection, Table, select, text

from .. import catalog, ddl, tables
from ..conditions import Selection, has_key
from ..database import Database
from ..description import CollectionDescription
from ..errors import DatabaseError, DuplicateKey, InvalidArgument, InvalidData, NotFound, VecstoreError, driver_error
from ..execution import fetch, raw_cursor, session_on
from ..facts import ServerFacts
from ..ingest import Batch, as_keys, narrowed, prepare
from ..ingest.arrays import replacing
from ..ingest.binary import copy_columns, copy_stream
from ..ingest.statements import STAGING, TEMPORARY, Merge, copy_statement, replacement
from ..naming import DEFAULT_PARTITION, PARENT_TABLE
from ..pipeline import Session
from ..progress import tracked
from ..schema import DataType, Hnsw
from ..wire import Command, WireValue
from .explaining import explaining
from .loading import rebuilding, warn_of_slow_load
from .locking import locked
from .opening import described
from .round_trip import Changed, change_at_once, known

_UNIQUE_VIOLATION = "23505"
_PROGRAM_LIMIT_EXCEEDED = "54000"
_NAMED_KEYS = 5
_ROWS_A_STEP = 256
_FEW = 4_096

Key = int | str


@dataclass(frozen=True, slots=True)
class InsertResult:
    """The primary keys written, in the order of the input, and how many."""

    ids: list[Any]
    count: int

    def __repr__(self) -> str:
        """Short for a load of any size: it is what a prompt shows."""
        return f"InsertResult(ids={shortened(self.ids)}, count={self.count})"


def insert(database: Database, collection: str, data: Any, *, partition: str | None, progress: bool) -> InsertResult:
    sent: list[Batch] = []

    def attempt() -> InsertResult:
        with (
            explaining(database, collection, partition),
            database.writing(f"insert into {collection!r}") as connection,
        ):
            _, description = described(database, connection, collection)
            target = _target_partition(description, partition)
            batch = _drawn(connection, description, _prepared(description, data))
            sent.append(batch)
            warn_of_slow_load(database, connection, description, batch.count)
            _Copy(batch, target, progress).into(connection, database.facts, description.name, PARENT_TABLE)
        return _result(batch)

    with _blaming_data(database, collection, sent, partition):
        return database.repeated(attempt)


def load(database: Database, collection: str, data: Any, *, partition: str | None, progress: bool) -> InsertResult:
    """Insert with the vector indexes out of the way: dropped before, built after, in the same transaction."""
    sent: list[Batch] = []

    def work(connection: Connection) -> InsertResult:
        description = locked(connection, collection)
        target = _target_partition(description, partition)
        batch = _drawn(connection, description, _prepared(description, data))
        sent.append(batch)
        if batch.count:
            with rebuilding(database, connection, description, progress=progress):
                _Copy(batch, target, progress).into(connection, database.facts, description.name, PARENT_TABLE)
        return _result(batch)

    with _blaming_data(database, collection, sent, partition), explaining(database, collection, partition):
        return database.alter(f"load into {collection!r}", [collection], work)


def _result(batch: Batch) -> InsertResult:
    keys = batch.keys
    ids = [] if keys is None else list(keys) if isinstance(keys, list) else keys.tolist()
    return InsertResult(ids, batch.count)


def _target_partition(description: CollectionDescription, partition: str | None) -> str | None:
    """The partition to write to; None where a partition key decides."""
    key = description.schema.partition_key
    if key is None:
        return description.partition(DEFAULT_PARTITION if partition is None else partition).name
    if partition is not None:
        raise InvalidArgument(
            f"collection {description.name!r} has the partition key {key.name!r}, which decides the partition: "
            "leave partition_name out"
        )
    return None


def _prepared(description: CollectionDescription, data: Any, *, keys: Any = "drawn", partial: bool = False) -> Batch:
    sparse = {index.field for index in description.indexes if isinstance(index.spec, Hnsw)}
    return prepare(
        narrowed(description.schema, data) if partial else description.schema,
        data,
        keys=keys,
        cosine_fields=description.cosine_fields,
        hnsw_sparse_fields=sparse,
        half_precision_fields=description.half_precision_fields,
        filled_fields=description.filled,
    )


# The sequence is the key's own, whatever either of them is called by now.
_DRAW = text("""
    SELECT pg_catalog.nextval(s.name::regclass)
    FROM pg_catalog.pg_get_serial_sequence(pg_catalog.quote_ident(:schema) || '.entities', :key) AS s (name),
         pg_catalog.generate_series(1, :count)
""")

# NULL for a role without rights on the sequence, which has then none to write either.
_LAST_DRAWN = text("""
    SELECT CASE WHEN pg_catalog.has_sequence_privilege(s.name, 'USAGE, SELECT')
           THEN coalesce(pg_catalog.pg_sequence_last_value(s.name::regclass), 0) END
    FROM pg_catalog.pg_get_serial_sequence(pg_catalog.quote_ident(:schema) || '.entities', :key) AS s (name)
""")


def _drawn(connection: Connection, description: CollectionDescription, batch: Batch) -> Batch:
    """The batch with ids from the sequence, where they are to be drawn: all of them in one statement."""
    key = description.schema.primary_key
    if not key.auto_id:
        return batch
    parameters = {"schema": description.name, "key": key.name, "count": batch.count}
    drawn = list(connection.execute(_DRAW, parameters).scalars())
    return batch.with_keys([str(number) for number in drawn] if key.data_type is DataType.VARCHAR else drawn)


@dataclass(frozen=True, slots=True)
class _Copy:
    """COPY of a batch into a table of the collection's columns, in the order of the keys."""

    batch: Batch
    partition: str | None
    progress: bool

    @property
    def columns(self) -> list[str]:
        return [*copy_columns(self.batch, partition=self.partition)]

    def into(self, connection: Connection, facts: ServerFacts, schema: str, table: str) -> None:
        step = _ROWS_A_STEP if self.progress else None
        pieces: Iterable[bytes] = copy_stream(self.batch, partition=self.partition, rows_per_chunk=step)
        if self.progress:
            pieces = tracked(pieces, total=self.batch.count // _ROWS_A_STEP + 2, what=f"{self.batch.count:,} rows")
        with raw_cursor(connection, facts).copy(copy_statement(schema, table, self.columns)) as copy:
            for piece in pieces:
                copy.write(piece)


@contextmanager
def _blaming_data(database: Database, collection: str, sent: list[Batch], partition: str | None) -> Iterator[None]:
    """Name the field, and the row or key, where the server refused what was sent."""
    try:
        yield
    except DatabaseError as exc:
        if sent and exc.sqlstate == _PROGRAM_LIMIT_EXCEEDED:
            raise _too_long(database, collection, sent[-1], exc) from exc
        if sent and exc.sqlstate == _UNIQUE_VIOLATION:
            cause = driver_error(exc.__cause__)
            # Of a primary key, and not of a unique index that somebody made by hand.
            if cause is not None and (cause.diag.constraint_name or "").endswith("_pkey"):
                raise _duplicate(database, collection, sent[-1], partition) from exc
        raise


def _keys_there(database: Database, collection: str, batch: Batch, partition: str | None) -> list[Key]:
    """Which of the keys are there, for PostgreSQL names one, in its own language."""
    with database.reading(f"look at {collection!r}") as connection:
        description = catalog.describe(connection, collection)
        table = _table(database, description)
        key = table.c[description.schema.primary_key.name]
        names = None if description.schema.partition_key else [partition or DEFAULT_PARTITION]
        conditions = Selection(names).conditions(description, table)
        keys = as_keys(description.schema, _result(batch).ids)
        statement = select(key).where(has_key(table, key.name, keys), *conditions).order_by(key).limit(_NAMED_KEYS)
        return [row[0] for row in fetch(connection, database.facts, statement)]


def _duplicate(database: Database, collection: str, batch: Batch, partition: str | None) -> DuplicateKey:
    try:
        keys = _keys_there(database, collection, batch, partition)
    except (DatabaseError, NotFound):  # dropped meanwhile: what the server found was found all the same
        keys = []
    field = batch.schema.primary_key.name
    where = "" if batch.schema.partition_key else f", partition {partition or DEFAULT_PARTITION!r}"
    shown = ", ".join(map(repr, keys)) or "of the batch, deleted again since,"
    return DuplicateKey(
        f"collection {collection!r}{where}: {field} {shown} exists; nothing was inserted. upsert() replaces",
        field=field,
        keys=keys,
    )


def _too_long(database: Database, collection: str, batch: Batch, cause: DatabaseError) -> InvalidData:
    """PostgreSQL does not say which value its index could not take; it is the longest of those that are indexed."""
    with database.reading(f"look at {collection!r}") as connection:
        description = catalog.describe(connection, collection)
    ranked = (field.name for field in description.schema.fields if field.bm25)
    indexed = (description.schema.primary_key.name, *(index.field for index in description.indexes), *ranked)
    name, lengths = max(((name, batch.text_bytes(name)) for name in indexed), key=lambda item: max(item[1], default=0))
    if not lengths:
        return InvalidData(f"a value is too large for an index of {collection!r}; nothing was written: {cause}")
    row = lengths.index(max(lengths))
    return InvalidData(
        f"field {name!r}, row {row}: {lengths[row]:,} bytes are too long for its index or its words; nothing was "
        f"written: {cause}",
        field=name,
        row=row,
    )


def _table(database: Database, description: CollectionDescription) -> Table:
    return tables.table_of(description, database.facts.extension_schema)


def upsert(
    database: Database, collection: str, data: Any, *, partition: str | None, partial: bool, progress: bool
) -> InsertResult:
    """INSERT ... ON CONFLICT from arrays or, of more rows, from a temporary table; of some fields only, UPDATE."""
    sent: list[Batch] = []

    def attempt() -> InsertResult:
        try:
            if not (partial or progress):
                return _upsert_at_once(database, collection, data, partition)
        except Changed:
            pass
        with (
            explaining(database, collection, partition),
            database.writing(f"upsert into {collection!r}") as connection,
        ):
            _, description = described(database, connection, collection)
            target = _target_partition(description, partition)
            batch = _prepared(description, data, keys="given", partial=partial)
            if batch.count:
                _check_drawn(connection, description, batch)
                sent.append(batch)
                if partial or progress or not _replace_from_arrays(database, connection, description, batch, target):
                    let_in = _merge if partial else _replace
                    with _staged(database, connection, description, _Copy(batch, target, progress)) as staging:
                        let_in(database, connection, description, staging)
        return _result(batch)

    with _blaming_data(database, collection, sent, partition):
        return database.repeated(attempt)


def _upsert_at_once(database: Database, collection: str, data: Any, partition: str | None) -> InsertResult:
    """In one round trip, by what an earlier call found out about the collection.

    Raises Changed where none did, or it is so no more, and where one statement does not do.
    """
    found = known(database, collection)
    schema = found.description.schema
    if schema.partition_key is not None or schema.primary_key.auto_id or not _are_few(data):
        raise Changed
    try:
        target = _target_partition(found.description, partition)
        batch = _prepared(found.description, data, keys="given")
    except VecstoreError as exc:  # the collection may be another by now
        raise Changed from exc

    def change(session: Session, seen: WireValue) -> Command:  # noqa: ARG001
        commands = _replacing(database, found.description, batch, target, (catalog.SEEN, seen.data))
        if commands is None or not batch.count:
            raise Changed
        return commands[0]

    change_at_once(database, collection, "upsert into", found.version, change)
    return _result(batch)


def _are_few(data: Any) -> bool:
    """So that it does no harm if they have to be checked twice."""
    rows = next(iter(data.values()), ()) if isinstance(data, Mapping) else data
    return isinstance(rows, Sized) and len(rows) <= _FEW


def _replacing(
    database: Database,
    description: CollectionDescription,
    batch: Batch,
    target: str | None,
    seen: tuple[str, bytes] | None = None,
) -> list[Command] | None:
    return replacing(
        batch,
        description.name,
        partition=target,
        extension_schema=database.facts.extension_schema,
        vector_oids=database.facts.vector_oids,
        seen=seen,
    )


def _replace_from_arrays(
    database: Database, connection: Connection, description: CollectionDescription, batch: Batch, target: str | None
) -> bool:
    """Whether the batch went in as the parameters of a statement; large ones do not."""
    commands = _replacing(database, description, batch, target)
    if commands is not None:
        session_on(connection, database.facts).run(commands)
    return commands is not None


@dataclass(frozen=True, slots=True)
class _Staging:
    """A temporary table with the rows of a batch."""

    batch: Batch
    columns: list[str]


@contextmanager
def _staged(
    database: Database, connection: Connection, description: CollectionDescription, copy: _Copy
) -> Iterator[_Staging]:
    connection.execute(ddl.create_staging(STAGING, description.name))
    copy.into(connection, database.facts, TEMPORARY, STAGING)
    yield _Staging(copy.batch, copy.columns)
    if not database.owns_transactions:  # whose end drops it
        connection.execute(ddl.drop_table(TEMPORARY, STAGING))


def _replace(database: Database, connection: Connection, description: CollectionDescription, staging: _Staging) -> None:
    entities = _table(database, description)
    for statement in replacement(entities, description.schema, staging.columns):
        connection.execute(statement)


def _merge(database: Database, connection: Connection, description: CollectionDescription, staging: _Staging) -> None:
    merge = Merge(_table(database, description), description.schema, staging.columns)
    connection.execute(merge.lock())
    update = merge.update()
    if update is not None:
        connection.execute(update)
    new = list(connection.execute(merge.unmatched(_NAMED_KEYS)).scalars())
    if new:
        _check_whole(description, staging.batch, new)
        connection.execute(merge.insert())


def _check_whole(description: CollectionDescription, batch: Batch, new: list[Key]) -> None:
    """An entity that is not there yet needs all that a schema asks for."""
    for field in description.schema.fields:
        optional = field.nullable or field.default_value is not None or field.name in description.filled
        if field.name not in batch.columns and not optional:
            keys = ", ".join(map(repr, new))
            raise InvalidData(
                f"field {field.name!r}: missing, and {description.schema.primary_key.name} {keys} is of no entity that "
                "has it already",
                field=field.name,
            )


_DRAWN_ID = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


def _check_drawn(connection: Connection, description: CollectionDescription, batch: Batch) -> None:
    """An id that was never drawn would one day be drawn for another entity."""
    key = description.schema.primary_key
    if not key.auto_id:
        return
    parameters = {"schema": description.name, "key": key.name}
    last = connection.execute(_LAST_DRAWN, parameters).scalar_one()
    if last is None:
        return
    for row, given in enumerate(_result(batch).ids):
        if not _DRAWN_ID.fullmatch(str(given)) or int(given) > last:
            raise InvalidData(
                f"field {key.name!r}, row {row}: id {given!r:.40} was never drawn, and ids of {description.name!r} are "
                "auto_id: insert() draws one",
                field=key.name,
                row=row,
            )
