"""What a collection is declared with: data types, fields, metrics, index specifications. Frozen values, no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from .errors import FieldNotFound, InvalidArgument, InvalidSchema
from .naming import check_field_name, check_text, words_column

MAX_FIELDS = 1_000  # PostgreSQL's 1,600 columns less room for fields that are dropped and added again
MAX_VARCHAR_BYTES = 65_535
MAX_ARRAY_CAPACITY = 4_096
MAX_PARTITIONS = 1_024
MAX_SPARSE_DIM = 1_000_000_000
MAX_SPARSE_NONZERO = 16_000


class DataType(StrEnum):
    """Milvus's data types; DESIGN's type map says what each is in PostgreSQL (`tables.py`)."""

    BOOL = "BOOL"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FLOAT = "FLOAT"
    DOUBLE = "DOUBLE"
    VARCHAR = "VARCHAR"
    TEXT = "TEXT"
    JSON = "JSON"
    ARRAY = "ARRAY"
    TIMESTAMPTZ = "TIMESTAMPTZ"
    FLOAT_VECTOR = "FLOAT_VECTOR"
    FLOAT16_VECTOR = "FLOAT16_VECTOR"
    BFLOAT16_VECTOR = "BFLOAT16_VECTOR"
    INT8_VECTOR = "INT8_VECTOR"
    BINARY_VECTOR = "BINARY_VECTOR"
    SPARSE_FLOAT_VECTOR = "SPARSE_FLOAT_VECTOR"

    @property
    def is_vector(self) -> bool:
        return self.value.endswith("_VECTOR")


class Metric(StrEnum):
    """How near two vectors are, in Milvus's conventions.

    L2 is the squared Euclidean distance; it, HAMMING and JACCARD are smaller for nearer vectors.
    IP (inner product) and COSINE are similarities, larger for nearer vectors.
    """

    L2 = "L2"
    IP = "IP"
    COSINE = "COSINE"
    HAMMING = "HAMMING"
    JACCARD = "JACCARD"


INTEGER_BITS: Mapping[DataType, int] = {
    DataType.INT8: 8,
    DataType.INT16: 16,
    DataType.INT32: 32,
    DataType.INT64: 64,
}

ELEMENT_TYPES = frozenset(
    {*INTEGER_BITS, DataType.BOOL, DataType.FLOAT, DataType.DOUBLE, DataType.VARCHAR},
)

# The most dimensions a column of the type takes.
MAX_DIM: Mapping[DataType, int] = {
    DataType.FLOAT_VECTOR: 16_000,
    DataType.FLOAT16_VECTOR: 16_000,
    DataType.BFLOAT16_VECTOR: 16_000,
    DataType.INT8_VECTOR: 16_000,
    DataType.BINARY_VECTOR: 262_144,
    DataType.SPARSE_FLOAT_VECTOR: MAX_SPARSE_DIM,
}

# The most dimensions that pgvector indexes: a row of the index must fit on a page of 8 kB.
MAX_INDEXED_DIM: Mapping[DataType, int] = {
    DataType.FLOAT_VECTOR: 4_000,
    DataType.FLOAT16_VECTOR: 4_000,
    DataType.BFLOAT16_VECTOR: 4_000,
    DataType.INT8_VECTOR: 4_000,
    DataType.BINARY_VECTOR: 64_000,
    DataType.SPARSE_FLOAT_VECTOR: MAX_SPARSE_DIM,
}

# With more dimensions, the index holds vectors of these types in half precision.
_MAX_SINGLE_PRECISION_DIM = 2_000
_SINGLE_PRECISION = frozenset({DataType.FLOAT_VECTOR, DataType.BFLOAT16_VECTOR})

_REAL_METRICS = (Metric.COSINE, Metric.L2, Metric.IP)
_BIT_METRICS = (Metric.HAMMING, Metric.JACCARD)

TEXTS = frozenset({DataType.VARCHAR, DataType.TEXT})
_CONFIGURATION = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]{0,62}\.)?[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)


def metrics_of(data_type: DataType) -> tuple[Metric, ...]:
    """The metrics that a vector type has, the one taken by default first."""
    if data_type is DataType.BINARY_VECTOR:
        return _BIT_METRICS
    if data_type is DataType.SPARSE_FLOAT_VECTOR:
        return (Metric.IP, Metric.L2, Metric.COSINE)
    return _REAL_METRICS if data_type.is_vector else ()


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a collection: a typed column.

    dim             vectors: the number of dimensions; SPARSE_FLOAT_VECTOR: optional, 1,000,000,000 if left out
    max_length      VARCHAR, and ARRAY of VARCHAR: bytes of UTF-8, as Milvus counts
    element_type    ARRAY
    max_capacity    ARRAY: the most elements
    auto_id         primary key: ids are drawn from a sequence
    nullable        None is a value; a vector that is None is found by no search
    default_value   taken where the input has no value or None; scalars and strings only
    partition_key   rows are spread over hash partitions by this field; INT64 or VARCHAR
    text_search     VARCHAR and TEXT: the text search configuration of PostgreSQL that text_match() and phrase_match()
                    use, `english`, or `schema.name` for one that is not PostgreSQL's own; `simple` if left out
    bm25            VARCHAR and TEXT: search_text() ranks by BM25. The words of each text are kept for it beside the
                    text, in a column `<name>_words` that PostgreSQL fills; text_match() and Gin() use it, too

    Raises InvalidName or InvalidSchema.
    """

    name: str
    data_type: DataType
    primary_key: bool = field(default=False, kw_only=True)
    auto_id: bool = field(default=False, kw_only=True)
    dim: int | None = field(default=None, kw_only=True)
    max_length: int | None = field(default=None, kw_only=True)
    element_type: DataType | None = field(default=None, kw_only=True)
    max_capacity: int | None = field(default=None, kw_only=True)
    nullable: bool = field(default=False, kw_only=True)
    default_value: Any = field(default=None, kw_only=True)
    partition_key: bool = field(default=False, kw_only=True)
    text_search: str | None = field(default=None, kw_only=True)
    bm25: bool = field(default=False, kw_only=True)
    description: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        check_field_name(self.name)
        for attribute in ("data_type", "element_type"):
            self._make_data_type(attribute)
        self._check_size()
        self._check_keys()
        self._check_text_search()
        if self.default_value is not None and (
            self.data_type.is_vector or self.data_type in {DataType.JSON, DataType.ARRAY} or self.primary_key
        ):
            raise self._wrong("has no default value: only scalar and string fields that are no key can have one")
        check_text(self.description, f"the description of field {self.name!r}", InvalidSchema)

    def _make_data_type(self, attribute: str) -> None:
        value = getattr(self, attribute)
        if value is None and attribute == "element_type":
            return
        try:
            object.__setattr__(self, attribute, DataType(value))
        except ValueError:
            raise self._wrong(f"{attribute} {value!r} is not one of {', '.join(DataType)}") from None

    def _wrong(self, why: str) -> InvalidSchema:
        return InvalidSchema(f"field {self.name!r}: {why}")

    def _check_size(self) -> None:
        kind = self.data_type
        if kind is DataType.SPARSE_FLOAT_VECTOR and self.dim is None:
            object.__setattr__(self, "dim", MAX_SPARSE_DIM)
        has_text = DataType.VARCHAR in (kind, self.element_type)
        self._check_range("dim", needed=kind.is_vector, most=MAX_DIM.get(kind, 0))
        self._check_range("max_length", needed=has_text, most=MAX_VARCHAR_BYTES)
        self._check_range("max_capacity", needed=kind is DataType.ARRAY, most=MAX_ARRAY_CAPACITY)
        if kind is DataType.BINARY_VECTOR and self.dim is not None and self.dim % 8:
            raise self._wrong(f"dim of a BINARY_VECTOR must be a multiple of 8, not {self.dim}")
        if kind is DataType.ARRAY and self.element_type not in ELEMENT_TYPES:
            known = ", ".join(sorted(ELEMENT_TYPES))
            raise self._wrong(f"an ARRAY needs an element_type, one of {known}; got {self.element_type}")
        if kind is not DataType.ARRAY and self.element_type is not None:
            raise self._wrong(f"element_type belongs to ARRAY, not to {kind}")

    def _check_range(self, attribute: str, *, needed: bool, most: int) -> None:
        value = getattr(self, attribute)
        if not needed:
            if value is not None:
                raise self._wrong(f"{attribute} does not belong to {self.data_type}")
        elif type(value) is not int or not 1 <= value <= most:
            raise self._wrong(f"{self.data_type} needs {attribute} from 1 to {most:,}, got {value!r}")

    def _check_keys(self) -> None:
        is_key_type = self.data_type in {DataType.INT64, DataType.VARCHAR}
        if self.primary_key and (not is_key_type or self.nullable):
            raise self._wrong("a primary key is INT64 or VARCHAR and never nullable")
        if self.auto_id and not self.primary_key:
            raise self._wrong("auto_id belongs to the primary key")
        if self.partition_key and (not is_key_type or self.nullable or self.primary_key):
            raise self._wrong("a partition key is INT64 or VARCHAR, never nullable and not the primary key")

    def _check_text_search(self) -> None:
        if self.bm25 and self.data_type not in TEXTS:
            raise self._wrong(f"bm25 belongs to VARCHAR and TEXT, not to {self.data_type}")
        name = self.text_search
        if name is None:
            return
        if self.data_type not in TEXTS:
            raise self._wrong(f"text_search belongs to VARCHAR and TEXT, not to {self.data_type}")
        if not isinstance(name, str) or not _CONFIGURATION.fullmatch(name):
            raise self._wrong(
                f"text_search is the name of a text search configuration, 'english' or 'schema.name', not {name!r:.80}"
            )

    @property
    def indexed_in_half_precision(self) -> bool:
        """Whether an index can hold the vectors in half precision only: in single they do not fit on a page of it."""
        return self.data_type in _SINGLE_PRECISION and (self.dim or 0) > _MAX_SINGLE_PRECISION_DIM


