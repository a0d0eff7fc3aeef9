from __future__ import annotations

from collections.abc import Mapping

import pytest
from sqlalchemy import MetaData

from vecstore import (
    Btree,
    CollectionMetadata,
    DataType,
    Field,
    FieldNotFound,
    Hnsw,
    IndexDeclaration,
    InvalidArgument,
    InvalidName,
    InvalidSchema,
    Metric,
    VecstoreError,
)

FIELDS = (
    Field("id", DataType.INT64, primary_key=True),
    Field("meta", DataType.JSON, nullable=True),
    Field("embedding", DataType.FLOAT_VECTOR, dim=3),
)
KEYED = (*FIELDS, Field("tenant", DataType.INT64, partition_key=True))


def test_a_declaration_has_the_names_that_the_catalogue_will_have() -> None:
    books = CollectionMetadata().declare(
        "books",
        FIELDS,
        indexes=[
            IndexDeclaration("embedding", Hnsw()),
            IndexDeclaration("embedding", Hnsw(metric=Metric.L2)),
            IndexDeclaration('meta["lang"]', Btree(cast=DataType.VARCHAR)),
        ],
        partitions=["_default", "novel"],
    )
    assert [(index.field, index.name) for index in books.indexes] == [
        ("embedding", "embedding_idx"),
        ("embedding", "embedding_l2_idx"),
        ("meta['lang']", "meta_lang_idx"),
    ]
    assert books.partitions == ("novel",)
    assert books.aliases is None


def test_metadata_of_collections_has_no_tables() -> None:
    metadata = CollectionMetadata()
    books = metadata.declare("books", FIELDS)
    assert isinstance(metadata, MetaData)
    assert not metadata.tables
    assert metadata.collections == {"books": books}


WRONG: list[tuple[Mapping[str, object], type[VecstoreError], str]] = [
    ({"name": "no name"}, InvalidName, "invalid collection name"),
    ({"fields": FIELDS[1:]}, InvalidSchema, "exactly one primary key"),
    ({"fields": [*FIELDS, Field("n", DataType.INT8, default_value=999)]}, InvalidSchema, "default_value"),
    ({"indexes": [IndexDeclaration("nowhere", Hnsw())]}, FieldNotFound, "nowhere"),
    ({"indexes": [IndexDeclaration("embedding", Btree())]}, InvalidArgument, "does not index vectors"),
    ({"indexes": [("embedding", Hnsw())]}, InvalidArgument, "IndexDeclaration"),
    (
        {"indexes": [IndexDeclaration("embedding", Hnsw(), "x"), IndexDeclaration("embedding", Hnsw(m=4), "x")]},
        InvalidArgument,
        "two indexes",
    ),
    ({"partitions": "novel"}, InvalidArgument, "partitions must be a list of names"),
    ({"partitions": ["a b"]}, InvalidName, "invalid partition name"),
    ({"partitions": ["a", "a"]}, InvalidArgument, "names one twice"),
    ({"fields": KEYED, "partitions": ["a"]}, InvalidArgument, "partition key 'tenant'"),
    ({"aliases": ["pg_x"]}, InvalidName, "invalid alias name"),
    ({"aliases": ["films"]}, InvalidSchema, "'films' is declared already, as collection 'films'"),
    ({"aliases": ["movies"]}, InvalidSchema, "'movies' is declared already, as an alias of collection 'films'"),
    ({"name": "movies"}, InvalidSchema, "an alias of collection 'films'"),
    ({"aliases": ["books"]}, InvalidSchema, "'books' is declared already"),
]


@pytest.mark.parametrize(("wrong", "error", "said"), WRONG, ids=[said for *_, said in WRONG])
def test_what_cannot_be_is_refused_when_it_is_declared(
    wrong: Mapping[str, object], error: type[VecstoreError], said: str
) -> None:
    metadata = CollectionMetadata()
    metadata.declare("films", FIELDS, aliases=["movies"])
    with pytest.raises(error, match=said):
        metadata.declare(**{"name": "books", "fields": FIELDS, **wrong})
    assert list(metadata.collections) == ["films"]
