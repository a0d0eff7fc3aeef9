"""What the embedded server is tuned to, and why. Pure, but for the three readings at the end."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vecstore.errors import InvalidArgument

MB = 1 << 20
GB = 1 << 30

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of postgresql.conf."""

    name: str
    value: str
    reason: str


def tuned(memory_bytes: int, cpus: int, shm_bytes: int | None, major: int) -> tuple[Setting, ...]:
    """The settings for a machine; `shm_bytes` is the size of /dev/shm, None where there is none.

    fsync, full_page_writes and synchronous_commit are not here: they stay on, a commit is on the disk.
    """
    build_bytes = _clamped(memory_bytes // 16, 64 * MB, 2 * GB)
    return (
        *_access(),
        *_memory(memory_bytes, build_bytes, shm_bytes),
        *_parallelism(cpus, major),
        *_writing(),
    )


def _access() -> Iterator[Setting]:
    yield Setting("listen_addresses", "", "no TCP port: what no other user can reach needs no password")
    yield Setting("unix_socket_permissions", "0700", "the socket's directory is private, and so is the socket")


def _memory(memory_bytes: int, build_bytes: int, shm_bytes: int | None) -> Iterator[Setting]:
    yield Setting(
        "shared_buffers",
        _megabytes(_clamped(memory_bytes // 4, 128 * MB, 8 * GB)),
        "a quarter of the memory: an HNSW search jumps through the whole index, a page outside is a system call",
    )
    yield Setting(
        "effective_cache_size",
        _megabytes(max(memory_bytes // 4 * 3, 128 * MB)),
        "shared_buffers and the page cache together; too small a figure talks the planner out of indexes",
    )
    yield Setting(
        "maintenance_work_mem",
        _megabytes(build_bytes),
        "an HNSW graph that fits in here is built in memory, one that does not is many times slower",
    )
    yield Setting(
        "work_mem",
        "32MB",
        "a filtered search goes on through the index until this, times hnsw.scan_mem_multiplier, is used up",
    )
    yield Setting(
        "max_locks_per_transaction",
        "256",
        "a statement over all partitions takes some eleven locks on each, and there may be hundreds",
    )
    if shm_bytes is not None and shm_bytes < build_bytes:
        yield Setting(
            "dynamic_shared_memory_type",
            "mmap",
            "shm is smaller than maintenance_work_mem (containers give 64 MB): a parallel build would fail in it",
        )


def _parallelism(cpus: int, major: int) -> Iterator[Setting]:
    yield Setting(
        "max_parallel_maintenance_workers",
        str(_clamped(cpus - 1, 0, 7)),
        "an index build uses every processor: the workers and the session that leads them",
    )
    yield Setting("max_parallel_workers", str(_clamped(cpus, 2, 64)), "as many at once as there are processors")
    yield Setting(
        "max_worker_processes",
        str(_clamped(cpus + 4, 8, 68)),
        "the parallel workers come out of this pool, and something is left for extensions",
    )
    if major >= 18:  # noqa: PLR2004
        yield Setting(
            "io_workers",
            str(_clamped(cpus // 4, 3, 32)),
            "exact searches read ahead through these; the default of three is for small machines",
        )
    yield Setting("jit", "off", "compiling costs more than any of our statements takes")


def _writing() -> Iterator[Setting]:
    yield Setting("max_wal_size", "4GB", "loads and index builds write much WAL; at 1GB they force checkpoints")
    yield Setting("checkpoint_timeout", "15min", "fewer checkpoints, fewer full page images in the WAL")
    yield Setting("random_page_cost", "1.1", "the data are on an SSD or in memory, where a jump costs like a step")


def asked(settings: Mapping[str, str]) -> tuple[Setting, ...]:
    """A caller's own settings, checked for what a line of postgresql.conf can hold."""
    for name, value in settings.items():
        if not _NAME.fullmatch(name):
            raise InvalidArgument(f"invalid PostgreSQL setting name {name!r}")
        if not isinstance(value, str) or not value.isprintable():
            raise InvalidArgument(f"invalid value for the PostgreSQL setting {name}: expected one line of text")
    return tuple(Setting(name, value, "asked for when the folder was made") for name, value in settings.items())


def rendered(settings: Iterable[Setting]) -> str:
    """The text of a configuration file; of two settings of one name PostgreSQL takes the later."""
    lines = ["# Written by vecstore when this folder was made, never touched again: edit it as you like."]
    for setting in settings:
        quoted = setting.value.replace("\\", "\\\\").replace("'", "''")
        lines += ["", f"# {setting.reason}", f"{setting.name} = '{quoted}'"]
    return "\n".join(lines) + "\n"


def _clamped(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))


def _megabytes(size: int) -> str:
    return f"{size // MB}MB"


def memory_bytes(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """The memory this process may use: the machine's, or the container's where that is less."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *_cgroup_limits(proc, cgroups)])


def _cgroup_limits(proc: Path, cgroups: Path) -> Iterator[int]:
    try:
        memberships = (proc / "self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for membership in memberships:
        _, controllers, group = membership.split(":", 2)
        if controllers == "":  # version 2
            yield from _limits_upwards(cgroups, group, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _limits_upwards(cgroups / "memory", group, "memory.limit_in_bytes")


def _limits_upwards(root: Path, group: str, file: str) -> Iterator[int]:
    # A limit on any group above counts as well. Inside a container the path may be the host's, and only the root of
    # what is mounted here exists.
    inner = Path(group.lstrip("/"))
    for directory in (inner, *inner.parents):
        try:
            text = (root / directory / file).read_text().strip()
        except OSError:
            continue
        if text.isdecimal():  # version 2 says "max" for no limit
            yield int(text)


def cpu_count() -> int:
    """The processors this process may run on."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def shm_bytes(directory: Path = Path("/dev/shm")) -> int | None:  # noqa: S108  # it is measured, not written to
    """The size of /dev/shm, None where there is none."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return None
    return found.f_frsize * found.f_blocks