def checked_properties(properties: object) -> dict[str, str]:
    """Free text pairs, copied; raises InvalidSchema for anything else."""
    try:
        pairs: dict[str, str] = dict(properties)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise InvalidSchema(f"properties must be a dict of str, got a {type(properties).__name__}") from None
    for name, value in pairs.items():
        check_text(name, "the name of a property", InvalidSchema)
        check_text(value, f"property {name!r}", InvalidSchema)
    return pairs


@dataclass(frozen=True)
class CollectionSchema:
    """The declaration of a collection: its fields in order, and what belongs to the whole.

    dynamic         rows may carry keys beside the fields; they are kept as JSON
    properties      free text pairs that travel with the collection
    num_partitions  with a partition key: how many hash partitions; ignored without one

    Raises InvalidSchema.
    """

    fields: tuple[Field, ...]
    dynamic: bool = False
    description: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)
    num_partitions: int = 16

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "fields", tuple(self.fields))
        except TypeError:
            raise InvalidSchema(f"fields must be a list of Field, got a {type(self.fields).__name__}") from None
        object.__setattr__(self, "properties", checked_properties(self.properties))
        if not all(isinstance(field, Field) for field in self.fields):
            raise InvalidSchema("fields must be a list of Field, made by vecstore.Field(name, data_type, ...)")
        names = [field.name for field in self.fields]
        if len(set(names)) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise InvalidSchema(f"field declared twice: {', '.join(map(repr, twice))}")
        if len(names) > MAX_FIELDS:
            raise InvalidSchema(f"{len(names):,} fields, at most {MAX_FIELDS:,}")
        kept = [name for field in self.fields if field.bm25 and (name := words_column(field.name)) in names]
        if kept:
            raise InvalidSchema(f"a field cannot be called {kept[0]!r}: bm25 keeps the words of another in that column")
        keys = [field.name for field in self.fields if field.primary_key]
        if len(keys) != 1:
            raise InvalidSchema(f"a collection has exactly one primary key, got {keys or 'none'}")
        if sum(field.partition_key for field in self.fields) > 1:
            raise InvalidSchema("a collection has at most one partition key")
        if type(self.num_partitions) is not int or not 1 <= self.num_partitions <= MAX_PARTITIONS:
            raise InvalidSchema(f"num_partitions must be from 1 to {MAX_PARTITIONS:,}, got {self.num_partitions!r}")
        check_text(self.description, "the description", InvalidSchema)

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        return {field.name: field for field in self.fields}

    @cached_property
    def primary_key(self) -> Field:
        return next(field for field in self.fields if field.primary_key)

    @cached_property
    def partition_key(self) -> Field | None:
        return next((field for field in self.fields if field.partition_key), None)

    @cached_property
    def vector_fields(self) -> tuple[Field, ...]:
        return tuple(field for field in self.fields if field.data_type.is_vector)

    def field(self, name: str) -> Field:
        """The field of this name; raises FieldNotFound with the names there are."""
        try:
            return self.by_name[name]
        except (KeyError, TypeError):
            raise FieldNotFound(f"no field {name!r}; fields: {', '.join(self.by_name)}") from None

    def vector_field(self, name: str | None) -> Field:
        """The vector field of this name, or the only one; raises FieldNotFound or InvalidArgument."""
        if name is None:
            if len(self.vector_fields) == 1:
                return self.vector_fields[0]
            names = ", ".join(field.name for field in self.vector_fields) or "none"
            raise InvalidArgument(f"say which vector field is meant, field=...; vector fields: {names}")
        chosen = self.field(name)
        if not chosen.data_type.is_vector:
            raise InvalidArgument(f"field {name!r} is {chosen.data_type}, not a vector")
        return chosen


