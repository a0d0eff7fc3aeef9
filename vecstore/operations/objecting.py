"""What stands against a change: the errors that it would raise, so that a plan can show them all and raise none."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlalchemy import Connection

from ..errors import VecstoreError

Objection = VecstoreError

Check = Callable[[Connection], None]
"""What a caller asks of the world in the transaction of a change, before anything is changed; raises to prevent it."""


def unchecked(_: Connection) -> None:
    """The check of a change that nobody has planned."""


def refuse(objections: Iterable[Objection]) -> None:
    """Raise the first objection there is."""
    for objection in objections:
        raise objection
