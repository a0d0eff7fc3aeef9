from __future__ import annotations

import weakref

import pytest

from vecstore import LockTimeout
from vecstore.gateway.compactions import Compactions


class Large:
    """Something that a compaction works with."""


def test_of_a_compaction_that_failed_the_error_is_remembered_and_not_what_it_worked_with() -> None:
    held: list[weakref.ref[Large]] = []

    def work() -> None:
        large = Large()
        held.append(weakref.ref(large))
        try:
            {}["the driver's"]
        except KeyError as exc:
            raise LockTimeout("others hold the lock") from exc

    compactions = Compactions()
    with pytest.raises(LockTimeout, match="others hold the lock"):
        compactions.begin("books", work)
    (failed,) = compactions._known.values()
    assert failed.has_failed
    assert held[0]() is None
