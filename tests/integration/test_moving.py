from __future__ import annotations

import subprocess
from datetime import timedelta

from sqlalchemy import URL

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import Btree, Collection, DataType, Field, Gin, Hnsw, Store
from vecstore.embedded import EmbeddedServer
from vecstore.embedded.account import server_account
from vecstore.embedded.wheel import programs


def test_a_dump_restored_elsewhere_is_the_whole_store(
    store: Store, books: Collection, database_url: URL, server: EmbeddedServer, major: int
) -> None:
    books.insert([book(key) for key in range(20)])
    books.create_partition("novel")
    books.create_index("embedding", Hnsw(m=8))
    tenants = store.create_collection(
        "tenants",
        [
            Field("id", DataType.INT64, primary_key=True, auto_id=True),
            Field("tenant", DataType.VARCHAR, max_length=9, partition_key=True),
            Field("note", DataType.TEXT, nullable=True, text_search="english"),
            Field("wide", DataType.FLOAT_VECTOR, dim=2_001, nullable=True),
            Field("v", DataType.INT8_VECTOR, dim=2),
        ],
        dynamic=True,
        num_partitions=3,
        description="by tenant",
    )
    tenants.insert([{"tenant": "a", "v": [1, 2], "color": "red"}])
    tenants.create_index("color", Btree(cast=DataType.VARCHAR))
    tenants.create_index("tenant", Btree())
    tenants.create_index("wide", Hnsw())
    for field in ("$meta", "note"):
        tenants.create_index(field, Gin())
    store.create_alias("tenants", "prod")
    store.create_collection("old", BOOK_FIELDS).insert([book(1)])
    store.create_alias("old", "of_old")
    store.drop_collection("old", keep=timedelta(days=7), cascade=True)
    books.create_partition("poems")
    books.insert([book(50)], partition_name="poems")
    books.drop_partition("poems", keep=timedelta(days=7))
    before = {name: store.collection(name).describe() for name in store.list_collections()}

    with store.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE moved TEMPLATE template0")
    where = ["--host", str(server.socket_directory), "--username", "postgres"]
    bin_folder = programs(major, server_account())
    dump = subprocess.run([bin_folder / "pg_dump", *where, str(database_url.database)], capture_output=True, check=True)
    subprocess.run(
        [bin_folder / "psql", *where, "--quiet", "--set", "ON_ERROR_STOP=1", "moved"],
        input=dump.stdout,
        capture_output=True,
        check=True,
    )

    with vecstore.connect(server.url("moved")) as moved:
        assert moved.doctor() == ()
        assert moved.list_aliases() == {"prod": "tenants"}
        for name, description in before.items():
            found = moved.collection(name).describe()
            assert (found.schema, found.partitions) == (description.schema, description.partitions)
            assert set(found.indexes) == set(description.indexes)
        assert moved.collection("books").search(book(7)["embedding"], limit=1)[0][0].id == 7
        assert moved.collection("prod").get([1], output_fields=["color", "v"])[0]["color"] == "red"
        assert moved.collection("prod").insert([{"tenant": "b", "v": [3, 4]}]).ids == [2]
        assert [(entry.collection, entry.partition) for entry in moved.trash()] == [("old", None), ("books", "poems")]
        assert moved.restore("old").count() == 1
        assert moved.restore_partition("books", "poems").count() == 1
        moved.collection("books").drop(keep=timedelta(days=7))
        assert moved.list_collections() == ["old", "tenants"]
    with store.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("DROP DATABASE moved")
