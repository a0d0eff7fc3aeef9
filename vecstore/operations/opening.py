"""A collection as one transaction reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Table
from sqlalchemy.sql.expression import ClauseElement

from .. import catalog, tables
from ..database import Database, ServerFacts
from ..description import CollectionDescription
from ..errors import ConnectionLost, DatabaseError, LockTimeout, QueryTimeout
from ..execution import fetch, session_on
from ..pipeline import Rows, Session, Sight
from ..wire import Command
from .explaining import explaining


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


def rows_at_once(
    database: Database, collection: str, doing: str, version: str, commands: Callable[[Session], Sequence[Command]]
) -> list[Rows]:
    """The rows of each command, in a transaction of their own, in one round trip; of settings, none.

    name     what the caller calls it: its own name or an alias
    version  what the collection was known by when the commands were made

    Raises Changed where it has another version by now, and where anything went wrong that may be due to that.
    """
    try:
        with database.asking(f"{doing} {collection!r}") as session:
            if database.facts.keeps_plans and session.prepares:
                return _by_sight(session, collection, version, commands(session))
            return _by_version(session, collection, version, commands(session))
    except (QueryTimeout, LockTimeout):
        raise
    except (ConnectionLost, DatabaseError) as exc:
        raise Changed from exc


def _by_version(session: Session, collection: str, version: str, commands: Sequence[Command]) -> list[Rows]:
    found, *rows = session.rows(session.transact([catalog.version_command(collection), *commands]))
    if found != [(version,)]:
        raise Changed
    return rows


def _by_sight(session: Session, collection: str, version: str, commands: Sequence[Command]) -> list[Rows]:
    """The plan of a statement on the collection tells whether the version that was seen with it is still there."""
    seen = session.sights.get(collection)
    look = catalog.plan_command(collection)
    if seen is not None and seen.version == version:
        [(plan,)], *rows = session.rows(session.transact([look, *commands]))
        if plan == seen.plan:
            return rows
    [(plan,)], found, *rows = session.rows(session.transact([look, catalog.version_command(collection), *commands]))
    if found != [(version,)]:
        raise Changed
    session.sights[collection] = Sight(plan, version)
    return rows
