"""Start the embedded server, share it between processes, stop it with the last one."""

from __future__ import annotations

import logging
import os
import subprocess
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
import sqlalchemy

from vecstore.errors import EmbeddedServerError, MissingExtra

from . import cluster as clusters
from . import locks, settings, sockets, wheel
from .account import server_account
from .cluster import Cluster

DATABASE = "vecstore"
ROLE = "postgres"

_MUTEX_SECONDS = 60
_POLL_SECONDS = 0.02

_log = logging.getLogger(__name__)


class EmbeddedServer:
    """One holder of a running server: the last one that lets go, in whatever process, stops it.

    A holder that is not released is released when it is collected or when the interpreter ends. In a forked child it
    holds nothing: a child that may outlive its parent calls start() itself. A program that dies by a signal leaves the
    server running, and the next one that opens the folder takes it over.
    """

    def __init__(self, cluster: Cluster, users: int, socket_directory: Path) -> None:
        self.folder = cluster.folder
        self.socket_directory = socket_directory
        self.major = cluster.major
        self._finalizer = weakref.finalize(self, _let_go, cluster, users, os.getpid())

    def __repr__(self) -> str:
        state = "" if self._finalizer.alive else ", released"
        return f"EmbeddedServer({str(self.folder)!r}, major={self.major}{state})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def url(self, database: str = DATABASE) -> sqlalchemy.URL:
        """Where to connect; the same again after a crash of the server."""
        return sqlalchemy.URL.create(
            "postgresql+psycopg",
            username=ROLE,
            port=sockets.PORT,
            database=database,
            query={"host": str(self.socket_directory)},
        )

    def release(self) -> None:
        """Let go of the server, and stop it if nobody else uses it; a second call does nothing."""
        self._finalizer()


def default_folder() -> Path:
    """The folder for the data of this user; root's is the machine's."""
    if os.geteuid() == 0:
        return Path("/var/lib/vecstore")
    try:
        from platformdirs import user_data_path  # noqa: PLC0415  # belongs to the extra
    except ImportError as exc:
        raise MissingExtra("the place for the data is not known: pip install 'vecstore[embedded]'") from exc
    return user_data_path("vecstore")


def start(
    folder: Path | str | None = None, *, major: int = 18, settings: Mapping[str, str] | None = None
) -> EmbeddedServer:
    """Use the server of a folder, which is made and started if need be.

    `settings`: PostgreSQL settings that overrule ours, written down when the folder is made and ignored later.
    Takes the folder's start lock for up to a minute; raises EmbeddedServerError, MissingExtra without the wheel.
    """
    place = (default_folder() if folder is None else Path(folder)).expanduser().absolute()
    own = _asked(settings)
    with _explained(place):
        account = server_account()
        cluster = Cluster(place, wheel.programs(major, account), account, major)
        _make_folder(place)
        return _held(cluster, own)


def _asked(wanted: Mapping[str, str] | None) -> tuple[settings.Setting, ...]:
    return settings.asked(wanted or {})


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as exc:
        raise EmbeddedServerError(
            f"cannot use {folder} as {locks.user_name(os.geteuid())}: {exc}; open it as the user who made it, "
            "or choose another folder"
        ) from exc
    except (OSError, subprocess.SubprocessError) as exc:
        raise EmbeddedServerError(f"cannot use {folder} for PostgreSQL: {exc}") from exc


def _make_folder(folder: Path) -> None:
    with suppress(FileExistsError):  # a folder that exists keeps its permissions
        folder.mkdir(mode=0o700, parents=True)


def _held(cluster: Cluster, own: Sequence[settings.Setting]) -> EmbeddedServer:
    with locks.mutex(cluster.mutex, seconds=_MUTEX_SECONDS) as mutex:
        if clusters.check(cluster):
            clusters.remove_leftovers(cluster)
        else:
            _log.info("initialising PostgreSQL %d in %s", cluster.major, cluster.data)
            clusters.make(cluster, mutex, own)
        is_alone = locks.is_free(cluster.users)
        users = locks.open_lock(cluster.users)
        try:
            locks.try_lock(users, shared=True)  # cannot fail: exclusive it is only ever held inside the mutex
            directory = _running(cluster, is_alone=is_alone)
            _ensure_database(directory)
            return EmbeddedServer(cluster, users, directory)
        except BaseException:
            locks.close_lock(users)
            with suppress(EmbeddedServerError):  # what went wrong first is what to tell
                _stop_if_unused(cluster)
            raise


def _running(cluster: Cluster, *, is_alone: bool) -> Path:
    """The socket directory of the running server, started if it does not run."""
    directory = _adopted(cluster)
    if directory is not None:
        return directory
    if not locks.is_free(cluster.server):
        if not is_alone:
            raise EmbeddedServerError(
                f"the server of {cluster.folder} runs, but cannot be reached from here (its socket directory is gone, "
                "or belongs to another container): end the programs that use it, the last one stops it"
            )
        clusters.stop(cluster)
    directory = sockets.made(sockets.remembered(cluster.server, cluster.data), cluster.account)
    sockets.remember(cluster.server, cluster.data, directory)
    clusters.launch(cluster, directory)
    _log.info("PostgreSQL %d started in %s, socket in %s", cluster.major, cluster.data, directory)
    return directory


def _adopted(cluster: Cluster) -> Path | None:
    """The socket directory of a server that runs already; None if none does, or none that can be reached."""
    deadline = time.monotonic() + clusters.START_SECONDS
    while not locks.is_free(cluster.server):
        directory = sockets.remembered(cluster.server, cluster.data)
        if directory is None or not sockets.is_private(directory, cluster.account):
            return None
        # Not answering: the last sessions of a killed postmaster are ending, or somebody was killed while starting it.
        if _answers(directory):
            return directory
        if time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"the server of {cluster.folder} runs, but does not answer in {directory}; the end of its log:\n"
                f"{clusters.log_tail(cluster)}\nits process number is in {cluster.data / 'postmaster.pid'}"
            )
        time.sleep(_POLL_SECONDS)
    return None


def _connected(directory: Path) -> psycopg.Connection:
    return psycopg.connect(
        host=str(directory), port=sockets.PORT, user=ROLE, dbname="postgres", autocommit=True, connect_timeout=10
    )


def _answers(directory: Path) -> bool:
    try:
        _connected(directory).close()
    except psycopg.OperationalError:
        return False
    return True


def _ensure_database(directory: Path) -> None:
    try:
        with _connected(directory) as connection:
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).rowcount == 0:
                connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(DATABASE)))
    except psycopg.Error as exc:
        raise EmbeddedServerError(f"the embedded server in {directory} refuses its own user: {exc}") from exc


def _let_go(cluster: Cluster, users: int, pid: int) -> None:
    """End a holder; called once, by release(), by the garbage collector or at the interpreter's end."""
    if pid != os.getpid():
        return  # a forked child: the lock is the parent's
    locks.close_lock(users)
    if locks.is_mutex_mine(cluster.mutex):
        return  # the collector found a lost holder while this very thread starts the same server: it stays in use
    with _explained(cluster.folder), locks.mutex(cluster.mutex, seconds=_MUTEX_SECONDS):
        _stop_if_unused(cluster)


def _stop_if_unused(cluster: Cluster) -> None:
    if not locks.is_free(cluster.users):
        return
    if not locks.is_free(cluster.server):
        clusters.stop(cluster)
        _log.info("PostgreSQL %d stopped in %s", cluster.major, cluster.data)
    directory = sockets.remembered(cluster.server, cluster.data)
    if directory is not None:
        sockets.removed(directory, cluster.account)
        sockets.forget(cluster.server)
