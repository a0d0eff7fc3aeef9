"""FieldData: columns as clients send them, and as they are given back. Pure.

Requests are compact: a row without a value has a flag in `valid_data` and no value. In answers scalars have something
in every row, and vectors again only where there is one. Numbers of fixed width go from and to the message as the bytes
that they are on the wire: protobuf would make an object of Python's of each component of each vector.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus.grpc_gen import schema_pb2

from ..errors import InvalidData
from ..naming import DYNAMIC_FIELD
from ..schema import CollectionSchema, DataType, Field
from .schema import NUMBERS as WIRE_TYPES

Column = Sequence[Any] | NDArray[Any]

_SPARSE_ELEMENT = np.dtype([("index", "<u4"), ("value", "<f4")])
_DATA_TAG = b"\x0a"  # of `repeated float data = 1`, packed, and of its like


# What comes in


def columns_of(schema: CollectionSchema, fields_data: Iterable[schema_pb2.FieldData], rows: int) -> dict[str, Column]:
    """The columns of an insert, by field name; dynamic fields as one column of dicts, "$meta".

    A vector column is an array (rows, dim) where every row has one. Raises InvalidData for what no field could take,
    or where a column does not have as many rows as it is said to.
    """
    columns: dict[str, Column] = {}
    for data in fields_data:
        name = DYNAMIC_FIELD if data.is_dynamic else data.field_name
        field = schema.by_name.get(name)
        if name in columns:
            raise InvalidData(f"field {name!r} is there twice", field=name)
        if field is None and name != DYNAMIC_FIELD:
            raise InvalidData(f"field {name!r:.80} not exist in the collection's schema", field=name)
        column = _with_nulls(_values(data, name, None if field is None else field.dim), data.valid_data, name)
        if len(column) != rows:
            raise InvalidData(
                f"the num_rows ({len(column)}) of field ({name}) is not equal to passed num_rows ({rows})", field=name
            )
        is_time = field is not None and field.data_type is DataType.TIMESTAMPTZ and isinstance(column, list)
        columns[name] = list(map(_moment, column)) if is_time else column
    return columns


def _values(data: schema_pb2.FieldData, name: str, dim: int | None) -> Column:
    """The values that are there, one for each row that has one."""
    kind = data.WhichOneof("field")
    if kind is None:
        return []
    if kind == "struct_arrays":
        raise InvalidData(f"field {name!r}: arrays of structs are not supported", field=name)
    part = data.scalars if kind == "scalars" else data.vectors
    which = part.WhichOneof("data")
    if which is None:
        return []
    try:
        if kind == "scalars":
            return _scalars(which, getattr(part, which))
        return _vectors(which, part, dim)
    except (ValueError, RecursionError) as exc:
        raise InvalidData(f"field {name!r}: {exc}", field=name) from None


def _with_nulls(values: Column, valid: Sequence[bool], name: str) -> Column:
    """A value, or None, for each row; whoever sends a value in every row, to be ignored, is understood as well."""
    if not valid or (all(valid) and len(valid) == len(values)):
        return values
    if len(values) == sum(valid):
        present = iter(_items(values))
        return [next(present) if there else None for there in valid]
    if len(values) == len(valid):
        return [value if there else None for value, there in zip(_items(values), valid, strict=True)]
    raise InvalidData(
        f"field {name!r}: {len(values)} values, and valid_data gives one to {sum(valid)} of {len(valid)} rows",
        field=name,
    )


def _items(values: Column) -> Sequence[Any]:
    """The values of rows: Python's own, or one-dimensional arrays where they are vectors."""
    return values.tolist() if isinstance(values, np.ndarray) and values.ndim == 1 else list(values)


def floats_of(message: schema_pb2.FloatArray) -> NDArray[np.float32]:
    return _unpacked(message, "<f4").astype(np.float32, copy=False)


def _unpacked(message: schema_pb2.FloatArray | schema_pb2.DoubleArray, wire: str) -> NDArray[Any]:
    """The numbers of a message that holds nothing but `repeated float data = 1`, or doubles."""
    count = len(message.data)
    message.DiscardUnknownFields()
    encoded = message.SerializeToString()
    return np.frombuffer(encoded, wire, count, len(encoded) - count * np.dtype(wire).itemsize)


