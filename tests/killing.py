"""kill -9 of a server of the test's own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from waiting import eventually


def is_gone(pid: int) -> bool:
    """Whether a process is dead, even if its adoptive parent has not taken notice yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def children_of(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid:
            found.append(int(stat.parent.name))
    return found


def kill(folder: Path) -> None:
    """kill -9 of the postmaster, which can start no more children then, and of every child."""
    postmaster = int((folder / "postgresql/postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGSTOP)
    pids = [postmaster, *children_of(postmaster)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: all(map(is_gone, pids)))
