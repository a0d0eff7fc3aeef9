"""Values refused, and the types that the modules of vectors share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecstore.errors import InvalidData
from vecstore.schema import Field

Array = NDArray[Any]
Nulls = NDArray[np.bool_] | None
Rows = slice | NDArray[np.intp]


class Fault(ValueError):
    """A value refused, before it is known by which field; `index` is its position among the values looked at."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(why)
        self.index = index
        self.why = why

    def named(self, field: Field, *, what: str = "row", row: int | None = None) -> InvalidData:
        """The error for the caller; `row` where the position in the input is not `index`."""
        place = self.index if row is None else row
        return InvalidData(f"field {field.name!r}, {what} {place}: {self.why}", field=field.name, row=place)


def check_unmasked(index: int, value: object) -> None:
    """A masked element has no value, and NumPy gives what stands behind the mask."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise Fault(index, "an array with masked elements")


def kind_of(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
