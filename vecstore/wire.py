"""Values and statements in the form that PostgreSQL's protocol takes them in.

A Core statement becomes text with $1, $2, and parameters encoded once; what changes from run to run is a blank.
"""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from json import JSONDecoder
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import pq
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import AdaptersMap, Dumper, Loader, PyFormat, Transformer
from sqlalchemy import BindParameter
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement

from .errors import InvalidArgument

BIT_OID = 1560
TEXT_OID = 25
_INT8, _FLOAT8, _INT8_ARRAY, _TEXT_ARRAY = 20, 701, 1016, 1009
_TIMESTAMPTZ_OID, _JSONB_OID = 1184, 3802
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MAX_PARAMETERS = 65_535
_BINARY = pq.Format.BINARY
_DECODE = JSONDecoder().raw_decode
_JSONB_VERSION = 1


@dataclass(frozen=True, slots=True)
class WireValue:
    """A parameter in PostgreSQL's binary form, with its type."""

    oid: int
    data: bytes


def wire_text(value: str) -> WireValue:
    return WireValue(TEXT_OID, value.encode())


def wire_double(value: float) -> WireValue:
    return WireValue(_FLOAT8, _DOUBLE.pack(value))


def wire_array(values: NDArray[np.int64] | list[str]) -> WireValue:
    """A bigint[] or a text[]."""
    if isinstance(values, list):
        texts = [text.encode() for text in values]
        elements = b"".join(part for text in texts for part in (len(text).to_bytes(4, "big"), text))
        oid, element = _TEXT_ARRAY, TEXT_OID
    else:
        items = np.empty(len(values), np.dtype([("length", ">i4"), ("value", ">i8")]))
        items["length"], items["value"] = 8, values
        elements, oid, element = items.tobytes(), _INT8_ARRAY, _INT8
    dimensions = int(len(values) > 0)
    return WireValue(oid, _ARRAY_HEAD.pack(dimensions, 0, element, len(values), 1)[: 12 + 8 * dimensions] + elements)


_DOUBLE = struct.Struct(">d")
# Dimensions, whether there are NULLs, the type of the elements; then of each dimension its length and first index.
_ARRAY_HEAD = struct.Struct(">iiIii")


class _WireDumper(Dumper):
    """Sends a WireValue as it is; the type differs from value to value, so each type has a dumper of its own."""

    format = pq.Format.BINARY

    def dump(self, obj: WireValue) -> Buffer | None:
        return obj.data

    def get_key(self, obj: WireValue, format: PyFormat) -> tuple[type, int]:  # type: ignore[override]  # noqa: A002, ARG002
        return (WireValue, obj.oid)

    def upgrade(self, obj: WireValue, format: PyFormat) -> _WireDumper:  # noqa: A002, ARG002
        dumper = _WireDumper(WireValue, self._context)
        dumper.oid = obj.oid
        return dumper

    def __init__(self, cls: type, context: AdaptContext | None = None) -> None:
        super().__init__(cls, context)
        self._context = context


class _BytesLoader(Loader):
    """Hands a value on as it came; vectors.decoder() knows what it means, for it knows the field."""

    format = pq.Format.BINARY
    load = staticmethod(bytes)  # type: ignore[assignment]  # without Python in between


class _JsonbLoader(Loader):
    """A document, after the number of the format's version; the server has made the text, without space around it.

    json.loads() would look for its encoding first, and for space, which takes longer than a small document itself.
    """

    format = pq.Format.BINARY

    def load(self, data: Buffer) -> Any:
        if data[0] != _JSONB_VERSION:
            raise psycopg.DataError(f"unknown version of jsonb's binary format: {data[0]!r}")
        return _DECODE(str(data[1:], "utf-8"))[0]


class _TimestampLoader(Loader):
    """A time as an aware datetime in UTC, which no time zone of a session can push out of Python's range."""

    format = pq.Format.BINARY

    def load(self, data: Buffer) -> datetime:
        try:
            return _EPOCH + timedelta(microseconds=int.from_bytes(data, "big", signed=True))
        except OverflowError:
            raise psycopg.DataError("a time before year 1, after year 9999 or infinite") from None


