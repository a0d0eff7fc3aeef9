"""langchain-milvus's vector store, pointed at the gateway instead of Milvus."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_milvus import BM25BuiltInFunction, Milvus

from vecstore import Store
from vecstore.gateway import Gateway

pytestmark = pytest.mark.filterwarnings("ignore::Warning:langchain_milvus", "ignore::Warning:pymilvus")

EMBEDDING = DeterministicFakeEmbedding(size=32)
DOCUMENTS = [
    Document(page_content=f"page {number}", metadata={"source": "tweet" if number % 2 else "news", "number": number})
    for number in range(20)
]
IDS = [f"doc-{number}" for number in range(20)]


@pytest.fixture
def documents(gateway: Gateway) -> Iterator[Milvus]:
    store = Milvus(
        EMBEDDING,
        connection_args={"uri": f"http://{gateway.address}"},
        collection_name="documents",
        index_params={"index_type": "HNSW", "metric_type": "COSINE", "params": {"M": 8, "efConstruction": 64}},
        consistency_level="Strong",
    )
    yield store
    store.client.close()


def test_documents_are_added_searched_with_a_filter_and_deleted(documents: Milvus, store: Store) -> None:
    assert documents.add_documents(DOCUMENTS, ids=IDS) == IDS
    collection = store.collection("documents")
    assert collection.count() == 20

    found = documents.similarity_search_with_score("page 7", k=3)
    assert found[0][0].page_content == "page 7"
    assert found[0][0].metadata == {"pk": "doc-7", "source": "tweet", "number": 7}
    assert found[0][1] == pytest.approx(1.0, abs=1e-5)

    news = documents.similarity_search("page 7", k=20, expr="source == 'news' and number >= 10")
    assert {document.metadata["number"] for document in news} == {10, 12, 14, 16, 18}

    vectors = np.array(EMBEDDING.embed_documents([document.page_content for document in DOCUMENTS]))
    query = np.array(EMBEDDING.embed_query("page 3"))
    nearest = np.argsort(-(vectors @ query) / np.linalg.norm(vectors, axis=1))[:5]
    by_vector = documents.similarity_search_by_vector(query.tolist(), k=5)
    assert [document.metadata["number"] for document in by_vector] == nearest.tolist()

    assert documents.delete(ids=["doc-7", "doc-8"])
    assert documents.delete(expr="source == 'tweet'")
    assert collection.count() == 9
    assert documents.similarity_search("page 7", k=1)[0].page_content != "page 7"


def test_documents_are_replaced_and_picked_apart(documents: Milvus, store: Store) -> None:
    documents.add_documents(DOCUMENTS, ids=IDS)
    replaced = Document(page_content="another page", metadata={"source": "tweet", "number": 99})
    documents.upsert(ids=["doc-7"], documents=[replaced])
    assert store.collection("documents").count() == 20
    assert documents.similarity_search("another page", k=1)[0].metadata["number"] == 99
    spread = documents.max_marginal_relevance_search("page 1", k=4, fetch_k=10)
    assert len({document.metadata["number"] for document in spread}) == 4


def test_documents_are_searched_by_words_and_vectors_at_once(gateway: Gateway, store: Store) -> None:
    hybrid = Milvus(
        EMBEDDING,
        builtin_function=BM25BuiltInFunction(analyzer_params={"type": "english"}),
        vector_field=["dense", "sparse"],
        connection_args={"uri": f"http://{gateway.address}"},
        collection_name="articles",
        consistency_level="Strong",
    )
    texts = ["A whale in the sea", "Ships and harbours", "Sailing ships at sea", "Nothing of that kind"]
    hybrid.add_texts(texts, metadatas=[{"number": number} for number in range(4)], ids=["a", "b", "c", "d"])
    found = hybrid.similarity_search("a ship sails", k=2, ranker_type="weighted", ranker_params={"weights": [0, 1]})
    assert [document.metadata["number"] for document in found] == [2, 1]
    fused = hybrid.similarity_search_with_score("A whale in the sea", k=1, ranker_type="rrf", ranker_params={"k": 60})
    assert [document.page_content for document, _ in fused] == ["A whale in the sea"]
    assert store.collection("articles").search_text("whales")[0].ids.tolist() == ["a"]
    assert hybrid.delete(ids=["a"])
    assert store.collection("articles").search_text("whales")[0].ids.tolist() == []
    hybrid.client.close()


def test_documents_are_searched_by_words_alone(gateway: Gateway) -> None:
    words = Milvus(
        None,
        builtin_function=BM25BuiltInFunction(),
        connection_args={"uri": f"http://{gateway.address}"},
        collection_name="notes",
        vector_field="sparse",
        auto_id=True,
    )
    words.add_texts(["one whale", "two ships", "whale, whale, ship"])
    found = words.similarity_search_with_score("whale", k=5)
    assert [document.page_content for document, _ in found] == ["whale, whale, ship", "one whale"]
    assert found[0][1] >= found[1][1] > 0
    words.client.close()
