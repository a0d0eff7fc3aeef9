"""The same search as in `searching`, over a link of 1 ms: a search should be one round trip, not four.

Both sides' sessions go through one proxy on this machine, which delays each direction by 0.5 ms.
"""

from __future__ import annotations

from collections.abc import Iterator

import vecstore
from vecstore.planning import DEFAULT_EF

from . import raw
from .bench import Bench
from .delaying import delayed
from .results import BY_HAND, OURS, Result, compared
from .searching import one_query_sides
from .timing import Side

ROUND_TRIP = 0.001


def cases(bench: Bench) -> Iterator[Result]:
    near = bench.packages
    with (
        delayed(bench.url, ROUND_TRIP) as url,
        vecstore.connect(url) as store,
        raw.connected(url, "relaxed_order", ef_search=DEFAULT_EF) as connection,
    ):
        sides = one_query_sides(bench, store.collection(near.name), connection)
        empty = bench.race({BY_HAND: Side(lambda _: connection.execute("SELECT 1", prepare=True))}, calls=100)
        times = bench.race(sides, calls=len(bench.queries))
    trip = float(empty[BY_HAND].percentiles(50).mean())
    trips = {name: round(float(taken.percentiles(50).mean()) / trip, 1) for name, taken in times.items()}
    yield compared(
        "search over a link with 1 ms round trip",
        times,
        most=1.15,
        empty_round_trip_ms=trip,
        p50_in_round_trips=", ".join(f"{name} {trips[name]}" for name in (OURS, BY_HAND)),
    )
