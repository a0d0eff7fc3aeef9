"""A small collection to test on."""

from __future__ import annotations

from vecstore import DataType, Field

BOOK_FIELDS = (
    Field("id", DataType.INT64, primary_key=True),
    Field("title", DataType.VARCHAR, max_length=64),
    Field("year", DataType.INT32, nullable=True),
    Field("embedding", DataType.FLOAT_VECTOR, dim=4),
)


def book(key: int, **changes: object) -> dict[str, object]:
    """A book whose vector points its own way."""
    return {
        "id": key,
        "title": f"book {key}",
        "year": 1900 + key % 100,
        "embedding": [1.0, float(key), float(key % 7), 0.5],
        **changes,
    }