def register(adapters: AdaptersMap, vector_oids: Mapping[str, int]) -> None:
    """Let WireValues be sent as they are, and vectors and times be read as this module's loaders do."""
    adapters.register_dumper(WireValue, _WireDumper)
    adapters.register_loader(_TIMESTAMPTZ_OID, _TimestampLoader)
    adapters.register_loader(_JSONB_OID, _JsonbLoader)
    for oid in (*vector_oids.values(), BIT_OID):
        adapters.register_loader(oid, _BytesLoader)


@dataclass(frozen=True, slots=True)
class Command:
    """One statement with its parameters, ready to be sent.

    at_once  prepare it where it comes for the first time, not only where it comes again
    """

    text: bytes
    oids: Sequence[int] = ()
    values: Sequence[Buffer | None] = ()
    formats: Sequence[int] = ()
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """A command but for the values of its blanks.

    binds  what its parameters were made of, in their order
    """

    text: bytes
    oids: tuple[int, ...]
    values: tuple[Buffer | None, ...]
    formats: tuple[int, ...]
    blanks: Mapping[str, int]
    binds: Sequence[BindParameter[Any] | None] = ()

    def with_values(self, places: Sequence[int], given: Template) -> Template:
        """The same with the parameters of another in these places."""
        oids, values, formats = list(self.oids), list(self.values), list(self.formats)
        for at, place in enumerate(places):
            oids[place], values[place], formats[place] = given.oids[at], given.values[at], given.formats[at]
        return Template(self.text, tuple(oids), tuple(values), tuple(formats), self.blanks)

    def filled(self, values: Mapping[str, WireValue]) -> Command:
        """The command with these values in the blanks of their names; a blank of no value stays NULL."""
        if not self.blanks:
            return Command(self.text, self.oids, self.values, self.formats)
        oids, data, formats = list(self.oids), list(self.values), list(self.formats)
        for name, place in self.blanks.items():
            value = values[name]
            oids[place], data[place], formats[place] = value.oid, value.data, _BINARY
        return Command(self.text, oids, data, formats)


@lru_cache(maxsize=16)
def numbered(dialect: Dialect) -> Dialect:
    """The same dialect, with parameters as the protocol numbers them, and percent signs that are no more than that."""
    numbering = copy.copy(dialect)
    numbering.paramstyle = "numeric_dollar"
    numbering.positional = True
    numbering.identifier_preparer = numbering.preparer(numbering)
    return numbering


def template(statement: ClauseElement, dialect: Dialect, context: AdaptContext, blanks: Sequence[str] = ()) -> Template:
    """A statement with its types' own conversions applied and IN lists spelled out.

    dialect  numbered()
    blanks   names of the bindparams whose values come with each run, as WireValues

    Raises InvalidArgument where there are more values than a statement takes.
    """
    rendered: SQLCompiler = statement.compile(dialect=dialect)  # type: ignore[assignment]
    expanded = rendered.construct_expanded_state()
    names = expanded.positiontup or ()
    if len(names) > _MAX_PARAMETERS:
        raise InvalidArgument(
            f"the condition has {len(names):,} values, PostgreSQL takes {_MAX_PARAMETERS:,}: compare with one "
            "array, column == any_(literal(values, ARRAY(...)))"
        )
    processors: dict[str, Callable[[Any], Any] | None] = dict(expanded.processors)
    for name, bind in rendered.binds.items():
        if name in expanded.parameters and name not in processors:
            processors[name] = bind.type.dialect_impl(dialect).bind_processor(dialect)
    values = []
    for name in names:
        processor, value = processors.get(name), expanded.parameters[name]
        values.append(value if processor is None else processor(value))
    transformer = Transformer(context)
    data = transformer.dump_sequence(values, [PyFormat.AUTO] * len(values))
    return Template(
        text=expanded.statement.encode(),
        oids=tuple(transformer.types or ()),
        values=tuple(data),
        formats=tuple(transformer.formats or ()),
        blanks={name: place for place, name in enumerate(names) if name in blanks},
        binds=[rendered.binds.get(name) for name in names],
    )
