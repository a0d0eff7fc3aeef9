"""PostgreSQL's data directory: made whole or not at all, started, stopped.

The programs run inside the data directory and know it as /proc/self/cwd, where there is such a thing: the folders
above it may then be closed to the server's user, as /root is, and stay so.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vecstore.errors import EmbeddedServerError

from . import locks, settings, sockets
from .account import Account

START_SECONDS = 120  # a crash may have left much WAL to replay
STOP_SECONDS = 60
_INITDB_SECONDS = 120
_LOG_BYTES = 16 << 20
_TEMPORARY = "postgresql.new-"
_HERE = Path("/proc/self/cwd")

_HBA = """\
# Only this machine, only through the socket, only the users of the map `vecstore` in pg_ident.conf.
local  all  all  peer map=vecstore
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where everything about one server is."""

    folder: Path
    programs: Path
    account: Account
    major: int

    @property
    def data(self) -> Path:
        return self.folder / "postgresql"

    @property
    def mutex(self) -> Path:
        """Held while the server is made, started or stopped."""
        return self.folder / "vecstore.lock"

    @property
    def users(self) -> Path:
        """Held, shared, by everyone who uses the server."""
        return self.folder / "vecstore.users"

    @property
    def server(self) -> Path:
        """Held by the server's own processes for as long as one of them lives; says where the socket is."""
        return self.folder / "vecstore.server"


def check(cluster: Cluster) -> bool:
    """Whether there is a data directory to start; refuses what is not ours, changes nothing."""
    data = cluster.data
    if not data.exists() or not any(data.iterdir()):
        return False
    if not (data / "PG_VERSION").exists():
        raise EmbeddedServerError(
            f"{data} is not empty and not a PostgreSQL data directory: nothing was touched; choose another folder"
        )
    owner = data.stat().st_uid
    if owner != cluster.account.uid:
        raise EmbeddedServerError(
            f"{data} belongs to {locks.user_name(owner)}, here the server runs as {cluster.account.name}: "
            "open it as the user who made it, or choose another folder"
        )
    found = (data / "PG_VERSION").read_text().strip()
    if found != str(cluster.major):
        raise EmbeddedServerError(
            f"{data} was made by PostgreSQL {found}, asked for was {cluster.major}: open it with major={found}, or "
            f"move the data with pg_dump into a new folder"
        )
    return True


def make(cluster: Cluster, mutex: int, own: Sequence[settings.Setting]) -> None:
    """Initialise the data directory under another name and rename it: a kill at any moment leaves nothing half done."""
    remove_leftovers(cluster)
    fresh = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=cluster.folder))
    try:
        if cluster.account.is_other:
            os.chown(fresh, cluster.account.uid, cluster.account.gid)
        _initdb(cluster, fresh, mutex)
        _configure(cluster, fresh, own)
        fresh.rename(cluster.data)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    _flush(cluster.folder)


def remove_leftovers(cluster: Cluster) -> None:
    """Remove what a killed make() left; under the mutex, so nobody is at it."""
    for left in cluster.folder.glob(f"{_TEMPORARY}*"):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)


