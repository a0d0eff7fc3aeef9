"""A plan of a drop, a delete or a truncate: what it would do, before it is done. Pure values.

Made by Collection.drop_plan() and its like, which take no lock that anybody waits for and change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Any

from .errors import VecstoreError
from .lock_modes import LockMode
from .printing import Column, Section, bytes_text, counted, page, page_html, rows_text, seconds_text

_MOST_SHOWN = 20
_LONGEST_SHOWN = 300


class PlanKind(StrEnum):
    """What is planned."""

    DROP_COLLECTION = "drop collection"
    DROP_PARTITION = "drop partition"
    DROP_INDEX = "drop index"
    DELETE = "delete"
    TRUNCATE = "truncate"


@dataclass(frozen=True, slots=True)
class PlannedObject:
    """Something that goes or, in a delete or a truncate, that loses rows.

    kind     "collection", "partition", "index", "sequence"; PostgreSQL's word for what is somebody else's, "view"
    name     the collection's, partition's or index's own; of others with the schema
    oid      PostgreSQL's, of the table, the index or the other object
    rows     how many of its rows go; None where that is not known, and for what has none
    rows_exact  counted, not estimated from PostgreSQL's statistics
    bytes    on disk, of a table with its indexes; an index's are part of its partitions'. None where they could not be
             measured, for somebody drops or alters it at this moment
    bytes_unused  of an index in a delete: about how many of its bytes are for rows that go, until it is built anew
    rebuild_seconds  about how long it takes to build an index again; docs/decisions/0019 says how good that is
    is_ours  False for what others made on top of it, which cascade=True drops
    """

    kind: str
    name: str
    oid: int
    rows: int | None = None
    rows_exact: bool = False
    bytes: int | None = None
    bytes_unused: int | None = None
    rebuild_seconds: float | None = None
    is_ours: bool = True

    @property
    def identity(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class PlannedLock:
    """A lock that is taken on a table, index or sequence until the transaction ends."""

    relation: str
    oid: int
    mode: LockMode


@dataclass(frozen=True, slots=True)
class LockHolder:
    """A session that holds, or waits for, a lock in conflict with one that is to be taken.

    pid        None for a prepared transaction (pg_prepared_xacts)
    mode       its strongest; None for another structural change of the same collection, which holds an advisory lock
    waiting    it has none of them yet, but stands in line
    since      when its transaction began
    query      its latest statement, at most the 1,024 bytes that PostgreSQL keeps

    user, since, state and query are None where this role may not see them (pg_read_all_stats).
    """

    pid: int | None
    user: str | None
    application: str | None
    mode: LockMode | None
    waiting: bool
    relations: tuple[str, ...]
    since: datetime | None
    state: str | None
    query: str | None


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """What an operation would do now. print() shows it, a notebook too; run() does it, and nothing else.

    title        what is planned, in words; kind, collection and name (of the partition or index) are its parts
    objects      what goes; the whole first, its parts after it
    objections   what stands against it: the errors that run() would raise
    locks        what it takes; holders: who is in the way of that at this moment
    statements   what it runs, besides settings and the advisory lock of the collection's name
    bytes_freed  what comes back at commit: 0 of a delete; None where a size could not be measured
    notes        what else to know, and better ways
    made_at      by the server's clock
    keep         how long a drop is kept for restore(): then it goes into the trash, and frees nothing; else 0
    """

    kind: PlanKind
    title: str
    collection: str
    name: str | None
    objects: tuple[PlannedObject, ...]
    objections: tuple[VecstoreError, ...]
    locks: tuple[PlannedLock, ...]
    holders: tuple[LockHolder, ...]
    statements: tuple[str, ...]
    bytes_freed: int | None
    notes: tuple[str, ...]
    made_at: datetime
    keep: timedelta
    perform: Callable[[Plan], object] = field(compare=False)

    def run(self) -> None:
        """Do it: whole or not at all and, on a Store bound to a transaction, as a part of that.

        Raises PlanOutdated, nothing changed, where something else would go than what is shown, or something else
        stands against it; where what had no rows has some; where other than exactly `rows` entities would be deleted.
        Rows that were written or deleted meanwhile do not keep a drop or truncate. Otherwise it is the operation: it
        takes its locks and raises its errors, the objections first.
        """
        self.perform(self)

    @property
    def rows(self) -> int | None:
        """How many entities go; 0 of an index, None where that is not known."""
        return 0 if self.kind is PlanKind.DROP_INDEX else self.objects[0].rows

    @property
    def rows_exact(self) -> bool:
        """Whether `rows` was counted; else it is PostgreSQL's estimate."""
        return self.kind is PlanKind.DROP_INDEX or self.objects[0].rows_exact

    def __repr__(self) -> str:
        said = [counted(len(self.objects), "object"), f"{rows_text(self.rows, exact=self.rows_exact)} rows"]
        said += [f"{bytes_text(self.bytes_freed)} freed"]
        said += [counted(len(self.objections), "objection")] if self.objections else []
        return f"<Plan {self.title}: {', '.join(said)}>"

    def __str__(self) -> str:
        return page(self.title, self._sections())

    def _repr_html_(self) -> str:
        return page_html(self.title, self._sections())

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON has it: times as ISO 8601, periods in seconds, objections by their class and message."""
        kept: dict[str, Any] = {
            part.name: getattr(self, part.name) for part in fields(self) if part.name not in {"perform", "objections"}
        }
        plain: dict[str, Any] = _plain(kept)
        return {
            **plain,
            "objections": [{"error": type(error).__name__, "message": str(error)} for error in self.objections],
            "rows": self.rows,
            "rows_exact": self.rows_exact,
        }

    def _sections(self) -> Iterator[Section]:
        yield self._what_goes()
        if self.objections:
            said = [f"{type(error).__name__}: {error}" for error in self.objections]
            yield Section("What stands against it", said)
        yield Section("Locks", [_lock_line(mode, list(found)) for mode, found in groupby(self.locks, _mode)])
        if self.holders:
            yield Section("In the way now", [_holder_line(holder, self.made_at) for holder in self.holders])
        yield Section("Statements", [_shortened(statement) for statement in self.statements])
        if self.notes:
            yield Section("To know", self.notes)

    def _what_goes(self) -> Section:
        is_delete = self.kind is PlanKind.DELETE
        columns = [Column("kind"), Column("name"), Column("rows", number=True), Column("size", number=True)]
        if any(found.rebuild_seconds is not None or found.bytes_unused is not None for found in self.objects):
            columns += [Column("unused after" if is_delete else "to build again", number=True)]
        rows = [_object_cells(found, is_delete=is_delete)[: len(columns)] for found in self.objects[:_MOST_SHOWN]]
        left = len(self.objects) - _MOST_SHOWN
        lines = [f"and {left:,} more"] if left > 0 else []
        freed = f"{bytes_text(self.bytes_freed)} freed at commit"
        if is_delete or self.keep:
            freed = "nothing is freed at commit"
        rows_go = "" if self.kind is PlanKind.DROP_INDEX else f"{rows_text(self.rows, exact=self.rows_exact)} rows; "
        estimated = "" if self.rows_exact or self.rows is None else " (~ estimated from PostgreSQL's statistics)"
        heading = "What is deleted" if is_delete else "What goes into the trash" if self.keep else "What goes"
        return Section(f"{heading}: {rows_go}{freed}{estimated}", lines, columns, rows)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, PlannedObject | PlannedLock | LockHolder):
        return _plain(asdict(value))
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value.isoformat() if isinstance(value, datetime) else value


def _object_cells(found: PlannedObject, *, is_delete: bool) -> Sequence[str]:
    is_table = found.kind in {"collection", "partition"}
    rows = rows_text(found.rows, exact=found.rows_exact) if is_table else ""
    last = "" if found.rebuild_seconds is None else seconds_text(found.rebuild_seconds)
    if is_delete:
        last = "" if found.bytes_unused is None else f"about {bytes_text(found.bytes_unused)}"
    return (found.kind, found.name, rows, bytes_text(found.bytes) if found.is_ours else "", last)


def _mode(lock: PlannedLock) -> LockMode:
    return lock.mode


def _lock_line(mode: LockMode, locks: Sequence[PlannedLock]) -> str:
    return f"{mode} on {_some([lock.relation for lock in locks])}"


def _some(names: Sequence[str]) -> str:
    """The first names, and how many more."""
    shown, left = names[:4], len(names) - 4
    return ", ".join(shown) + (f" and {left:,} more" if left > 0 else "")


def _holder_line(holder: LockHolder, now: datetime) -> str:
    who = "a prepared transaction" if holder.pid is None else f"pid {holder.pid}"
    said = ", ".join(word for word in (holder.user, holder.application, holder.state) if word)
    lock = "is changing" if holder.mode is None else f"{'waits for' if holder.waiting else 'holds'} {holder.mode} on"
    since = ""
    if holder.since is not None:
        since = f", in a transaction of {seconds_text((now - holder.since).total_seconds())}"
    query = f": {_shortened(holder.query)}" if holder.query else ""
    return f"{who}{f' ({said})' if said else ''} {lock} {_some(holder.relations)}{since}{query}"


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_SHOWN else f"{line[:_LONGEST_SHOWN]}…"


def differences(planned: Plan, objects: Sequence[PlannedObject], objections: Sequence[VecstoreError]) -> list[str]:
    """What is otherwise than planned, a line each; objects are told apart by their oid, objections by their message."""
    before = {(found.oid, found.identity) for found in planned.objects}
    now = {(found.oid, found.identity) for found in objects}
    lines = [f"{identity} is new" for _, identity in sorted(now - before)]
    lines += [f"{identity} is gone" for _, identity in sorted(before - now)]
    stood, stands = ({_said(error): None for error in errors} for errors in (planned.objections, objections))
    lines += [f"stands against it: {said}" for said in stands if said not in stood]
    return lines + [f"no longer stands against it: {said}" for said in stood if said not in stands]


def _said(error: VecstoreError) -> str:
    return f"{type(error).__name__}: {error}"
