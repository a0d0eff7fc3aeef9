"""What `alembic revision --autogenerate` and `alembic check` see of collections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from alembic.operations.ops import UpgradeOps
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy.util import to_list

from .. import catalog
from ..database import Database
from ..declaration import CollectionDeclaration, CollectionMetadata
from ..description import CollectionDescription
from ..errors import InvalidSchema, NotInstalled
from ..naming import OWN_SCHEMA, TRASH_PREFIX
from .comparison import differences

if TYPE_CHECKING:  # Alembic is half imported when it loads its plugins
    from alembic.autogenerate.api import AutogenContext
    from alembic.runtime.plugins import Plugin

_KIND = "collection"


def register_comparators(plugin: Plugin) -> None:
    plugin.add_autogenerate_comparator(
        _leave_collections_out, "schema", qualifier="postgresql", priority=DispatchPriority.FIRST
    )
    plugin.add_autogenerate_comparator(
        _compare_collections, "autogenerate", qualifier="postgresql", priority=DispatchPriority.LAST
    )


def _database(context: AutogenContext) -> Database:
    connection = context.connection
    assert connection is not None  # noqa: S101 - Alembic compares nothing without one
    return Database(connection.engine).bound_to(connection)


def _leave_collections_out(
    context: AutogenContext, upgrade_ops: UpgradeOps, schemas: set[str | None]
) -> PriorityDispatchResult:
    """Keep the schemas of collections and aliases, and our own, out of the comparison of tables: it would drop them."""
    del upgrade_ops
    database = _database(context)
    try:
        database.facts  # noqa: B018 - whether there is anything of ours
    except NotInstalled:
        return PriorityDispatchResult.CONTINUE
    with database.reading("list collections") as connection:
        ours = {OWN_SCHEMA, *catalog.collection_names(connection), *catalog.aliases(connection)}
    ours |= {schema for schema in schemas if schema is not None and schema.startswith(TRASH_PREFIX)}
    schemas -= ours
    return PriorityDispatchResult.CONTINUE


def _compare_collections(context: AutogenContext, upgrade_ops: UpgradeOps) -> PriorityDispatchResult:
    """Compare the declared collections with those that are there; nothing where none could be declared.

    The environment's include_name and include_object are asked, with the kind "collection".
    """
    metadata = [it for it in to_list(context.metadata) if isinstance(it, CollectionMetadata)]
    if metadata:
        existing = _existing(_database(context), context)
        declared = _declared(metadata)
        skipped = {
            name
            for name in existing.keys() | declared.keys()
            if not _is_included(context, name, declared.get(name), existing.get(name))
        }
        upgrade_ops.ops.extend(
            differences(
                {name: it for name, it in declared.items() if name not in skipped},
                {name: it for name, it in existing.items() if name not in skipped},
            )
        )
    return PriorityDispatchResult.CONTINUE


def _declared(metadata: list[CollectionMetadata]) -> dict[str, CollectionDeclaration]:
    declared: dict[str, CollectionDeclaration] = {}
    for it in metadata:
        if twice := declared.keys() & it.collections.keys():
            raise InvalidSchema(f"declared in two CollectionMetadata: {', '.join(sorted(twice))}")
        declared |= it.collections
    return declared


def _existing(database: Database, context: AutogenContext) -> dict[str, CollectionDescription]:
    try:
        database.facts  # noqa: B018 - before schema vecstore is there, no collection is
    except NotInstalled:
        return {}
    with database.reading("compare collections") as connection:
        names = catalog.collection_names(connection)
        return {
            name: catalog.describe(connection, name)
            for name in names
            if context.run_name_filters(name, cast("Any", _KIND), {})
        }


def _is_included(
    context: AutogenContext,
    name: str,
    declaration: CollectionDeclaration | None,
    description: CollectionDescription | None,
) -> bool:
    found: Any = description if declaration is None else declaration
    compared: Any = None if declaration is None else description
    return context.run_object_filters(found, name, cast("Any", _KIND), declaration is None, compared)
