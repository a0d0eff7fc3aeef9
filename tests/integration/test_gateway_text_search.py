"""Full-text search by programs of Milvus: the function BM25, its index, searches and hybrid searches."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pymilvus import (
    AnnSearchRequest,
    CollectionSchema,
    DataType,
    Function,
    FunctionType,
    LexicalHighlighter,
    MilvusClient,
    MilvusException,
    RRFRanker,
    SemanticHighlighter,
    WeightedRanker,
)

from vecstore import Gin, Store

TEXTS = ["a tale of a whale, about whales", "the sea, the sea", "a cat and the sea and a whale", "nothing", "the of"]


def schema_of(analyzer: Any = None, **changes: Any) -> CollectionSchema:
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    given = {"max_length": 1000, "enable_analyzer": True, "enable_match": True, "nullable": True}
    given |= {} if analyzer is None else {"analyzer_params": analyzer}
    schema.add_field("text", DataType.VARCHAR, **(given | changes))
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("kind", DataType.INT64, nullable=True)
    schema.add_function(bm25())
    return schema


def bm25(name: str = "bm25", source: str = "text", made: str = "sparse") -> Function:
    return Function(name=name, function_type=FunctionType.BM25, input_field_names=[source], output_field_names=[made])


@pytest.fixture
def documents(milvus: MilvusClient) -> str:
    params = milvus.prepare_index_params()
    indexed = {"inverted_index_algo": "DAAT_MAXSCORE", "bm25_k1": 1.2, "bm25_b": 0.75}
    params.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25", params=indexed)
    params.add_index("dense", index_type="AUTOINDEX", metric_type="COSINE")
    milvus.create_collection("documents", schema=schema_of({"type": "english"}), index_params=params)
    rows = [{"id": key, "text": text, "dense": [1, key], "kind": key % 2} for key, text in enumerate(TEXTS)]
    assert milvus.insert("documents", [*rows, {"id": 9, "text": None, "dense": [1, 9]}])["insert_count"] == 6
    return "documents"


def test_texts_are_searched_by_words_as_milvus_documents_it(milvus: MilvusClient, documents: str, store: Store) -> None:
    params = {"params": {"drop_ratio_search": 0.2}}
    found = milvus.search(
        documents, ["whales of the sea", "cats"], anns_field="sparse", limit=3, search_params=params,
        output_fields=["text", "kind"],
    )  # fmt: skip
    assert [[hit["id"] for hit in hits] for hits in found] == [[2, 1, 0], [2]]
    assert found[0][0]["entity"] == {"text": TEXTS[2], "kind": 0}
    ours = store.collection(documents).search_text(["whales of the sea", "cats"], 3)
    for hits, expected in zip(found, ours, strict=True):
        assert [hit["distance"] for hit in hits] == pytest.approx(list(expected.distances), rel=1e-6)
    metric = {"metric_type": "BM25"}
    (filtered,) = milvus.search(
        documents, ["sea whale"], anns_field="sparse", filter="kind == 0 and text_match(text, 'tale cat')", limit=5,
        search_params=metric,
    )  # fmt: skip
    assert [hit["id"] for hit in filtered] == [2, 0]
    nothing = milvus.search(documents, ["the", "unknown words", ""], anns_field="sparse")
    assert [len(hits) for hits in nothing] == [0, 0, 0]
    (second,) = milvus.search(documents, ["whales of the sea"], anns_field="sparse", limit=1, offset=1)
    assert [hit["id"] for hit in second] == [1]


def test_deletes_and_upserts_count_at_once(milvus: MilvusClient, documents: str) -> None:
    milvus.delete(documents, filter="id == 2")
    assert [hit["id"] for hit in milvus.search(documents, ["whale"], anns_field="sparse")[0]] == [0]
    milvus.upsert(documents, [{"id": 1, "text": "whale", "dense": [1, 1]}])
    assert [hit["id"] for hit in milvus.search(documents, ["whale"], anns_field="sparse")[0]] == [1, 0]
    milvus.upsert(documents, [{"id": 0, "text": "a ship"}], partial_update=True)
    assert [hit["id"] for hit in milvus.search(documents, ["ship"], anns_field="sparse")[0]] == [0]


def test_words_and_vectors_are_fused(milvus: MilvusClient, documents: str) -> None:
    words = AnnSearchRequest(["cat"], "sparse", {"metric_type": "BM25", "params": {}}, limit=3)
    vectors = AnnSearchRequest([[1, 1]], "dense", {"metric_type": "COSINE"}, limit=3, expr="id < 3")
    (hits,) = milvus.hybrid_search(documents, [words, vectors], RRFRanker(60), limit=2, output_fields=["text"])
    assert [hit["id"] for hit in hits] == [2, 1]
    assert hits[0]["entity"]["text"] == TEXTS[2]
    (hits,) = milvus.hybrid_search(documents, [words, vectors], WeightedRanker(1.0, 0.0), limit=1)
    assert hits[0]["id"] == 2


def test_the_schema_is_told_as_it_was_declared(milvus: MilvusClient, documents: str) -> None:
    described = milvus.describe_collection(documents)
    fields = {field["name"]: field for field in described["fields"]}
    assert list(fields) == ["id", "text", "sparse", "dense", "kind"]
    assert fields["sparse"]["type"] is DataType.SPARSE_FLOAT_VECTOR
    assert fields["sparse"]["is_function_output"]
    assert fields["text"]["params"]["enable_analyzer"] == "true"
    (function,) = described["functions"]
    assert (function["name"], function["type"]) == ("bm25", FunctionType.BM25)
    assert (function["input_field_names"], function["output_field_names"]) == (["text"], ["sparse"])
    assert function["input_field_ids"] == [fields["text"]["field_id"]]
    assert function["output_field_ids"] == [fields["sparse"]["field_id"]]
    assert CollectionSchema.construct_from_dict(described).functions[0].name == "bm25"
    index = milvus.describe_index(documents, "sparse")
    assert (index["index_type"], index["metric_type"]) == ("SPARSE_INVERTED_INDEX", "BM25")
    assert (float(index["bm25_k1"]), index["total_rows"]) == (1.2, 6)
    assert sorted(milvus.list_indexes(documents)) == ["dense", "sparse"]
    milvus.create_collection(documents, schema=schema_of({"type": "english"}))  # alike: no error


def test_analysts_and_the_library_see_an_ordinary_table(milvus: MilvusClient, documents: str, store: Store) -> None:
    described = store.collection(documents).describe()
    assert [field.name for field in described.schema.fields] == ["id", "text", "dense", "kind"]
    assert described.schema.field("text").text_search == "english"
    assert {(index.name, index.field, type(index.spec).__name__) for index in described.indexes} == {
        ("sparse", "text", "Gin"),
        ("dense", "dense", "Hnsw"),
    }
    with store.engine.connect() as connection:
        matching = "SELECT id FROM documents.entities WHERE text_words @@ to_tsquery('english', 'cats')"
        assert connection.exec_driver_sql(matching).scalars().all() == [2]
    assert store.doctor() == ()
    assert milvus.query(documents, "id == 2", output_fields=["*"])[0].keys() == {"id", "text", "dense", "kind"}


def test_how_texts_are_ranked_is_what_the_index_was_asked_for(milvus: MilvusClient, store: Store) -> None:
    milvus.create_collection("documents", schema=schema_of())
    milvus.insert("documents", [{"id": key, "text": text, "dense": [1, key]} for key, text in enumerate(TEXTS)])
    params = milvus.prepare_index_params()
    params.add_index("sparse", index_type="AUTOINDEX", metric_type="BM25", params={"bm25_k1": 2, "bm25_b": 0})
    milvus.create_index("documents", params)
    milvus.load_collection("documents")
    (hits,) = milvus.search("documents", ["the sea"], anns_field="sparse")
    collection = store.collection("documents")
    (expected,) = collection.search_text("the sea", k1=2, b=0)
    assert [hit["distance"] for hit in hits] == pytest.approx(list(expected.distances), rel=1e-6)
    assert list(expected.distances) != list(collection.search_text("the sea")[0].distances)
    with pytest.raises(MilvusException, match="vector index cannot be dropped on loaded collection"):
        milvus.drop_index("documents", "sparse")
    milvus.release_collection("documents")
    milvus.drop_index("documents", "sparse")
    assert collection.describe().indexes == ()


def test_groups_are_made_of_what_words_find(milvus: MilvusClient, documents: str) -> None:
    (hits,) = milvus.search(documents, ["whales of the sea"], anns_field="sparse", limit=5, group_by_field="kind")
    assert [hit["id"] for hit in hits] == [2, 1]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"data": [{1: 0.5}], "anns_field": "sparse"}, "please provide varchar/text .* got SparseFloatVector"),
    ({"data": [[1.0, 2.0]], "anns_field": "sparse"}, "please provide varchar/text .* got FloatVector"),
    ({"ids": [1], "anns_field": "sparse"}, "please provide varchar/text .* got ids"),
    ({"data": ["sea"]}, "multiple anns_fields exist"),
    ({"data": ["sea"], "anns_field": "dense"}, "it is no field of text"),
    ({"data": ["sea"], "search_params": {"metric_type": "IP"}}, r"metric type not match.*expected=BM25"),
    ({"data": ["sea"], "search_params": {"params": {"radius": 1}}}, "has no range"),
    ({"data": ["sea"], "output_fields": ["sparse"]}, "not allowed to retrieve raw data of field sparse"),
    ({"data": ["sea"], "order_by_fields": [{"field": "id", "order": "asc"}]}, "order_by is not supported"),
]


def test_what_cannot_be_searched_so_is_refused_in_milvus_words(milvus: MilvusClient, documents: str) -> None:
    for search, said in REFUSED:
        given = search if search == {"data": ["sea"]} else {"anns_field": "sparse", **search}
        with pytest.raises(MilvusException, match=said):
            milvus.search(documents, **given)


def test_what_a_function_makes_is_not_written_and_not_read(milvus: MilvusClient, documents: str, store: Store) -> None:
    with pytest.raises(MilvusException, match="not allowed to retrieve raw data of field sparse"):
        milvus.query(documents, "id > 0", output_fields=["sparse"])
    with pytest.raises(Exception, match="unexpected function output field `sparse`"):
        milvus.insert(documents, [{"id": 50, "text": "a", "dense": [1, 1], "sparse": {1: 0.5}}])
    assert store.collection(documents).count() == 6
    for index, said in (
        ({"index_type": "HNSW", "metric_type": "BM25"}, "can't build with this index HNSW"),
        ({"metric_type": "IP"}, "must be BM25"),
        ({"metric_type": "BM25", "params": {"bm25_k1": 9}}, "k1 must be from 0 to 3"),
        ({"metric_type": "BM25", "params": {"bm25_b": "much"}}, "'bm25_b' of an index should be a number"),
    ):
        params = milvus.prepare_index_params()
        params.add_index("sparse", index_name="other", **index)
        milvus.release_collection(documents)
        milvus.drop_index(documents, "sparse")
        with pytest.raises(MilvusException, match=said):
            milvus.create_index(documents, params)


def test_fields_of_a_function_stay_until_it_is_dropped(milvus: MilvusClient, documents: str, store: Store) -> None:
    for name, role in (("text", "input"), ("sparse", "output")):
        with pytest.raises(MilvusException, match=f"referenced by function bm25 as {role}, drop function first"):
            milvus.drop_collection_field(documents, name)
    with pytest.raises(MilvusException, match="function not found: other"):
        milvus.drop_function_field(documents, "other")
    milvus.drop_function_field(documents, "bm25")
    described = milvus.describe_collection(documents)
    assert not described["functions"]
    assert [field["name"] for field in described["fields"]] == ["id", "text", "dense", "kind"]
    assert milvus.list_indexes(documents) == ["dense"]
    assert not store.collection(documents).describe().schema.field("text").bm25
    assert "milvus.function.bm25" not in store.collection(documents).describe().schema.properties
    milvus.drop_collection_field(documents, "text")


def test_a_function_is_added_to_texts_that_are_there(milvus: MilvusClient, documents: str) -> None:
    milvus.drop_function_field(documents, "bm25")
    made = milvus.create_field_schema("words", DataType.SPARSE_FLOAT_VECTOR)
    params = milvus.prepare_index_params()
    params.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    milvus.add_function_field(documents, made, bm25("again", made="words"), params)
    assert [hit["id"] for hit in milvus.search(documents, ["cats"], anns_field="words")[0]] == [2]
    assert milvus.describe_index(documents, "words")["metric_type"] == "BM25"
    for other, said in (
        (bm25("again", made="more"), "duplicate function name: again"),
        (bm25("more", made="more"), "one BM25 function of a field"),
        (bm25("more", source="dense", made="more"), "must be a VARCHAR/TEXT field"),
    ):
        params = milvus.prepare_index_params()
        params.add_index("more", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
        field = milvus.create_field_schema("more", DataType.SPARSE_FLOAT_VECTOR)
        with pytest.raises(MilvusException, match=said):
            milvus.add_function_field(documents, field, other, params)
    with pytest.raises(MilvusException, match="duplicate field name: words"):
        milvus.add_collection_field(documents, "words", DataType.INT64, nullable=True)


def test_a_collection_of_nothing_but_texts_keeps_its_function(milvus: MilvusClient, store: Store) -> None:
    schema = MilvusClient.create_schema(auto_id=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("text", DataType.VARCHAR, max_length=100, enable_analyzer=True)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(bm25())
    params = milvus.prepare_index_params("sparse", metric_type="BM25")
    milvus.create_collection("texts", schema=schema, index_params=params)
    milvus.insert("texts", [{"text": "information retrieval"}, {"text": "something else"}])
    (hits,) = milvus.search("texts", ["Retrieval"], output_fields=["text"])
    assert [hit["entity"]["text"] for hit in hits] == ["information retrieval"]
    with pytest.raises(MilvusException, match="cannot drop function bm25: it would leave no vector field"):
        milvus.drop_function_field("texts", "bm25")
    store.collection("texts").drop_index("sparse")
    store.collection("texts").create_index("text", Gin())
    assert milvus.list_indexes("texts") == ["text_idx"]


ANALYZERS: list[tuple[Any, Any]] = [
    (None, None),
    ({"type": "standard"}, None),
    ({"tokenizer": "standard", "filter": ["lowercase"]}, None),
    ({"tokenizer": "whitespace", "filter": ["lowercase", "alphanumonly"]}, None),
    ({"type": "english"}, "english"),
    (
        {
            "tokenizer": "standard",
            "filter": [
                "lowercase",
                {"type": "stemmer", "language": "german"},
                {"type": "stop", "stop_words": ["_german_"]},
            ],
        },
        "german",
    ),
]


def test_analyzers_are_configurations_of_text_search(milvus: MilvusClient, store: Store) -> None:
    for number, (analyzer, expected) in enumerate(ANALYZERS):
        milvus.create_collection(f"documents_{number}", schema=schema_of(analyzer))
        assert store.collection(f"documents_{number}").describe().schema.field("text").text_search == expected


UNKNOWN: list[tuple[Any, Any]] = [
    ({"type": "chinese"}, "field text: the analyzer of type chinese is not supported"),
    ({"tokenizer": "jieba"}, "the tokenizer jieba is not supported"),
    ({"tokenizer": {"type": "lindera", "dict_kind": "ipadic"}}, "the tokenizer lindera is not supported"),
    ({"type": "english", "stop_words": ["a"]}, "stop words of one's own"),
    ({"tokenizer": "standard", "filter": [{"type": "length", "max": 40}]}, "the filter length is not"),
    ({"tokenizer": "standard", "filter": ["asciifolding"]}, "the filter asciifolding is not"),
    ({"filter": [{"type": "stemmer", "language": "klingon"}]}, "a stemmer of klingon is not"),
    ({"filter": [{"type": "stop", "stop_words": ["_english_"]}]}, "the filter stop is not"),
]


def test_the_words_that_were_searched_for_are_marked_in_each_hit(milvus: MilvusClient, documents: str) -> None:
    found = milvus.search(
        documents, ["whales of the sea", "cats", "unknown"], anns_field="sparse", limit=2,
        highlighter=LexicalHighlighter(highlight_search_text=True, pre_tags=["{"], post_tags=["}"]),
    )  # fmt: skip
    assert [[hit["highlight"]["text"]["fragments"] for hit in hits] for hits in found] == [
        [["{sea} and a {whale}"], ["{sea}, the {sea}"]],
        [["{cat} and the sea and a whale"]],
        [],
    ]
    assert [hit["entity"] for hit in found[0]] == [{}, {}]
    (nothing,) = milvus.search(
        documents, ["unknown"], anns_field="sparse", highlighter=LexicalHighlighter(highlight_search_text=True)
    )
    assert list(nothing) == []


def test_words_of_a_filter_are_marked_in_what_vectors_found(milvus: MilvusClient, documents: str) -> None:
    highlighter = LexicalHighlighter(fragment_size=5, fragment_offset=2, num_of_fragments=1)
    highlighter.with_query("text", "whale cat", "TextMatch")
    (hits,) = milvus.search(
        documents, [[1, 0]], anns_field="dense", limit=6, output_fields=["kind"], highlighter=highlighter
    )
    assert {hit["id"]: hit["highlight"]["text"]["fragments"] for hit in hits} == {
        0: ["a <em>whale</em>"],
        1: [],
        2: ["a <em>cat</em>"],
        3: [],
        4: [],
        9: [],
    }
    assert hits[0]["entity"] == {"kind": 0}


def test_a_highlighter_that_cannot_be_had_says_why(milvus: MilvusClient, documents: str) -> None:
    def lexical(**options: Any) -> Any:
        return {"anns_field": "dense", "highlighter": LexicalHighlighter(**options)}

    def query(**parts: Any) -> Any:
        return lexical(highlight_query=[parts])

    for asked, said in (
        (lexical(highlight_search_text=True), 'only support with metric type "BM25" but was: COSINE'),
        (lexical(pre_tags=[]), "pre_tags must be a list of one text or more"),
        (lexical(fragment_size=0), "fragment_size must be an int from 1, got 0"),
        (lexical(highlight_query=["whale"]), "item in array is not json object"),
        (query(field="text", text="whale"), "must set `type` in query"),
        (query(field="text", text=7, type="TextMatch"), "`text` must be string"),
        (query(field="text", text="whale", type="Phrase"), "invalid highlight query type: Phrase"),
        (query(field="nothing", text="whale", type="TextMatch"), "highlight field not found in schema: nothing"),
        (query(field="kind", text="whale", type="TextMatch"), "kind: it is no field of text"),
        ({"anns_field": "dense", "highlighter": SemanticHighlighter(["whale"], ["text"])}, "asks a model"),
    ):
        with pytest.raises(MilvusException, match=said):
            milvus.search(documents, [[1, 0]], **asked)


def test_what_an_analyzer_makes_of_a_text_can_be_seen(milvus: MilvusClient, store: Store) -> None:
    assert milvus.run_analyzer("Milvus: a vector-free DB!").tokens == [
        *("milvus", "a", "vector-free", "vector", "free", "db"),
    ]
    english = {"type": "english"}
    first, second = milvus.run_analyzer(["The naïve Foxes", ""], english, with_detail=True)
    assert second.tokens == []
    assert [it.dict for it in first.tokens] == [
        {"token": "naïv", "start_offset": 4, "end_offset": 10, "position": 1, "position_length": 1},
        {"token": "fox", "start_offset": 11, "end_offset": 16, "position": 2, "position_length": 1},
    ]
    (hashed,) = milvus.run_analyzer("123456789", with_hash=True).tokens
    assert hashed.dict == {"token": "123456789", "hash": 0xCBF43926}  # the check value of CRC-32
    milvus.create_collection("documents", schema=schema_of(english))
    of_field = milvus.run_analyzer("The Foxes", collection_name="documents", field_name="text")
    assert of_field.tokens == ["fox"]


def test_what_cannot_be_analyzed_says_why(milvus: MilvusClient) -> None:
    milvus.create_collection("documents", schema=schema_of())
    for asked, said in (
        ({"analyzer_params": {"type": "chinese"}}, "run_analyzer: the analyzer of type chinese is not supported"),
        ({"analyzer_names": "english"}, "multi_analyzer_params"),
        ({"collection_name": "documents"}, "needs its field name"),
        ({"field_name": "text"}, "needs its collection name"),
        ({"collection_name": "documents", "field_name": "nothing"}, "nothing"),
        ({"collection_name": "documents", "field_name": "id"}, "field id is no text"),
        ({"collection_name": "nowhere", "field_name": "text"}, "collection not found"),
        ({"collection_name": "documents", "field_name": "text", "analyzer_params": {}}, "not by both"),
    ):
        with pytest.raises(MilvusException, match=said):
            milvus.run_analyzer("text", **asked)


def test_an_analyzer_that_would_find_other_words_is_refused(milvus: MilvusClient) -> None:
    for analyzer, said in UNKNOWN:
        with pytest.raises(MilvusException, match=said):
            milvus.create_collection("documents", schema=schema_of(analyzer))
    assert not milvus.has_collection("documents")


def test_functions_that_cannot_be_had_are_refused(milvus: MilvusClient) -> None:
    for wrong, said in (
        (schema_of(enable_analyzer=False, enable_match=False), "must set enable_analyzer to true"),
        (schema_of(multi_analyzer_params=json.dumps({"analyzers": {}, "by_field": "id"})), "multi_analyzer_params"),
    ):
        with pytest.raises(MilvusException, match=said):
            milvus.create_collection("documents", schema=wrong)
    params = milvus.prepare_index_params()
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    params.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    with pytest.raises(MilvusException, match="only BM25 Function output field support BM25 metric type"):
        milvus.create_collection("documents", schema=schema, index_params=params)
