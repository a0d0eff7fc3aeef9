"""The private directory of the server's socket.

It cannot be inside the data folder: the path of a socket is limited to 107 bytes (103 on macOS). So it is a fresh
folder with mode 0700 under the directory for temporary files, and the data folder remembers its name: a server that
starts again after a crash takes the same one, and the engines of everyone who uses it connect again by themselves.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from vecstore.errors import EmbeddedServerError

from .account import Account, open_to_others

PORT = 5432  # only a part of the file's name

_FILES = (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock")
_MAX_PATH_BYTES = 103
# PostgreSQL and libpq both read the directory as a list with commas.
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9_./+-]*", re.ASCII)


def remembered(record: Path, data: Path) -> Path | None:
    """The directory written down for exactly this data folder: a copied folder must not meet its original's server."""
    lines = record.read_text().splitlines()
    return Path(lines[0]) if lines[1:] == [_identity(data)] else None


def remember(record: Path, data: Path, directory: Path) -> None:
    """Write the directory down; the record is also the server's lock file, so it is never replaced."""
    record.write_text(f"{directory}\n{_identity(data)}\n")


def forget(record: Path) -> None:
    """Write down that there is none."""
    record.write_text("")


def _identity(data: Path) -> str:
    found = data.stat()
    return f"{found.st_dev}:{found.st_ino}"


def is_private(directory: Path, account: Account) -> bool:
    """Whether this is a directory, no link to one, that belongs to the server's user and to nobody else."""
    try:
        found = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == account.uid and stat.S_IMODE(found.st_mode) == 0o700  # noqa: PLR2004


def made(wanted: Path | None, account: Account) -> Path:
    """A private directory: the wanted one if it still is one or can be made again, else a fresh one.

    No server may run: what a killed one left in it is removed. PostgreSQL would do so too, but not when the process
    number in the lock file is another process's by now.
    """
    if wanted is not None:
        with suppress(OSError):
            # Only making it proves that it is ours: never `exist_ok`.
            wanted.mkdir(mode=0o700)
            _hand_over(wanted, account)
        if is_private(wanted, account):
            _clear(wanted)
            return wanted
    directory = Path(tempfile.mkdtemp(prefix="vecstore-", dir=_parent(account)))
    _hand_over(directory, account)
    return directory


def _hand_over(directory: Path, account: Account) -> None:
    if account.is_other:
        os.chown(directory, account.uid, account.gid, follow_symlinks=False)


def _parent(account: Account) -> str:
    for candidate in (tempfile.gettempdir(), "/tmp"):  # noqa: S108  # mkdtemp makes a directory of its own in it
        length = len(os.fsencode(candidate)) + len("/vecstore-12345678/") + max(map(len, _FILES))
        is_fit = length <= _MAX_PATH_BYTES and _PLAIN_PATH.fullmatch(candidate)
        if is_fit and (not account.is_other or open_to_others(Path(candidate))):
            return candidate
    raise EmbeddedServerError(
        f"no directory for the server's socket: {tempfile.gettempdir()} has too long a name or is closed to "
        f"{account.name}, and so is /tmp: set TMPDIR to a short path that is open to it"
    )


def removed(directory: Path, account: Account) -> None:
    """Remove the directory of a server that runs no more, unless it is not what we made."""
    if is_private(directory, account):
        with suppress(OSError):
            _clear(directory)
            directory.rmdir()


def _clear(directory: Path) -> None:
    for name in _FILES:
        (directory / name).unlink(missing_ok=True)
