"""The commands for what was dropped and is kept: trash, restore, purge."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

from .. import retention
from ..printing import Column, bytes_text, counted, table
from ..progress import working
from ..store import connect
from ..trash import TrashEntry
from .commands import DONE, Commands, as_json, target, wait

_TRASH = """\
List what was dropped and is kept, the oldest first, with the space that it still holds.

  vecstore trash
  vecstore trash --json | jq 'map(.bytes) | add'
"""

_RESTORE = """\
Take back the drop of a collection, or of one partition of it: data, indexes, comments, grants and aliases.

Of several of a name the one that was dropped last comes back, unless --id says which. One that is past its keep can be
restored until `vecstore purge` has freed it.

  vecstore restore books
  vecstore restore books --as old_books     where the name is taken meanwhile
  vecstore restore books novel              a partition
  vecstore restore books --id 7             as `vecstore trash` numbers it
"""

_PURGE = """\
Free what was dropped and is past its keep. Made for cron:

  17 3 * * *  vecstore purge --target postgresql://user@host/database

It asks nothing. Interrupted, it is gone on with by the next one. What somebody uses keeps nothing else from being
freed; then the exit status is 1.
"""


def add_to(commands: Commands) -> None:
    commands.add("trash", trash, target, as_json, summary="list what was dropped and is kept", description=_TRASH)
    command = commands.add("restore", restore, target, wait, summary="take back a drop", description=_RESTORE)
    command.add_argument("collection", metavar="COLLECTION", help="the name that it had")
    command.add_argument("partition", metavar="PARTITION", nargs="?", help="one of its partitions, into the collection")
    command.add_argument("--id", type=int, metavar="NUMBER", help="which, of several of the name (default: the last)")
    command.add_argument("--as", dest="as_name", metavar="NAME", help="another name for the collection")
    command.add_argument("--without-aliases", action="store_true", help="leave out the aliases that the collection had")
    command = commands.add("purge", purge, target, wait, summary="free what is past its keep", description=_PURGE)
    command.add_argument(
        "--older-than",
        metavar="TIME",
        help="also what was dropped longer ago than that, however long it was to be kept: '30 days', '12 hours'; "
        "0 empties the trash",
    )


def trash(arguments: argparse.Namespace) -> int:
    with connect(arguments.target) as store:
        found = store.trash()
    if arguments.json:
        print(json.dumps([asdict(entry) for entry in found], indent=2, default=str))
    else:
        print(_list(found) if found else "nothing in the trash")
    return DONE


def _list(found: Sequence[TrashEntry]) -> str:
    columns = [
        Column("id", number=True),
        Column("collection"),
        Column("partition"),
        Column("size", number=True),
        Column("dropped"),
        Column("by"),
        Column("kept until"),
        Column("aliases"),
    ]
    return table(
        columns,
        [
            (
                str(entry.id),
                entry.collection,
                entry.partition or "",
                bytes_text(entry.bytes),
                f"{entry.dropped_at:%Y-%m-%d %H:%M}",
                entry.dropped_by,
                f"{entry.kept_until:%Y-%m-%d %H:%M}",
                ", ".join(entry.aliases),
            )
            for entry in found
        ],
    )


def restore(arguments: argparse.Namespace) -> int:
    with connect(arguments.target, ddl_timeout=arguments.wait) as store, working(f"restoring {arguments.collection}"):
        if arguments.partition is None:
            restored = store.restore(
                arguments.collection,
                as_name=arguments.as_name,
                trash_id=arguments.id,
                with_aliases=not arguments.without_aliases,
            )
            print(f"restored: collection {restored.name}")
        else:
            partition = store.restore_partition(arguments.collection, arguments.partition, trash_id=arguments.id)
            print(f"restored: partition {partition.name} of {partition.collection.name}")
    return DONE


def purge(arguments: argparse.Namespace) -> int:
    said = arguments.older_than
    older_than = None if said is None else retention.parsed(said, "--older-than")
    with connect(arguments.target, ddl_timeout=arguments.wait) as store, working("freeing"):
        freed = store.purge(older_than)
    print(f"freed: {counted(len(freed), 'drop')}, {bytes_text(sum(entry.bytes for entry in freed))}")
    return DONE
