from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sqlalchemy import text

from samples import BOOK_FIELDS
from vecstore import (
    Btree,
    Collection,
    DataType,
    Field,
    FieldNotFound,
    Gin,
    Hnsw,
    IndexExists,
    IndexNotFound,
    IndexQualityWarning,
    InvalidArgument,
    InvalidName,
    InvalidSchema,
    IvfFlat,
    Metric,
    OperationRefused,
    Store,
)

Fill = Callable[..., None]


def test_an_index_has_a_name_a_field_a_specification_and_a_state(books: Collection) -> None:
    index = books.create_index("embedding", Hnsw(metric=Metric.L2, m=8, ef_construction=40))
    assert (index.name, index.field, index.state) == ("embedding_idx", "embedding", "ready")
    assert books.index("embedding_idx").spec == Hnsw(metric=Metric.L2, m=8, ef_construction=40)
    assert repr(index).startswith("<Index 'embedding_idx' on 'embedding' of 'books': Hnsw(")


def test_searches_use_the_index_while_it_is_there(books: Collection, fill: Fill) -> None:
    fill(books, range(100))
    assert books.search([1, 2, 3, 4])[0].path == "exact"
    index = books.create_index("embedding", Hnsw())
    assert books.search([1, 2, 3, 4], exact=False)[0].path == "index"
    index.drop()
    assert books.search([1, 2, 3, 4])[0].path == "exact"


def test_several_indexes_of_one_field_differ_in_metric(books: Collection) -> None:
    books.create_index("embedding", Hnsw(metric=Metric.COSINE))
    books.create_index("embedding", Hnsw(metric=Metric.L2))
    assert [index.name for index in books.indexes] == ["embedding_idx", "embedding_l2_idx"]
    with pytest.raises(IndexExists, match="by L2"):
        books.create_index("embedding", Hnsw(metric=Metric.L2), name="another")
    with pytest.raises(InvalidArgument, match="say which"):
        books.search([1, 2, 3, 4])
    assert len(books.search([1, 2, 3, 4], metric="L2")) == 1


def test_drop_index_without_a_name_takes_the_only_one(books: Collection) -> None:
    with pytest.raises(IndexNotFound, match="no index"):
        books.drop_index()
    books.create_index("embedding", Hnsw())
    books.create_index("year", Btree())
    with pytest.raises(InvalidArgument, match="embedding_idx, year_idx"):
        books.drop_index()
    books.drop_index("year_idx")
    books.drop_index()
    assert books.indexes == []
    with pytest.raises(IndexNotFound, match="'year_idx'"):
        books.drop_index("year_idx")


def test_scalar_indexes_are_built_and_dropped_like_vector_ones(store: Store) -> None:
    fields = (
        *BOOK_FIELDS,
        Field("meta", DataType.JSON, nullable=True),
        Field("tags", DataType.ARRAY, element_type=DataType.INT32, max_capacity=5, nullable=True),
    )
    books = store.create_collection("books", fields)
    specs = {"year": Btree(), "title": Btree(), "meta": Gin(), "tags": Gin()}
    for field, spec in specs.items():
        books.create_index(field, spec)
    assert {index.field: index.spec for index in books.indexes} == specs
    for index in books.indexes:
        index.drop()
    assert books.indexes == []


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP, Metric.COSINE])
@pytest.mark.parametrize("kind", [Hnsw, IvfFlat])
@pytest.mark.parametrize("data_type", ["FLOAT_VECTOR", "FLOAT16_VECTOR", "BFLOAT16_VECTOR", "INT8_VECTOR"])
def test_every_dense_vector_type_is_indexed_by_every_metric(
    store: Store, data_type: str, kind: type, metric: Metric
) -> None:
    fields = (Field("id", DataType.INT64, primary_key=True), Field("v", DataType(data_type), dim=5))
    books = store.create_collection("books", fields)
    vectors = np.random.default_rng(1).integers(-100, 100, size=(60, 5))
    books.insert({"id": range(60), "v": vectors})
    exact = books.search(vectors[7], metric=metric)[0]
    spec = kind(metric=metric) if kind is Hnsw else kind(metric=metric, lists=1)
    books.create_index("v", spec)
    found = books.search(vectors[7], exact=False)[0]
    assert found.path == "index"
    assert found.distances == pytest.approx(exact.distances)


@pytest.mark.parametrize("metric", [Metric.HAMMING, Metric.JACCARD])
def test_binary_vectors_are_indexed(store: Store, metric: Metric) -> None:
    fields = (Field("id", DataType.INT64, primary_key=True), Field("bits", DataType.BINARY_VECTOR, dim=64))
    books = store.create_collection("books", fields)
    bits = np.random.default_rng(2).integers(0, 256, size=(60, 8), dtype=np.uint8)
    books.insert({"id": range(60), "bits": bits})
    exact = books.search(bits[3], metric=metric)[0]
    books.create_index("bits", Hnsw(metric=metric))
    found = books.search(bits[3], exact=False)[0]
    assert (found.path, found.ids[0], found.distances[0]) == ("index", 3, 0.0)
    assert found.distances == pytest.approx(exact.distances)


