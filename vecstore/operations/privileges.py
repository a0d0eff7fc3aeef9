"""Who may read, write and own collections.

Rights are on the parent table, which all access goes through, so that they hold for every partition there will be.
None is ever given on a partition: row security of the parent would not protect what is read from its table. Rights on
schema vecstore need not be given, for its revisions give them to everybody: SELECT on what it says of collections, and
by row security the rest to the owner of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, text

from .. import catalog, ddl
from ..database import Database
from ..ddl import Name, Right, Statement
from ..description import CollectionDescription
from ..errors import InvalidArgument, OperationRefused, PermissionDenied
from ..naming import PARENT_TABLE
from .locking import locked

_LEVELS = ("read", "write", "own")

_ROLE = text("SELECT FROM pg_catalog.pg_roles WHERE rolname = :role")

_RIGHTS_HOLDER = text("""
    SELECT o.rolname AS owner, pg_catalog.pg_has_role(c.relowner, 'USAGE') AS is_mine, current_user AS me,
           sn.nspname AS sequence_schema, s.relname AS sequence
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
    LEFT JOIN pg_catalog.pg_class s
           ON s.oid = pg_catalog.pg_get_serial_sequence(pg_catalog.quote_ident(:schema) || '.entities', :key)::regclass
    LEFT JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
    WHERE c.oid = CAST(:oid AS oid)
""")

_OTHER_OWNER = text("""
    SELECT o.rolname
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
    WHERE n.nspname = :schema AND c.relname = 'entities' AND o.rolname <> current_user
""")


@dataclass(frozen=True, slots=True)
class _Target:
    """A collection, its owner, and the role that asks, which is the owner or a member of it."""

    description: CollectionDescription
    owner: str
    me: str
    sequence: Name | None

    @property
    def schemas(self) -> tuple[str, ...]:
        """The collection's and those of its aliases: each has a table, or view, of the same name."""
        return (self.description.name, *self.description.aliases)

    def reading(self) -> Iterator[tuple[Right, Name]]:
        for schema in self.schemas:
            yield Right.LOOK_INTO, Name(schema)
            yield Right.READ, Name(schema, PARENT_TABLE)

    def writing(self) -> Iterator[tuple[Right, Name]]:
        for schema in self.schemas:
            yield Right.WRITE, Name(schema, PARENT_TABLE)
        if self.sequence is not None:
            yield Right.DRAW, self.sequence

    def given_to(self, owner: str) -> Iterator[Statement]:
        """One owner for all: no partition may be left with somebody who could then not be asked."""
        for schema in self.schemas:
            yield ddl.give_schema(schema, owner)
            yield ddl.give_table(schema, PARENT_TABLE, owner)
        for leaf in self.description.leaves:
            yield ddl.give_table(self.description.name, leaf, owner)


def grant(database: Database, role: str, *, on: str | None, privileges: str) -> None:
    _check_level(privileges)

    def statements(target: _Target) -> Iterator[Statement]:
        if privileges == "own":
            yield from target.given_to(role)
            return
        rights = [*target.reading(), *(target.writing() if privileges == "write" else ())]
        yield from (ddl.grant(right, name, role) for right, name in rights)

    _change(database, f"grant {privileges!r}", role, on, statements)


def revoke(database: Database, role: str, *, on: str | None, privileges: str) -> None:
    _check_level(privileges)

    def statements(target: _Target) -> Iterator[Statement]:
        owns, name = target.owner == role, target.description.name
        if privileges == "own":
            if owns:
                yield from target.given_to(target.me)
            elif on is not None:
                raise OperationRefused(f"collection {name!r} belongs to {target.owner!r}, not to {role!r}")
            return
        if owns:
            raise OperationRefused(f"role {role!r} owns collection {name!r}: revoke {'own'!r} first")
        rights = [*target.writing(), *(target.reading() if privileges == "read" else ())]
        yield from (ddl.revoke(right, name, role) for right, name in rights)

    _change(database, f"revoke {privileges!r}", role, on, statements)


def _change(
    database: Database, verb: str, role: str, on: str | None, statements: Callable[[_Target], Iterator[Statement]]
) -> None:
    doing = f"{verb} on {'all collections' if on is None else repr(on)}"
    with database.reading(doing) as connection:
        _check_role(connection, role)
        names = catalog.collection_names(connection) if on is None else [on]

    def work(connection: Connection) -> None:
        for target in [_target(connection, name) for name in names]:
            for statement in statements(target):
                connection.execute(statement)

    database.alter(doing, names, work)


def _check_level(privileges: object) -> None:
    if privileges not in _LEVELS:
        raise InvalidArgument(f"privileges must be one of {', '.join(map(repr, _LEVELS))}, got {privileges!r:.80}")


def _check_role(connection: Connection, role: object) -> None:
    """A role of PostgreSQL: one that is not there would be named by the server only after some rights were given."""
    can_be_sent = isinstance(role, str) and "\0" not in role and role.isprintable()
    if not can_be_sent or connection.execute(_ROLE, {"role": role}).first() is None:
        raise InvalidArgument(f"no role {role!r:.80} on this server: CREATE ROLE makes one")


def _target(connection: Connection, name: str) -> _Target:
    description = locked(connection, name)
    parameters: Mapping[str, object] = {
        "oid": description.oid,
        "schema": description.name,
        "key": description.schema.primary_key.name,
    }
    row = connection.execute(_RIGHTS_HOLDER, parameters).one()
    if not row.is_mine:
        raise PermissionDenied(f"collection {description.name!r} belongs to {row.owner!r}, who gives rights on it")
    sequence = None if row.sequence is None else Name(row.sequence_schema, row.sequence)
    return _Target(description, row.owner, row.me, sequence)


def keep_one_owner(connection: Connection, collection: str, leaf: str) -> None:
    """Give a new partition to the collection's owner, where a member of it, or a superuser, has made it."""
    owner = connection.execute(_OTHER_OWNER, {"schema": collection}).scalar()
    if owner is not None:
        connection.execute(ddl.give_table(collection, leaf, owner))
