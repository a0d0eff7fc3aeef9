"""The revisions of schema `vecstore`, and whether the one that a database is at is this library's."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from importlib.resources import files

from .errors import NotInstalled, SchemaOutdated, SchemaTooNew
from .naming import OWN_SCHEMA

_PREFIX = f"{OWN_SCHEMA}_"


@cache
def revisions() -> tuple[str, ...]:
    """Those that this library knows, oldest first.

    Read from the names of their files, vecstore_0001_registry.py: each connect() asks, and importing Alembic takes a
    tenth of a second.
    """
    folder = files("vecstore") / "migrations" / "versions"
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".py"))
    return tuple("_".join(name.split("_")[:2]) for name in names)


def check(found: Collection[str]) -> None:
    """Compare the rows of vecstore.alembic_version with this library.

    Rows of another history are an application's whose Alembic environment includes ours; one that depends on a revision
    of ours stands for that one too. Raises NotInstalled, SchemaOutdated, SchemaTooNew.
    """
    if not found:
        raise NotInstalled(
            "this database has no schema vecstore yet: run `vecstore upgrade`, or store.upgrade(), as a role that may "
            "create schemas and extensions"
        )
    refuse_newer(found)
    head = revisions()[-1]
    ours = [revision for revision in revisions() if revision in found]
    if ours and head not in ours:
        raise SchemaOutdated(
            f"schema {OWN_SCHEMA!r} of this database is at revision {ours[-1]!r}, this library needs {head!r}: run "
            "`vecstore upgrade`, or store.upgrade(), as the role that owns the schema"
        )


def refuse_newer(found: Collection[str]) -> None:
    """Raise SchemaTooNew for a revision of ours that this library does not know."""
    newer = sorted(revision for revision in found if revision.startswith(_PREFIX) and revision not in revisions())
    if newer:
        head = revisions()[-1]
        raise SchemaTooNew(
            f"schema {OWN_SCHEMA!r} of this database is at revision {newer[-1]!r}, this library knows none after "
            f"{head!r}: install the newer vecstore, or let it take the schema back: `vecstore downgrade {head}`"
        )
