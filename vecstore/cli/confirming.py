"""Show a plan, have its name typed, run it: what every command does that takes something away."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable

from ..plan import Plan
from ..progress import working
from .commands import DONE, FAILED, NOT_CONFIRMED

EPILOG = """\
The plan is shown first: what goes, what stands against it, who is in the way. Then the name is to be typed. --dry-run
shows it only, and fails where something stands against it; --yes asks nothing, for scripts. What has changed between
the plan and the answer is noticed: nothing is done then.
"""


def confirming(parser: argparse.ArgumentParser) -> None:
    """The options of a command that asks first."""
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("--dry-run", action="store_true", help="show the plan, change nothing")
    asked.add_argument("--yes", action="store_true", help="do it without asking")


def carried_out(arguments: argparse.Namespace, name: str, make_plan: Callable[[], Plan]) -> int:
    """Make a plan and run it once `name` was typed; print it, and what came of it."""
    with working("looking"):
        plan = make_plan()
    will_ask = not (arguments.dry_run or arguments.yes)
    if will_ask or not arguments.json:
        print(plan, end="\n\n", flush=True, file=sys.stderr if arguments.json else sys.stdout)
    status = _status(arguments, name, plan)
    if arguments.json:
        print(json.dumps({"plan": plan.to_dict(), "done": status == DONE and not arguments.dry_run}, indent=2))
    return status


def _status(arguments: argparse.Namespace, name: str, plan: Plan) -> int:
    if plan.objections:
        print(f"vecstore: {plan.objections[0]}", file=sys.stderr)
        return FAILED
    if arguments.dry_run:
        return DONE
    if not arguments.yes and not _typed(name):
        return NOT_CONFIRMED
    with working(plan.title):
        plan.run()
    if not arguments.json:
        print(f"done: {plan.title}")
    return DONE


def _typed(name: str) -> bool:
    """Whether somebody sits there and types the name."""
    if not sys.stdin.isatty():
        print("vecstore: nobody to ask, nothing was changed: pass --yes, or --dry-run to see the plan", file=sys.stderr)
        return False
    print(f"Type {name} to do it: ", end="", file=sys.stderr, flush=True)
    try:
        answer = sys.stdin.readline().strip()
    except KeyboardInterrupt:
        answer = ""
    if answer == name:
        return True
    print("vecstore: not confirmed, nothing was changed", file=sys.stderr)
    return False
