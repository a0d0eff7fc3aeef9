from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import URL, text

import vecstore
from samples import BOOK_FIELDS
from vecstore import Store
from vecstore.embedded import EmbeddedServer

TABLES = text("SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('vecstore') AND relkind = 'r'")


@pytest.fixture
def empty_url(server: EmbeddedServer, store: Store) -> URL:
    engine = store.engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE IF EXISTS bare")
        connection.exec_driver_sql("CREATE DATABASE bare TEMPLATE template0")
    return server.url("bare")


def config_for(url: URL) -> Config:
    config = Config()
    config.set_main_option("script_location", "vecstore:migrations")
    config.set_main_option("sqlalchemy.url", url.render_as_string(hide_password=False).replace("%", "%%"))
    return config


def test_up_down_and_up_again_from_alembics_own_command(empty_url: URL) -> None:
    config = config_for(empty_url)
    command.upgrade(config, "head")
    command.downgrade(config, "base")
    command.upgrade(config, "head")
    with vecstore.connect(empty_url) as store:
        assert store.create_collection("books", BOOK_FIELDS).count() == 0


def test_our_schema_is_not_taken_away_from_under_collections(empty_url: URL) -> None:
    with vecstore.connect(empty_url) as store:
        store.upgrade()
        store.create_collection("books", BOOK_FIELDS)
        with pytest.raises(Exception, match="collections are registered"):
            command.downgrade(config_for(empty_url), "base")
        assert store.list_collections() == ["books"]


def test_several_who_upgrade_at_once_end_at_the_same_revision(empty_url: URL) -> None:
    def upgrade(_: int) -> None:
        with vecstore.connect(empty_url) as store:
            store.upgrade()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(upgrade, range(4)))
    with vecstore.connect(empty_url) as store, store.engine.connect() as connection:
        assert connection.execute(TABLES).scalar_one() == 3


def test_an_upgrade_that_is_rolled_back_leaves_nothing(empty_url: URL) -> None:
    with vecstore.connect(empty_url) as store:
        with store.engine.connect() as connection:
            store.bind(connection).upgrade()
            assert connection.execute(TABLES).scalar_one() == 3
            connection.rollback()
        with store.engine.connect() as connection:
            assert connection.execute(TABLES).scalar_one() == 0


def test_a_script_for_psql_is_written_offline(capsys: pytest.CaptureFixture[str]) -> None:
    config = Config()
    config.set_main_option("script_location", "vecstore:migrations")
    command.upgrade(config, "head", sql=True)
    script = capsys.readouterr().out
    assert "CREATE TABLE vecstore.collection_registry" in script
    assert script.strip().endswith("COMMIT;")
