"""vecstore.search() of SQL finds what search() of Python finds, with the same scores, and cannot be misled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sqlalchemy import URL

import vecstore
from samples import book
from vecstore import Btree, Collection, DataType, Field, Hnsw, IvfFlat, Metric, Store

DIM = 8
ROWS = 400


def found(store: Store, query: str, options: str = "", **parameters: Any) -> list[tuple[Any, ...]]:
    statement = "SELECT * FROM vecstore.search('items', %(query)s{options})".replace("{options}", options)
    with store.engine.begin() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(statement, {"query": query, **parameters})]


def run(store: Store, statement: str) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql(statement)


def as_text(vector: Any) -> str:
    return "[" + ",".join(map(repr, map(float, vector))) + "]"


VECTORS = {
    DataType.FLOAT_VECTOR: [Metric.COSINE, Metric.L2, Metric.IP],
    DataType.FLOAT16_VECTOR: [Metric.COSINE, Metric.L2, Metric.IP],
    DataType.INT8_VECTOR: [Metric.L2],
    DataType.BINARY_VECTOR: [Metric.HAMMING, Metric.JACCARD],
    DataType.SPARSE_FLOAT_VECTOR: [Metric.IP, Metric.L2],
}
INDEXES = {"exact": None, "hnsw": Hnsw, "ivfflat": IvfFlat}
CASES = [
    (kind, metric, index)
    for kind, metrics in VECTORS.items()
    for metric in metrics
    for index in INDEXES
    if index != "ivfflat" or (kind is DataType.FLOAT_VECTOR)
]


def data_of(kind: DataType, rng: np.random.Generator) -> tuple[list[Any], Any, str]:
    """Rows, a query for Python, and the same for SQL."""
    if kind is DataType.BINARY_VECTOR:
        bits = rng.integers(0, 2, (ROWS, DIM * 2)).astype(np.uint8)
        packed = [np.packbits(row).tobytes() for row in bits]
        return packed[1:], packed[0], "".join(map(str, bits[0]))
    if kind is DataType.SPARSE_FLOAT_VECTOR:
        rows = [{int(i): float(rng.normal()) for i in rng.choice(DIM, 3, replace=False)} for _ in range(ROWS)]
        text = ",".join(f"{i + 1}:{v!r}" for i, v in rows[0].items())
        return rows[1:], rows[0], f"{{{text}}}/{DIM}"
    if kind is DataType.INT8_VECTOR:
        matrix = rng.integers(-128, 128, (ROWS, DIM)).astype(np.int8)
    else:
        matrix = rng.normal(size=(ROWS, DIM)).astype(np.float16)
    return list(matrix[1:]), matrix[0], as_text(matrix[0])


@pytest.mark.parametrize(("kind", "metric", "index"), CASES)
def test_sql_and_python_find_the_same_with_the_same_scores(
    store: Store, kind: DataType, metric: Metric, index: str
) -> None:
    rows, query, text = data_of(kind, np.random.default_rng(5))
    dim = DIM * 2 if kind is DataType.BINARY_VECTOR else DIM
    items = store.create_collection(
        "items", (Field("id", DataType.INT64, primary_key=True), Field("vector", kind, dim=dim))
    )
    items.insert({"id": range(1, ROWS), "vector": rows})
    spec = INDEXES[index]
    if spec is not None:
        items.create_index("vector", spec(metric=metric, lists=1) if spec is IvfFlat else spec(metric=metric))
    with store.engine.connect() as connection:
        # Cheaper than it is, so that the index is asked.
        connection.exec_driver_sql("UPDATE pg_class SET reltuples = 1e7, relpages = 1 WHERE relname ~ '^entities_'")
        connection.commit()
    hits = items.search(query, 12, metric=metric, exact=True)[0]
    seen = found(store, text, f", 12, metric => '{metric}'")
    assert [distance for _, distance, _ in seen] == [hit.distance for hit in hits]
    if kind is not DataType.BINARY_VECTOR or spec is None:  # of many at one distance an index gives any
        assert [int(key) for key, _, _ in seen] == [hit.id for hit in hits]


@pytest.fixture
def items(store: Store) -> Collection:
    items = store.create_collection(
        "items",
        (
            Field("id", DataType.VARCHAR, max_length=9, primary_key=True),
            Field("year", DataType.INT32, nullable=True),
            Field("price", DataType.DOUBLE),
            Field("sold", DataType.BOOL),
            Field("at", DataType.TIMESTAMPTZ),
            Field("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=3, max_length=9),
            Field("doc", DataType.JSON, nullable=True),
            Field("vector", DataType.FLOAT_VECTOR, dim=DIM),
        ),
        dynamic=True,
    )
    items.create_partition("other")
    rng = np.random.default_rng(3)
    for partition, first in (("_default", 0), ("other", 300)):
        keys = range(first, first + 300)
        items.insert(
            {
                "id": [f"k{key}" for key in keys],
                "year": [None if key % 7 == 0 else 1900 + key % 20 for key in keys],
                "price": [key / 4 for key in keys],
                "sold": [key % 3 == 0 for key in keys],
                "at": [f"2024-01-{1 + key % 28:02}T00:00:00Z" for key in keys],
                "tags": [["a", "b"] if key % 2 else ["c"] for key in keys],
                "doc": [{"x": key % 3, "y": {"z": [1, 2]}} for key in keys],
                "vector": rng.normal(size=(300, DIM)),
                "color": [("red", "blue", None)[key % 3] for key in keys],
                "it's %": list(keys),
            },
            partition_name=partition,
        )
    items.create_index("vector", Hnsw())
    items.create_index("year", Btree())
    return items


FILTERS = [
    ("{}", None),
    ('{"year": 1905}', "year == 1905"),
    ('{"year": [1905, 1906]}', "year in [1905, 1906]"),
    ('{"year": null}', "year is null"),
    ('{"year": []}', "year in []"),
    ('{"price": 2.5}', "price == 2.5"),
    ('{"sold": true, "year": 1910}', "sold == true and year == 1910"),
    ('{"at": "2024-01-05T01:00:00+01:00"}', 'at == ISO "2024-01-05T00:00:00Z"'),
    ('{"tags": "c"}', 'array_contains(tags, "c")'),
    ('{"tags": ["a", "b"]}', 'array_contains_all(tags, ["a", "b"])'),
    ('{"doc": {"x": 1}}', 'doc["x"] == 1'),
    ('{"color": "red"}', 'color == "red"'),
    ('{"it\'s %": 17}', None),
    ('{"id": ["k1", "k299", "k300"]}', 'id in ["k1", "k299", "k300"]'),
    ('{"id": "k1\'; DROP SCHEMA items CASCADE; --"}', "id == 'nothing'"),
]


@pytest.mark.parametrize(("document", "language"), FILTERS)
def test_a_filter_means_what_it_does_in_milvuss_language(
    store: Store, items: Collection, document: str, language: str | None
) -> None:
    query = np.linspace(-1, 1, DIM)
    seen = found(store, as_text(query), ", 20, filter => %(filter)s::jsonb", filter=document)
    if language is None and document != "{}":
        assert [key for key, _, _ in seen] == ["k17"]
        return
    hits = items.search(query, 20, filter=language, exact=True)[0]
    assert [(key, distance) for key, distance, _ in seen] == [(hit.id, hit.distance) for hit in hits]


def test_an_entity_is_what_python_gives_back(store: Store, items: Collection) -> None:
    ((key, _, entity),) = found(store, as_text(range(DIM)), ', 1, \'{"id": "k5"}\'')
    expected = items.get([key], output_fields=["*"])[0]
    assert set(entity) == set(expected) - {"vector"}
    for name in ("id", "year", "price", "sold", "tags", "doc", "color", "it's %"):
        assert entity[name] == expected[name]
    with_vectors = found(store, as_text(range(DIM)), ", 1, include_vectors => true")
    again = found(store, with_vectors[0][2]["vector"], ", 1")
    assert again[0][0] == with_vectors[0][0]
    assert again[0][1] == pytest.approx(1)


def test_partitions_and_aliases_are_searched_by_name(store: Store, items: Collection) -> None:
    store.create_alias("items", "prod")
    query = as_text(range(DIM))
    seen = found(store, query, ", 400, partitions => ARRAY['other']")
    assert len(seen) == 300
    assert all(int(key[1:]) >= 300 for key, _, _ in seen)
    with store.engine.connect() as connection:
        by_alias = connection.exec_driver_sql("SELECT id FROM vecstore.search('prod', %s)", (query,)).scalars().all()
    assert by_alias == [key for key, _, _ in found(store, query)]


def test_what_matches_is_found_whatever_the_index_lacks(store: Store, items: Collection) -> None:
    run(store, "DELETE FROM items.entities WHERE id NOT IN ('k1', 'k2', 'k3', 'k301')")
    run(store, "UPDATE pg_class SET reltuples = 1e7, relpages = 1 WHERE relname ~ '^entities_'")
    assert {key for key, _, _ in found(store, as_text(range(DIM)), ", 10")} == {"k1", "k2", "k3", "k301"}


def test_vectors_without_direction_are_found_by_no_cosine(store: Store, items: Collection) -> None:
    update = "UPDATE items.entities SET vector = array_fill(%s::real, ARRAY[8]) WHERE id = %s"
    with store.engine.begin() as connection:
        for key, value in (("k1", "0"), ("k2", "1e-30"), ("k3", "3e38")):
            connection.exec_driver_sql(update, (value, key))
    keys = {key for key, _, _ in found(store, as_text(range(1, DIM + 1)), ", 16384")}
    assert keys == {f"k{number}" for number in range(600)} - {"k1", "k2", "k3"}


def test_settings_of_the_callers_transaction_stay_its_own(store: Store, items: Collection) -> None:
    run(store, "UPDATE pg_class SET reltuples = 1e7, relpages = 1 WHERE relname ~ '^entities_'")
    settings = "hnsw.ef_search", "hnsw.iterative_scan", "search_path"
    with store.engine.connect() as connection:
        connection.exec_driver_sql("SET LOCAL hnsw.ef_search = 77")
        before = [connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in settings if name != settings[1]]
        assert len(
            connection.exec_driver_sql("SELECT * FROM vecstore.search('items', %s)", (as_text(range(DIM)),)).all()
        )
        after = [connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in settings]
    assert [after[0], after[2]] == before
    assert after[1] == "off"


@pytest.mark.parametrize(
    ("arguments", "sqlstate", "words"),
    [
        ("'items', '[1,2]'", "22023", r"field 'vector', which is .*vector\(8\)"),
        ("'items', 'nonsense'", "22023", "no vector"),
        ("'items', NULL", "22023", "no vector"),
        ("'items', '[0,0,0,0,0,0,0,0]'", "22023", "no direction"),
        ("'items', '[1,2,3,4,5,6,7,NaN]'", "22023", "no vector"),
        ("'items', '[1,2,3,4,5,6,7,8]', 0", "22023", "k must be from 1 to 16,384"),
        ("'items', '[1,2,3,4,5,6,7,8]', NULL", "22023", "k must be"),
        ("'items', '[1,2,3,4,5,6,7,8]', metric => 'JACCARD'", "22023", "COSINE, L2, IP"),
        ("'items', '[1,2,3,4,5,6,7,8]', field => 'year'", "42703", "no vector field 'year'"),
        ("'items', '[1,2,3,4,5,6,7,8]', partitions => ARRAY['nope']", "42704", "no partition 'nope'"),
        ("'items', '[1,2,3,4,5,6,7,8]', filter => '[1]'", "22023", "JSON object"),
        ("'items', '[1,2,3,4,5,6,7,8]', filter => '{\"year\": \"x\"}'", "42804", "JSON number, got a JSON string"),
        ("'items', '[1,2,3,4,5,6,7,8]', filter => '{\"year\": [1, true]}'", "42804", "JSON number, got a JSON boolean"),
        ("'items', '[1,2,3,4,5,6,7,8]', filter => '{\"year\": 1.5}'", "22023", "'year' is integer.*not hold 1.5"),
        ("'items', '[1,2,3,4,5,6,7,8]', filter => '{\"year\": [1, 1e30]}'", "22023", "'year' is integer.*not hold"),
        ("'items', '[1,2,3,4,5,6,7,8]', filter => '{\"vector\": 1}'", "42703", "no field 'vector' to compare"),
        ("'nope', '[1]'", "42P01", "no collection 'nope'"),
    ],
)
def test_what_cannot_be_searched_says_so(
    store: Store, items: Collection, arguments: str, sqlstate: str, words: str
) -> None:
    with pytest.raises(Exception, match=words) as caught:
        run(store, "SELECT * FROM vecstore.search({arguments})".replace("{arguments}", arguments))
    assert caught.value.orig.sqlstate == sqlstate  # type: ignore[attr-defined]
    assert items.count() == 600


def test_a_role_without_rights_is_told_that_it_has_none(store: Store, items: Collection) -> None:
    with store.engine.connect() as connection:
        connection.exec_driver_sql("SET LOCAL ROLE pg_monitor")
        with pytest.raises(Exception, match="permission denied for collection 'items'") as caught:
            connection.exec_driver_sql("SELECT * FROM vecstore.search('items', '[1,2,3,4,5,6,7,8]')")
    assert caught.value.orig.sqlstate == "42501"  # type: ignore[attr-defined]


def test_half_precision_candidates_are_compared_in_full(store: Store) -> None:
    wide = store.create_collection(
        "items", (Field("id", DataType.INT64, primary_key=True), Field("v", DataType.FLOAT_VECTOR, dim=2001))
    )
    rng = np.random.default_rng(9)
    wide.insert({"id": range(60), "v": rng.normal(size=(60, 2001)).astype(np.float32)})
    wide.create_index("v", Hnsw(metric=Metric.L2))
    run(store, "UPDATE pg_class SET reltuples = 1e7, relpages = 1 WHERE relname ~ '^entities_'")
    query = rng.normal(size=2001).astype(np.float32)
    seen = [(int(key), distance) for key, distance, _ in found(store, as_text(query))]
    assert seen == [(hit.id, hit.distance) for hit in wide.search(query, exact=True)[0]]


def test_the_extension_may_be_moved(store: Store, items: Collection) -> None:
    before = found(store, as_text(range(DIM)))
    run(store, 'CREATE SCHEMA "my ext"; ALTER EXTENSION vector SET SCHEMA "my ext"')
    assert found(store, as_text(range(DIM))) == before


RAISING = "LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'running as %%', current_user; END $$"
TABLES = """
    CREATE TABLE {schema}.pg_class (oid oid, relname name);
    CREATE TABLE {schema}.collection_registry (entities regclass);
    CREATE TABLE {schema}.entities (id bigint);
