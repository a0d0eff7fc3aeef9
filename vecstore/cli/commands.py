"""How the commands of `vecstore` are declared: a function each, its help, and the options it shares with others."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

DONE = 0
FAILED = 1
NOT_CONFIRMED = 3

Run = Callable[[argparse.Namespace], int]
Option = Callable[[argparse.ArgumentParser], object]


class Commands:
    """Where commands are added: those of `vecstore`, or of a word of it such as `vecstore drop`."""

    def __init__(self, parser: argparse.ArgumentParser, *, metavar: str = "COMMAND") -> None:
        self._parsers = parser.add_subparsers(required=True, metavar=metavar)

    def add(
        self, name: str, run: Run, *options: Option, summary: str, description: str, epilog: str | None = None
    ) -> argparse.ArgumentParser:
        """A command; `run` does it, prints, and returns the exit status. Arguments of its own are the caller's to add.

        summary  a line for the list of commands; description and epilog are for its own help
        """
        parser = self._parser(name, summary, description, epilog)
        for option in options:
            option(parser)
        parser.set_defaults(run=run)
        return parser

    def group(self, name: str, *, summary: str, description: str, metavar: str) -> Commands:
        """A word that commands follow, `drop` of `vecstore drop index`; metavar stands for them in the help."""
        return Commands(self._parser(name, summary, description, None), metavar=metavar)

    def _parser(self, name: str, summary: str, description: str, epilog: str | None) -> argparse.ArgumentParser:
        return self._parsers.add_parser(
            name,
            help=summary,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )


def target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target",
        default=os.environ.get("DATABASE_URL"),
        metavar="URL|FOLDER",
        help="the database (default: the variable DATABASE_URL)",
    )


def wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wait",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="how long tables that others use are tried for; searches never stand in line behind (default: 30)",
    )


def as_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
