"""Conditions on a collection's rows: the caller's `where=`, partitions and primary keys. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Column, ColumnElement, FromClause, Table, Text, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import AsBoolean, BindParameter, BooleanClauseList, Grouping, True_
from sqlalchemy.sql.visitors import replacement_traverse

from .description import CollectionDescription
from .errors import FieldNotFound, InvalidArgument
from .filters import compile_filter
from .naming import PARTITION_COLUMN, names_list


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
    # A table beside the collection's would make a join of it, and DELETE one that deletes too much.
    strangers = [str(found) for found in select(table).where(adapted).get_final_froms() if found is not table]
    if strangers:
        raise InvalidArgument(
            f"where= on collection {table.schema!r} uses columns of {', '.join(sorted(strangers))}: use those of this "
            "collection's `c`, and exists() or a subquery for other tables"
        )
    return adapted


def is_always_true(where: Any) -> bool:
    """Whether a condition is made of true() alone, or of OR with it: SQLAlchemy folds only a part of these itself."""
    if isinstance(where, BooleanClauseList):
        joined = any if where.operator is operators.or_ else all
        return joined(map(is_always_true, where.clauses))
    if isinstance(where, AsBoolean):
        return where.operator is operators.is_true and is_always_true(where.element)
    if isinstance(where, Grouping):
        return is_always_true(where.element)
    return isinstance(where, True_) or (isinstance(where, BindParameter) and where.value is True)


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows that a call is about; all of it None: every row.

    filter and where may both be given, and then both hold; filter_params are the values of the filter's templates.
    """

    partition_names: Iterable[str] | None = None
    where: Any = None
    filter: str | None = None
    filter_params: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.filter_params is not None and not isinstance(self.filter_params, Mapping):
            raise InvalidArgument(
                f"filter_params must be a dict of the filter's templates, got a {type(self.filter_params).__name__}"
            )
        # It may be read more than once.
        if self.partition_names is not None and isinstance(self.partition_names, Iterator):
            object.__setattr__(self, "partition_names", list(self.partition_names))

    @property
    def key(self) -> Hashable | None:
        """Equal for selections that mean the same, type of every value included.

        None where that cannot be told, and where it would be too much to keep.
        """
        if self.where is not None:
            return None
        try:
            return (_key_of(self.partition_names), _key_of(self.filter), _key_of(self.filter_params))
        except TypeError:
            return None

    def conditions(self, description: CollectionDescription, table: Table) -> tuple[ColumnElement[bool], ...]:
        """Raise PartitionNotFound, FieldNotFound, FilterError or InvalidArgument for what does not fit."""
        conditions = []
        if self.partition_names is not None:
            conditions.append(in_partitions(table, checked_partitions(description, self.partition_names)))
        if self.where is not None:
            conditions.append(where_on(table, self.where))
        if self.filter is not None:
            compiled = compile_filter(
                self.filter, description.schema, table, self.filter_params, indexes=description.ready_indexes
            )
            conditions += [] if compiled is None else [compiled]
        return tuple(conditions)


def key_of(asked: Any, selection: Selection) -> Hashable | None:
    """What a question can be known by: its selection, and all else of it; None where that cannot be told."""
    known = selection.key
    rest = rest_of(asked)
    return None if known is None or rest is None else (known, rest)


def rest_of(asked: Any) -> Hashable | None:
    """What a question can be known by but for its selection."""
    rest = _rest_of(type(asked))(asked)  # type: ignore[arg-type]
    if list in map(type, rest):
        rest = tuple(tuple(value) if isinstance(value, list) else value for value in rest)
    try:
        hash(rest)
    except TypeError:
        return None
    return rest


@lru_cache
def _rest_of(question: type) -> Callable[[Any], tuple[Any, ...]]:
    return attrgetter(*(field.name for field in fields(question) if field.name != "selection"))


_LONGEST_KEY = 4_096


def _key_of(value: Any) -> Hashable:
    """A value that a dict can be asked for, with its type: 1 is not True. Raises TypeError for others and long ones."""
    if value is None or isinstance(value, bool | int | float):
        return (type(value), value)
    if len(value) > _LONGEST_KEY:
        raise TypeError("too long")
    if isinstance(value, str):
        return (str, value)
    if isinstance(value, list | tuple):
        return tuple(map(_key_of, value))
    if isinstance(value, dict):
        return tuple((name, _key_of(item)) for name, item in value.items())
    raise TypeError(type(value).__name__)


def checked_partitions(description: CollectionDescription, partition_names: Iterable[str]) -> list[str]:
    key = description.schema.partition_key
    if key is not None:
        raise InvalidArgument(
            f"collection {description.name!r} has the partition key {key.name!r}, which decides the partitions: "
            "put a condition on it instead of naming partitions"
        )
    names = names_list(partition_names, "partition_names")
    if not names:
        raise InvalidArgument("partition_names must name a partition; leave it out to mean all of them")
    for name in names:
        description.partition(name)
    return names


def in_partitions(table: FromClause, names: Sequence[str]) -> ColumnElement[bool]:
    """Rows of these partitions. The names are literals: only so does every plan leave the other partitions out."""
    return table.c[PARTITION_COLUMN].in_(
        bindparam("vecstore_partitions", value=list(names), expanding=True, literal_execute=True)
    )


KEYS = "vecstore_keys"


def has_key(table: Table, key: str, keys: NDArray[np.int64] | list[str]) -> ColumnElement[bool]:
    """Rows with one of these primary keys: one array, for a statement takes at most 65,535 parameters.

    Its parameter is called KEYS, to be another array in another run.
    """
    if isinstance(keys, list):
        return table.c[key] == any_(bindparam(KEYS, keys, type_=ARRAY(Text())))
    return table.c[key] == any_(bindparam(KEYS, keys.tolist(), type_=ARRAY(BigInteger())))
