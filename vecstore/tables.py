"""A collection's declaration as a SQLAlchemy Table, with types and operators qualified by pgvector's schema. Pure.

Vector types, operators and operator classes are always written with the schema of the extension: a role that may
create objects could otherwise put its own `<->` before it in the search path.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import pgvector.sqlalchemy as pgvector_types
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    DateTime,
    Double,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Sequence,
    SmallInteger,
    Table,
    Text,
    cast,
    func,
    literal,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, REAL, REGCLASS
from sqlalchemy.types import TypeEngine

from .description import CollectionDescription
from .naming import DYNAMIC_COLUMN, PARENT_TABLE, PARTITION_COLUMN, fitted
from .schema import CollectionSchema, DataType, Field, Metric
from .words import kept_words

_quote = postgresql.dialect().identifier_preparer.quote  # type: ignore[no-untyped-call]


def qualified_operator(operator: str, extension_schema: str) -> str:
    """An operator that no search path can replace, e.g. OPERATOR(public.<=>)."""
    return f"OPERATOR({_quote(extension_schema)}.{operator})"


class _QualifiedComparator:
    """Makes `books.c.embedding.cosine_distance(...)` name pgvector's own operator."""

    type: Any

    def op(self, opstring: str, *args: Any, **kwargs: Any) -> Any:
        qualified = qualified_operator(opstring, self.type.extension_schema)
        return super().op(qualified, *args, **kwargs)  # type: ignore[misc]


def _type_spec(name: str, extension_schema: str, dim: int | None) -> str:
    return f"{_quote(extension_schema)}.{name}({dim})"


class QualifiedVector(pgvector_types.VECTOR):
    """vector(dim), single precision."""

    cache_ok = True

    def __init__(self, dim: int, extension_schema: str) -> None:
        super().__init__(dim)
        self.extension_schema = extension_schema

    def get_col_spec(self, **_: Any) -> str:
        return _type_spec("vector", self.extension_schema, self.dim)

    class comparator_factory(_QualifiedComparator, pgvector_types.VECTOR.Comparator):  # noqa: N801 - SQLAlchemy's name
        pass


class QualifiedHalfvec(pgvector_types.HALFVEC):
    """halfvec(dim), half precision."""

    cache_ok = True

    def __init__(self, dim: int, extension_schema: str) -> None:
        super().__init__(dim)
        self.extension_schema = extension_schema

    def get_col_spec(self, **_: Any) -> str:
        return _type_spec("halfvec", self.extension_schema, self.dim)

    class comparator_factory(_QualifiedComparator, pgvector_types.HALFVEC.Comparator):  # noqa: N801 - SQLAlchemy's name
        pass


class QualifiedSparsevec(pgvector_types.SPARSEVEC):
    """sparsevec(dim)."""

    cache_ok = True

    def __init__(self, dim: int, extension_schema: str) -> None:
        super().__init__(dim)
        self.extension_schema = extension_schema

    def get_col_spec(self, **_: Any) -> str:
        return _type_spec("sparsevec", self.extension_schema, self.dim)

    class comparator_factory(_QualifiedComparator, pgvector_types.SPARSEVEC.Comparator):  # noqa: N801 - SQLAlchemy's name
        pass


class QualifiedBit(pgvector_types.BIT):
    """bit(dim): a type of PostgreSQL itself, whose distance operators are pgvector's."""

    cache_ok = True

    def __init__(self, dim: int, extension_schema: str) -> None:
        super().__init__(dim)
        self.extension_schema = extension_schema

    class comparator_factory(_QualifiedComparator, pgvector_types.BIT.Comparator):  # noqa: N801 - SQLAlchemy's name
        pass


# The pgvector (or PostgreSQL) type that stores each vector type.
VECTOR_STORAGE: Mapping[DataType, str] = {
    DataType.FLOAT_VECTOR: "vector",
    DataType.FLOAT16_VECTOR: "halfvec",
    DataType.BFLOAT16_VECTOR: "vector",
    DataType.INT8_VECTOR: "halfvec",
    DataType.BINARY_VECTOR: "bit",
    DataType.SPARSE_FLOAT_VECTOR: "sparsevec",
}

_VECTOR_TYPES: Mapping[str, Any] = {
    "vector": QualifiedVector,
    "halfvec": QualifiedHalfvec,
    "sparsevec": QualifiedSparsevec,
    "bit": QualifiedBit,
}

_SCALAR_TYPES: Mapping[DataType, TypeEngine[Any]] = {
    DataType.BOOL: Boolean(),
    DataType.INT8: SmallInteger(),
    DataType.INT16: SmallInteger(),
    DataType.INT32: Integer(),
    DataType.INT64: BigInteger(),
    DataType.FLOAT: REAL(),
    DataType.DOUBLE: Double(),
    DataType.VARCHAR: Text(),
    DataType.TEXT: Text(),
    DataType.JSON: JSONB(),
    DataType.TIMESTAMPTZ: DateTime(timezone=True),
}

# pgvector's operator for a metric; what it returns is turned into Milvus's score by search.py.
OPERATORS: Mapping[Metric, str] = {
    Metric.L2: "<->",
    Metric.IP: "<#>",
    Metric.COSINE: "<=>",
    Metric.HAMMING: "<~>",
    Metric.JACCARD: "<%>",
}

