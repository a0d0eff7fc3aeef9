"""The commands that take something away: drop collection, drop partition, drop index, delete, truncate."""

from __future__ import annotations

import argparse
from datetime import timedelta

from .. import retention
from ..errors import InvalidData
from ..schema import DataType
from ..store import connect
from .commands import Commands, as_json, target, wait
from .confirming import EPILOG, carried_out, confirming

_OPTIONS = (target, wait, confirming, as_json)

_DROP = """\
Drop a collection, a partition or an index: in one transaction, its space free at commit.

  vecstore drop collection books --dry-run
  vecstore drop partition books novel
  vecstore drop index books embedding_idx
"""

_DROP_COLLECTION = """\
Drop a collection with all its partitions, indexes and entities.

  vecstore drop collection books --dry-run     what would go, and what stands against it
  vecstore drop collection books               the same, then do it when its name was typed
  vecstore drop collection books --keep '7 days'     into the trash: vecstore restore books takes it back
"""

_DROP_PARTITION = """\
Drop a partition and all entities in it. `_default` cannot be dropped: vecstore truncate empties it.

  vecstore drop partition books novel
"""

_DROP_INDEX = """\
Drop an index. Searches become exact, and slower; the plan says about how long it takes to build again.

  vecstore drop index books embedding_idx
"""

_DELETE = """\
Delete the entities that match a filter in Milvus's language, or those of some primary keys.

Their number is counted first, and the delete is done only if it is the same then. The space stays until VACUUM.

  vecstore delete books --filter "year < 1950 and title like 'A%'"
  vecstore delete books --ids 17 18 19 --yes
"""

_TRUNCATE = """\
Delete all entities of a collection, or of one partition, at once; the space is free at commit, the indexes stay.

  vecstore truncate books
  vecstore truncate books novel
"""


def add_to(commands: Commands) -> None:
    drops = commands.group(
        "drop", summary="drop a collection, a partition or an index", description=_DROP, metavar="WHAT"
    )
    command = drops.add(
        "collection", drop_collection, *_OPTIONS, summary="with everything", description=_DROP_COLLECTION, epilog=EPILOG
    )
    command.add_argument("collection", metavar="COLLECTION")
    _drop_options(command)
    command = drops.add(
        "partition", drop_partition, *_OPTIONS, summary="with its rows", description=_DROP_PARTITION, epilog=EPILOG
    )
    command.add_argument("collection", metavar="COLLECTION")
    command.add_argument("partition", metavar="PARTITION")
    _drop_options(command)
    command = drops.add(
        "index", drop_index, *_OPTIONS, summary="of all partitions", description=_DROP_INDEX, epilog=EPILOG
    )
    command.add_argument("collection", metavar="COLLECTION")
    command.add_argument("index", metavar="INDEX")
    command = commands.add("delete", delete, *_OPTIONS, summary="delete entities", description=_DELETE, epilog=EPILOG)
    command.add_argument("collection", metavar="COLLECTION")
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("--filter", metavar="FILTER", help="in Milvus's language, 'year < 1950'")
    which.add_argument("--ids", nargs="+", metavar="ID", help="primary keys")
    command.add_argument(
        "--partition", action="append", metavar="NAME", help="only there; may be given several times (default: all)"
    )
    command = commands.add(
        "truncate", truncate, *_OPTIONS, summary="delete all entities", description=_TRUNCATE, epilog=EPILOG
    )
    command.add_argument("collection", metavar="COLLECTION")
    command.add_argument("partition", nargs="?", metavar="PARTITION", help="this one alone (default: all)")


def _drop_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--keep",
        metavar="TIME",
        help="into the trash, for vecstore restore: '7 days', '12 hours'; 0: for good (default: as the collection's "
        "property, or the setting of database or role, vecstore.keep_dropped says; without one for good)",
    )
    command.add_argument(
        "--cascade", action="store_true", help="drop also what others made on top of it; the plan lists it"
    )


def drop_collection(arguments: argparse.Namespace) -> int:
    with connect(arguments.target, ddl_timeout=arguments.wait) as store:
        books, keep = store.collection(arguments.collection), _keep(arguments)
        return carried_out(arguments, books.name, lambda: books.drop_plan(cascade=arguments.cascade, keep=keep))


def drop_partition(arguments: argparse.Namespace) -> int:
    with connect(arguments.target, ddl_timeout=arguments.wait) as store:
        books, name, keep = store.collection(arguments.collection), arguments.partition, _keep(arguments)
        return carried_out(
            arguments, name, lambda: books.drop_partition_plan(name, cascade=arguments.cascade, keep=keep)
        )


def _keep(arguments: argparse.Namespace) -> timedelta | None:
    return None if arguments.keep is None else retention.parsed(arguments.keep, "--keep")


def drop_index(arguments: argparse.Namespace) -> int:
    with connect(arguments.target, ddl_timeout=arguments.wait) as store:
        books, name = store.collection(arguments.collection), arguments.index
        return carried_out(arguments, name, lambda: books.drop_index_plan(name))


def delete(arguments: argparse.Namespace) -> int:
    with connect(arguments.target, ddl_timeout=arguments.wait) as store:
        books = store.collection(arguments.collection)
        key = books.describe().schema.primary_key
        ids = arguments.ids if arguments.ids is None or key.data_type is DataType.VARCHAR else _numbers(arguments.ids)
        return carried_out(
            arguments,
            books.name,
            lambda: books.delete_plan(arguments.filter, ids=ids, partition_names=arguments.partition),
        )


def truncate(arguments: argparse.Namespace) -> int:
    with connect(arguments.target, ddl_timeout=arguments.wait) as store:
        books, name = store.collection(arguments.collection), arguments.partition
        return carried_out(arguments, name or books.name, lambda: books.truncate_plan(name))


def _numbers(words: list[str]) -> list[int]:
    try:
        return [int(word) for word in words]
    except ValueError:
        raise InvalidData(f"primary keys are numbers here, got {' '.join(words):.80}") from None
