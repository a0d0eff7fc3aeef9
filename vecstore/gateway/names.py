"""Names as Milvus checks them, in its words. What PostgreSQL cannot have as a name is refused by the library."""

from __future__ import annotations

import re

from .errors import Fault, MilvusError, invalid

_MOST_LETTERS = 255
_NAME = re.compile(r"[A-Za-z0-9_]+", re.ASCII)


def check_collection(name: str, kind: str = "name") -> str:
    """Return a collection's name, or an alias (`kind` "alias"); raises MilvusError."""
    if not name.strip():
        raise invalid(f"collection {kind} should not be empty")
    said = f"Invalid collection {kind}: {name:.300}. "
    if len(name) > _MOST_LETTERS:
        raise invalid(f"{said}the length of a collection {kind} must be less than {_MOST_LETTERS} characters")
    if not (name[0] == "_" or (name[0].isascii() and name[0].isalpha())):
        raise invalid(f"{said}the first character of a collection {kind} must be an underscore or letter")
    if not _NAME.fullmatch(name):
        raise invalid(f"{said}collection {kind} can only contain numbers, letters and underscores")
    return name


def check_partition(name: str) -> str:
    if not name.strip():
        raise invalid("partition name should not be empty")
    said = f"Invalid partition name: {name:.300}. "
    if len(name) > _MOST_LETTERS:
        raise invalid(f"{said}The length of a partition name must be less than {_MOST_LETTERS} characters.")
    if not (name[0] == "_" or (name[0].isascii() and name[0].isalnum())):
        raise invalid(f"{said}The first character of a partition name must be an underscore, letter or number.")
    if not _NAME.fullmatch(name.replace("-", "_")):
        raise invalid(f"{said}Partition name can only contain numbers, letters, underscores and hyphens.")
    return name


def check_database(name: str) -> str:
    if not name.strip():
        raise MilvusError(Fault.INVALID_DATABASE_NAME, "database name couldn't be empty", database=name)
    if len(name) > _MOST_LETTERS:
        why = f"the length of a database name must be less than {_MOST_LETTERS} characters"
        raise MilvusError(Fault.INVALID_DATABASE_NAME, why, database=name)
    if not (name[0] == "_" or (name[0].isascii() and name[0].isalpha())):
        why = "the first character of a database name must be an underscore or letter"
        raise MilvusError(Fault.INVALID_DATABASE_NAME, why, database=name)
    if not _NAME.fullmatch(name):
        why = "database name can only contain numbers, letters and underscores"
        raise MilvusError(Fault.INVALID_DATABASE_NAME, why, database=name)
    return name
