"""The history of schema vecstore: there and back, several at once, killed in the middle, in the way of others."""

from __future__ import annotations

import io
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest
from alembic import autogenerate, command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import URL, Engine, MetaData, create_engine, event, text

import vecstore
from killing import kill
from vecstore import ConnectionLost, LockTimeout
from vecstore.database import lock_name
from vecstore.embedded import EmbeddedServer, start
from vecstore.embedded.account import server_account
from vecstore.embedded.wheel import programs
from vecstore.installation import write_upgrade
from vecstore.revisions import revisions
from waiting import SECONDS, eventually

ROOT = Path(__file__).parents[2]
STATES = ("base", *revisions())
FIRST, HEAD = revisions()[0], revisions()[-1]
# Alembic's own command waits in the line for the lock, the library takes its place in it again and again.
WAITING = text("""
    SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted) >= 2
       AND (SELECT count(*) FROM pg_stat_activity WHERE application_name = 'vecstore') = 2
""")
ALIVE = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'vecstore'")
END_ALL = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'vecstore'")


def address(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def config_for(url: URL, *, stdout: TextIO = sys.stdout) -> Config:
    config = Config(stdout=stdout)
    config.set_main_option("script_location", "vecstore:migrations")
    config.set_main_option("sqlalchemy.url", address(url).replace("%", "%%"))
    return config


def brought_to(url: URL, state: str) -> None:
    """A database without anything of ours is brought to a revision, or to what a downgrade to `base` leaves."""
    command.upgrade(config_for(url), HEAD)
    command.downgrade(config_for(url), state)


def is_at(url: URL, state: str) -> bool:
    """Whether the version table, and the tables, views and functions of the schema, are those of a revision."""
    engine = create_engine(url)
    versions = text("SELECT version_num FROM vecstore.alembic_version")
    things = text("""
        SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = n.oid)
             + (SELECT count(*) FROM pg_proc WHERE pronamespace = n.oid)
             + (SELECT count(*) FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE c.relnamespace = n.oid)
        FROM pg_namespace n WHERE nspname = 'vecstore'
    """)
    with engine.connect() as connection:
        found = connection.execute(versions).scalars().all() or ["base"]
        count = connection.execute(things).scalar_one()
        connection.rollback()
        # What the revision has is found out by going there, in a transaction that is undone.
        store = vecstore.connect(engine).bind(connection)
        store.upgrade()
        if state != HEAD:
            store.downgrade(state)
        expected = connection.execute(things).scalar_one()
        connection.rollback()
    engine.dispose()
    return found == [state] and count == expected


@pytest.fixture
def dumped(server: EmbeddedServer, major: int) -> Callable[[URL], str]:
    """The whole schema vecstore as pg_dump writes it: tables, views, functions, policies, comments, privileges."""

    def dump(url: URL) -> str:
        program = programs(major, server_account()) / "pg_dump"
        where = ["--host", server.socket_directory, "--username", "postgres", "--schema-only", "--schema", "vecstore"]
        written = subprocess.run([program, *where, str(url.database)], capture_output=True, check=True, text=True)
        lines = written.stdout.splitlines()
        # A new random word in each dump.
        return "\n".join(line for line in lines if not line.startswith(("\\restrict", "\\unrestrict")))

    return dump


@pytest.fixture
def run_in_psql(server: EmbeddedServer, major: int, capsys: pytest.CaptureFixture[str]) -> Callable[[URL, str], None]:
    """Write the script that leads from a revision to the last one, and let psql run it."""

    def run(url: URL, state: str) -> None:
        write_upgrade(start=state)
        program = programs(major, server_account()) / "psql"
        where = ["--host", server.socket_directory, "--username", "postgres", "--dbname", str(url.database)]
        options = ["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1"]
        script = capsys.readouterr().out
        ended = subprocess.run([program, *where, *options], input=script, capture_output=True, check=False, text=True)
        assert ended.returncode == 0, ended.stderr

    return run


@contextmanager
def stopped_at(engine: Engine, number: int, stop: Callable[[], object]) -> Iterator[None]:
    """Something happens between two statements, before the one of this number."""
    statements = itertools.count(1)

    def count(*_: object) -> None:
        if next(statements) == number:
            stop()

    event.listen(engine, "before_cursor_execute", count)
    yield
    event.remove(engine, "before_cursor_execute", count)


# There and back


def test_a_fresh_installation_is_what_every_way_through_the_history_leads_to(
    database_url: URL, empty_url: URL, dumped: Callable[[URL], str]
) -> None:
    config = config_for(empty_url)
    fresh = dumped(database_url)
    on_the_way = {}
    for revision in revisions():
        command.upgrade(config, revision)
        on_the_way[revision] = dumped(empty_url)
    assert on_the_way[HEAD] == fresh
    assert len(set(on_the_way.values())) == len(revisions())
    for revision in revisions()[:-1]:
        command.downgrade(config, revision)
        assert dumped(empty_url) == on_the_way[revision]
        command.upgrade(config, HEAD)
        assert dumped(empty_url) == fresh
    command.downgrade(config, "base")
    assert "collection_registry" not in dumped(empty_url)
    command.upgrade(config, HEAD)
    assert dumped(empty_url) == fresh


@pytest.mark.parametrize("state", STATES[:-1])
def test_the_script_for_psql_leads_to_the_same_schema(
    database_url: URL, empty_url: URL, dumped: Callable[[URL], str], run_in_psql: Callable[[URL, str], None], state: str
) -> None:
    if state != "base":
        command.upgrade(config_for(empty_url), state)
    run_in_psql(empty_url, state)
    assert dumped(empty_url) == dumped(database_url)


def test_an_applications_autogenerate_sees_nothing_of_ours(database_url: URL) -> None:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        assert autogenerate.compare_metadata(MigrationContext.configure(connection), MetaData()) == []
    engine.dispose()


def test_asking_alembic_for_the_revision_changes_nothing(empty_url: URL) -> None:
    said = io.StringIO()
    command.current(config_for(empty_url, stdout=said))
    with vecstore.connect(empty_url) as store:
        with store.engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT to_regnamespace('vecstore')").scalar_one() is None
        store.upgrade()
    assert said.getvalue() == ""
    command.current(config_for(empty_url, stdout=said))
    assert said.getvalue() == f"{HEAD} (head)\n"


def test_a_new_revision_is_written_into_the_package(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder in ("alembic", "vecstore/migrations"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    words = [sys.executable, "-m", "alembic", "revision", "--rev-id", "vecstore_9999", "-m", "what it does"]
    subprocess.run(words, cwd=tmp_path, capture_output=True, check=True)
    written = tmp_path / "vecstore" / "migrations" / "versions" / "vecstore_9999_what_it_does.py"
    assert f"down_revision = '{HEAD}'" in written.read_text(encoding="utf-8")


# Killed in the middle


@pytest.mark.parametrize("state", STATES[:-1])
def test_a_connection_lost_at_any_statement_leaves_the_revision_as_it_was(empty_url: URL, state: str) -> None:
    brought_to(empty_url, state)
    other = create_engine(empty_url, isolation_level="AUTOCOMMIT")
    with vecstore.connect(empty_url, ddl_timeout=0) as store, other.connect() as killer:
        kills = 0
        for number in itertools.count(1, 5):
            with stopped_at(store.engine, number, lambda: killer.execute(END_ALL)):
                try:
                    store.upgrade()
                except ConnectionLost:
                    kills += 1
                else:
                    break
            # The client is told before the server has let go of the locks.
            eventually(lambda: killer.execute(ALIVE).scalar_one() == 0)
            assert is_at(empty_url, state)
        assert kills >= 3
    other.dispose()
    assert is_at(empty_url, HEAD)


@pytest.mark.parametrize("state", STATES[:-1])
def test_a_process_killed_in_the_middle_leaves_the_revision_as_it_was(empty_url: URL, state: str) -> None:
    brought_to(empty_url, state)
    script = """
        import os, signal, sys, vecstore
        from sqlalchemy import event
        def killed(connection, cursor, statement, *_):
            if "INTO vecstore.alembic_version" in statement or "UPDATE vecstore.alembic_version" in statement:
                os.kill(os.getpid(), signal.SIGKILL)
        store = vecstore.connect(sys.argv[1])
        event.listen(store.engine, "after_cursor_execute", killed)
        store.upgrade()
    """
    code = "\n".join(line[8:] for line in script.splitlines())
    ended = subprocess.run([sys.executable, "-c", code, address(empty_url)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert is_at(empty_url, state)
    with vecstore.connect(empty_url) as store:
        store.upgrade()
        assert store.list_collections() == []


def test_a_server_killed_in_the_middle_comes_back_with_the_revision_as_it_was(tmp_path: Path, major: int) -> None:
    folder = tmp_path / "data"
    with start(folder, major=major) as server:
        url = server.url()
        brought_to(url, FIRST)
        with vecstore.connect(url) as store:
            with stopped_at(store.engine, 20, lambda: kill(folder)), pytest.raises(ConnectionLost):
                store.upgrade()
            with start(folder, major=major):
                assert is_at(url, FIRST)
                store.upgrade()
                assert store.list_collections() == []
                assert is_at(url, HEAD)


# Several at once, and in the way of others


def test_of_several_processes_one_upgrades_and_the_others_wait(empty_url: URL) -> None:
    environment = {**os.environ, "DATABASE_URL": address(empty_url)}
    ours = [sys.executable, "-m", "vecstore", "upgrade"]
    alembics = [sys.executable, "-m", "alembic", "upgrade", "head"]
    engine = create_engine(empty_url)
    watcher = engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as holder, watcher.connect() as watching:
        lock_name(holder, "vecstore")
        processes = [subprocess.Popen(words, env=environment, cwd=ROOT) for words in (ours, ours, alembics, alembics)]
        try:
            eventually(lambda: watching.execute(WAITING).scalar_one())
            assert [process.poll() for process in processes] == [None] * 4
            assert watching.exec_driver_sql("SELECT to_regnamespace('vecstore')").scalar_one() is None
        finally:
            holder.rollback()
            statuses = [process.wait(SECONDS) for process in processes]
    engine.dispose()
    assert statuses == [0, 0, 0, 0]
    assert is_at(empty_url, HEAD)


@pytest.mark.parametrize("state", STATES[:-1])
def test_a_migration_that_finds_a_table_in_use_gives_up_its_place_and_tries_again(empty_url: URL, state: str) -> None:
    brought_to(empty_url, state)
    in_use = text("LOCK TABLE vecstore.alembic_version IN SHARE MODE")
    with vecstore.connect(empty_url, ddl_timeout=0.3) as hasty, hasty.engine.connect() as other:
        other.execute(in_use)
        with pytest.raises(LockTimeout, match="nothing was changed"):
            hasty.upgrade()
        other.rollback()
        assert is_at(empty_url, state)

        other.execute(in_use)
        tries = threading.Semaphore(0)
        with vecstore.connect(empty_url) as patient:
            event.listen(patient.engine, "rollback", lambda _: tries.release())
            upgrading = threading.Thread(target=patient.upgrade)
            upgrading.start()
            assert all(tries.acquire(timeout=SECONDS) for _ in range(2))
            other.rollback()
            upgrading.join(SECONDS)
    assert is_at(empty_url, HEAD)


def test_a_downgrade_finds_a_table_in_use_and_undoes_nothing_by_halves(database_url: URL) -> None:
    with vecstore.connect(database_url, ddl_timeout=0.3) as store, store.engine.connect() as other:
        other.exec_driver_sql("SELECT FROM vecstore.alias_registry")
        with pytest.raises(LockTimeout):
            store.downgrade("base")
        other.rollback()
    assert is_at(database_url, HEAD)