def _initdb(cluster: Cluster, fresh: Path, mutex: int) -> None:
    # Bytes order text, as in Milvus: then a btree serves LIKE 'prefix%', and no upgrade of the C library, which
    # changes how languages sort, can spoil an index.
    if cluster.major >= 17:  # noqa: PLR2004
        locales = [["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]]
    else:
        libc = "--locale-provider=libc"
        locales = [[libc, "--locale=C.UTF-8", "--lc-collate=C"], [libc, "--locale=C"]]
    for locale in locales:
        options = ["--username=postgres", "--encoding=UTF8", "--auth=peer", "--data-checksums", "--no-instructions"]
        # initdb inherits the mutex: if we are killed, the next one waits for it before clearing up.
        done = _run(cluster, "initdb", *options, *locale, directory=fresh, seconds=_INITDB_SECONDS, inherited=(mutex,))
        if done.returncode == 0:
            return
    raise EmbeddedServerError(
        f"initdb could not make a data directory in {cluster.folder}; it said:\n{_tail(done.stdout)}\n"
        "nothing was left behind: solve this (space? rights?) and try again"
    )


def _configure(cluster: Cluster, fresh: Path, own: Sequence[settings.Setting]) -> None:
    tuned = settings.tuned(settings.memory_bytes(), settings.cpu_count(), settings.shm_bytes(), cluster.major)
    main = (fresh / "postgresql.conf").read_text()
    ident = "".join(f'vecstore  "{client}"  postgres\n' for client in cluster.account.clients)
    _write(cluster, fresh / "vecstore.conf", settings.rendered((*tuned, *own)))
    _write(cluster, fresh / "postgresql.conf", f"{main}\ninclude 'vecstore.conf'\n")
    _write(cluster, fresh / "pg_hba.conf", _HBA)
    _write(cluster, fresh / "pg_ident.conf", f"# map, user of the operating system, role\n{ident}")


def _write(cluster: Cluster, path: Path, text: str) -> None:
    # A new file renamed into place, and never an open of a name that the server's user could have made a link.
    descriptor, name = tempfile.mkstemp(prefix="vecstore-", dir=path.parent)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        if cluster.account.is_other:
            os.fchown(file.fileno(), cluster.account.uid, cluster.account.gid)
        os.fsync(file.fileno())
    Path(name).replace(path)


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def launch(cluster: Cluster, socket_directory: Path) -> None:
    """Start the server and wait until it takes connections."""
    _turn_log(cluster)
    _forget_dead_postmaster(cluster)
    options = shlex.join(["-k", str(socket_directory), "-p", str(sockets.PORT)])
    arguments = ["start", "-w", "-t", str(START_SECONDS), "-l", "server.log", "-o", options]
    with _server_lock(cluster) as lock:
        seconds = START_SECONDS + 30
        done = _run(cluster, "pg_ctl", *arguments, directory=cluster.data, seconds=seconds, inherited=(lock,))
    if done.returncode != 0:
        raise EmbeddedServerError(
            f"PostgreSQL did not start in {cluster.data}; the end of its log:\n{log_tail(cluster)}\n"
            f"{_tail(done.stdout)}\nsolve this (the settings are in {cluster.data / 'vecstore.conf'}) and try again; "
            "nothing was deleted"
        )


@contextmanager
def _server_lock(cluster: Cluster) -> Iterator[int]:
    # All processes of the server inherit this open file and with it the lock, so the lock says whether any of them
    # lives: after a kill -9, when its process number is another's by now, and from inside another container.
    file = locks.open_lock(cluster.server)
    try:
        if not locks.try_lock(file):
            raise EmbeddedServerError(f"{cluster.server} is locked: another server runs in {cluster.data}")
        yield file
    finally:
        locks.close_lock(file)


def _forget_dead_postmaster(cluster: Cluster) -> None:
    # PostgreSQL takes any process of its user with the number in postmaster.pid for its predecessor. In a container
    # that number is soon another's. No process of ours lives (the lock), so only somebody's own pg_ctl can have
    # started one, and that would run in this directory.
    file = cluster.data / "postmaster.pid"
    if not _HERE.exists() or not file.exists():
        return
    number = file.read_text().partition("\n")[0].strip()
    try:
        is_server = Path(f"/proc/{number}/cwd").samefile(cluster.data)
    except OSError:
        is_server = False
    if not is_server:
        file.unlink(missing_ok=True)


def _turn_log(cluster: Cluster) -> None:
    log = cluster.data / "server.log"
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_suffix(".log.old"))


def stop(cluster: Cluster) -> None:
    """Stop the server; sessions that are still open are ended and what they did not commit is undone."""
    arguments = ["stop", "-m", "fast", "-w", "-t", str(STOP_SECONDS)]
    done = _run(cluster, "pg_ctl", *arguments, directory=cluster.data, seconds=STOP_SECONDS + 30)
    # pg_ctl also fails where the postmaster was killed and its sessions are just ending: what counts is the lock.
    if not locks.wait_until_free(cluster.server, seconds=10):
        raise EmbeddedServerError(
            f"PostgreSQL did not stop in {cluster.data}; the end of its log:\n{log_tail(cluster)}\n"
            f"{_tail(done.stdout)}\nits process number is in {cluster.data / 'postmaster.pid'}"
        )


def log_tail(cluster: Cluster) -> str:
    """The last lines the server wrote."""
    try:
        return _tail((cluster.data / "server.log").read_text(errors="replace"))
    except FileNotFoundError:
        return "(no log)"


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-20:])


def _run(
    cluster: Cluster, program: str, *arguments: str, directory: Path, seconds: float, inherited: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[str]:
    account = cluster.account
    where = _HERE if _HERE.exists() else directory
    # A file takes what it says: the server outlives pg_ctl, and a pipe that it holds open would never end.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        done = subprocess.run(  # noqa: S603
            [cluster.programs / program, "-D", where, *arguments],
            cwd=directory,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},  # and no PG* variable of the caller
            user=account.uid if account.is_other else None,
            group=account.gid if account.is_other else None,
            extra_groups=[] if account.is_other else None,
            start_new_session=True,  # a Ctrl-C in the terminal is meant for the program, not for the server
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=inherited,
            timeout=seconds,
            check=False,
        )
        output.seek(0)
        return subprocess.CompletedProcess(done.args, done.returncode, output.read())
