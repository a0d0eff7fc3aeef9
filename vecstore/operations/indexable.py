"""Whether the rows that there are can be held by an index, each of them found by it."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Float, Table, and_, any_, cast, func, literal, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, REAL

from .. import tables
from ..database import Database
from ..description import CollectionDescription
from ..errors import InvalidData
from ..indexing import Indexed
from ..schema import Field, Hnsw, IvfFlat, Metric
from ..tables import OPERATORS, half_precision, qualified_operator


class IndexQualityWarning(UserWarning):
    """An index was built that searches will gain little from."""


_SHOWN_KEYS = 5
_BEYOND_HALF_PRECISION = 65_520.0  # the least number that is rounded to infinity
_SURELY_WITHIN = 4.2e9  # a little less than its square


def check_rows(database: Database, connection: Connection, description: CollectionDescription, target: Indexed) -> None:
    """Refuse rows that the index could not hold or would silently leave out; warn of clusters that were not found."""
    field, spec = target.field, target.spec
    if field is None or not isinstance(spec, Hnsw | IvfFlat):
        return
    table = tables.table_of(description, database.facts.extension_schema)
    vectors = _Vectors(connection, description, table, field, database.facts.extension_schema)
    if field.indexed_in_half_precision:
        vectors.check_range()
    if spec.metric is Metric.COSINE:
        vectors.check_directions()
    if isinstance(spec, IvfFlat):
        some = select(literal(1)).select_from(table).limit(spec.lists).subquery()
        rows = connection.execute(select(func.count()).select_from(some)).scalar_one()
        if rows < spec.lists:
            warnings.warn(
                f"IvfFlat on {field.name!r} of {description.name!r}: {rows:,} rows for {spec.lists:,} lists; its "
                "clusters are found when it is built, so load the data first, or drop and create it again after",
                IndexQualityWarning,
                stacklevel=2,
            )


@dataclass(frozen=True, slots=True)
class _Vectors:
    """The vectors that are to be indexed."""

    connection: Connection
    description: CollectionDescription
    table: Table
    field: Field
    extension_schema: str

    @property
    def _column(self) -> ColumnElement[Any]:
        return self.table.c[self.field.name]

    def _to_itself(self, vector: ColumnElement[Any], metric: Metric) -> ColumnElement[float]:
        operator = qualified_operator(OPERATORS[metric], self.extension_schema)
        itself: ColumnElement[float] = vector.op(operator, return_type=Float())(vector)
        return itself

    def check_range(self) -> None:
        """No number may be beyond half precision; most vectors are seen to have none from their length alone."""
        numbers = cast(self._column, ARRAY(REAL))
        self._refuse(
            and_(
                self._to_itself(self._column, Metric.IP) <= literal(-_SURELY_WITHIN),
                or_(
                    literal(_BEYOND_HALF_PRECISION, REAL) <= any_(numbers),
                    literal(-_BEYOND_HALF_PRECISION, REAL) >= any_(numbers),
                ),
            ),
            f"of {self.field.dim:,} dimensions, which is in half precision, while there are numbers beyond 65,504",
        )

    def check_directions(self) -> None:
        """A vector that is zero, or nearly, has no cosine distance even to itself: an index by COSINE leaves it out."""
        is_half, vector = self.field.indexed_in_half_precision, self._column
        indexed_as = half_precision(vector, self.field, self.extension_schema) if is_half else vector
        self._refuse(
            self._to_itself(indexed_as, Metric.COSINE) == literal(math.nan),
            f"by COSINE while there are vectors of length zero{' in half precision' if is_half else ''}, which have no "
            "direction",
        )

    def _refuse(self, condition: ColumnElement[bool], why: str) -> None:
        key = self.table.c[self.description.schema.primary_key.name]
        lost = self.connection.execute(select(key).where(condition).order_by(key).limit(_SHOWN_KEYS)).scalars().all()
        if lost:
            raise InvalidData(
                f"field {self.field.name!r} of collection {self.description.name!r}: no index {why}; "
                f"{key.name}: {', '.join(map(repr, lost))}",
                field=self.field.name,
            )
