"""The operating system's user that the server runs as."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from vecstore.errors import EmbeddedServerError

SYSTEM_USER = "vecstore"


@dataclass(frozen=True, slots=True)
class Account:
    """Who the server is; `clients` are the users that peer authentication lets in as the role postgres."""

    name: str
    uid: int
    gid: int
    clients: tuple[str, ...]

    @property
    def is_other(self) -> bool:
        """Whether the server's programs must change their user: we are root, which PostgreSQL refuses to be."""
        return self.uid != os.geteuid()


def server_account() -> Account:
    """The user for a server started by this process; for root an unprivileged one, made if need be."""
    if os.geteuid() != 0:
        own = _entry_of_this_process()
        return Account(own.pw_name, own.pw_uid, own.pw_gid, (own.pw_name,))
    if sys.platform != "linux":
        raise EmbeddedServerError(
            f"PostgreSQL does not run as root, and on {sys.platform} vecstore cannot start it as another user: "
            "run this program as an ordinary user"
        )
    entry = _entry_of(SYSTEM_USER) or _new_system_user()
    if entry.pw_uid == 0:
        raise EmbeddedServerError(f"the user {SYSTEM_USER} is root under another name, PostgreSQL would not run as it")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, (pwd.getpwuid(0).pw_name, entry.pw_name))


def _entry_of_this_process() -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(os.geteuid())
    except KeyError:
        raise EmbeddedServerError(
            f"the user id {os.geteuid()} has no name on this machine (/etc/passwd), PostgreSQL does not run without: "
            "add one, or run this program as a user that has one"
        ) from None


def _entry_of(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _new_system_user() -> pwd.struct_passwd:
    # root's PATH need not hold the sbin folders.
    program = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    way_out = f"make a user {SYSTEM_USER} without rights yourself, or run this program as an ordinary user"
    if program is None:
        raise EmbeddedServerError(
            f"PostgreSQL does not run as root, and there is no useradd to make it a user {SYSTEM_USER}: {way_out}"
        )
    options = ["--system", "--no-create-home", "--shell", "/usr/sbin/nologin"]
    done = subprocess.run(  # noqa: S603
        [program, *options, SYSTEM_USER],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    entry = _entry_of(SYSTEM_USER)  # another process may have been quicker, then useradd failed and all is well
    if entry is None:
        raise EmbeddedServerError(f"useradd could not make the user {SYSTEM_USER}: {done.stderr.strip()}; {way_out}")
    return entry


def open_to_others(path: Path) -> bool:
    """Whether a user without rights gets to `path`, judged by the mode of every folder on the way to it."""
    real = path.resolve()
    return all(folder.stat().st_mode & 0o001 for folder in (real, *real.parents))
