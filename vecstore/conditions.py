"""Conditions on a collection's rows: the caller's `where=`, partitions and primary keys. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Column, ColumnElement, Table, Text, any_, bindparam
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.elements import True_
from sqlalchemy.sql.visitors import replacement_traverse

from .catalog import CollectionDescription
from .errors import FieldNotFound, InvalidArgument
from .naming import PARTITION_COLUMN


def where_on(table: Table, where: Any) -> ColumnElement[bool]:
    """The caller's expression, on this Table: `books.c` was made from an earlier look at the catalogue.

    Raises InvalidArgument for what is no expression, FieldNotFound for a column that is there no longer.
    """
    if not isinstance(where, ColumnElement):
        hint = "" if not isinstance(where, bool) else "; a comparison that Python made by itself is one: use == None"
        raise InvalidArgument(f"where must be a SQLAlchemy expression over books.c, got {type(where).__name__}{hint}")

    def replaced(element: Any, **_: Any) -> Any:
        if not isinstance(element, Column) or getattr(element.table, "fullname", None) != table.fullname:
            return None
        if element.key not in table.c:
            raise FieldNotFound(f"no field {element.key!r} in collection {table.schema!r}")
        return table.c[element.key]

    adapted: ColumnElement[bool] = replacement_traverse(where, {}, replaced)
    return adapted


def is_always_true(where: Any) -> bool:
    return isinstance(where, True_)


def scope_of(
    description: CollectionDescription, table: Table, *, where: Any, partition_names: Sequence[str] | None
) -> tuple[ColumnElement[bool], ...]:
    """The rows that a call is about; both None: all. Raises PartitionNotFound, InvalidArgument, FieldNotFound."""
    conditions = []
    if partition_names is not None:
        check_partitions(description, partition_names)
        conditions.append(in_partitions(table, partition_names))
    if where is not None:
        conditions.append(where_on(table, where))
    return tuple(conditions)


def check_partitions(description: CollectionDescription, names: Sequence[str]) -> None:
    key = description.schema.partition_key
    if key is not None:
        raise InvalidArgument(
            f"collection {description.name!r} has the partition key {key.name!r}, which decides the partitions: "
            "put a condition on it instead of naming partitions"
        )
    if isinstance(names, str) or not names:
        raise InvalidArgument(f"partition_names must be a list of names, got {names!r}")
    for name in names:
        description.partition(name)


def in_partitions(table: Table, names: Sequence[str]) -> ColumnElement[bool]:
    """Rows of these partitions. The names are literals: only so does every plan leave the other partitions out."""
    return table.c[PARTITION_COLUMN].in_(
        bindparam("partitions", value=list(names), expanding=True, literal_execute=True)
    )


def has_key(table: Table, key: str, keys: NDArray[np.int64] | list[str]) -> ColumnElement[bool]:
    """Rows with one of these primary keys: one array, for a statement takes at most 65,535 parameters."""
    if isinstance(keys, list):
        return table.c[key] == any_(bindparam("keys", keys, type_=ARRAY(Text())))
    return table.c[key] == any_(bindparam("keys", keys.tolist(), type_=ARRAY(BigInteger())))
