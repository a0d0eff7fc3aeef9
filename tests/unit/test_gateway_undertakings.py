from __future__ import annotations

import weakref
from collections.abc import Callable
from threading import Event

import pytest

from vecstore import LockTimeout
from vecstore.gateway import undertakings
from vecstore.gateway.undertakings import AT_ONCE, Undertakings
from waiting import SECONDS, eventually


@pytest.fixture(autouse=True)
def _nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undertakings, "_PATIENCE", 0.0)


def until(event: Event) -> Callable[[], object]:
    return event.wait


def test_of_one_thing_there_is_one_at_a_time() -> None:
    known, end = Undertakings(), Event()
    first = known.begin("it", until(end), line=1)
    assert known.begin("it", until(end), line=1) is first
    assert known.under_way("it") is first
    end.set()
    eventually(lambda: not first.is_under_way)
    assert (known.under_way("it"), known.known(first.number), first.has_failed) == (None, first, False)
    assert known.begin("it", until(end), line=1).number > first.number


def test_in_a_line_one_is_done_after_the_other() -> None:
    known, end, begun = Undertakings(), Event(), Event()
    first = known.begin("first", until(end), line=1)
    second = known.begin("second", begun.set, line=1)
    elsewhere = known.begin("elsewhere", lambda: None, line=2)
    eventually(lambda: not elsewhere.is_under_way)
    assert (begun.is_set(), first.is_under_way, second.is_under_way) == (False, True, True)
    end.set()
    eventually(lambda: not second.is_under_way)
    assert begun.is_set()


def test_so_many_are_at_work_at_once() -> None:
    known, end = Undertakings(), Event()
    begun = [Event() for _ in range(AT_ONCE + 1)]

    def work(at: int) -> None:
        begun[at].set()
        end.wait()

    several = [known.begin(at, lambda at=at: work(at), line=at) for at in range(AT_ONCE + 1)]
    eventually(lambda: sum(event.is_set() for event in begun) == AT_ONCE)
    end.set()
    eventually(lambda: not any(it.is_under_way for it in several))
    assert all(event.is_set() for event in begun)


def test_at_the_end_none_is_begun_that_waits() -> None:
    known, end, begun = Undertakings(), Event(), Event()
    first = known.begin("first", until(end), line=1)
    second = known.begin("second", begun.set, line=1)
    known.end(0.0)
    end.set()
    eventually(lambda: not second.is_under_way)
    assert (first.has_failed, second.has_failed, begun.is_set()) == (False, True, False)


class Large:
    """Something that is worked with."""


def test_who_waits_is_told_the_error_and_what_was_worked_with_is_not_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(undertakings, "_PATIENCE", SECONDS)
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
        known.begin("books", work, line=1)
    (failed,) = known._known.values()
    assert failed.has_failed
    assert held[0]() is None
