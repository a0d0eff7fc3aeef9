"""The commands that install and migrate schema vecstore: upgrade, downgrade, current."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from .. import installation
from ..database import translating
from ..revisions import revisions
from ..store import Store, connect
from .commands import DONE, FAILED, Commands, target, wait

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


def add_to(commands: Commands) -> None:
    command = commands.add(
        "upgrade", upgrade, target, wait, summary="install or migrate schema vecstore", description=_UPGRADE
    )
    command.add_argument(
        "--sql",
        nargs="?",
        const=installation.BASE,
        metavar="FROM",
        help="print the SQL for psql instead of running it, from revision FROM (default: from nothing)",
    )
    command = commands.add(
        "downgrade", downgrade, target, wait, summary="take schema vecstore back", description=_DOWNGRADE
    )
    command.add_argument("revision", metavar="REVISION", help=f"{', '.join(revisions())} or {installation.BASE}")
    commands.add("current", current, target, summary="say what is installed", description=_CURRENT)


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
