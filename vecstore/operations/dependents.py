"""What others made on top of an object keeps it from being dropped, unless the caller says otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from .. import catalog
from ..errors import DependentObjects, driver_error, sqlstate_of
from .objecting import Objection

_DEPENDENT_OBJECTS_STILL_EXIST = "2BP01"


def _refusal(what: str, objects: Sequence[str]) -> DependentObjects:
    return DependentObjects(
        f"{what} cannot be dropped, others depend on it: {'; '.join(objects)}; drop them first, or pass cascade=True",
        objects=objects,
    )


def dependence(connection: Connection, what: str, schema: str, table: str, *, with_schema: bool) -> Iterator[Objection]:
    """DependentObjects with the list, where there are any: known before anything is dropped."""
    objects = catalog.dependents(connection, schema, table, with_schema=with_schema)
    if objects:
        yield _refusal(what, list(map(str, objects)))


@contextmanager
def refusing_dependents(what: str) -> Iterator[None]:
    """The list above can be a moment old: RESTRICT has the last word, and its refusal is the same error."""
    try:
        yield
    except DBAPIError as exc:
        cause = driver_error(exc)
        if cause is None or sqlstate_of(exc) != _DEPENDENT_OBJECTS_STILL_EXIST:
            raise
        raise _refusal(what, (cause.diag.message_detail or "").splitlines()) from exc
