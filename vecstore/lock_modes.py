"""Modes of PostgreSQL's table locks, and which of them exclude each other. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class LockMode(StrEnum):
    """A mode of table locks; see https://www.postgresql.org/docs/current/explicit-locking.html."""

    ACCESS_SHARE = "ACCESS SHARE"
    ROW_SHARE = "ROW SHARE"
    ROW_EXCLUSIVE = "ROW EXCLUSIVE"
    SHARE_UPDATE_EXCLUSIVE = "SHARE UPDATE EXCLUSIVE"
    SHARE = "SHARE"
    SHARE_ROW_EXCLUSIVE = "SHARE ROW EXCLUSIVE"
    EXCLUSIVE = "EXCLUSIVE"
    ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"

    @property
    def strength(self) -> int:
        return _ORDER.index(self)

    def conflicts_with(self, other: LockMode) -> bool:
        return other in _STRONGER_CONFLICTS[self] or self in _STRONGER_CONFLICTS[other]


_ORDER = tuple(LockMode)

# Of each mode those that conflict with it and are as strong or stronger; the rest follows, for conflicts are mutual.
_STRONGER_CONFLICTS: Mapping[LockMode, frozenset[LockMode]] = {
    LockMode.ACCESS_SHARE: frozenset({LockMode.ACCESS_EXCLUSIVE}),
    LockMode.ROW_SHARE: frozenset({LockMode.EXCLUSIVE, LockMode.ACCESS_EXCLUSIVE}),
    LockMode.ROW_EXCLUSIVE: frozenset(_ORDER[4:]),
    LockMode.SHARE_UPDATE_EXCLUSIVE: frozenset(_ORDER[3:]),
    LockMode.SHARE: frozenset(_ORDER[5:]),
    LockMode.SHARE_ROW_EXCLUSIVE: frozenset(_ORDER[5:]),
    LockMode.EXCLUSIVE: frozenset(_ORDER[6:]),
    LockMode.ACCESS_EXCLUSIVE: frozenset(_ORDER[7:]),
}

BY_PG_LOCKS: Mapping[str, LockMode] = {mode.title().replace(" ", "") + "Lock": mode for mode in LockMode}
"""By the names that the view pg_locks has for them: AccessShareLock."""
