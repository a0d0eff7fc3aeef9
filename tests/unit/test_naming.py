from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecstore import InvalidName
from vecstore.naming import (
    check_collection_name,
    check_index_name,
    check_partition_name,
    fitted,
    index_name,
    leaf_index_name,
    leaf_name,
)

PARTITIONS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,254}", fullmatch=True)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1a",
        "a-b",
        "a b",
        "a.b",
        'a"b',
        "a\x00b",
        "á",
        "a\n",
        "x" * 64,
        "public",
        "Public",
        "pg_x",
        "PG_X",
        "information_schema",
        "vecstore",
        "_vecstore_trash_7",
        None,
        5,
        b"books",
    ],
)
def test_a_collection_name_that_could_mean_something_else_is_refused(name: object) -> None:
    with pytest.raises(InvalidName, match="collection"):
        check_collection_name(name)


@pytest.mark.parametrize("name", ["books", "_books", "Books2", "x" * 63, "select"])
def test_an_ordinary_collection_name_is_taken_as_it_is(name: str) -> None:
    assert check_collection_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a.b", "a b", "á", "x" * 256, "a\n", None])
def test_a_partition_name_that_is_none_is_refused(name: object) -> None:
    with pytest.raises(InvalidName, match="partition"):
        check_partition_name(name)


@pytest.mark.parametrize("name", ["2024-01", "_default", "x" * 255])
def test_milvus_partition_names_are_taken(name: str) -> None:
    assert check_partition_name(name) == name


def test_a_very_long_name_is_shown_in_part() -> None:
    with pytest.raises(InvalidName) as caught:
        check_index_name("x" * 100_000)
    assert len(str(caught.value)) < 300


@given(PARTITIONS, PARTITIONS)
def test_two_partitions_never_share_a_table(one: str, other: str) -> None:
    assert (leaf_name(one) == leaf_name(other)) == (one == other)


@given(st.text(min_size=1, max_size=200), st.sets(st.text(max_size=10)))
def test_a_derived_name_fits_and_is_free(wanted: str, taken: set[str]) -> None:
    wanted = wanted.encode("ascii", "replace").decode()
    name = fitted(wanted, taken | {wanted})
    assert len(name.encode()) <= 63
    assert name not in taken | {wanted}


def test_an_index_is_named_after_its_field_and_beside_another_after_its_metric() -> None:
    assert index_name("embedding", kind="L2") == "embedding_idx"
    assert index_name("embedding", kind="L2", taken={"embedding_idx"}) == "embedding_l2_idx"
    assert index_name("year", taken={"year_idx"}) == "year_idx"


@given(st.sampled_from(["i", "x" * 63]), PARTITIONS, PARTITIONS)
def test_the_indexes_of_two_leaves_have_two_names(index: str, one: str, other: str) -> None:
    names = {leaf_index_name(index, leaf_name(partition)) for partition in (one, other)}
    assert len(names) == len({one, other})
    assert all(len(name) <= 63 for name in names)
