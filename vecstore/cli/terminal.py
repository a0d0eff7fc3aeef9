"""The commands that are PostgreSQL's own programs, told where the database is: psql, pg_dump."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
from functools import partial

from sqlalchemy import URL

from ..embedded import wheel
from ..engines import as_url
from ..store import connect
from .commands import Commands, target

_PSQL = """\
Open psql, PostgreSQL's terminal, on the database.

  vecstore psql --target ./data
  vecstore psql --target ./data -- -c 'SELECT * FROM vecstore.collections'
  vecstore psql --target ./data < report.sql
"""

_PG_DUMP = """\
Write the database as SQL: a backup, or the whole store on its way to another server.

  vecstore pg_dump --target ./data -- --format=custom --file=store.dump
  vecstore pg_dump --target ./data -- --no-owner | vecstore psql --target postgresql://me@db/library
"""

_EPILOG = """\
For a folder it is the program of the wheel, and the embedded server stays up until it has ended; for a server it is the
one that is installed, or else the wheel's. What follows -- goes to it, and its exit status is the command's.
"""


def add_to(commands: Commands) -> None:
    for name, summary, description in (
        ("psql", "open PostgreSQL's terminal on the database", _PSQL),
        ("pg_dump", "write the database as SQL", _PG_DUMP),
    ):
        command = commands.add(
            name, partial(run, name), target, summary=summary, description=description, epilog=_EPILOG
        )
        command.add_argument("words", nargs="*", metavar="ARGUMENT", help=f"an argument of {name}; -- before the first")


def run(name: str, arguments: argparse.Namespace) -> int:
    is_server = as_url(arguments.target) is not None
    program = (is_server and shutil.which(name)) or wheel.program(name)
    with connect(arguments.target) as store:
        place, secret = _address(store.engine.url)
        # At Ctrl-C psql stops its statement and goes on; so must we, who keep the server up.
        ours = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            words = [program, f"--dbname={place}", *arguments.words]
            return subprocess.run(words, env=os.environ | secret, check=False).returncode  # noqa: S603
        finally:
            signal.signal(signal.SIGINT, ours)


def _address(url: URL) -> tuple[str, dict[str, str]]:
    """Where the database is, and apart from it the password, which must not stand in the list of processes."""
    place = URL.create("postgresql", url.username, None, url.host, url.port, url.database, url.query)
    return place.render_as_string(), {} if url.password is None else {"PGPASSWORD": url.password}
