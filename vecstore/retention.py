"""How long what is dropped is kept, as a caller, a property or a setting says it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta

from .errors import InvalidArgument

PROPERTY = "vecstore.keep_dropped"
"""The property of a collection, and the setting of a database or role, for drops that do not say it themselves."""

NOT_AT_ALL = timedelta(0)
_LONGEST = timedelta(days=36_500)

# What PostgreSQL's interval understands alike.
_TEXT = re.compile(r"\s*(?:0|(?P<number>[0-9]{1,10})\s*(?P<unit>second|minute|hour|day|week)s?)\s*")


def checked(keep: object, name: str = "keep") -> timedelta | None:
    """A caller's argument; None is for the property or the setting to say."""
    if keep is None:
        return None
    if not isinstance(keep, timedelta) or not NOT_AT_ALL <= keep <= _LONGEST:
        raise InvalidArgument(f"{name} must be a timedelta from 0 to {_LONGEST.days:,} days, got {keep!r:.80}")
    return keep


def parsed(text: str, where: str) -> timedelta:
    """Such as "7 days", "12 hours" or "0"; `where` it stands begins the message of an error."""
    found = _TEXT.fullmatch(text)
    if found is None:
        raise InvalidArgument(
            f'{where} is {text!r:.80}, which is no time: expected such as "7 days", "12 hours" or "0"'
        )
    if found["number"] is None:
        return NOT_AT_ALL
    number, unit = int(found["number"]), timedelta(**{f"{found['unit']}s": 1})
    if number > _LONGEST // unit:
        raise InvalidArgument(f"{where} is {text!r}: at most {_LONGEST.days:,} days")
    return number * unit


def of(properties: Mapping[str, str], collection: str) -> timedelta | None:
    """What a collection's property says; None where it has none. Raises InvalidArgument where that makes no sense."""
    text = properties.get(PROPERTY)
    return None if text is None else parsed(text, f"property {PROPERTY!r} of collection {collection!r}")
