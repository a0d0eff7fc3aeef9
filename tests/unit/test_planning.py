from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecstore.asking import Asked
from vecstore.conditions import Selection
from vecstore.description import IndexDescription, IndexState
from vecstore.planning import Estimate, Exact, HnswScan, IvfFlatScan, Memory, attempts, by_index_alone
from vecstore.schema import Hnsw, IvfFlat

HNSW = IndexDescription("v_idx", "v", Hnsw(), IndexState.READY)
IVFFLAT = IndexDescription("v_idx", "v", IvfFlat(lists=100), IndexState.READY)
ASKED = Asked(Selection())
MEMORY = Memory(shared_buffers=1 << 30, seq_page_cost="0.5")
EXACT = Exact(page_cost="0.5")


def estimate(matching: int, rows: int, leaves: int = 1, *, sequential: bool = False) -> Estimate:
    return Estimate(matching, rows, leaves, sequential, width=1_600)


counts = st.integers(0, 10**8)


@given(
    st.sampled_from([HNSW, IVFFLAT]),
    st.builds(
        Estimate, matching=counts, rows=counts, leaves=st.integers(0, 1024), sequential=st.booleans(), width=counts
    ),
    st.integers(1, 16_384),
    st.one_of(st.none(), st.integers(1, 1000)),
    st.booleans(),
)
def test_the_last_attempt_is_exact_and_no_other(index, expected, wanted, ef, filtered) -> None:
    *before, last = attempts(index, expected, MEMORY, Asked(Selection(), ef=ef), wanted, filtered=filtered)
    assert isinstance(last, Exact)
    assert all(isinstance(attempt, HnswScan | IvfFlatScan) for attempt in before)
    for attempt in before:
        assert isinstance(attempt, IvfFlatScan) or 1 <= attempt.ef <= 1000
        assert all(setting.startswith(("hnsw.", "ivfflat.")) for setting, _ in attempt.settings)


def test_few_matching_rows_are_compared_at_once() -> None:
    assert attempts(HNSW, estimate(2_000, 20_000), MEMORY, ASKED, 10, filtered=True) == (EXACT,)
    assert attempts(HNSW, estimate(1_000, 1_000), MEMORY, ASKED, 10, filtered=False) == (Exact(),)
    assert attempts(IVFFLAT, estimate(1_000, 100_000), MEMORY, ASKED, 10, filtered=True) == (EXACT,)


def test_without_a_filter_the_index_iterates_until_it_has_enough() -> None:
    assert attempts(HNSW, estimate(20_000, 20_000), MEMORY, ASKED, 10, filtered=False) == (
        HnswScan(100, iterate=True, wanted=10),
        Exact(),
    )


def test_a_filter_asks_for_as_many_candidates_as_its_share_needs_and_takes_no_worse_ones() -> None:
    scan, last = attempts(HNSW, estimate(10_000, 100_000), MEMORY, ASKED, 10, filtered=True)
    assert isinstance(scan, HnswScan)
    assert (scan.iterate, last) == (False, EXACT)
    assert 100 * 2 < scan.ef < 100 * 3


def test_before_a_costly_exact_search_the_index_looks_as_far_as_it_can() -> None:
    scans = attempts(HNSW, estimate(300_000, 1_000_000), MEMORY, ASKED, 10, filtered=True)[:-1]
    assert [scan.ef for scan in scans if isinstance(scan, HnswScan)] == [100, 1000]


def test_rows_that_must_be_read_to_be_left_out_make_the_exact_search_dearer() -> None:
    assert attempts(HNSW, estimate(3_000, 30_000), MEMORY, ASKED, 10, filtered=True) == (EXACT,)
    assert attempts(HNSW, estimate(3_000, 30_000, sequential=True), MEMORY, ASKED, 10, filtered=True) != (EXACT,)


@pytest.mark.parametrize("leaves", [4, 16, 256])
def test_of_many_partitions_each_is_asked_for_fewer_candidates(leaves: int) -> None:
    scan = attempts(HNSW, estimate(10**7, 10**7, leaves), MEMORY, ASKED, 10, filtered=False)[0]
    assert isinstance(scan, HnswScan)
    assert (scan.ef, scan.iterate) == (max(10, round(100 / leaves**0.5)), True)
    asked = attempts(HNSW, estimate(10**7, 10**7, leaves), MEMORY, Asked(Selection(), ef=70), 10, filtered=False)[0]
    assert isinstance(asked, HnswScan)
    assert asked.ef == 70


def test_the_index_alone_looks_as_far_as_it_was_told_to() -> None:
    assert by_index_alone(HNSW, ASKED, 10) == HnswScan(100, iterate=True, wanted=10)
    assert by_index_alone(HNSW, Asked(Selection(), ef=7), 10) == HnswScan(10, iterate=True, wanted=10)
    assert by_index_alone(IVFFLAT, Asked(Selection(), probes=7), 10) == IvfFlatScan(7, iterate=True)
    assert by_index_alone(IVFFLAT, ASKED, 10) == IvfFlatScan(10, iterate=True)


def test_rows_are_read_one_by_one_where_few_match_and_all_are_in_memory() -> None:
    small = Memory(shared_buffers=64 << 20, seq_page_cost="1")
    for matching, rows, memory, page_cost in [
        (2_000, 20_000, small, "1"),  # 32 MB of 64
        (2_000, 40_000, small, None),
        (8_000, 20_000, MEMORY, None),
    ]:
        assert attempts(HNSW, estimate(matching, rows), memory, ASKED, 10, filtered=True)[-1] == Exact(page_cost)
    assert Exact().settings == ()
    assert EXACT.settings == (("random_page_cost", "0.5"),)
