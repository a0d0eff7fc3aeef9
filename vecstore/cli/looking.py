"""The commands that look and change nothing: ls, describe."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any

from ..description import CollectionDescription
from ..operations.overview import CollectionOverview, IndexOverview
from ..printing import Column, bytes_text, counted, rows_text, table
from ..schema import Field
from ..store import connect
from .commands import DONE, Commands, as_json, target

_LS = """\
List the collections: rows as PostgreSQL's statistics estimate them, and bytes on disk, indexes included.

Waits for no lock and reads no row, so it can be asked at any time. A size is `?` while somebody drops or alters what it
is of.

  vecstore ls --target ./data
  vecstore ls --json | jq '.[].name'
"""

_DESCRIBE = """\
Show a collection: its fields, partitions and indexes, and whether searches use each index.

An index is `ready`, `building`, or `invalid`: left of a build that was interrupted, `store.repair()` drops it.

  vecstore describe books
"""


def add_to(commands: Commands) -> None:
    commands.add("ls", ls, target, as_json, summary="list the collections", description=_LS)
    command = commands.add("describe", describe, target, as_json, summary="show a collection", description=_DESCRIBE)
    command.add_argument("collection", metavar="COLLECTION", help="its name, or an alias")


def ls(arguments: argparse.Namespace) -> int:
    with connect(arguments.target) as store:
        found, kept = store.overview(), store.trash()
    if arguments.json:
        print(json.dumps([_overview_dict(collection) for collection in found], indent=2))
    else:
        print(_list(found) if found else "no collections")
        if kept:
            held = bytes_text(sum(entry.bytes for entry in kept))
            print(f"\nin the trash: {counted(len(kept), 'drop')}, {held} (vecstore trash)")
    return DONE


def _list(found: tuple[CollectionOverview, ...]) -> str:
    columns = [
        Column("collection"),
        Column("rows", number=True),
        Column("size", number=True),
        Column("partitions", number=True),
        Column("indexes", number=True),
        Column("aliases"),
    ]
    return table(
        columns,
        [
            (
                collection.name,
                rows_text(collection.rows_estimated),
                bytes_text(collection.bytes),
                f"{len(collection.partitions):,}",
                f"{len(collection.indexes):,}",
                ", ".join(collection.aliases),
            )
            for collection in found
        ],
    )


def _overview_dict(found: CollectionOverview) -> dict[str, Any]:
    return {**asdict(found), "rows_estimated": found.rows_estimated, "bytes": found.bytes}


def describe(arguments: argparse.Namespace) -> int:
    with connect(arguments.target) as store:
        collection = store.collection(arguments.collection)
        description, found = collection.describe(), collection.overview()
    if arguments.json:
        declared = [_declared(field) for field in description.schema.fields]
        schema = {"fields": declared, "dynamic": description.schema.dynamic}
        print(json.dumps({**_overview_dict(found), **schema}, indent=2, default=str))
    else:
        print("\n\n".join(_described(description, found)))
    return DONE


def _declared(field: Field) -> dict[str, Any]:
    """What was said of a field when it was declared."""
    given = {attribute.name: (getattr(field, attribute.name), attribute.default) for attribute in fields(field)}
    return {name: value for name, (value, default) in given.items() if value != default}


def _described(description: CollectionDescription, found: CollectionOverview) -> Iterator[str]:
    head = [f"{found.name}: {found.description}" if found.description else found.name]
    head += [f"{rows_text(found.rows_estimated)} rows, {bytes_text(found.bytes)}, owner {found.owner}"]
    head += [f"aliases: {', '.join(found.aliases)}"] if found.aliases else []
    head += ["dynamic: entities may have more keys than the fields"] if description.schema.dynamic else []
    yield "\n".join(head)
    yield table(
        [Column("field"), Column("type"), Column("")],
        [(field.name, _type(field), _about(field)) for field in description.schema.fields],
    )
    yield table(
        [Column("partition"), Column("rows", number=True), Column("size", number=True)],
        [(part.name, rows_text(part.rows_estimated), bytes_text(part.bytes)) for part in found.partitions],
    )
    if found.indexes:
        columns = [Column("index"), Column("field"), Column("kind"), Column("state"), Column("size", number=True)]
        yield table(
            columns,
            [
                (index.name or "", index.field or "", _kind(index), _state(index), bytes_text(index.bytes))
                for index in found.indexes
            ],
        )


def _type(field: Field) -> str:
    size = field.dim or field.max_length
    of = "" if field.element_type is None else f" of up to {field.max_capacity:,} {field.element_type}"
    return f"{field.data_type}{of}{'' if size is None else f'({size})'}"


def _about(field: Field) -> str:
    said = {
        "primary key": field.primary_key,
        "drawn": field.auto_id,
        "partition key": field.partition_key,
        "nullable": field.nullable,
        f"default {field.default_value!r}": field.default_value is not None,
        f"text search {field.text_search}": field.text_search is not None,
        "bm25": field.bm25,
    }
    words = ", ".join(word for word, is_so in said.items() if is_so)
    return f"{words}{': ' if words and field.description else ''}{field.description}"


def _kind(index: IndexOverview) -> str:
    return " ".join(word for word in (index.method, index.metric) if word)


def _state(index: IndexOverview) -> str:
    return index.state if index.build_percent is None else f"{index.state}, {index.build_percent:.0f} %"
