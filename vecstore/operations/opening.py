"""A collection as one transaction reads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Table
from sqlalchemy.sql.expression import ClauseElement

from .. import catalog, tables
from ..database import Database, ServerFacts
from ..description import CollectionDescription
from ..execution import Rows, fetch
from .explaining import explaining


@dataclass(frozen=True, slots=True)
class Opened:
    """A transaction that reads, and the collection that it is about.

    version  what the description may be known by as long as nothing changes; None in a transaction of the caller's,
             whose own changes have no version yet
    """

    database: Database
    connection: Connection
    description: CollectionDescription
    version: str | None

    @property
    def facts(self) -> ServerFacts:
        return self.database.facts

    @property
    def table(self) -> Table:
        return tables.table_of(self.description, self.facts.extension_schema)

    def fetch(self, statement: ClauseElement, *, prepare: bool | None = None) -> Rows:
        return fetch(self.connection, self.facts, statement, prepare=prepare)


@contextmanager
def opened(database: Database, collection: str, doing: str) -> Iterator[Opened]:
    """Read a collection, by its name or an alias; raises CollectionNotFound.

    Its description may be one of an earlier call, if nothing that reads and writes depend on has changed since: the
    names of leaves and indexes may have.
    """
    with explaining(database, collection), database.reading(f"{doing} {collection!r}") as connection:
        version = catalog.version(connection, collection) if database.owns_transactions else None
        if version is None:
            description = catalog.describe(connection, collection)
        else:
            key = (collection, version)
            description = database.descriptions.get(key, lambda: catalog.describe(connection, collection))
        yield Opened(database, connection, description, version)


@contextmanager
def opened_anew(database: Database, collection: str, doing: str) -> Iterator[Opened]:
    """Read a collection as the catalogue has it now, with the names of leaves and indexes."""
    with explaining(database, collection), database.reading(f"{doing} {collection!r}") as connection:
        yield Opened(database, connection, catalog.describe(connection, collection), None)
