"""From an outlook to a plan: measured where that needs no waiting, and run only if another look shows the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

from sqlalchemy import Connection, Executable, Table, literal, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import CompileError
from sqlalchemy.sql.expression import ClauseElement

from ..database import Database
from ..description import CollectionDescription, IndexDescription
from ..errors import PlanOutdated
from ..plan import Plan, PlanKind, PlannedObject, differences
from ..printing import days_text
from ..rebuilding import rebuild_seconds
from ..schema import Hnsw, IvfFlat
from .building import maintenance_memory
from .explaining import explaining
from .objecting import Check
from .outlooks import Look, Outlook, Subject, may_count
from .relations import Relation, Watched, counted_by_leaf, now, sizes, watched

# Of the tables together, with indexes: what is smaller is counted, which takes some tenths of a second at most.
_COUNTED_BYTES = 64 * 1024 * 1024


def planned(database: Database, subject: Subject, look: Look, operation: Callable[[Check], None]) -> Plan:
    """The plan of what an outlook shows, measured; run() does the operation if another look shows the same."""

    def perform(plan: Plan) -> None:
        operation(partial(_check, plan, look))

    def attempt() -> Plan:
        with explaining(database, subject.collection), database.reading(f"plan to {subject.title}") as connection:
            outlook = look(connection)
            locks_of_others = watched(connection, outlook.found, outlook.description.name)
            objects = _measured(connection, outlook, locks_of_others)
            return Plan(
                subject.kind,
                subject.title,
                subject.collection,
                subject.name,
                objects,
                outlook.objections,
                outlook.locks,
                locks_of_others.holders(outlook.locks),
                tuple(map(as_text, outlook.statements)),
                0 if outlook.keep else objects[0].bytes,
                outlook.notes,
                now(connection),
                outlook.keep,
                perform,
            )

    return database.repeated(attempt)


def _measured(connection: Connection, outlook: Outlook, locks_of_others: Watched) -> tuple[PlannedObject, ...]:
    bytes_of = sizes(connection, outlook.found, locks_of_others.shut)
    rows_of, counted = rows_by_leaf(connection, outlook.found, bytes_of, outlook.oid, outlook.table)
    memory = maintenance_memory(connection)
    objects = []
    for item in outlook.items:
        rows = add(rows_of.get(leaf) for leaf in item.leaves)
        size = add(bytes_of.get(oid) for oid in item.measured)
        found = replace(item.unmeasured, bytes=size if item.is_ours else None)
        if item.index is not None and not outlook.keep:
            found = replace(found, rebuild_seconds=_rebuilt(outlook.description, item.index, rows, size, memory))
        elif item.leaves and item.index is None:
            found = replace(found, rows=rows, rows_exact=counted)
        objects.append(found)
    return tuple(objects)


def rows_by_leaf(
    connection: Connection, found: Sequence[Relation], bytes_of: Mapping[int, int | None], oid: int, table: Table
) -> tuple[Mapping[int, int | None], bool]:
    """The rows of each leaf of a table, and whether they were counted: as they are where that takes no time."""
    size = sum(bytes_of.get(it.oid) or 0 for it in found if it.kind == "r")
    counted = None
    if None not in bytes_of.values() and size <= _COUNTED_BYTES and may_count(connection, oid):
        counted = counted_by_leaf(connection, table)
    if counted is None:
        return {it.oid: it.rows_estimated for it in found}, False
    return {it.oid: counted.get(it.oid, 0) for it in found}, True


def add(numbers: Iterable[int | None]) -> int | None:
    """Their sum, None where one of them is not known."""
    listed = list(numbers)
    return None if None in listed else sum(number for number in listed if number is not None)


def _rebuilt(
    description: CollectionDescription, index: IndexDescription, rows: int | None, size: int | None, memory: int
) -> float | None:
    if rows is None:
        return None
    field = description.schema.by_name.get(index.field) if isinstance(index.spec, Hnsw | IvfFlat) else None
    return rebuild_seconds(index.spec, field, rows, size=size or 0, memory=memory)


def _check(plan: Plan, look: Look, connection: Connection) -> None:
    """Raise PlanOutdated unless the world is as the plan shows it, as far as that matters."""
    outlook = look(connection)
    lines = differences(plan, [item.unmeasured for item in outlook.items], outlook.objections)
    if plan.keep != outlook.keep:
        lines.append(f"it would be kept for {days_text(outlook.keep)}, not for {days_text(plan.keep)}")
    if not lines and plan.kind is not PlanKind.DROP_INDEX and plan.rows == 0 and plan.rows_exact:
        some = select(literal(1)).select_from(outlook.table).limit(1)
        if connection.execute(some).first() is not None:
            lines.append("it had no rows, and now has some")
    if lines:
        raise PlanOutdated(
            f"{plan.title}: not as it was planned, nothing was changed, plan it again: {'; '.join(lines)}",
            differences=lines,
        )


# For reading: named parameters, where a value has no literal, and no doubled percent signs.
_DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]


def as_text(statement: Executable) -> str:
    """A statement with its values in it; where PostgreSQL has no literal for one, with the names of all."""
    options: list[dict[str, Any]] = [{"literal_binds": True}, {}]
    for kwargs in options:
        try:
            return str(cast("ClauseElement", statement).compile(dialect=_DIALECT, compile_kwargs=kwargs)).strip()
        except (CompileError, NotImplementedError):
            continue
    raise AssertionError("a statement that cannot be compiled cannot be run either")
