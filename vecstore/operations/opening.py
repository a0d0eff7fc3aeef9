"""A collection as one transaction reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from psycopg.pq.abc import PGresult
from sqlalchemy import Connection, Table
from sqlalchemy.sql.expression import ClauseElement

from .. import catalog, tables
from ..database import Database, ServerFacts
from ..description import CollectionDescription
from ..errors import CommitUncertain, ConnectionLost, DatabaseError, LockTimeout, QueryTimeout
from ..execution import fetch, session_on
from ..pipeline import Rows, Session, Sight
from ..wire import Command
from .explaining import explaining

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Opened:
    """A transaction that reads, and the collection that it is about.

    name     what the caller calls it: its own name or an alias
    version  what the description may be known by as long as nothing changes; None in a transaction of the caller's,
             whose own changes have no version yet
    """

    database: Database
    name: str
    connection: Connection
    description: CollectionDescription
    version: str | None

    @property
    def facts(self) -> ServerFacts:
        return self.database.facts

    @property
    def table(self) -> Table:
        return tables.table_of(self.description, self.facts.extension_schema)

    @property
    def session(self) -> Session:
        return session_on(self.connection, self.facts)

    def fetch(self, statement: ClauseElement) -> Rows:
        return fetch(self.connection, self.facts, statement)


@contextmanager
def opened(database: Database, collection: str, doing: str) -> Iterator[Opened]:
    """Read a collection, by its name or an alias; raises CollectionNotFound.

    Its description may be one of an earlier call, if nothing that reads and writes depend on has changed since: the
    names of leaves and indexes may have.
    """
    with explaining(database, collection), database.reading(f"{doing} {collection!r}") as connection:
        version, description = described(database, connection, collection)
        yield Opened(database, collection, connection, description, version)


def described(database: Database, connection: Connection, collection: str) -> tuple[str | None, CollectionDescription]:
    """A collection's version and description, which may be that of an earlier call: names of leaves and indexes, and
    comments, may have changed since, and nothing else.

    In a caller's transaction, whose own changes have no version yet, it is read anew. Raises CollectionNotFound.
    """
    owned = database.owns_transactions
    version = catalog.version(session_on(connection, database.facts), collection) if owned else None
    if version is None:
        return None, catalog.describe(connection, collection)
    key = (collection, version)
    return version, database.descriptions.get(key, lambda: catalog.describe(connection, collection))


@contextmanager
def opened_anew(database: Database, collection: str, doing: str) -> Iterator[Opened]:
    """Read a collection as the catalogue has it now, with the names of leaves and indexes."""
    with explaining(database, collection), database.reading(f"{doing} {collection!r}") as connection:
        yield Opened(database, collection, connection, catalog.describe(connection, collection), None)


class Changed(Exception):
    """What was known of a collection is not so, or may not be: look again."""


Commands = Callable[[Session], Sequence[Command]]


def rows_at_once(database: Database, collection: str, doing: str, version: str, commands: Commands) -> list[Rows]:
    """The rows of each command, in a transaction of their own, in one round trip; of settings, none.

    collection  what the caller calls it: its own name or an alias
    version     what the collection was known by when the commands were made

    Raises Changed where it has another version by now, and where anything went wrong that may be due to that.
    """

    def read(session: Session) -> list[Rows]:
        look = _Look(session, collection, version, keeps_plans=database.facts.keeps_plans)
        return session.rows(look.results(commands(session), session.transact))

    return _unless_changed(database, f"{doing} {collection!r}", read)


def change_at_once(database: Database, collection: str, doing: str, version: str, command: Command) -> int:
    """How many rows a command changed, in a transaction of its own: one round trip, and another for the commit.

    Raises as rows_at_once() does, and then nothing was changed; CommitUncertain.
    """

    def change(session: Session) -> int:
        look = _Look(session, collection, version, keeps_plans=database.facts.keeps_plans)
        [result] = look.results([command], session.begin)
        database.commit(session, doing)
        return result.command_tuples or 0

    return _unless_changed(database, f"{doing} {collection!r}", change)


def _unless_changed(database: Database, doing: str, work: Callable[[Session], T]) -> T:
    """What the server refused may be due to a change, and on another connection the same may go well.

    An engine of the caller's may say what is to be done whenever a transaction begins, such as SET LOCAL ROLE: only
    transactions of SQLAlchemy's do that.
    """
    if database.engine.dispatch.begin:
        raise Changed
    try:
        return database.at_once(doing, work)
    except (QueryTimeout, LockTimeout, CommitUncertain):
        raise
    except (ConnectionLost, DatabaseError) as exc:
        raise Changed from exc


@dataclass(frozen=True, slots=True)
class _Look:
    """Commands that were made for one version of a collection, and are to be run on no other."""

    session: Session
    collection: str
    version: str
    keeps_plans: bool

    def results(
        self, commands: Sequence[Command], run: Callable[[Sequence[Command]], list[PGresult]]
    ) -> list[PGresult]:
        """Raise Changed where the collection has another version."""
        if not (self.keeps_plans and self.session.prepares):
            version, *results = run([catalog.version_command(self.collection), *commands])
            return self._checked(version, results)
        seen = self.session.sights.get(self.collection)
        look = catalog.plan_command(self.collection)
        if seen is not None and seen.version == self.version:
            plan, *results = run([look, *commands])
            if plan.get_value(0, 0) == seen.plan:
                return results
            self.session.connection.rollback()
        plan, version, *results = run([look, catalog.version_command(self.collection), *commands])
        self._checked(version, results)
        self.session.saw(self.collection, Sight(plan.get_value(0, 0), self.version))
        return results

    def _checked(self, version: PGresult, results: list[PGresult]) -> list[PGresult]:
        if version.ntuples != 1 or version.get_value(0, 0) != self.version.encode():
            self.session.connection.rollback()
            raise Changed
        return results
