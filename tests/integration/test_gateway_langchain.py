"""langchain-milvus's vector store, pointed at the gateway instead of Milvus."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_milvus import Milvus

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
