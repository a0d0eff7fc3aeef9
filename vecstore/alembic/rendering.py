"""Operations as the Python of a revision, in the words of `import vecstore`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import Enum
from math import isfinite
from typing import TYPE_CHECKING, Any

from alembic.autogenerate.render import renderers
from alembic.operations import MigrateOperation

from ..schema import MAX_SPARSE_DIM, CollectionSchema, Field
from .operations import (
    OPERATIONS,
    AddFieldOp,
    CollectionOperation,
    CollectionOps,
    CreateCollectionOp,
    CreateIndexOp,
    CreatePartitionOp,
)

if TYPE_CHECKING:  # Alembic is half imported when it loads its plugins
    from alembic.autogenerate.api import AutogenContext

_LINE = 100
_INDENT = "    "


def register_renderers() -> None:
    for kind in (*OPERATIONS, CollectionOps):
        renderers.dispatch_for(kind)(_rendered)


def _rendered(context: AutogenContext, operation: MigrateOperation) -> list[str]:
    prefix = context.opts["alembic_module_prefix"]
    lines = []
    for it in operation.ops if isinstance(operation, CollectionOps) else [operation]:
        assert isinstance(it, CollectionOperation)  # noqa: S101 - nothing else is registered
        call = f"{prefix}{_call(it.verb, list(_arguments(it)))}"
        if "vecstore." in call:
            context.imports.add("import vecstore")
        if "datetime." in call:
            context.imports.add("import datetime")
        lines.append(call)
    return [*_remarks(operation), *lines]


def _remarks(operation: MigrateOperation) -> Iterator[str]:
    """What a downgrade cannot bring back."""
    if isinstance(operation, CollectionOps | CreatePartitionOp) and operation.is_lost:
        yield "# the definition only: the entities that were dropped do not come back"
    if isinstance(operation, AddFieldOp) and operation.is_lost:
        yield "# the definition only: the values that were dropped do not come back"
        if not operation.field.nullable and operation.field.default_value is None:
            yield "# where entities are there it needs nullable=True or a default_value"


def _arguments(operation: CollectionOperation) -> Iterator[str]:
    if isinstance(operation, CreateCollectionOp):
        yield code(operation.name)
        yield from map(code, operation.schema.fields)
        yield from _options(operation.schema, skip={"fields"})
        return
    shown = {it.name for it in dataclasses.fields(operation) if it.repr}  # type: ignore[arg-type]
    if isinstance(operation, CreateIndexOp):
        shown.add("existing")
    yield from _parts(operation, shown)


def _options(schema: CollectionSchema, *, skip: set[str]) -> Iterator[str]:
    for it in dataclasses.fields(schema):
        value = getattr(schema, it.name)
        default = it.default_factory() if it.default_factory is not dataclasses.MISSING else it.default
        if it.name not in skip and value != default and (it.name != "num_partitions" or schema.partition_key):
            yield f"{it.name}={code(value)}"


def _parts(value: Any, shown: set[str]) -> Iterator[str]:
    """The arguments of a dataclass's value: those by keyword only where they are not the default."""
    for it in dataclasses.fields(value):
        given = getattr(value, it.name)
        if it.name not in shown:
            continue
        if not it.kw_only and it.default is dataclasses.MISSING:
            yield code(given)
        elif given != it.default:
            yield f"{it.name}={code(given)}"


def code(value: Any) -> str:
    """A value as Python that makes it again."""
    if isinstance(value, Enum):
        return f"vecstore.{type(value).__name__}.{value.name}"
    if isinstance(value, datetime):
        return f"datetime.datetime.fromisoformat({value.isoformat()!r})"
    if isinstance(value, float) and not isfinite(value):
        return f"float({str(value)!r})"
    if not dataclasses.is_dataclass(value):
        return repr(dict(value) if isinstance(value, Mapping) else value)
    if isinstance(value, Field):
        # A dimension that is left out means this one.
        shown = {it.name for it in dataclasses.fields(value) if (it.name, value.dim) != ("dim", MAX_SPARSE_DIM)}
        return f"vecstore.Field({', '.join(_parts(value, shown))})"
    # All options of an index: a revision goes on meaning the same when a default changes.
    given = ((it.name, getattr(value, it.name)) for it in dataclasses.fields(value))
    options = ", ".join(f"{name}={code(option)}" for name, option in given if option is not None)
    return f"vecstore.{type(value).__name__}({options})"


def _call(name: str, arguments: list[str]) -> str:
    line = f"{name}({', '.join(arguments)})"
    if len(line) <= _LINE:
        return line
    inner = "".join(f"{_INDENT}{argument},\n" for argument in arguments)
    return f"{name}(\n{inner})"
