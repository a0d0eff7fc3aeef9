"""The revision that brings the SQL for analysts: up from the one before, down again, offline, and under attack."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from importlib.resources import files

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import URL, text

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import DatabaseError, Hnsw
from vecstore.embedded import EmbeddedServer

BODIES = """
    SELECT p.oid::regprocedure::text, p.prosrc, p.proconfig::text FROM pg_proc p
    WHERE p.pronamespace = to_regnamespace('vecstore')
  UNION ALL
    SELECT c.oid::regclass::text, pg_get_viewdef(c.oid), c.reloptions::text FROM pg_class c
    WHERE c.relnamespace = to_regnamespace('vecstore') AND c.relkind = 'v'
    ORDER BY 1
"""


def dsn(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def config_for(url: URL) -> Config:
    config = Config()
    config.set_main_option("script_location", "vecstore:migrations")
    config.set_main_option("sqlalchemy.url", url.render_as_string(hide_password=False).replace("%", "%%"))
    return config


@pytest.fixture
def empty_url(server: EmbeddedServer) -> Iterator[URL]:
    with psycopg.connect(dsn(server.url()), autocommit=True) as connection:
        connection.execute("CREATE DATABASE bare_for_sql TEMPLATE template0")
        yield server.url("bare_for_sql")
        connection.execute("DROP DATABASE bare_for_sql WITH (FORCE)")


def bodies(url: URL) -> list[tuple[str, ...]]:
    with psycopg.connect(dsn(url)) as connection:
        return connection.execute(BODIES).fetchall()


def test_a_database_of_the_revision_before_is_upgraded_with_its_collections(empty_url: URL) -> None:
    command.upgrade(config_for(empty_url), "vecstore_0001")
    assert bodies(empty_url) == []
    with vecstore.connect(empty_url) as store:
        store.upgrade()
        books = store.create_collection("books", BOOK_FIELDS)
        books.insert([book(1)])
        books.create_index("embedding", Hnsw())
    with psycopg.connect(dsn(empty_url)) as connection:
        assert connection.execute("SELECT name, rows_estimated > 0 FROM vecstore.collections").fetchall()
        assert connection.execute("SELECT id FROM vecstore.search('books', '[1,2,3,4]')").fetchall() == [("1",)]
        connection.rollback()
    command.downgrade(config_for(empty_url), "vecstore_0001")
    assert bodies(empty_url) == []
    with vecstore.connect(empty_url) as store:
        store.upgrade()
        assert store.collection("books").count() == 1
    assert len(bodies(empty_url)) > 15


def test_a_downgrade_leaves_what_is_kept_alone(database_url: URL) -> None:
    """The library of the revision before would free it at its next repair()."""
    with vecstore.connect(database_url) as store:
        store.create_collection("books", BOOK_FIELDS).drop(keep=timedelta(days=7))
        before = bodies(database_url)
        with pytest.raises(DatabaseError, match="the trash is not empty"):
            store.downgrade("vecstore_0002")
        assert bodies(database_url) == before
        assert len(store.purge(timedelta(0))) == 1
        store.downgrade("vecstore_0002")
        store.upgrade()
        assert bodies(database_url) == before


def test_the_script_for_psql_makes_the_same_as_the_upgrade(
    empty_url: URL, database_url: URL, capsys: pytest.CaptureFixture[str]
) -> None:
    command.upgrade(config_for(empty_url), "head", sql=True)
    with psycopg.connect(dsn(empty_url), autocommit=True) as connection:
        connection.execute(capsys.readouterr().out)
    assert bodies(empty_url) == bodies(database_url)


def test_what_stands_in_the_search_path_gets_into_no_view(empty_url: URL) -> None:
    with psycopg.connect(dsn(empty_url)) as connection:
        connection.execute("""
            CREATE SCHEMA attacker;
            CREATE FUNCTION attacker.joined(text, name) RETURNS text LANGUAGE sql AS 'SELECT $1';
            CREATE OPERATOR attacker.|| (LEFTARG = text, RIGHTARG = name, FUNCTION = attacker.joined);
            CREATE FUNCTION attacker.halved(numeric, bigint) RETURNS numeric LANGUAGE sql AS 'SELECT $1';
            CREATE OPERATOR attacker./ (LEFTARG = numeric, RIGHTARG = bigint, FUNCTION = attacker.halved);
            CREATE FUNCTION attacker.count() RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint';
        """)
    with (
        vecstore.connect(
            empty_url.update_query_dict({"options": "-c search_path=attacker,pg_catalog,public"})
        ) as store,
        store.engine.connect() as connection,
    ):
        store.bind(connection).upgrade()
        assert connection.execute(text("SHOW search_path")).scalar_one() == "attacker,pg_catalog,public"
        connection.commit()
    with psycopg.connect(dsn(empty_url)) as connection:
        connection.execute("DROP OPERATOR attacker./ (numeric, bigint)")
        connection.execute("DROP OPERATOR attacker.|| (text, name)")
        connection.execute("DROP SCHEMA attacker CASCADE")
        assert connection.execute("SELECT count(*) FROM pg_views WHERE schemaname = 'vecstore'").fetchone() == (6,)


def test_each_file_is_sent_statement_by_statement() -> None:
    scripts = sorted(file.name for file in files("vecstore").joinpath("sql").iterdir())
    assert scripts == [
        "01_registry.sql",
        "02_views.sql",
        "03_changes.sql",
        "04_search.sql",
        "05_trash.sql",
        "06_plan_id.sql",
    ]
    for name in scripts:
        for statement in files("vecstore").joinpath("sql", name).read_text(encoding="utf-8").split(";\n\n\n"):
            assert statement.count("$$") in {0, 2}, statement[:200]
