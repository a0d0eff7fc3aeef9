"""PgBouncer in transaction mode, before the server of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL

from vecstore.embedded.account import server_account
from waiting import eventually

POOL_SIZE = 2
_PORT = 6432
_PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

needs_pgbouncer = pytest.mark.skipif(_PROGRAM is None, reason="no pgbouncer; on Debian: apt-get install pgbouncer")

_CONFIGURATION = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_port = {own_port}
unix_socket_dir = {folder}
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
ignore_startup_parameters = {ignored}
"""


@contextmanager
def bouncing(url: URL, *, ignored: str = "extra_float_digits") -> Iterator[URL]:
    """The URL of the same database through a PgBouncer with POOL_SIZE connections, which only a Unix socket leads to.

    It runs as the server does, whom the server trusts: as root it refuses to.
    """
    account = server_account()
    with tempfile.TemporaryDirectory(prefix="vecstore-pgbouncer-") as folder:
        file = Path(folder) / "pgbouncer.ini"
        file.write_text(
            _CONFIGURATION.format(
                host=url.query["host"],
                port=url.port,
                user=url.username,
                own_port=_PORT,
                folder=folder,
                pool_size=POOL_SIZE,
                ignored=ignored,
            )
        )
        with (Path(folder) / "log").open("wb") as log:
            for path in (Path(folder), file):
                os.chown(path, account.uid, account.gid)
            process = subprocess.Popen(
                [str(_PROGRAM), "--quiet", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **({"user": account.uid, "group": account.gid, "extra_groups": []} if account.is_other else {}),
            )
        through = url.set(port=_PORT, query={"host": folder})
        try:
            eventually(lambda: process.poll() is not None or _answers(through))
            assert process.poll() is None, (Path(folder) / "log").read_text()
            yield through
        finally:
            process.kill()
            process.wait()


def _answers(url: URL) -> bool:
    with suppress(psycopg.OperationalError), plain(url):
        return True
    return False


def plain(url: URL) -> psycopg.Connection[tuple[object, ...]]:
    """A client that is none of vecstore's, without transactions."""
    text = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(text, autocommit=True, prepare_threshold=None)
