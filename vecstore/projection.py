"""Which fields of an entity are asked for, and a row of the database as the dict that callers get. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Table

from .errors import FieldNotFound
from .naming import DYNAMIC_COLUMN, DYNAMIC_FIELD, names_list
from .schema import CollectionSchema, Field
from .vectors import decoder

Record = dict[str, Any]
ALL_FIELDS = "*"
BESIDE = "vecstore.beside"  # no field can have this name


@dataclass(frozen=True)
class Projection:
    """Fields in the order they are given back, then keys of the dynamic field; None: all its keys.

    beside  what else is read of a row: a record has the values, as a tuple, under BESIDE
    """

    fields: tuple[Field, ...]
    dynamic_keys: tuple[str, ...] | None = ()
    beside: tuple[ColumnElement[Any], ...] = ()

    def columns(self, table: Table) -> list[ColumnElement[Any]]:
        names = [field.name for field in self.fields]
        if self.dynamic_keys != ():
            names.append(DYNAMIC_COLUMN)
        others = (column.label(f"{BESIDE}{number}") for number, column in enumerate(self.beside))
        return [*(table.c[name] for name in names), *others]

    @property
    def is_empty(self) -> bool:
        return not self.fields and self.dynamic_keys == () and not self.beside

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    @cached_property
    def _decoders(self) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
        """Of the fields whose values are not what they come as."""
        return tuple((field.name, decoder(field)) for field in self.fields if field.data_type.is_vector)

    def record(self, values: Sequence[Any]) -> Record:
        """A row of columns() as a dict; NULL is None."""
        record: Record = dict(zip(self._names, values, strict=False))
        for name, decode in self._decoders:
            stored = record[name]
            if stored is not None:
                record[name] = decode(stored)
        if self.beside:
            record[BESIDE] = tuple(values[-len(self.beside) :])
        if self.dynamic_keys == ():
            return record
        stored = values[len(self.fields)]
        dynamic: Mapping[str, Any] = stored if isinstance(stored, dict) else {}
        wanted = dynamic if self.dynamic_keys is None else self.dynamic_keys
        record.update({key: dynamic[key] for key in wanted if key in dynamic and key not in record})
        return record


def projection(schema: CollectionSchema, output_fields: Iterable[str] | None) -> Projection:
    """What `output_fields` asks for: names of fields, keys of the dynamic field, "$meta" for all keys, "*" for all.

    None asks for nothing. Raises FieldNotFound for a name that is neither.
    """
    if output_fields is None:
        return Projection(())
    names = dict.fromkeys(names_list(output_fields, "output_fields"))
    if ALL_FIELDS in names:
        return Projection(schema.fields, None if schema.dynamic else ())
    fields = tuple(schema.by_name[name] for name in names if name in schema.by_name)
    others = tuple(name for name in names if name not in schema.by_name)
    if others and not schema.dynamic:
        known = ", ".join(schema.by_name)
        raise FieldNotFound(f"no field {others[0]!r} to give back; fields: {known}")
    return Projection(fields, None if DYNAMIC_FIELD in others else others)
