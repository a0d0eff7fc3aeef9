"""What is sent at once, together with the look whether the collection is what it was known as.

docs/decisions/0015-one-round-trip.md
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import LiteralString, TypeVar

from psycopg.pq.abc import PGresult
from sqlalchemy import ColumnElement, Text, bindparam, func, make_url

from .. import catalog
from ..database import Database, leaving_doubt
from ..ddl import set_local
from ..errors import CommitUncertain, ConnectionLost, DatabaseError, LockTimeout, QueryTimeout
from ..pipeline import Rows, Session, Sight
from ..wire import TEXT_OID, Command, WireValue
from .opening import Known

T = TypeVar("T")

_POSTGRESQL = make_url("postgresql+psycopg://").get_dialect()()

SEEN = "vecstore_seen"
"""The parameter of as_seen()."""

_SETS_IN_A_PACKET = 180_000
"""Since then statements of one packet are a transaction to SET LOCAL, too; earlier servers want BEGIN, and warn."""


class Changed(Exception):
    """What was known of a collection is not so, or may not be: look again."""


def known(database: Database, collection: str) -> Known:
    """Raise Changed where it is not known."""
    found: Known | None = database.programs.known(collection) if database.owns_transactions else None
    if found is None:
        raise Changed
    return found


Commands = Callable[[Session], Sequence[Command]]


def rows_at_once(
    database: Database,
    collection: str,
    doing: str,
    version: str,
    commands: Commands,
    *,
    settings: Sequence[Command] = (),
) -> list[Rows]:
    """The rows of each command, in a transaction of their own, in one round trip.

    collection  what the caller calls it: its own name or an alias
    version     what the collection was known by when the commands were made
    settings    made for these commands, by set_local_command()

    Raises Changed where it has another version by now, and where anything went wrong that may be due to that.
    """

    def read(session: Session) -> list[Rows]:
        look = _look(database, session, collection, version, settings)
        return session.rows(look.results(session, commands(session)))

    return _unless_changed(database, f"{doing} {collection!r}", read)


def change_at_once(
    database: Database, collection: str, doing: str, version: str, change: Callable[[Session, WireValue], Command]
) -> int:
    """How many rows a command changed, in a transaction of its own, in one round trip.

    change  the command, of what as_seen() is to be compared with: unless that holds, it must change nothing

    Raises as rows_at_once() does, and then nothing was changed; CommitUncertain.
    """
    what = f"{doing} {collection!r}"

    def changed(session: Session) -> int:
        session.check_alive()
        look = _look(database, session, collection, version)
        command = change(session, WireValue(TEXT_OID, look.expected))
        with leaving_doubt(what):
            [result] = look.results(session, [command])
        return result.command_tuples or 0

    return _unless_changed(database, what, changed)


def as_seen() -> ColumnElement[bool]:
    """Whether a collection is what it was known as: for a change that does not wait for the look before it."""
    seen: ColumnElement[bool] = func.pg_catalog.current_setting(catalog.SEEN) == bindparam(SEEN, None, Text())
    return seen


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
    """What goes before commands that were made for one version of a collection, and are right for no other.

    expected  the answer, if it is that version
    """

    command: Command
    expected: bytes
    settings: Sequence[Command] = ()
    explicitly: bool = False

    def results(self, session: Session, commands: Sequence[Command]) -> list[PGresult]:
        """Raise Changed where the collection has another version."""
        transact = session.transact_explicitly if self.explicitly else session.transact
        seen, *results = transact([self.command, *self.settings, *commands])
        if seen.get_value(0, 0) != self.expected:
            session.forget_sight(self.command)  # of a plan that was made anew, though nothing has changed
            raise Changed
        return results[len(self.settings) :]


def _look(
    database: Database, session: Session, collection: str, version: str, settings: Sequence[Command] = ()
) -> _Look:
    """By the plan of a statement; where the server or a pooler keeps no plans, by the version itself."""
    if not (database.facts.keeps_plans and session.prepares):
        return _Look(catalog.version_look(collection), version.encode(), settings, explicitly=True)
    command = catalog.plan_look(collection)
    sight = session.sight(command)
    if sight is None or sight.version != version:
        sight = session.saw(command, _sight(session, collection, command))
    if sight.version != version:
        raise Changed
    explicitly = bool(settings) and database.facts.server_version < _SETS_IN_A_PACKET
    return _Look(command, sight.plan, settings, explicitly)


def _sight(session: Session, collection: str, look: Command) -> Sight:
    """In one transaction, for what is looked at stays as it is until it ends."""
    plan, version = session.transact([look, catalog.version_command(collection)])
    if version.ntuples != 1:
        raise Changed
    return Sight(plan.get_value(0, 0) or b"", (version.get_value(0, 0) or b"").decode())


@lru_cache(maxsize=256)
def set_local_command(setting: LiteralString, value: int | str) -> Command:
    return Command(str(set_local(setting, value).compile(dialect=_POSTGRESQL)).encode())
