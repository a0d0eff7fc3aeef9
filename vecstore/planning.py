"""Which ways to answer a search are tried, and in what order. Pure.

By the index a search costs much the same however many rows there are; exactly, it costs as much as rows match. Both are
weighed in one unit, the comparison of one row: docs/decisions/0011-index-or-exact.md has the measurements. An index
that was told to look at `ef` candidates and gives fewer rows than asked for has none left, and says so: that is why a
filtered search does not let it iterate. Iteration goes on to worse candidates, silently, until it has enough: where the
filter's rows lie far from the query, recall was .48.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import LiteralString

from .asking import MAX_EF, Asked
from .description import IndexDescription
from .schema import Hnsw, IvfFlat

DEFAULT_EF = 100  # measured: recall .989 at ef 100, .973 at pgvector's default of 40, for 1.7 times its cost
_LEAST_EF = 10

# In comparisons of one row, as exact search makes them.
_DESCENT = 700
_CANDIDATE = 18
_MEASURED_ROWS = 20_000  # in one index
_GROWTH = 0.42  # measured: an index of 1,250 rows costs 0.30 to 0.33 of that
_ROW_READ = 0.35  # a row that is read only to see that the filter leaves it out
_WORTH_OF_EXACTNESS = 1.5  # an exact answer may cost this much more than an approximate one
_WORTH_OF_A_LAST_TRY = 4

_VISITED = 25  # nodes of the graph that are looked at for each candidate, with room to spare
_SCAN_TUPLES = 20_000  # pgvector's default
_SCAN_MEMORY = 8

_SCATTERED = 0.25  # of the rows: where more match, pages are better read one after the other
_KEPT = 0.5  # of the shared buffers, which others fill, too

Setting = tuple[LiteralString, int | str]
"""A parameter of the server, and what it is to be until the transaction ends."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the planner expects.

    matching    rows that the conditions leave
    rows        rows in the partitions that are searched
    leaves      tables that are searched
    sequential  no index of the conditions' own leads to the matching rows
    width       bytes of a row, as far as a search reads it
    """

    matching: int
    rows: int
    leaves: int
    sequential: bool
    width: int

    @property
    def share(self) -> float:
        return min(1.0, max(1, self.matching) / max(1, self.rows))

    @property
    def exact_cost(self) -> float:
        return self.matching + (_ROW_READ * self.rows if self.sequential else 0)


@dataclass(frozen=True, slots=True)
class Memory:
    """What a server keeps in memory.

    shared_buffers  in bytes
    seq_page_cost   what the planner reckons a page costs that follows another, in the server's words
    """

    shared_buffers: int
    seq_page_cost: str


@dataclass(frozen=True, slots=True)
class HnswScan:
    """ef candidates of each leaf; iterate: more of them, worse ones, until enough rows match."""

    ef: int
    iterate: bool
    wanted: int

    @property
    def settings(self) -> tuple[Setting, ...]:
        settings: list[Setting] = [
            ("hnsw.ef_search", self.ef),
            ("hnsw.iterative_scan", "relaxed_order" if self.iterate else "off"),
        ]
        if self.wanted > MAX_EF:
            settings.append(("hnsw.max_scan_tuples", max(_SCAN_TUPLES, _VISITED * self.wanted)))
            settings.append(("hnsw.scan_mem_multiplier", _SCAN_MEMORY))
        return tuple(settings)


@dataclass(frozen=True, slots=True)
class IvfFlatScan:
    """The nearest `probes` lists of each leaf; iterate: further ones until enough rows match."""

    probes: int
    iterate: bool

    @property
    def settings(self) -> tuple[Setting, ...]:
        return ("ivfflat.probes", self.probes), ("ivfflat.iterative_scan", "relaxed_order" if self.iterate else "off")


@dataclass(frozen=True, slots=True)
class Exact:
    """Every matching row compared.

    page_cost  of any page, where all are in memory: then the rows that an index leads to are read one by one. A bitmap
               of their pages first, which spares a disk going back and forth, took 1.1 to 1.7 times as long
    """

    page_cost: str | None = None

    @property
    def settings(self) -> tuple[Setting, ...]:
        return () if self.page_cost is None else (("random_page_cost", self.page_cost),)


IndexScan = HnswScan | IvfFlatScan
Attempt = IndexScan | Exact


def by_index_alone(index: IndexDescription, asked: Asked, wanted: int) -> IndexScan:
    """The best that the index does, without an exact look afterwards."""
    if isinstance(index.spec, IvfFlat):
        return _ivfflat_scan(index.spec, asked, iterate=True)
    return HnswScan(min(MAX_EF, max(_ef(asked, wanted), wanted)), iterate=True, wanted=wanted)


def attempts(
    index: IndexDescription, estimate: Estimate, memory: Memory, asked: Asked, wanted: int, *, filtered: bool
) -> tuple[Attempt, ...]:
    """What to try, until one attempt gives all rows asked for; the last is exact, and gives them.

    wanted    rows that must match, those skipped by an offset included
    filtered  not every row of the searched partitions may be found
    """
    exact = _exact(estimate, memory)
    if isinstance(index.spec, Hnsw):
        return (*_by_hnsw(estimate, asked, wanted, filtered=filtered), exact)
    assert isinstance(index.spec, IvfFlat)  # noqa: S101 - no other index has a metric
    scan = _ivfflat_scan(index.spec, asked, iterate=not filtered or estimate.leaves > 1)
    cost = estimate.rows * min(1.0, scan.probes / index.spec.lists)
    return (exact,) if _is_cheap(estimate, cost) else (scan, exact)


def _exact(estimate: Estimate, memory: Memory) -> Exact:
    is_kept = estimate.rows * estimate.width <= _KEPT * memory.shared_buffers
    return Exact(memory.seq_page_cost if is_kept and estimate.share <= _SCATTERED else None)


def _ivfflat_scan(spec: IvfFlat, asked: Asked, *, iterate: bool) -> IvfFlatScan:
    return IvfFlatScan(asked.probes or max(1, round(spec.lists**0.5)), iterate)


def _is_cheap(estimate: Estimate, index_cost: float) -> bool:
    return estimate.exact_cost <= _WORTH_OF_EXACTNESS * index_cost


def _by_hnsw(estimate: Estimate, asked: Asked, wanted: int, *, filtered: bool) -> Iterator[HnswScan]:
    needed = max(_ef(asked, wanted), _candidates(wanted, estimate.share) if filtered else wanted)
    if asked.offset and wanted > MAX_EF:
        return  # deeper than one look at the graph goes: what it would iterate to differs from page to page
    if estimate.leaves > 1:
        # Each leaf has its share of the nearest rows, or nearly: it needs fewer candidates than one index would, and
        # iterates where it has more than its share.
        each = asked.ef or max(_LEAST_EF, math.ceil(needed / math.sqrt(estimate.leaves)))
        if not _is_cheap(estimate, _hnsw_cost(estimate, each)):
            yield HnswScan(min(MAX_EF, each), iterate=True, wanted=wanted)
    elif not _is_cheap(estimate, _hnsw_cost(estimate, needed)):
        if not filtered:
            yield HnswScan(min(MAX_EF, needed), iterate=True, wanted=wanted)
        else:
            yield from _without_iteration(estimate, needed, wanted)


def _without_iteration(estimate: Estimate, needed: int, wanted: int) -> Iterator[HnswScan]:
    """As many candidates as the filter's share of the rows asks for; where that is too few, as many as there can be."""
    worth_a_last_try = estimate.exact_cost > _WORTH_OF_A_LAST_TRY * _hnsw_cost(estimate, MAX_EF)
    if needed < MAX_EF:
        yield HnswScan(needed, iterate=False, wanted=wanted)
    if worth_a_last_try and wanted < MAX_EF:
        yield HnswScan(MAX_EF, iterate=False, wanted=wanted)


def _ef(asked: Asked, wanted: int) -> int:
    """Candidates to look for: of pages, always the same number, for each must be cut from the same ranking."""
    if asked.ef is not None:
        return asked.ef
    return MAX_EF if asked.offset else max(DEFAULT_EF, 2 * wanted)


def _hnsw_cost(estimate: Estimate, candidates: float) -> float:
    """Of a small graph a smaller part is looked at, for its nodes have their neighbours in common."""
    leaves = max(1, estimate.leaves)
    size = min(1.0, estimate.rows / leaves / _MEASURED_ROWS) ** _GROWTH
    cost: float = leaves * size * (_DESCENT + _CANDIDATE * candidates)
    return cost


def _candidates(wanted: int, share: float) -> int:
    """So many that `wanted` of them nearly always match, if the filter is a throw of dice: by three deviations."""
    return math.ceil((wanted + 3 * math.sqrt(wanted) + 3) / share)
