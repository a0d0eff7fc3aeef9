"""The command `vecstore`: a function for each of its commands, which prints and returns the exit status."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from . import __version__, installation
from .database import translating
from .errors import VecstoreError
from .revisions import revisions
from .store import Store, connect

DONE = 0
FAILED = 1

_DESCRIPTION = """\
Care for the databases of vecstore.

Every command works on one database, which --target names, or else the variable DATABASE_URL:

  postgresql://user@host:5432/database   on a server
  ./data                                 in a folder, with an embedded PostgreSQL
"""

_EPILOG = """\
Exit status: 0 done; 1 not done, the reason is on standard error; 2 wrong usage.
`vecstore COMMAND --help` says more of a command.
"""

_UPGRADE = """\
Create schema vecstore and extension vector, or bring the schema to the revision of this library.

Needs a role that may create schemas and extensions or, where both are there, the one that owns the schema. It is one
transaction: an upgrade that fails leaves nothing behind. Of several at once, one does it and the others wait.
"""

_DOWNGRADE = """\
Take schema vecstore back to an older revision, for an older version of the library, in one transaction.

Collections keep their rows; what newer revisions brought goes away. `base` leaves an empty schema, and is refused while
there are collections. A folder is upgraded again when it is next opened.
"""

_CURRENT = """\
Print the revision that schema vecstore is at, `base` where it is not installed.

The exit status is 0 only for the revision of this library, so that a deployment can ask. A server's database is only
looked at; a folder is upgraded by being opened.
"""


def upgrade(arguments: argparse.Namespace) -> int:
    if arguments.sql:
        installation.write_upgrade(start=arguments.sql)
        return DONE
    return _migrated(arguments, Store.upgrade)


def downgrade(arguments: argparse.Namespace) -> int:
    return _migrated(arguments, lambda store: store.downgrade(arguments.revision))


def current(arguments: argparse.Namespace) -> int:
    with connect(arguments.target) as store:
        found = _revision_of(store)
    print(found)
    if found == revisions()[-1]:
        return DONE
    print(f"vecstore: this library needs {revisions()[-1]}: vecstore upgrade", file=sys.stderr)
    return FAILED


def _migrated(arguments: argparse.Namespace, migrate: Callable[[Store], None]) -> int:
    with connect(arguments.target, ddl_timeout=arguments.wait) as store:
        before = _revision_of(store)
        migrate(store)
        after = _revision_of(store)
    print(f"schema vecstore: {after}" if before == after else f"schema vecstore: {before} -> {after}")
    return DONE


def _revision_of(store: Store) -> str:
    with translating("read the revision of schema 'vecstore'"), store.engine.connect() as connection:
        return ", ".join(installation.installed(connection)) or installation.BASE


def main(words: Sequence[str] | None = None) -> int:
    """Run a command; `words` are those of the command line where they are not given."""
    parser = _parser()
    arguments = parser.parse_args(words)
    if not arguments.target and not arguments.sql:
        parser.error("which database? --target postgresql://user@host/database, --target ./data, or DATABASE_URL")
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except VecstoreError as error:
        print(f"vecstore: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:  # `vecstore ... | head`: who read has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return status


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    target = argparse.ArgumentParser(add_help=False)
    target.add_argument(
        "--target",
        default=os.environ.get("DATABASE_URL"),
        metavar="URL|FOLDER",
        help="the database (default: the variable DATABASE_URL)",
    )
    wait = argparse.ArgumentParser(add_help=False)
    wait.add_argument(
        "--wait",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="how long tables that others use are tried for; searches never stand in line behind (default: 30)",
    )
    parser = argparse.ArgumentParser(prog="vecstore", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=form)
    parser.add_argument("--version", action="version", version=f"vecstore {__version__}")
    parser.set_defaults(sql=None)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser(
        "upgrade", parents=[target, wait], help="install or migrate", description=_UPGRADE, formatter_class=form
    )
    command.add_argument(
        "--sql",
        nargs="?",
        const=installation.BASE,
        metavar="FROM",
        help="print the SQL for psql instead of running it, from revision FROM (default: from nothing)",
    )
    command.set_defaults(run=upgrade)

    command = commands.add_parser(
        "downgrade", parents=[target, wait], help="go back", description=_DOWNGRADE, formatter_class=form
    )
    command.add_argument("revision", metavar="REVISION", help=f"{', '.join(revisions())} or {installation.BASE}")
    command.set_defaults(run=downgrade)

    command = commands.add_parser(
        "current", parents=[target], help="say what is installed", description=_CURRENT, formatter_class=form
    )
    command.set_defaults(run=current)
    return parser
