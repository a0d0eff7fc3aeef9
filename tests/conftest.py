from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from databases import database
from hypothesis import HealthCheck, settings
from pymilvus import MilvusClient
from sqlalchemy import URL

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import Store
from vecstore.embedded import EmbeddedServer, start
from vecstore.gateway import Gateway, serve

# The same examples in every run, however slow it is; `--hypothesis-profile=explore` looks for others.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("steady", settings.get_profile("explore"), derandomize=True, database=None)
settings.load_profile("steady")

_SETTINGS = {
    "max_locks_per_transaction": "64",  # PostgreSQL's own small lock table
    "autovacuum": "off",  # when it comes, which locks it holds and which plans its statistics change is chance
    "fsync": "off",  # nothing here outlives the machine
    "shared_buffers": "128MB",  # every drop looks through all of them
}
_TEMPLATE = "vecstore_template"
_numbers = itertools.count()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--server", type=int, default=18, choices=[16, 18], help="the major version of PostgreSQL")


def pytest_report_header(config: pytest.Config) -> str:
    return f"server: embedded PostgreSQL {config.getoption('--server')}"


# Nothing short comes after it in the alphabet, and a worker that has come to its end waits for the other.
_FIRST = "test_upgrade.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name != _FIRST)


@pytest.fixture(scope="session", autouse=True)
def _only_the_tests_own_environment() -> Iterator[None]:
    """Variables of libpq would lead connections elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PG")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def major(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--server"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, major: int) -> Iterator[EmbeddedServer]:
    """One server for the whole run; tests of the server itself and of crashes have their own, as users have them."""
    with start(tmp_path_factory.mktemp("server"), major=major, settings=_SETTINGS) as server:
        yield server


@pytest.fixture(scope="session")
def template(server: EmbeddedServer) -> str:
    """A database with schema vecstore, to be copied for each test."""
    with vecstore.connect(server.url()) as store:
        engine = store.engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {_TEMPLATE}")
    with vecstore.connect(server.url(_TEMPLATE)) as store:
        store.upgrade()
    return _TEMPLATE


@pytest.fixture
def database_url(server: EmbeddedServer, template: str) -> Iterator[URL]:
    """A database of the test's own."""
    with database(server, f"test_{next(_numbers)}", template) as url:
        yield url


@pytest.fixture(scope="module")
def module_url(server: EmbeddedServer, template: str) -> Iterator[URL]:
    """A database of a file's own, for tests that do not disturb each other."""
    with database(server, f"module_{next(_numbers)}", template) as url:
        yield url


@pytest.fixture
def empty_url(server: EmbeddedServer) -> Iterator[URL]:
    """A database without schema vecstore and without pgvector."""
    with database(server, f"empty_{next(_numbers)}", "template0") as url:
        yield url


@pytest.fixture
def store(database_url: URL) -> Iterator[Store]:
    with vecstore.connect(database_url) as store:
        yield store


@pytest.fixture
def gateway(database_url: URL) -> Iterator[Gateway]:
    """Milvus's protocol on the database of the test."""
    with serve(database_url, port=0) as gateway:
        yield gateway


@pytest.fixture
def milvus(gateway: Gateway) -> Iterator[MilvusClient]:
    client = MilvusClient(f"http://{gateway.address}")
    yield client
    client.close()


@pytest.fixture
def books(store: Store) -> vecstore.Collection:
    """A small collection: explicit ids, one vector field, no rows."""
    return store.create_collection("books", BOOK_FIELDS)


@pytest.fixture
def fill() -> Callable[..., None]:
    def filled(collection: vecstore.Collection, keys: range, partition_name: str | None = None) -> None:
        collection.insert([book(key) for key in keys], partition_name=partition_name)

    return filled


@pytest.fixture(scope="session")
def real_data() -> Path:
    """3,000 real packages, their embeddings, and 100 queries with the exact answers."""
    return Path(__file__).parents[1] / "examples" / "debian-3k"
