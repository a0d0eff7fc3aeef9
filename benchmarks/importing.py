"""What `import vecstore` takes in a new interpreter, and that it brings none of the optional parts along."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from .bench import Bench
from .results import Result, Target

OPTIONAL = ("pandas", "grpc", "rich")
_PROGRAM = """
import json, sys, time
started, cpu = time.perf_counter(), time.process_time()
import vecstore
taken = time.perf_counter() - started, time.process_time() - cpu
print(json.dumps({"taken": taken, "modules": [name for name in sys.modules if "." not in name]}))
"""


def _imported() -> dict[str, Any]:
    # As of an installed package, whose bytecode is there.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    output = subprocess.check_output([sys.executable, "-c", _PROGRAM], env=environment)  # noqa: S603
    found: dict[str, Any] = json.loads(output)
    return found


def cases(bench: Bench) -> Iterator[Result]:
    runs = [_imported() for _ in range(max(2, bench.rounds) + 1)][1:]  # the first one reads from the disk
    wall, cpu = np.median([run["taken"] for run in runs], axis=0) * 1_000
    brought = [name for name in OPTIONAL if name in runs[-1]["modules"]]
    yield Result(
        "import vecstore",
        {},
        [
            Target("import of vecstore", float(wall), 250, "ms"),
            Target(f"modules of {', '.join(OPTIONAL)} imported with it", len(brought), 0, "modules"),
        ],
        notes={"wall_ms": float(wall), "cpu_ms": float(cpu), "modules": len(runs[-1]["modules"])},
    )