"""
FUNCTIONS = """
    CREATE FUNCTION {schema}.nearest(public.vector, public.vector) RETURNS float8 {raising};
    CREATE OPERATOR {schema}.<=> (LEFTARG = public.vector, RIGHTARG = public.vector, FUNCTION = {schema}.nearest);
    CREATE FUNCTION {schema}.joined(text, name) RETURNS text {raising};
    CREATE OPERATOR {schema}.|| (LEFTARG = text, RIGHTARG = name, FUNCTION = {schema}.joined);
    CREATE FUNCTION {schema}.format(text, text) RETURNS text {raising};
    CREATE FUNCTION {schema}.hashtextextended(text, int) RETURNS bigint {raising};
    CREATE FUNCTION {schema}.to_regclass(text) RETURNS regclass {raising};
"""


@pytest.mark.parametrize("schema", ["attacker", "pg_temp"])
def test_what_an_attacker_puts_into_the_path_is_neither_read_nor_run(
    store: Store, items: Collection, database_url: URL, schema: str
) -> None:
    before = found(store, as_text(range(DIM)))
    role = f"attacker_{schema}_{database_url.database}"
    run(store, f"CREATE SCHEMA attacker; CREATE ROLE {role}; GRANT ALL ON SCHEMA attacker TO {role}")
    with store.engine.connect() as connection:
        connection.exec_driver_sql(f"SET LOCAL ROLE {role}")
        attack = TABLES if schema == "pg_temp" else TABLES + FUNCTIONS
        connection.exec_driver_sql(attack.replace("{schema}", schema).replace("{raising}", RAISING))
        connection.exec_driver_sql("SET LOCAL ROLE postgres")
        connection.exec_driver_sql("SET LOCAL search_path = pg_temp, attacker, pg_catalog, public")
        query = (as_text(range(DIM)),)
        if schema == "attacker":
            with pytest.raises(Exception, match="running as postgres"), connection.begin_nested():
                connection.exec_driver_sql("SELECT '[1]'::vector <=> '[1]'::vector")
        statement = "SELECT * FROM vecstore.search('items', %s)"
        assert [tuple(row) for row in connection.exec_driver_sql(statement, query)] == before
        for view in ("collections", "fields", "partitions", "indexes", "aliases"):
            connection.exec_driver_sql(f"TABLE vecstore.{view}").all()
        connection.exec_driver_sql("CALL vecstore.create_partition('items', 'new')")
        connection.exec_driver_sql("CALL vecstore.drop_index('items', 'year_idx')")
        connection.exec_driver_sql("CALL vecstore.drop_partition('items', 'new')")
        connection.exec_driver_sql("CALL vecstore.drop_collection('items')")
        connection.rollback()
    assert found(store, as_text(range(DIM))) == before


def test_everything_callable_runs_with_the_callers_rights_and_a_path_of_its_own(store: Store) -> None:
    with store.engine.connect() as connection:
        loose = connection.exec_driver_sql("""
            SELECT oid::regprocedure::text FROM pg_proc
            WHERE pronamespace = 'vecstore'::regnamespace
              AND (prosecdef OR NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false))
        """)
        # It commits, which a procedure with settings may not: it calls nothing that is not qualified, and no operator.
        assert loose.scalars().all() == ["vecstore.purge(interval)"]
        definer = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'vecstore'::regnamespace AND prosecdef"
        assert connection.exec_driver_sql(definer).scalar_one() == 0
        views = connection.exec_driver_sql(
            "SELECT relname FROM pg_class WHERE relnamespace = 'vecstore'::regnamespace AND relkind = 'v'"
            " AND NOT coalesce('security_invoker=true' = ANY (reloptions), false)"
        )
        assert views.scalars().all() == []


def test_no_vector_and_no_password_is_in_an_error_or_a_log(
    store: Store, books: Collection, database_url: URL, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    secret = [0.123456789, 7.0, 8.0, 9.0]
    with_password = database_url.set(password="hunter2")  # noqa: S106 - it opens nothing
    with vecstore.connect(with_password) as other:
        collection = other.collection("books")
        collection.insert([book(1, embedding=secret)])
        seen = [repr(other), repr(collection)]
        for attempt in (
            lambda: collection.insert([book(1, embedding=secret)]),
            lambda: collection.search([*secret, 1.0]),
            lambda: collection.search(secret, filter="nope == 1"),
            lambda: collection.insert([book(2, embedding=secret, title="x" * 99)]),
            lambda: other.drop_collection("nope"),
        ):
            with pytest.raises(vecstore.VecstoreError) as caught:
                attempt()
            error: BaseException | None = caught.value
            while error is not None:
                seen.append(str(error))
                error = error.__cause__
    with pytest.raises(vecstore.VecstoreError) as caught:
        vecstore.connect(with_password.set(database="not there"))
    seen += [str(caught.value), str(caught.value.__cause__), caplog.text]
    assert all("hunter2" not in text and "0.1234" not in text for text in seen)


def test_sql_that_fails_shows_no_vector(store: Store, items: Collection) -> None:
    with pytest.raises(Exception, match="no vector") as caught:
        run(store, "SELECT * FROM vecstore.search('items', '[0.123456789,1]')")
    assert "0.1234" not in caught.value.orig.diag.message_primary  # type: ignore[attr-defined]
