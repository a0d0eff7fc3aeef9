from __future__ import annotations

from pymilvus import MilvusClient


def test_a_client_connects_and_reads_the_version(milvus: MilvusClient) -> None:
    assert milvus.get_server_version() == "v2.6.17"
