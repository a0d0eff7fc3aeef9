"""What a run was made on, without the name of the machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from vecstore.embedded.settings import GB, cpu_count, memory_bytes


def described() -> dict[str, str]:
    """The load average is that of the minute before: on a machine that is idle, below 1."""
    return {
        "processors": f"{cpu_count()} x {_processor()}",
        "memory": f"{memory_bytes() / GB:.0f} GB",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "Python": platform.python_version(),
        "load average": f"{os.getloadavg()[0]:.1f}",
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
