"""Conditions on JSON: on a place in a document, which a path leads to."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Integer,
    Text,
    and_,
    any_,
    exists,
    false,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB

from ..naming import path_text
from ..schema import Btree, DataType, Gin, IndexSpec
from . import values
from .comparing import check_equality, comparison
from .errors import Fault
from .operands import NUMBERS, Kind, Value, kind_of_value
from .values import SQL

# A GIN index is asked once for each value. Of 50,000 rows, 100 took 5 ms, 1,000 took 140 ms, a look at all rows 24 ms;
# and without the index a row would be asked for each of them, where equality asks for all at once.
_MAX_QUESTIONS = 100

_CASTS = {Kind.STRING: DataType.VARCHAR, Kind.BOOL: DataType.BOOL}


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a JSON column.

    indexes  what is indexed, and how, where FALSE may stand for NULL: then what a path has and what the document
             contains are one question in two forms, the one for a btree, the other for a GIN index. Only one is asked,
             for the planner takes two for independent of each other, and expects the rows of none
    """

    column: Column[Any]
    keys: tuple[str | int, ...]
    indexes: Container[tuple[str, IndexSpec]]

    @property
    def value(self) -> SQL:
        return values.value_at(self.column, self.keys)

    @property
    def string(self) -> SQL:
        return values.string_at(self.column, self.keys)

    @property
    def length(self) -> SQL:
        """The length of an array, NULL for all else."""
        return self._of_array(func.pg_catalog.jsonb_array_length(self.value, type_=Integer()))

    @property
    def is_present(self) -> ColumnElement[bool]:
        present: ColumnElement[bool] = values.is_present(self.column, self.keys)
        return present

    def compared(self, operator: str, right: Value, position: int) -> ColumnElement[bool]:
        if right.kind is Kind.LIST:
            check_equality(operator, right.kind, position)
            same = self.value == values.bound_json(right.value)
            return self._of_array(same if operator == "==" else not_(same))
        if right.kind is Kind.BOOL:
            check_equality(operator, right.kind, position)
        elif right.kind not in {*NUMBERS, Kind.STRING}:
            raise Fault(right.position, f"JSON cannot be compared with {right.kind}")
        contained = self._one_of([right.value], {right.kind}) if operator == "==" else None
        if contained is not None:
            return contained
        return comparison(operator, values.typed_at(self.column, self.keys, right.kind), _bound_scalar(right.value))

    def among(self, listing: Value, *, negated: bool) -> ColumnElement[bool]:
        """One of the constants of the value's own type; unknown for a value of a type that none of them has."""
        groups: dict[Kind, list[Any]] = {}
        for value in listing.value:
            kind = kind_of_value(value)
            if kind not in {*NUMBERS, Kind.STRING, Kind.BOOL}:
                raise Fault(listing.position, f"JSON is not one of a list with {kind}")
            groups.setdefault(Kind.FLOAT if kind in NUMBERS else kind, []).append(value)
        contained = None if negated else self._one_of(listing.value, groups)
        if contained is not None:
            return contained
        answers = [
            values.typed_at(self.column, self.keys, kind) == any_(values.bound_array_of_json(group, kind))
            for kind, group in groups.items()
        ]
        if not answers:
            return false()
        found: ColumnElement[bool] = func.coalesce(*answers, type_=Boolean()) if len(answers) > 1 else answers[0]
        return not_(found) if negated else found

    def contains(self, name: str, sought: Value) -> ColumnElement[bool]:
        """Whether an array contains the values: contains, contains_all, contains_any."""
        for value in sought.value:
            if kind_of_value(value) in {Kind.MOMENT, Kind.INTERVAL}:
                raise Fault(sought.position, f"JSON does not contain {kind_of_value(value)}")
        if sought.value and not any(isinstance(value, tuple) for value in sought.value):
            arrays = [(value,) for value in sought.value] if name == "contains_any" else [tuple(sought.value)]
            contained = self._contained(arrays)
            if contained is not None:
                return contained
        answers = list(_elements_found(self.value, name, sought.value))
        return self._of_array(or_(*answers) if name == "contains_any" else and_(*answers))

    def _of_array(self, answer: SQL) -> SQL:
        return values.on_array(self.column, self.keys, answer)

    def _one_of(self, alternatives: Sequence[Any], kinds: Iterable[Kind]) -> ColumnElement[bool] | None:
        """That the place has one of the values, asked of a GIN index; None where there is none, or a btree knows."""
        name, casts = path_text(self.column.name, self.keys), {_CASTS.get(kind, DataType.DOUBLE) for kind in kinds}
        has_btree = len(casts) == 1 and (name, Btree(cast=casts.pop())) in self.indexes
        # A document that is an array contains its elements, and is none of them.
        return self._contained(alternatives) if self.keys and not has_btree else None

    def _contained(self, alternatives: Sequence[Any]) -> ColumnElement[bool] | None:
        if (path_text(self.column.name, ()), Gin()) not in self.indexes or len(alternatives) > _MAX_QUESTIONS:
            return None
        return values.containment(self.column, self.keys, alternatives)


def _bound_scalar(value: Any) -> SQL:
    if isinstance(value, bool):
        return literal(value, Boolean())
    return literal(value, Text()) if isinstance(value, str) else values.bound_number(value)


def _elements_found(there: SQL, name: str, sought: tuple[Any, ...]) -> Iterator[ColumnElement[bool]]:
    """Conditions on a JSON array: it has the scalars, and it has each of the lists."""
    scalars = [value for value in sought if not isinstance(value, tuple)]
    if name == "contains_any":
        arrays = values.bound_json_array((value,) for value in scalars)
        yield there.op("@>", return_type=Boolean(), is_comparison=True)(any_(arrays))
    else:
        yield there.op("@>", return_type=Boolean(), is_comparison=True)(values.bound_json(tuple(scalars)))
    for value in sought:
        if isinstance(value, tuple):
            element: Column[Any] = Column("value", JSONB())
            elements = func.pg_catalog.jsonb_array_elements(there).table_valued(element)
            yield exists(select(literal_column("1")).where(elements.c.value == values.bound_json(value)))
