from __future__ import annotations

import weakref

import pytest

from vecstore import LockTimeout
from vecstore.gateway.undertakings import Undertakings


class Large:
    """Something that is worked with."""


def test_of_what_has_failed_the_error_is_remembered_and_not_what_it_worked_with() -> None:
    held: list[weakref.ref[Large]] = []

    def work() -> None:
        large = Large()
        held.append(weakref.ref(large))
        try:
            {}["the driver's"]
        except KeyError as exc:
            raise LockTimeout("others hold the lock") from exc

    known = Undertakings()
    with pytest.raises(LockTimeout, match="others hold the lock"):
        known.begin("books", work)
    (failed,) = known._known.values()
    assert failed.has_failed
    assert held[0]() is None