def test_sparse_vectors_are_indexed(store: Store) -> None:
    fields = (Field("id", DataType.INT64, primary_key=True), Field("s", DataType.SPARSE_FLOAT_VECTOR))
    books = store.create_collection("books", fields)
    books.insert([{"id": key, "s": {key: 1.0, 999_999_999: 2.0}} for key in range(40)])
    books.create_index("s", Hnsw(metric=Metric.IP))
    best = books.search({7: 5.0}, limit=1)[0][0]
    assert (best.id, best.distance) == (7, 5.0)


def test_what_cannot_be_indexed_is_refused_with_the_reason(books: Collection) -> None:
    cases = [
        ("title", Hnsw(), "use Btree or Gin"),
        ("embedding", Btree(), "use Hnsw or IvfFlat"),
        ("year", Gin(), "use Btree"),
        ("embedding", Hnsw(metric=Metric.HAMMING), "HAMMING is not one of"),
        ("embedding", "HNSW", "not 'HNSW'"),
    ]
    for field, spec, reason in cases:
        with pytest.raises(InvalidArgument, match=reason):
            books.create_index(field, spec)
    with pytest.raises(FieldNotFound, match="'isbn'"):
        books.create_index("isbn", Btree())
    assert books.indexes == []


def test_an_index_name_is_checked_and_may_not_be_taken(books: Collection) -> None:
    for name in ("entities", "entities_pkey", "entities__default"):
        with pytest.raises(IndexExists, match=name):
            books.create_index("year", Btree(), name=name)
    for name in ("a b", "x" * 64, ""):
        with pytest.raises(InvalidName):
            books.create_index("year", Btree(), name=name)
    assert books.create_index("year", Btree(), name="by_year").name == "by_year"


def test_an_ivfflat_on_too_few_rows_warns(books: Collection, fill: Fill) -> None:
    with pytest.warns(IndexQualityWarning, match="0 rows for 10 lists"):
        books.create_index("embedding", IvfFlat(lists=10))
    books.drop_index()
    fill(books, range(10))
    books.create_index("embedding", IvfFlat(lists=10))  # a warning would be an error


def test_an_index_in_every_partition_and_in_those_to_come(books: Collection, fill: Fill) -> None:
    books.create_partition("novel")
    books.create_index("embedding", Hnsw(), online=True)
    books.create_partition("poem")
    for number, partition in enumerate(("_default", "novel", "poem")):
        fill(books, range(number * 20, number * 20 + 20), partition)
    assert books.index("embedding_idx").state == "ready"
    assert books.search([1, 2, 3, 4], limit=60, exact=False)[0].path == "index"
    assert books.stats().indexes[0].bytes > 0


def test_an_index_made_by_hand_is_found_and_used(store: Store, books: Collection, fill: Fill) -> None:
    fill(books, range(30))
    with store.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE INDEX by_hand ON books.entities USING hnsw (embedding vector_l2_ops) WITH (m = 5)"
        )
        connection.exec_driver_sql("CREATE INDEX lowered ON books.entities (lower(title))")
    assert books.index("by_hand").spec == Hnsw(metric=Metric.L2, m=5)
    assert books.index("lowered").field == "lower(title)"
    assert books.search([1, 2, 3, 4], exact=False)[0].path == "index"


@pytest.mark.parametrize("online", [False, True])
def test_properties_travel_with_an_index_and_die_with_it(books: Collection, *, online: bool) -> None:
    asked = {"asked": "HNSW", "why": 'it\'s \\ "quick" %'}
    index = books.create_index("embedding", Hnsw(), online=online, properties=asked)
    assert index.properties == books.describe().indexes[0].properties == asked
    assert books.describe().indexes[0].spec == Hnsw()
    index.alter_properties({"more": "1"}, delete=["asked"])
    assert index.properties == {"why": asked["why"], "more": "1"}
    index.alter_properties({}, delete=["why", "more"])
    assert index.properties == {}
    assert books.describe().indexes[0].spec == Hnsw()
    index.drop()
    assert books.create_index("embedding", Hnsw()).properties == {}


def test_properties_leave_what_an_expression_means(store: Store) -> None:
    fields = [*BOOK_FIELDS, Field("meta", DataType.JSON, nullable=True)]
    films = store.create_collection("films", fields)
    index = films.create_index("meta['lang']", Btree(cast=DataType.VARCHAR), properties={"a": "b"})
    index.alter_properties({"c": "d"})
    (found,) = films.describe().indexes
    assert (found.field, found.spec) == ("meta['lang']", Btree(cast=DataType.VARCHAR))
    assert found.properties == {"a": "b", "c": "d"}


def test_properties_that_are_no_text_are_refused(books: Collection) -> None:
    with pytest.raises(InvalidSchema, match="property 'a'"):
        books.create_index("embedding", Hnsw(), properties={"a": 1})
    assert books.indexes == []
    index = books.create_index("embedding", Hnsw())
    with pytest.raises(InvalidSchema, match="property 'a'"):
        index.alter_properties({"a": "\0"})
    index.drop()
    with pytest.raises(IndexNotFound):
        index.alter_properties({"a": "b"})


def test_an_index_made_by_sql_has_no_properties_of_ours(store: Store, books: Collection) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("CREATE INDEX by_hand ON books.entities (id, year)"))
    with pytest.raises(OperationRefused, match="was made by SQL"):
        books.index("by_hand").alter_properties({"a": "b"})