_OPERATOR_CLASS_SUFFIX: Mapping[Metric, str] = {
    Metric.L2: "l2_ops",
    Metric.IP: "ip_ops",
    Metric.COSINE: "cosine_ops",
    Metric.HAMMING: "hamming_ops",
    Metric.JACCARD: "jaccard_ops",
}


def operator_class(field: Field, metric: Metric) -> str:
    """The name of pgvector's operator class, e.g. vector_cosine_ops."""
    storage = "halfvec" if field.indexed_in_half_precision else VECTOR_STORAGE[field.data_type]
    return f"{storage}_{_OPERATOR_CLASS_SUFFIX[metric]}"


def metric_of_operator_class(name: str) -> Metric | None:
    """The metric that an operator class of pgvector orders by."""
    return next((metric for metric, suffix in _OPERATOR_CLASS_SUFFIX.items() if name.endswith(f"_{suffix}")), None)


def column_type(field: Field, extension_schema: str) -> TypeEngine[Any]:
    """The type of a field's column."""
    if field.data_type.is_vector:
        vector_type: TypeEngine[Any] = _VECTOR_TYPES[VECTOR_STORAGE[field.data_type]](field.dim, extension_schema)
        return vector_type
    if field.data_type is DataType.ARRAY:
        assert field.element_type is not None  # noqa: S101 - Field has checked it
        return ARRAY(_SCALAR_TYPES[field.element_type])
    return _SCALAR_TYPES[field.data_type]


def half_precision(column: ColumnElement[Any], field: Field, extension_schema: str) -> ColumnElement[Any]:
    """A vector in half precision: what an index on more than 2,000 dimensions is made of."""
    assert field.dim is not None  # noqa: S101 - Field has checked it
    return cast(column, QualifiedHalfvec(field.dim, extension_schema))


def _checks(field: Field) -> list[CheckConstraint]:
    """The constraints that keep plain SQL to the field's declaration, too."""
    column: ColumnElement[Any] = Column(field.name)
    if field.data_type is DataType.INT8:
        condition: ColumnElement[bool] = column.between(-128, 127)
    elif field.data_type is DataType.VARCHAR:
        condition = func.pg_catalog.octet_length(column) <= field.max_length
    elif field.data_type is DataType.ARRAY:
        condition = func.pg_catalog.cardinality(column) <= field.max_capacity
    else:
        return []
    return [CheckConstraint(condition, name=fitted(f"{field.name}_size"))]


def _default(field: Field, sequence: Sequence | None, extension_schema: str) -> ColumnElement[Any] | None:
    if sequence is not None:
        # Not next_value(), which names neither the schema nor the type: nextval(text) of others would be preferred.
        name = ".".join(map(_quote, (sequence.schema or "", sequence.name)))
        drawn: ColumnElement[Any] = func.pg_catalog.nextval(cast(literal(name), REGCLASS), type_=BigInteger())
        return drawn if field.data_type is DataType.INT64 else cast(drawn, Text)
    if field.default_value is None:
        return None
    return literal(field.default_value, column_type(field, extension_schema))


def id_sequence(schema_name: str, field: Field) -> Sequence:
    """The sequence that an auto_id primary key draws from."""
    return Sequence(fitted(f"{PARENT_TABLE}_{field.name}_seq"), schema=schema_name, metadata=MetaData())


def table_of(description: CollectionDescription, extension_schema: str) -> Table:
    """The table of a collection that is there."""
    return entities(description.name, description.schema, extension_schema=extension_schema)


def entities(schema_name: str, schema: CollectionSchema, *, extension_schema: str) -> Table:
    """The partitioned table of a collection: its fields, then `_meta` and `_partition` where they exist.

    The same declaration gives the same Table, so that columns taken at different times stand for one table in a
    statement.
    """
    return _entities(schema_name, schema.fields, schema.description, extension_schema, dynamic=schema.dynamic)


@lru_cache(maxsize=1024)
def _entities(
    schema_name: str, fields: tuple[Field, ...], description: str, extension_schema: str, *, dynamic: bool
) -> Table:
    columns: list[Any] = []
    for field in fields:
        sequence = id_sequence(schema_name, field) if field.auto_id else None
        columns.append(
            Column(
                field.name,
                column_type(field, extension_schema),
                nullable=field.nullable,
                server_default=_default(field, sequence, extension_schema),
                comment=field.description or None,
                autoincrement=False,
            )
        )
        columns.extend(_checks(field))
        if field.bm25:
            columns.append(kept_words(field))
    if dynamic:
        column = Column(DYNAMIC_COLUMN, JSONB(), nullable=False, server_default=text("'{}'::jsonb"))
        is_object = func.pg_catalog.jsonb_typeof(Column(DYNAMIC_COLUMN)) == literal("object")
        columns += [column, CheckConstraint(is_object, name=f"{DYNAMIC_COLUMN}_object")]
    primary_key = next(field.name for field in fields if field.primary_key)
    partition_key = next((field.name for field in fields if field.partition_key), None)
    if partition_key is None:
        columns.append(Column(PARTITION_COLUMN, Text(), nullable=False))
        method, key = "LIST", PARTITION_COLUMN
    else:
        method, key = "HASH", partition_key
    columns.append(PrimaryKeyConstraint(primary_key, key))
    return Table(
        PARENT_TABLE,
        MetaData(),
        *columns,
        schema=schema_name,
        comment=description or None,
        postgresql_partition_by=f"{method} ({_quote(key)})",
    )