def _check_option(spec: object, name: str, least: int, most: int) -> None:
    value = getattr(spec, name)
    if type(value) is not int or not least <= value <= most:
        raise InvalidArgument(f"{type(spec).__name__}: {name} must be from {least} to {most:,}, got {value!r}")


@dataclass(frozen=True, slots=True)
class Hnsw:
    """A graph index (Malkov and Yashunin, https://arxiv.org/abs/1603.09320): the one to take.

    m                edges a node, 2 to 100
    ef_construction  candidates while building, 4 to 1,000 and at least 2 * m
    """

    metric: Metric = Metric.COSINE
    m: int = 16
    ef_construction: int = 64

    def __post_init__(self) -> None:
        object.__setattr__(self, "metric", _metric(self.metric))
        _check_option(self, "m", 2, 100)
        _check_option(self, "ef_construction", 4, 1000)
        if self.ef_construction < 2 * self.m:
            raise InvalidArgument(
                f"Hnsw: ef_construction must be at least 2 * m = {2 * self.m}, got {self.ef_construction}"
            )


@dataclass(frozen=True, slots=True)
class IvfFlat:
    """An inverted-file index: quicker to build than HNSW, and to be built after the data are there.

    lists  clusters, 1 to 32,768; pgvector advises rows / 1,000, and the square root of the rows over a million
    """

    metric: Metric = Metric.COSINE
    lists: int = 100

    def __post_init__(self) -> None:
        object.__setattr__(self, "metric", _metric(self.metric))
        _check_option(self, "lists", 1, 32_768)


