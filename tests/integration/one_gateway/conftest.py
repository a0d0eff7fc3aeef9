"""All tests of a file have one gateway and its database: they make collections of their own, and drop them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pymilvus import MilvusClient
from sqlalchemy import URL

import vecstore
from vecstore import Store
from vecstore.gateway import Gateway, serve


@pytest.fixture(scope="module")
def gateway(module_url: URL) -> Iterator[Gateway]:
    with serve(module_url, port=0) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def milvus(gateway: Gateway) -> Iterator[MilvusClient]:
    client = MilvusClient(f"http://{gateway.address}")
    yield client
    client.close()


@pytest.fixture(scope="module")
def store(module_url: URL) -> Iterator[Store]:
    with vecstore.connect(module_url) as store:
        yield store
