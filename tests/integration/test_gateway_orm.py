"""Milvus's page of delete operations, as it is written, by the ORM of pymilvus: each call looked at in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pymilvus import (
    Collection,
    CollectionSchema,
    DataType,
    FieldSchema,
    Index,
    MilvusException,
    Partition,
    connections,
    db,
    utility,
)
from sqlalchemy import URL, create_engine, text

from vecstore.gateway import Gateway

# Every call of the ORM warns that pymilvus 3.1 will be without it.
pytestmark = pytest.mark.filterwarnings("ignore::pymilvus.decorators.PyMilvusDeprecationWarning")


@pytest.fixture
def collection(gateway: Gateway) -> Iterator[Collection]:
    connections.connect(address=gateway.address)
    fields = [
        FieldSchema("id", DataType.INT64, is_primary=True),
        FieldSchema("year", DataType.INT32),
        FieldSchema("embedding", DataType.FLOAT_VECTOR, dim=2),
    ]
    yield Collection("books", CollectionSchema(fields, description="what was read"))
    connections.disconnect("default")
    connections.remove_connection("default")


def rows(database_url: URL, query: str) -> list[Any]:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        found = [row[0] for row in connection.execute(text(query))]
    engine.dispose()
    return found


def test_the_pages_calls_do_in_postgresql_what_they_say(collection: Collection, database_url: URL) -> None:
    partition_name = "novel"
    collection.create_partition(partition_name)
    collection.create_index("embedding", {"index_type": "IVF_FLAT", "metric_type": "L2", "params": {"nlist": 16}})
    indexes = "SELECT indexrelid FROM pg_index WHERE indrelid = 'books.entities'::regclass AND NOT indisprimary"
    tables = "SELECT relname FROM pg_class WHERE relname = 'entities_novel'"
    assert len(rows(database_url, indexes)) == len(rows(database_url, tables)) == 1

    collection.drop_index()
    assert rows(database_url, indexes) == []

    collection.drop_partition(partition_name=partition_name)
    assert rows(database_url, tables) == []

    collection.drop()
    assert rows(database_url, "SELECT nspname FROM pg_namespace WHERE nspname = 'books'") == []


def test_entities_are_deleted_as_the_page_says(collection: Collection, database_url: URL) -> None:
    collection.create_index("embedding", {"index_type": "HNSW", "metric_type": "L2", "params": {}})
    collection.load()
    collection.insert([[1, 2, 3], [1991, 1992, 1993], [[1, 0], [2, 0], [3, 0]]])
    result = collection.delete("id in [1,2]")
    assert result.delete_count == 2
    assert rows(database_url, "SELECT id FROM books.entities") == [3]
    hits = collection.search([[1, 0]], "embedding", {"metric_type": "L2"}, limit=3, output_fields=["year"])
    assert [(hit.id, hit.distance, hit.entity.get("year")) for hit in hits[0]] == [(3, 4.0, 1993)]
    assert collection.num_entities == 1


def test_the_page_of_later_releases_drops_by_utility(collection: Collection, database_url: URL) -> None:
    utility.drop_collection("books")
    assert not utility.has_collection("books")
    assert rows(database_url, "SELECT nspname FROM pg_namespace WHERE nspname = 'books'") == []


def test_the_objects_of_the_orm_tell_what_there_is(collection: Collection) -> None:
    assert (collection.name, collection.description) == ("books", "what was read")
    assert collection.is_empty
    assert collection.num_entities == 0
    assert collection.primary_field.name == "id"
    partition = Partition(collection, "novel")
    assert collection.has_partition("novel")
    assert [it.name for it in collection.partitions] == ["_default", "novel"]
    assert partition.num_entities == 0
    asked = {"index_type": "HNSW", "metric_type": "L2", "params": {"M": 8, "efConstruction": 32}}
    index = Index(collection, "embedding", asked)
    assert collection.has_index()
    assert collection.index().params == asked
    assert [it.field_name for it in collection.indexes] == ["embedding"]
    assert utility.index_building_progress("books")["total_rows"] == 0
    assert utility.wait_for_index_building_complete("books")
    collection.load()
    assert utility.loading_progress("books") == {"loading_progress": "100%"}
    assert str(utility.load_state("books")) == "Loaded"
    with pytest.raises(MilvusException, match="vector index cannot be dropped on loaded collection"):
        index.drop()
    with pytest.raises(MilvusException, match="partition is loaded, please release it first"):
        collection.drop_partition("novel")
    collection.release()
    index.drop()
    partition.drop()
    utility.create_alias("books", "prod")
    assert utility.list_aliases("books") == ["prod"]
    assert collection.aliases == ["prod"]
    utility.drop_alias("prod")
    collection.set_properties({"owner": "library"})
    assert collection.describe()["properties"] == {"owner": "library"}
    collection.flush()
    collection.compact()
    collection.wait_for_compaction_completed()
    utility.rename_collection("books", "tomes")
    assert utility.list_collections() == ["tomes"]
    utility.drop_collection("tomes")


def test_databases_of_the_orm(collection: Collection) -> None:
    assert db.list_database() == ["default"]
    assert utility.get_server_version() == "v2.6.17"