_CASTS = (DataType.VARCHAR, DataType.DOUBLE, DataType.BOOL)


@dataclass(frozen=True, slots=True)
class Btree:
    """An ordered index on a scalar field, or on a place in a JSON field: equality, ranges, and `like 'A%'`.

    cast  JSON: what the place is compared with, VARCHAR, DOUBLE (every number, exactly) or BOOL; values of another type
          are not found through the index, as no filter finds them

    Strings are in the order of their bytes, which is the filters'.
    """

    cast: DataType | None = None

    def __post_init__(self) -> None:
        if self.cast is not None and self.cast not in _CASTS:
            raise InvalidArgument(f"Btree: cast must be one of {', '.join(_CASTS)}, got {self.cast!r}")
        object.__setattr__(self, "cast", None if self.cast is None else DataType(self.cast))


@dataclass(frozen=True, slots=True)
class Gin:
    """An inverted index: containment in a JSON or ARRAY field, text_match() and phrase_match() in a VARCHAR or TEXT."""


VectorIndex = Hnsw | IvfFlat
ScalarIndex = Btree | Gin
IndexSpec = VectorIndex | ScalarIndex


def _metric(value: object) -> Metric:
    try:
        return Metric(value)  # type: ignore[arg-type]
    except ValueError:
        raise InvalidArgument(f"metric {value!r} is not one of {', '.join(Metric)}") from None


