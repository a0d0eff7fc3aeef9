from __future__ import annotations

from datetime import timedelta

import pytest

from vecstore import InvalidArgument, retention


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("7 days", timedelta(days=7)),
        ("1 day", timedelta(days=1)),
        ("12hours", timedelta(hours=12)),
        (" 90  minutes ", timedelta(minutes=90)),
        ("1 second", timedelta(seconds=1)),
        ("2 weeks", timedelta(weeks=2)),
        ("36500 days", timedelta(days=36_500)),
        ("0 days", timedelta(0)),
        ("0", timedelta(0)),
    ],
)
def test_a_time_as_a_property_says_it(said: str, meant: timedelta) -> None:
    assert retention.parsed(said, "it") == meant
    assert retention.of({retention.PROPERTY: said}, "books") == meant


@pytest.mark.parametrize(
    "said", ["", "soon", "7", "-1 days", "1 month", "1e3 days", "1.5 days", "36501 days", "9" * 10 + " weeks", "٣ days"]
)
def test_what_is_no_time_is_refused_with_its_place(said: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^property 'vecstore\.keep_dropped' of collection 'books' is "):
        retention.of({retention.PROPERTY: said}, "books")


def test_a_collection_without_the_property_says_nothing() -> None:
    assert retention.of({"owner": "me"}, "books") is None
    assert retention.checked(None) is None
