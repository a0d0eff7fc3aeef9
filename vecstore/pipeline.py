"""Several statements, sent at once and answered at once.

libpq's pipeline mode, without psycopg's queue on top of it, which costs more than it saves where the server is near: a
search in a transaction of its own takes 1.1 times the bare statement so, 1.3 to 1.5 times with it. What comes a second
time on a connection is prepared.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from select import POLLIN, poll
from typing import Any

import psycopg
from psycopg import errors, generators, pq
from psycopg.abc import PQGen
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.pq.abc import PGconn, PGresult
from sqlalchemy.pool import ManagesConnection

from .errors import POOLER, InvalidArgument
from .wire import Command, register

Rows = list[tuple[Any, ...]]

_BEGIN = Command(b"BEGIN ISOLATION LEVEL READ COMMITTED")
_COMMIT = Command(b"COMMIT")
_PROCESS = Command(b"SELECT pg_catalog.pg_backend_pid()")
_MOST_PREPARED = 256
_BINARY = pq.Format.BINARY
_INFO = "vecstore.session"

# A plan that no longer fits its table; a prepared statement that somebody dropped, or made.
UNPREPARED = frozenset({"0A000", "26000", "42P05"})

_Key = tuple[bytes, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Sight:
    """What a connection last saw of a collection by a statement that looks: its plan, and the collection's version.

    As long as the server keeps that plan, there is no other version.
    """

    plan: bytes
    version: str


class Session:
    """A connection, and what is prepared on it. Of one thread at a time, as the connection is."""

    def __init__(
        self, connection: psycopg.Connection[Any], vector_oids: Mapping[str, int], *, pooled: bool = False
    ) -> None:
        if connection.info.encoding != "utf-8":
            raise InvalidArgument(f"client_encoding must be UTF8, this connection's is {connection.info.encoding}")
        self.connection = connection
        self.vector_oids = vector_oids
        # Not behind PgBouncer, where the next statement may meet another server.
        self.prepares = connection.prepare_threshold is not None
        self._watched = [_PROCESS] if pooled and self.prepares else []
        self._beginning = [_BEGIN, *self._watched]
        self._process: bytes | None = None
        self.adapters = AdaptersMap(connection.adapters)
        register(self.adapters, vector_oids)
        self._transformer = Transformer(self)
        # By use, the latest last; a statement that came once has no name yet.
        self._names: OrderedDict[_Key, bytes | None] = OrderedDict()
        self._unwanted: list[bytes] = []
        # Of this session alone: behind a pooler that nobody spoke of, others' statements must not pass for its own.
        self._prefix = b"vecstore_%s_" % secrets.token_hex(8).encode()
        self._named = 0
        self._sights: dict[bytes, Sight] = {}

    def run(self, commands: Sequence[Command]) -> list[PGresult]:
        """A result for each command, in the connection's transaction. Raises psycopg.Error."""
        if self.connection.pgconn.transaction_status == pq.TransactionStatus.IDLE and not self.connection.autocommit:
            self.connection.execute("SELECT")  # psycopg begins a transaction with it
        return self._exchange([*self._watched, *commands])[len(self._watched) :]

    def transact(self, commands: Sequence[Command]) -> list[PGresult]:
        """The same in a transaction of their own, which the server begins with the first and commits after the last.

        Of the session's own isolation. SET LOCAL is for it from PostgreSQL 18 on, and not as the first. Raises
        psycopg.Error; then nothing was done, unless the connection broke while the server committed.
        """
        return self._undone_on_error([*self._watched, *commands])[len(self._watched) :]

    def transact_explicitly(self, commands: Sequence[Command]) -> list[PGresult]:
        """The same between BEGIN and COMMIT, read committed: for SET LOCAL, and for poolers that know no other."""
        return self._undone_on_error([*self._beginning, *commands, _COMMIT])[len(self._beginning) : -1]

    def check_alive(self) -> None:
        """Raise psycopg.OperationalError where the server has hung up, as far as it is known without asking.

        It says nothing to who asks nothing, but for its last words; a notice is taken for these, too.
        """
        line = poll()
        line.register(self.connection.pgconn.socket, POLLIN)
        if line.poll(0):
            raise psycopg.OperationalError("the server spoke unasked, and may have hung up")

    def _undone_on_error(self, commands: Sequence[Command]) -> list[PGresult]:
        try:
            return self._exchange(commands)
        except BaseException:
            self._undo()
            raise

    def _undo(self) -> None:
        """A connection that cannot roll back is of no use: closed, it is undone as well."""
        try:
            if not self.connection.closed:
                self.connection.rollback()
        except psycopg.OperationalError:
            self.connection.close()

    def sight(self, look: Command) -> Sight | None:
        """What it last saw by this statement."""
        return self._sights.get(look.text)

    def forget_sight(self, look: Command) -> None:
        self._sights.pop(look.text, None)

    def saw(self, look: Command, sight: Sight) -> Sight:
        """Remember it, of no more statements than there can be prepared ones."""
        self._sights.pop(look.text, None)
        self._sights[look.text] = sight
        if len(self._sights) > _MOST_PREPARED:
            del self._sights[next(iter(self._sights))]
        return sight

    def rows(self, results: Sequence[PGresult]) -> list[Rows]:
        found = []
        for result in results:
            self._transformer.set_pgresult(result)
            found.append(self._transformer.load_rows(0, result.ntuples, tuple))
        self._transformer.set_pgresult(None)
        return found

    def _forget(self) -> None:
        """Prepare everything anew. It may all be gone: psycopg drops what others prepared, too, when it rolls back."""
        self._names.clear()
        self._unwanted.clear()
        self._sights.clear()

    def _exchange(self, commands: Sequence[Command]) -> list[PGresult]:
        pgconn = self.connection.pgconn
        pgconn.enter_pipeline_mode()
        try:
            count, prepared = self._send(pgconn, commands)
            answers = self.connection.wait(_answers(pgconn, count))
        finally:
            self._leave(pgconn)
        for place, key in prepared.items():
            if place < len(answers) and answers[place].status != pq.ExecStatus.COMMAND_OK:
                self._names.pop(key, None)
        if self._watched:
            self._check_process(answers)
        if (error := _error_of(answers, count)) is not None:
            if error.sqlstate in UNPREPARED:
                self._forget()
            raise error
        if prepared:
            answers = [answer for place, answer in enumerate(answers) if place not in prepared]
        return answers[-len(commands) :]

    def _check_process(self, answers: Sequence[PGresult]) -> None:
        """Behind a pooler: the process that answers must be the one that answered before, and that has it prepared."""
        process = next((answer.get_value(0, 0) for answer in answers if answer.status == pq.ExecStatus.TUPLES_OK), None)
        if self._process is None:
            self._process = process
        if process not in (None, self._process):
            raise InvalidArgument(f"another process of the server answers than before{POOLER}")

    def _send(self, pgconn: PGconn, commands: Sequence[Command]) -> tuple[int, dict[int, _Key]]:
        """Send the commands. How many answers will come, and of which statement one says that it is prepared."""
        prepared: dict[int, _Key] = {}
        for unwanted in self._unwanted:
            pgconn.send_query_params(b"DEALLOCATE " + unwanted, None)
        count = len(self._unwanted)
        self._unwanted.clear()
        for command in commands:
            key = (command.text, tuple(command.oids))
            name = self._names.get(key)
            if name is not None:
                self._names.move_to_end(key)
            elif (name := self._new_name(key, at_once=command.at_once)) is not None:
                pgconn.send_prepare(name, command.text, command.oids)
                prepared[count] = key
                count += 1
            if name is None:
                pgconn.send_query_params(command.text, command.values, command.oids, command.formats, _BINARY)
            else:
                pgconn.send_query_prepared(name, command.values, command.formats, _BINARY)
            count += 1
        pgconn.pipeline_sync()
        return count, prepared

    def _new_name(self, key: _Key, *, at_once: bool) -> bytes | None:
        """The name that a statement is to be prepared under; None: run it as it is, for now."""
        if not self.prepares:
            return None
        is_known = key in self._names
        self._names[key] = None
        self._names.move_to_end(key)
        if len(self._names) > _MOST_PREPARED:
            _, oldest = self._names.popitem(last=False)
            self._unwanted += [] if oldest is None else [oldest]
        if not (is_known or at_once):
            return None
        self._named += 1
        name = self._names[key] = self._prefix + b"%d" % self._named
        return name

    def _leave(self, pgconn: PGconn) -> None:
        """End pipeline mode; a connection that cannot, for answers are still to come, is of no use any more."""
        if pgconn.status != pq.ConnStatus.OK:
            return
        try:
            pgconn.exit_pipeline_mode()
        except psycopg.OperationalError:
            self.connection.close()


