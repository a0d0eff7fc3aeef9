from __future__ import annotations

import pytest

from vecstore import UnsupportedServer
from vecstore.facts import acceptable_vector_version, version_tuple


@pytest.mark.parametrize(
    ("server_version", "server_name", "vector_version", "complaint"),
    [
        (140_009, "14.9", "0.8.5", r"PostgreSQL 15 or newer, this server is 14\.9"),
        (180_004, "18.4", "0.7.4", r"pgvector 0\.8\.0 or newer, this server has 0\.7\.4"),
        (180_004, "18.4", None, "pgvector is not available"),
    ],
)
def test_a_server_that_is_too_old_is_refused(
    server_version: int, server_name: str, vector_version: str | None, complaint: str
) -> None:
    with pytest.raises(UnsupportedServer, match=complaint):
        acceptable_vector_version(
            server_version=server_version, server_name=server_name, encoding="UTF8", vector_version=vector_version
        )


def test_the_oldest_that_will_do_does() -> None:
    assert (
        acceptable_vector_version(server_version=150_000, server_name="15.0", encoding="UTF8", vector_version="0.8.0")
        == "0.8.0"
    )


def test_versions_compare_as_numbers() -> None:
    assert version_tuple("0.8.10") > version_tuple("0.8.4") > version_tuple("0.8")
