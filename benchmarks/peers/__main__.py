"""`python -m benchmarks.peers [--data DIR] [--out DIR] [NAME ...]`: every peer there is an environment for.

One after the other, each in a process of its own; those on PostgreSQL on an embedded server of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .. import charts, machine, ours
from ..data import BUNDLED, load
from ..timing import Processes
from .report import Found, PeerReport

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".venv-peers"


@dataclass(frozen=True)
class Script:
    """A peer's module and the environment that it runs in: a folder under .venv-peers, None for this one."""

    module: str
    environment: str | None
    on_server: bool = False

    @property
    def python(self) -> Path:
        return Path(sys.executable) if self.environment is None else ENVIRONMENTS / self.environment / "bin/python"


SCRIPTS: Mapping[str, Script] = {
    "vecstore": Script("own", None, on_server=True),
    "vecs": Script("supabase_vecs", "vecs", on_server=True),
    "langchain-postgres": Script("langchain", "langchain-postgres", on_server=True),
    "chromadb": Script("chroma", "chromadb"),
    "lancedb": Script("lance", "lancedb"),
    "milvus-lite": Script("milvus_lite", "milvus-lite"),
    "qdrant-client": Script("qdrant", "qdrant-client"),
}


def measured(script: Script, data: Path) -> Found:
    with _server(on_server=script.on_server) as arguments:
        command = [str(script.python), "-m", f"benchmarks.peers.{script.module}", str(data), *arguments]
        environment = {**os.environ, "ANONYMIZED_TELEMETRY": "False"}
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)  # noqa: S603
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return found


@contextmanager
def _server(*, on_server: bool) -> Iterator[list[str]]:
    """A server's URL and the PID of its postmaster; nothing for a peer that needs none."""
    if not on_server:
        yield []
        return
    with ours.temporary_store(18) as store:
        processes = Processes(store.engine.url)
        processes.close()
        store.engine.dispose()
        url = store.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        yield [url, str(processes.postmaster)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SCRIPTS)}")
    parser.add_argument("--data", type=Path, default=BUNDLED, metavar="DIR")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write peers.json and a chart here")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - SCRIPTS.keys())
    if unknown:
        parser.error(f"no peers {', '.join(unknown)}; there are {', '.join(SCRIPTS)}")
    peers = {}
    for name in options.names or SCRIPTS:
        if not SCRIPTS[name].python.exists():
            print(f"{name}: no environment, left out (make bench-peers)")
            continue
        peers[name] = measured(SCRIPTS[name], options.data.resolve())
        print(f"{name}: done")
    data = load(options.data)
    setting = {
        "data": data.name,
        "rows": len(data.vectors),
        "dimensions": data.dim,
        **machine.described(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    report = PeerReport(setting, peers)
    print("\n".join(report.table()))
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "peers.json").write_text(report.as_json(), encoding="utf-8")
        charts.drawn_peers(report, options.out / "peers.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