def _moment(value: Any) -> Any:
    """A time; without a zone it is UTC, as Milvus has it where the collection does not say otherwise."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return value  # None, or what the library will refuse
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else value


def _arrays(message: schema_pb2.ArrayArray) -> list[list[Any]]:
    return [_elements(cell) for cell in message.data]


def _elements(cell: schema_pb2.ScalarField) -> list[Any]:
    which = cell.WhichOneof("data")
    return [] if which is None else list(getattr(cell, which).data)


def documents(texts: Iterable[bytes]) -> list[Any]:
    """JSON documents; raises ValueError or RecursionError."""
    return [json.loads(text) for text in texts]


_SCALARS: Mapping[str, Callable[[Any], Column]] = {
    "bool_data": lambda message: np.fromiter(message.data, np.bool_, len(message.data)),
    "int_data": lambda message: np.fromiter(message.data, np.int64, len(message.data)),
    "long_data": lambda message: np.fromiter(message.data, np.int64, len(message.data)),
    "float_data": floats_of,
    "double_data": lambda message: _unpacked(message, "<f8"),
    "string_data": lambda message: list(message.data),
    "array_data": _arrays,
    "json_data": lambda message: documents(message.data),
    "timestamptz_data": lambda message: np.fromiter(message.data, np.int64, len(message.data)).astype("M8[us]"),
}


def _scalars(which: str, found: Any) -> Column:
    if which not in _SCALARS:
        raise ValueError(f"{which} is not supported")
    return _SCALARS[which](found)


def _vectors(which: str, vectors: schema_pb2.VectorField, dim: int | None) -> Column:
    if which == "sparse_float_vector":
        return [sparse_of(row) for row in vectors.sparse_float_vector.contents]
    if which not in NUMBERS:
        raise ValueError(f"{which} is not supported")
    if vectors.dim not in {0, dim}:
        raise ValueError(f"the dim ({vectors.dim}) of the vectors is not equal to schema dim ({dim})")
    found = getattr(vectors, which)
    numbers = floats_of(found) if which == "float_vector" else NUMBERS[which](found)
    return _rows(numbers, (dim or 0) // 8 if which == "binary_vector" else dim or 0)


def _rows(numbers: NDArray[Any], width: int) -> NDArray[Any]:
    if width < 1 or len(numbers) % width:
        raise ValueError(f"{len(numbers):,} components are no vectors of {width:,} each")
    return numbers.reshape(-1, width)


def _bfloats(data: bytes) -> NDArray[np.float32]:
    high: NDArray[np.uint32] = np.frombuffer(data, "<u2").astype(np.uint32) << np.uint32(16)
    return high.view(np.float32)


NUMBERS: Mapping[str, Callable[[bytes], NDArray[Any]]] = {
    "float_vector": lambda data: np.frombuffer(data, "<f4").astype(np.float32, copy=False),
    "binary_vector": lambda data: np.frombuffer(data, np.uint8),
    "float16_vector": lambda data: np.frombuffer(data, "<f2").astype(np.float16, copy=False),
    "bfloat16_vector": _bfloats,
    "int8_vector": lambda data: np.frombuffer(data, np.int8),
}
"""The components of vectors that are bytes, one vector after the other; eight of a BINARY_VECTOR are one number."""


def sparse_of(row: bytes) -> dict[int, float]:
    """A sparse vector; raises ValueError where the bytes are no whole number of elements, or one is there twice."""
    elements = np.frombuffer(row, _SPARSE_ELEMENT)
    vector = dict(zip(elements["index"].tolist(), elements["value"].tolist(), strict=True))
    if len(vector) != len(elements):
        raise ValueError("an index of a sparse vector stands there twice")
    return vector


# What goes out


def field_data(field: Field, values: Sequence[Any], *, zone: tzinfo = UTC) -> schema_pb2.FieldData:
    """The values of a field, as the library gives them, one a row.

    zone  in which times are told
    """
    if not field.data_type.is_vector and field.data_type is not DataType.ARRAY:
        return scalar_data(field.name, field.data_type, values, nullable=field.nullable, zone=zone)
    data = _column(field.name, field.data_type, values, nullable=field.nullable)
    if field.data_type is DataType.ARRAY:
        _write_arrays(data.scalars.array_data, field.element_type or DataType.INT64, values)
    else:
        _write_vectors(data.vectors, field, [value for value in values if value is not None])
    return data


def scalar_data(
    name: str, kind: DataType, values: Sequence[Any], *, nullable: bool = False, zone: tzinfo = UTC
) -> schema_pb2.FieldData:
    """A column of one value a row, whatever it is called."""
    data = _column(name, kind, values, nullable=nullable)
    slot = _SLOTS[kind]
    filler = _FILLERS.get(slot, 0)
    if kind is DataType.JSON:
        values = [None if value is None else document(value) for value in values]
    elif kind is DataType.TIMESTAMPTZ:
        values = [None if value is None else told(value, zone) for value in values]
    column = getattr(data.scalars, slot)
    column.SetInParent()
    column.data.extend([filler if value is None else value for value in values])
    return data


def _column(name: str, kind: DataType, values: Sequence[Any], *, nullable: bool) -> schema_pb2.FieldData:
    data = schema_pb2.FieldData(type=WIRE_TYPES[kind], field_name=name)
    if nullable or any(value is None for value in values):
        data.valid_data.extend([value is not None for value in values])
    return data


def dynamic_data(values: Iterable[Mapping[str, Any]]) -> schema_pb2.FieldData:
    """The dynamic fields of each row, as one column of JSON."""
    data = schema_pb2.FieldData(type=schema_pb2.DataType.JSON, field_name=DYNAMIC_FIELD, is_dynamic=True)
    data.scalars.json_data.data.extend(map(document, values))
    data.scalars.json_data.SetInParent()
    return data


def document(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def told(moment: datetime, zone: tzinfo) -> str:
    text = moment.astimezone(zone).isoformat()
    return f"{text.removesuffix('+00:00')}Z" if text.endswith("+00:00") else text


_SLOTS: Mapping[DataType, str] = {
    DataType.BOOL: "bool_data",
    **dict.fromkeys((DataType.INT8, DataType.INT16, DataType.INT32), "int_data"),
    DataType.INT64: "long_data",
    DataType.FLOAT: "float_data",
    DataType.DOUBLE: "double_data",
    **dict.fromkeys((DataType.VARCHAR, DataType.TEXT, DataType.TIMESTAMPTZ), "string_data"),
    DataType.JSON: "json_data",
}
_FILLERS: Mapping[str, Any] = {"bool_data": False, "string_data": "", "json_data": b"null"}


def _write_arrays(arrays: schema_pb2.ArrayArray, element_type: DataType, values: Sequence[Any]) -> None:
    arrays.element_type = WIRE_TYPES[element_type]
    for value in values:
        slot = getattr(arrays.data.add(), _SLOTS[element_type])
        slot.SetInParent()
        slot.data.extend(value or ())


def _write_vectors(vectors: schema_pb2.VectorField, field: Field, present: Sequence[Any]) -> None:
    if field.data_type is DataType.SPARSE_FLOAT_VECTOR:
        vectors.dim = max((max(vector, default=-1) for vector in present), default=-1) + 1
        vectors.sparse_float_vector.dim = vectors.dim
        vectors.sparse_float_vector.contents.extend(map(_sparse_bytes, present))
        return
    vectors.dim = field.dim or 0
    if field.data_type is DataType.FLOAT_VECTOR:
        encoded = _joined(present, "<f4")
        vectors.float_vector.SetInParent()
        if encoded:
            vectors.float_vector.MergeFromString(_DATA_TAG + _varint(len(encoded)) + encoded)
    elif field.data_type is DataType.FLOAT16_VECTOR:
        vectors.float16_vector = _joined(present, "<f2")
    elif field.data_type is DataType.BFLOAT16_VECTOR:
        bits = np.frombuffer(_joined(present, "<f4"), "<u4")
        vectors.bfloat16_vector = (bits >> 16).astype("<u2").tobytes()
    elif field.data_type is DataType.INT8_VECTOR:
        vectors.int8_vector = _joined(present, "i1")
    else:
        vectors.binary_vector = b"".join(present)


def _joined(present: Sequence[NDArray[Any]], wire: str) -> bytes:
    return b"".join([vector.astype(wire, copy=False).tobytes() for vector in present])


def _sparse_bytes(vector: Mapping[int, float]) -> bytes:
    elements = np.empty(len(vector), _SPARSE_ELEMENT)
    elements["index"] = list(vector)
    elements["value"] = list(vector.values())
    return np.sort(elements, order="index").tobytes()


def _varint(number: int) -> bytes:
    """A length as protobuf writes it: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while number > 0x7F:  # noqa: PLR2004
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
