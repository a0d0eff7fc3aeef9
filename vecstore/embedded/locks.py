"""Which processes use a folder, and whether its server lives: flock on files that are never removed.

The kernel gives a lock back when its last open file is closed, so whoever dies, however it dies, holds nothing.
A lock is given up by closing the file, never by LOCK_UN: that would take it from everyone who inherited the file.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vecstore.errors import EmbeddedServerError

_POLL_SECONDS = 0.02

_open_files: set[int] = set()
_mutex_owners: dict[Path, int] = {}


def open_lock(path: Path) -> int:
    """Open a lock file of ours; a symbolic link or another user's file is refused."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    _open_files.add(file)
    found = os.fstat(file)
    if found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode):
        close_lock(file)
        raise EmbeddedServerError(f"{path} belongs to {user_name(found.st_uid)}, this is {user_name(os.geteuid())}")
    return file


def close_lock(file: int) -> None:
    """Close the file, and give its lock up unless another process inherited it."""
    _open_files.discard(file)
    os.close(file)


def try_lock(file: int, *, shared: bool = False) -> bool:
    """Take the lock if it is free now."""
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock, not even shared."""
    file = open_lock(path)
    try:
        return try_lock(file)
    finally:
        close_lock(file)


def wait_until_free(path: Path, *, seconds: float) -> bool:
    """Wait for nobody to hold the lock any more; whether it came to that."""
    deadline = time.monotonic() + seconds
    while not is_free(path):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


@contextmanager
def mutex(path: Path, *, seconds: float) -> Iterator[int]:
    """Hold the lock for the block; yields the open file, for children that must finish before others may go on."""
    file = open_lock(path)
    try:
        deadline = time.monotonic() + seconds
        while not try_lock(file):
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"{path} is held by another process, for more than {seconds:.0f} seconds: one that starts or "
                    "stops this server and does not come to an end (`lsof` names it)"
                )
            time.sleep(_POLL_SECONDS)
        _mutex_owners[path] = threading.get_ident()
        try:
            yield file
        finally:
            _mutex_owners.pop(path, None)
    finally:
        close_lock(file)


def is_mutex_mine(path: Path) -> bool:
    """Whether this very thread is inside mutex(path): the garbage collector may run anything anywhere."""
    return _mutex_owners.get(path) == threading.get_ident()


def user_name(uid: int) -> str:
    """A user as people know them."""
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user id {uid}"


def _forget_in_child() -> None:
    # A forked child is no holder: it could not stop the server at its end, and it may outlive everyone who can.
    for file in _open_files:
        with suppress(OSError):
            os.close(file)
    _open_files.clear()
    _mutex_owners.clear()


os.register_at_fork(after_in_child=_forget_in_child)
