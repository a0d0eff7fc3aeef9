from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from vecstore.recent import Recent


def test_a_value_is_found_once_and_anew_when_it_is_too_old() -> None:
    found: list[int] = []
    recent = Recent(seconds=0.05)
    for _ in range(3):
        recent.get("key", lambda: found.append(1))
    assert len(found) == 1
    time.sleep(0.06)
    recent.get("key", lambda: found.append(1))
    assert len(found) == 2


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
