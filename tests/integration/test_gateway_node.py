"""Milvus's Node SDKs, that of the page of delete operations and the newest: each call looked at in PostgreSQL."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from vecstore import Hnsw, Metric, Store
from vecstore.gateway import Gateway, indexes, undertakings
from waiting import eventually, reader

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")

FOLDER = Path(__file__).parents[1] / "node"

Step = Callable[[str], Any]


@pytest.fixture(params=["managers.js", "client.js"])
def step(request: pytest.FixtureRequest, gateway: Gateway) -> Iterator[Step]:
    """Make one call of a script, and return what it was answered; an error of it is one of the test."""
    assert (FOLDER / "node_modules").is_dir(), "`make test` installs the SDKs: npm ci in tests/node"
    words = ["node", request.param, gateway.address]
    with subprocess.Popen(
        words, cwd=FOLDER, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as node:

        def run(name: str) -> Any:
            print(name, file=node.stdin, flush=True)
            answer = json.loads(node.stdout.readline())
            assert "error" not in answer, answer
            assert answer.get("status", answer).get("error_code", "Success") in {"Success", 0}, answer
            return answer

        yield run
        node.communicate(timeout=60)


def count(store: Store, query: str) -> int:
    with store.engine.connect() as connection:
        found: int = connection.execute(text(query)).scalar_one()
    return found


INDEXES = "SELECT count(*) FROM pg_index WHERE indrelid = 'books.entities'::regclass AND NOT indisprimary"
PARTITIONS = "SELECT count(*) FROM pg_class WHERE relname = 'entities_novel'"
SCHEMAS = "SELECT count(*) FROM pg_namespace WHERE nspname = 'books'"


def test_the_pages_calls_do_in_postgresql_what_they_say(step: Step, store: Store) -> None:
    step("createCollection")
    step("createPartition")
    step("createIndex")
    assert (count(store, INDEXES), count(store, PARTITIONS), count(store, SCHEMAS)) == (1, 1, 1)
    assert store.collection("books").indexes[0].spec == Hnsw(Metric.L2, m=8)

    step("dropIndex")
    assert count(store, INDEXES) == 0

    step("dropPartition")
    assert count(store, PARTITIONS) == 0

    step("dropCollection")
    assert count(store, SCHEMAS) == 0


def test_what_there_is_is_told(step: Step) -> None:
    assert step("version")["version"] == "v2.6.17"
    assert step("hasCollection")["value"] is False
    step("createCollection")
    step("createIndex")
    assert step("hasCollection")["value"] is True
    described = step("describeCollection")["schema"]["fields"]
    assert [(field["name"], field["data_type"]) for field in described] == [
        ("id", "Int64"),
        ("embedding", "FloatVector"),
    ]
    assert [it["name"] for it in step("showCollections")["data"]] == ["books"]
    assert step("showPartitions")["partition_names"] == ["_default"]
    assert step("statistics")["data"]["row_count"] in {"0", 0}
    (index,) = step("describeIndex")["index_descriptions"]
    assert (index["index_name"], index["state"]) == ("embedding", "Finished")
    step("load")
    step("release")


def test_an_index_that_takes_longer_than_a_call_is_built_after_its_answer(
    step: Step, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undertakings, "_PATIENCE", 0.0)
    monkeypatch.setattr(indexes, "_ONLINE_FROM", 1)
    step("createCollection")
    step("insert")
    with reader(store.engine):
        step("createIndex")
        eventually(lambda: int(step("indexProgress")["indexed_rows"]) == 3)
        assert step("indexState")["state"] == "InProgress"
        assert step("describeIndex")["index_descriptions"][0]["state"] == "InProgress"
        step("load")
        assert len(step("search")["results"]) == 2
    eventually(lambda: step("indexState")["state"] == "Finished")
    assert count(store, INDEXES) == 1


def test_entities_are_inserted_found_and_deleted(step: Step, store: Store) -> None:
    step("createCollection")
    step("createIndex")
    step("load")
    step("insert")
    step("flush")
    assert count(store, "SELECT count(*) FROM books.entities") == 3
    found = step("search")["results"]
    assert [(int(hit["id"]), hit["score"]) for hit in found] == [(3, 0), (2, 1)]
    step("deleteEntities")
    assert count(store, "SELECT id FROM books.entities") == 3


@pytest.mark.parametrize("step", ["client.js"], indirect=True)
def test_what_is_found_is_ranked_and_counted(step: Step) -> None:
    for name in ("createCollection", "createIndex", "load", "insert"):
        step(name)
    # By L2 from 3: 0, 1 and 4; decayed from the id 1 on.
    assert [int(hit["id"]) for hit in step("decayed")["results"]] == [3, 2, 1]
    assert step("decayed")["results"][0]["score"] == 0.5
    assert [(int(hit["id"]), hit["score"]) for hit in step("boosted")["results"]] == [
        (3, 0),
        (1, pytest.approx(0.8)),
        (2, 1),
    ]
    buckets = step("counted")["agg_buckets"]
    assert [(bucket["key"][0]["value"], bucket["metrics"]) for bucket in buckets] == [
        ("2", {"nearest": 1}),
        ("3", {"nearest": 0}),
    ]
    assert [int(bucket["hits"][0]["id"]) for bucket in buckets] == [2, 3]


@pytest.mark.parametrize("step", ["client.js"], indirect=True)
def test_texts_are_searched_by_words(step: Step, store: Store) -> None:
    step("createTexts")
    step("insertTexts")
    found = step("searchWords")["results"]
    assert [hit["text"] for hit in found] == ["a whale", "the white whale"]
    assert [hit["score"] for hit in found] == pytest.approx(
        list(store.collection("books").search_text("whale")[0].distances)
    )
    assert [hit["text"] for hit in step("searchBoth")["results"]] == ["a ship at sea", "the white whale"]