def _answers(pgconn: PGconn, count: int) -> PQGen[list[PGresult]]:
    """So many answers, one for each command sent, and none that says no more than that all have come."""
    yield from generators.send(pgconn)
    answers: list[PGresult] = []
    for _ in range(count):
        results = yield from generators.fetch_many(pgconn)
        if not results:  # the connection broke
            return answers
        answers.append(results[-1])
    yield from generators.fetch_many(pgconn)
    return answers


def _error_of(answers: Sequence[PGresult], count: int) -> psycopg.Error | None:
    for answer in answers:
        if answer.status == pq.ExecStatus.FATAL_ERROR:
            return errors.error_from_result(answer, encoding="utf-8")
    return psycopg.OperationalError("the connection is lost") if len(answers) < count else None


def session_of(connection: ManagesConnection, vector_oids: Mapping[str, int], *, pooled: bool = False) -> Session:
    """The session of a connection of the engine's pool, which lives as long as the connection itself.

    pooled  on its way to the server there is another pool, which may give each transaction another process
    """
    known = connection.info.get(_INFO)
    if isinstance(known, Session) and known.vector_oids == vector_oids:
        return known
    session = connection.info[_INFO] = Session(psycopg_connection(connection), vector_oids, pooled=pooled)
    return session


def psycopg_connection(connection: ManagesConnection) -> psycopg.Connection[tuple[Any, ...]]:
    """The driver's connection; raises TypeError where it is not psycopg's."""
    found = connection.driver_connection
    if not isinstance(found, psycopg.Connection):
        raise TypeError(f"expected a connection of psycopg 3, got {type(found).__module__}")
    return found
