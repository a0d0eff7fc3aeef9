"""The command `vecstore`: a module for each kind of its commands, a function for each command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import VecstoreError
from . import dropping, installing, looking, restoring, serving, terminal
from .commands import FAILED, Commands

_DESCRIPTION = """\
Look at collections, drop and delete what is in them, and care for the databases of vecstore.

Every command works on one database, which --target names, or else the variable DATABASE_URL:

  postgresql://user@host:5432/database   on a server
  ./data                                 in a folder, with an embedded PostgreSQL
"""

_EPILOG = """\
Exit status: 0 done; 1 not done, the reason is on standard error; 2 wrong usage; 3 not confirmed, nothing was changed.
`vecstore COMMAND --help` says more of a command.
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run a command; `words` are those of the command line where they are not given."""
    parser = _parser()
    arguments = parser.parse_args(words)
    if arguments.needs_target and not arguments.target and not arguments.sql:
        parser.error("which database? --target postgresql://user@host/database, --target ./data, or DATABASE_URL")
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except VecstoreError as error:
        print(f"vecstore: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:  # `vecstore ... | head`: who read has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return status


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="vecstore", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=form)
    parser.add_argument("--version", action="version", version=f"vecstore {__version__}")
    parser.set_defaults(sql=None, needs_target=True)
    commands = Commands(parser)
    for module in (looking, dropping, restoring, installing, serving, terminal):
        module.add_to(commands)
    return parser
