from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from vecstore.recent import Recent


def test_a_value_is_found_once_and_anew_when_it_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr("vecstore.recent.time", clock)
    found: list[float] = []
    recent = Recent(seconds=10)
    for clock.now in (100.0, 105.0, 109.9, 110.0, 115.0):
        recent.get("key", lambda: found.append(clock.now))
    assert found == [100.0, 110.0]


def test_no_more_values_are_kept_than_there_is_room_for_and_the_oldest_goes_first() -> None:
    recent = Recent(seconds=60, size=3)
    for key in range(5):
        recent.get(key, lambda key=key: key)
    assert [recent.get(key, lambda: "new") for key in (4, 3, 2)] == [4, 3, 2]
    assert recent.get(0, lambda: "new") == "new"


def test_threads_share_it() -> None:
    recent = Recent(seconds=0.0005, size=8)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(6) as threads:
            keys = [number % 50 for number in range(20_000)]
            assert list(threads.map(lambda key: recent.get(key, lambda: key), keys)) == keys
    finally:
        sys.setswitchinterval(interval)
