"""A collection as one transaction reads it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Table
from sqlalchemy.sql.expression import ClauseElement

from .. import catalog, tables
from ..database import Database
from ..description import CollectionDescription
from ..execution import fetch, session_on
from ..facts import ServerFacts
from ..pipeline import Rows, Session
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
    known: Known | None = database.descriptions.known(collection)
    if known is None or known.version != version:
        # In place of the last one: whoever makes a thousand partitions keeps one description, not a thousand.
        known = database.descriptions.keep(collection, Known(version, catalog.describe(connection, collection)))
    database.programs.keep(collection, known)
    return version, known.description


@dataclass(frozen=True, slots=True)
class Known:
    """A collection as a call found it: others go by it for some seconds, and look at once whether it is still so."""

    version: str
    description: CollectionDescription


def of_version(version: str | None, key: Hashable | None) -> Hashable | None:
    """What something about a collection is kept under as long as nothing changes; None: it is not to be kept."""
    return None if version is None or key is None else (version, key)


@contextmanager
def opened_anew(database: Database, collection: str, doing: str) -> Iterator[Opened]:
    """Read a collection as the catalogue has it now, with the names of leaves and indexes."""
    with explaining(database, collection), database.reading(f"{doing} {collection!r}") as connection:
        yield Opened(database, collection, connection, catalog.describe(connection, collection), None)