def check_index(spec: IndexSpec, field: Field) -> None:
    """Raise InvalidArgument unless PostgreSQL can index the field so."""
    kind, name = field.data_type, type(spec).__name__
    if kind is DataType.JSON:
        check_json_index(spec, field.name, is_whole=True)
        return
    _check_spec(spec)
    if isinstance(spec, Hnsw | IvfFlat):
        _check_vector_index(spec, field)
    elif kind.is_vector:
        raise InvalidArgument(f"{name} does not index vectors, and field {field.name!r} is {kind}: use Hnsw or IvfFlat")
    elif isinstance(spec, Btree) and kind is DataType.ARRAY:
        raise InvalidArgument(f"Btree does not index {kind}, the type of field {field.name!r}: use Gin")
    elif isinstance(spec, Btree) and spec.cast is not None:
        raise InvalidArgument(f"cast belongs to a place in JSON, and field {field.name!r} is {kind}: use Btree()")
    elif isinstance(spec, Gin) and kind not in {DataType.ARRAY, *TEXTS}:
        raise InvalidArgument(
            f"Gin indexes JSON, ARRAY, VARCHAR and TEXT, and field {field.name!r} is {kind}: use Btree"
        )


def check_json_index(spec: IndexSpec, path: str, *, is_whole: bool) -> None:
    """Raise InvalidArgument unless PostgreSQL can index JSON so: a column as a whole, or the place of a path in it."""
    _check_spec(spec)
    if isinstance(spec, Hnsw | IvfFlat):
        raise InvalidArgument(f"{type(spec).__name__} indexes vectors, and {path!r} is JSON: use Btree or Gin")
    if isinstance(spec, Btree) and spec.cast is None:
        use = "use Gin, or Btree(cast=...) on a place in it" if is_whole else "say as what, Btree(cast=...)"
        raise InvalidArgument(f"Btree does not index JSON, which {path!r} is: {use}; casts: {', '.join(_CASTS)}")
    if isinstance(spec, Gin) and not is_whole:
        raise InvalidArgument(f"Gin indexes a JSON field as a whole, not {path!r}, a place in one: use Btree(cast=...)")


def _check_spec(spec: object) -> None:
    if not isinstance(spec, IndexSpec):
        raise InvalidArgument(f"an index is Hnsw, IvfFlat, Btree or Gin, not {spec!r}")


def _check_vector_index(spec: VectorIndex, field: Field) -> None:
    kind, name = field.data_type, type(spec).__name__
    if not kind.is_vector:
        raise InvalidArgument(f"{name} indexes vectors, and field {field.name!r} is {kind}: use Btree or Gin")
    if spec.metric not in metrics_of(kind):
        known = ", ".join(metrics_of(kind))
        raise InvalidArgument(f"field {field.name!r} is {kind}: metric {spec.metric} is not one of {known}")
    most = MAX_INDEXED_DIM[kind]
    if field.dim is not None and field.dim > most:
        raise InvalidArgument(
            f"field {field.name!r} has {field.dim:,} dimensions, pgvector indexes at most {most:,} of {kind}: search "
            "without an index, which is exact, or keep vectors of fewer dimensions"
        )
    if isinstance(spec, IvfFlat) and kind is DataType.SPARSE_FLOAT_VECTOR:
        raise InvalidArgument(f"IvfFlat does not index {kind}, the type of field {field.name!r}: use Hnsw")
    if isinstance(spec, IvfFlat) and spec.metric is Metric.JACCARD:
        raise InvalidArgument(f"IvfFlat does not know JACCARD (field {field.name!r}): use Hnsw")
