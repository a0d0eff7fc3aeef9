"""What the peers came to, as a table and as JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..results import markdown

Found = dict[str, Any]

# Name in the JSON, heading, digits after the point.
COLUMNS = (
    ("load_s", "load s", 1),
    ("search_p50_ms", "search p50 ms", 2),
    ("search_p99_ms", "p99 ms", 2),
    ("search_cpu_ms", "CPU ms", 2),
    ("search_recall", "recall", 3),
    ("filtered_p50_ms", "filtered p50 ms", 2),
    ("filtered_cpu_ms", "CPU ms", 2),
    ("filtered_recall", "recall", 3),
    ("filtered_short", "short answers", 0),
    ("delete_s", "delete s", 3),
    ("drop_index_s", "drop index s", 3),
    ("drop_partition_s", "drop partition s", 3),
    ("drop_collection_s", "drop collection s", 3),
    ("disk_mb", "disk MB", 0),
    ("disk_left_mb", "left after drop MB", 1),
    ("memory_mb", "peak memory MB", 0),
)


@dataclass(frozen=True)
class PeerReport:
    setting: Mapping[str, Any]
    peers: Mapping[str, Found]

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> PeerReport:
        return cls(**json.loads(text))

    def table(self) -> list[str]:
        """Of Markdown, a peer a line."""
        rows = [
            (f"{name} {found['version']}", *(_cell(found[key], digits) for key, _, digits in COLUMNS))
            for name, found in self.peers.items()
        ]
        return markdown(("", *(heading for _, heading, _ in COLUMNS)), rows)


def _cell(number: float | None, digits: int) -> str:
    return "-" if number is None else f"{number:,.{digits}f}"
