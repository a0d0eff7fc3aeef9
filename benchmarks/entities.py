"""Getting, deleting and upserting by key.

vecstore      get(ids), delete(ids=...), upsert(columns), each a transaction of its own, on the collection
by hand       on the leaf table, prepared and binary, in autocommit: SELECT of all columns and DELETE by id = ANY, the
              rows put into the order asked for; an upsert is INSERT ... SELECT FROM unnest(...) ON CONFLICT, its
              parameters arrays that were made beforehand, by the server, handed to libpq as they are. It takes a
              tenth less of the server than COPY into a temporary table that the session keeps. DELETE and COPY would
              take a quarter less, and fail where two sessions upsert the same new key
The table has its primary key and no other index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from psycopg import pq, sql
from psycopg.errors import error_from_result
from psycopg.pq.abc import PGresult

from vecstore import Collection

from .bench import Bench
from .raw import Connection
from .results import BY_HAND, OURS, Result, compared
from .streams import column_names, stream_of
from .timing import Side

KEYS = 100
UPSERTED = 1_000
_TURN = 10
_SEED = 5
_KEY = {"id", "_partition"}

_ARRAYS = sql.SQL("SELECT {columns} FROM {leaf} WHERE id < {below}")
_UPSERT = sql.SQL(
    "INSERT INTO {leaf} ({columns}) SELECT * FROM unnest({arrays}) ON CONFLICT (id, _partition) DO UPDATE SET {changes}"
)


def cases(bench: Bench) -> Iterator[Result]:
    with bench.temporary("ledger", bench.all_rows) as collection:
        yield _get(bench, collection)
        yield _upsert(bench, collection)
        yield _delete(bench, collection)


def _get(bench: Bench, collection: Collection) -> Result:
    leaf, connection = bench.leaf(collection), bench.by_hand
    chance = np.random.default_rng(_SEED)
    asked = [chance.permutation(bench.all_rows)[:KEYS].tolist() for _ in range(_TURN * 4)]
    names = [name for name in column_names(connection, leaf) if name != "_partition"]
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    statement = sql.SQL("SELECT {} FROM {} WHERE id = ANY(%(ids)b)").format(columns, leaf).as_bytes(connection)
    cursor = connection.cursor(binary=True)
    key = names.index("id")

    def by_hand(number: int) -> object:
        found = {row[key]: row for row in cursor.execute(statement, {"ids": asked[number]}, prepare=True)}
        return [found[wanted] for wanted in asked[number] if wanted in found]

    sides = {OURS: Side(lambda number: collection.get(asked[number])), BY_HAND: Side(by_hand)}
    return compared(f"get by {KEYS} ids", bench.race(sides, calls=len(asked), turn=_TURN), most=1.25)


def _delete(bench: Bench, collection: Collection) -> Result:
    """What a turn deletes is there again before the next."""
    leaf, connection = bench.leaf(collection), bench.by_hand
    deleted = min(KEYS * _TURN, len(bench.data.vectors))
    turn = max(1, deleted // KEYS)
    asked = [list(range(begin, min(begin + KEYS, deleted))) for begin in range(0, deleted, KEYS)]
    stream = stream_of(connection, leaf, below=deleted)
    statement = sql.SQL("DELETE FROM {} WHERE id = ANY(%(ids)b)").format(leaf).as_bytes(connection)
    cursor = connection.cursor(binary=True)

    def refill() -> None:
        connection.execute(sql.SQL("DELETE FROM {} WHERE id < {}").format(leaf, sql.Literal(deleted)))
        stream.copy_into(connection, leaf)
        connection.execute(sql.SQL("VACUUM {}").format(leaf))

    sides = {
        OURS: Side(lambda number: collection.delete(ids=asked[number % turn]), refill),
        BY_HAND: Side(
            lambda number: cursor.execute(statement, {"ids": asked[number % turn]}, prepare=True),
            refill,
        ),
    }
    times = bench.race(sides, calls=turn * 4, turn=turn, warming=min(turn, _TURN))
    return compared(f"delete by {KEYS} ids", times, most=1.25)


def _upsert(bench: Bench, collection: Collection) -> Result:
    """Rows that are all there: each is replaced by its like."""
    leaf, connection = bench.leaf(collection), bench.by_hand
    rows = bench.all_rows[:UPSERTED]
    columns = bench.data.columns(rows)
    by_hand = _upsert_by_hand(connection, leaf, below=len(rows))

    def tidy() -> None:
        connection.execute(sql.SQL("VACUUM {}").format(leaf))

    sides = {OURS: Side(lambda _: collection.upsert(columns), tidy), BY_HAND: Side(lambda _: by_hand(), tidy)}
    times = bench.race(sides, calls=20, turn=4, warming=4)
    return compared(f"upsert of {len(rows):,} rows", times, most=1.25)


def _upsert_by_hand(connection: Connection, leaf: sql.Identifier, *, below: int) -> Callable[[], None]:
    """Every row whose id is below a number, over itself."""
    names = column_names(connection, leaf)
    aggregates = [sql.SQL("array_agg({} ORDER BY id)").format(sql.Identifier(name)) for name in names]
    statement = _ARRAYS.format(columns=sql.SQL(", ").join(aggregates), leaf=leaf, below=sql.Literal(below))
    found = connection.cursor(binary=True).execute(statement).pgresult
    assert found is not None  # noqa: S101 - it was executed
    arrays = [found.get_value(0, place) or b"" for place in range(found.nfields)]
    oids = [found.ftype(place) for place in range(found.nfields)]
    changes = [sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in names]
    upsert = _UPSERT.format(
        leaf=leaf,
        columns=sql.SQL(", ").join(map(sql.Identifier, names)),
        arrays=sql.SQL(", ").join(sql.SQL("${}").format(sql.Literal(place)) for place in range(1, len(names) + 1)),
        changes=sql.SQL(", ").join(change for name, change in zip(names, changes, strict=True) if name not in _KEY),
    )
    pgconn, formats = connection.pgconn, [pq.Format.BINARY] * len(arrays)
    _checked(pgconn.prepare(b"upsert", upsert.as_bytes(connection), oids))
    return lambda: _checked(pgconn.exec_prepared(b"upsert", arrays, formats))


def _checked(result: PGresult) -> None:
    if result.status != pq.ExecStatus.COMMAND_OK:
        raise error_from_result(result)
