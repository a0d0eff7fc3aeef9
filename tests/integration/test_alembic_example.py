"""examples/app_with_alembic and docs/howto/alembic.md, run as their readers would: by the command `alembic`."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, text

from vecstore import IndexState, Store
from vecstore.embedded import EmbeddedServer
from vecstore.embedded.account import server_account
from vecstore.embedded.wheel import programs
from waiting import eventually

ROOT = Path(__file__).parents[2]
Shell = Callable[..., subprocess.CompletedProcess[str]]


def bash(commands: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    program = ["/bin/bash", "-euo", "pipefail", "-c", commands]
    return subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """A copy of the example, to write revisions into."""
    return Path(shutil.copytree(ROOT / "examples" / "app_with_alembic", tmp_path / "app"))


@pytest.fixture
def environment(database_url: URL) -> dict[str, str]:
    url = database_url.set(drivername="postgresql").render_as_string(hide_password=False)
    return {**os.environ, "DATABASE_URL": url, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@pytest.fixture
def shell(application: Path, environment: dict[str, str]) -> Shell:
    def run(command: str, *, fails: bool = False) -> subprocess.CompletedProcess[str]:
        done = bash(command, application, environment)
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done

    return run


def test_the_example_goes_up_and_down_and_up_and_is_complete(store: Store, shell: Shell, application: Path) -> None:
    shell("alembic upgrade head")
    shell("alembic check")
    written = shell("alembic revision --autogenerate -m nothing --rev-id 0004")
    assert "done" in written.stdout
    empty = (application / "migrations" / "versions" / "0004_nothing.py").read_text()
    assert "op." not in empty
    (application / "migrations" / "versions" / "0004_nothing.py").unlink()
    assert store.list_collections() == ["books", "reviews"]
    assert store.list_aliases() == {"catalogue": "books"}
    assert "Dorothea borrows Middlemarch" in shell("python app.py").stdout
    shell("alembic downgrade base")
    assert store.list_collections() == []
    assert store.doctor() == ()
    shell("alembic upgrade head")
    shell("alembic check")
    assert [index.name for index in store.collection("books").indexes] == [
        *("embedding_idx", "year_idx", "meta_language_idx")
    ]


def test_the_script_for_psql_leads_to_the_same_as_the_example(
    store: Store, shell: Shell, database_url: URL, server: EmbeddedServer, major: int
) -> None:
    psql = (
        f"{programs(major, server_account()) / 'psql'} --no-psqlrc --quiet --set ON_ERROR_STOP=1 "
        f"--host {server.socket_directory} --username postgres --dbname {database_url.database}"
    )
    shell(f"alembic upgrade head --sql > up.sql && {psql} --file up.sql")
    shell("alembic check")
    assert "Dorothea borrows Middlemarch" in shell("python app.py").stdout
    shell(f"alembic downgrade 0003:base --sql > down.sql && {psql} --file down.sql")
    assert store.list_collections() == []


def is_over(store: Store) -> bool:
    """Whether no session of an `alembic` is left: what one had not committed is undone."""
    others = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend' AND application_name <> 'vecstore'
    """
    with store.engine.connect() as connection:
        return connection.exec_driver_sql(others).scalar_one() == 0


INTERRUPTED = '''"""Half of it is done when the process is killed."""

import os
import pathlib

from alembic import op

import vecstore

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("INSERT INTO readers (name) VALUES ('Dorothea')")
    op.create_collection("films", vecstore.Field("id", vecstore.DataType.INT64, primary_key=True))
    op.drop_partition("books", "poetry")
    op.drop_field("books", "title")
    op.drop_collection("reviews")
    {here}
    op.drop_vector_index("books", "embedding_idx")


def downgrade() -> None:
    pass
'''
WAITS = 'pathlib.Path("half").touch()\n    time.sleep(600)'


def test_a_revision_killed_in_the_middle_leaves_nothing_half_done(
    store: Store, shell: Shell, application: Path, environment: dict[str, str]
) -> None:
    shell("alembic upgrade head")
    before = {name: store.collection(name).describe() for name in store.list_collections()}
    revision = application / "migrations" / "versions" / "0004_interrupted.py"
    revision.write_text(INTERRUPTED.format(here=WAITS))
    with subprocess.Popen([sys.executable, "-m", "alembic", "upgrade", "head"], cwd=application, env=environment) as it:
        eventually((application / "half").exists)
        it.send_signal(signal.SIGKILL)
    version = text("SELECT version_num FROM alembic_version")
    eventually(lambda: is_over(store))
    with store.engine.connect() as connection:
        assert connection.execute(version).scalar_one() == "0003"
        assert connection.execute(text("SELECT count(*) FROM readers")).scalar_one() == 0
    assert {name: store.collection(name).describe() for name in store.list_collections()} == before
    shell("alembic check", fails=True)  # not because of the database: a revision is to come
    assert store.doctor() == ()

    revision.write_text(INTERRUPTED.format(here="pass"))
    shell("alembic upgrade head")
    assert store.list_collections() == ["books", "films"]
    assert "title" not in store.collection("books").describe().schema.by_name


ONLINE = '''"""An index that takes long."""

from alembic import op

import vecstore

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_vector_index(
        "books", "embedding", vecstore.Hnsw(metric=vecstore.Metric.L2), name="by_l2", online=True
    )


def downgrade() -> None:
    op.drop_vector_index("books", "by_l2")
'''


def test_an_online_build_that_is_killed_is_built_by_the_next_run(
    store: Store, shell: Shell, application: Path, environment: dict[str, str]
) -> None:
    shell("alembic upgrade head")
    books = store.collection("books")
    books.insert([{"id": key, "title": "t", "embedding": [1, key, 0]} for key in range(10)])
    (application / "migrations" / "versions" / "0004_online.py").write_text(ONLINE)
    with store.engine.connect() as writer:
        writer.execute(text("UPDATE books.entities__default SET year = 1"))  # the build of this leaf waits for it
        with subprocess.Popen(
            [sys.executable, "-m", "alembic", "upgrade", "head"], cwd=application, env=environment
        ) as it:
            eventually(lambda: any(index.name == "by_l2" for index in books.indexes))
            it.send_signal(signal.SIGKILL)
    eventually(lambda: is_over(store))  # its backend has come to the end of its statement, and found nobody to tell
    assert books.index("by_l2").state is IndexState.INVALID
    shell("alembic upgrade head")
    assert books.index("by_l2").state is IndexState.READY
    assert store.doctor() == ()
    shell("alembic downgrade 0003")
    assert "by_l2" not in [index.name for index in books.indexes]


FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Path]:
    """An empty folder, in which somebody follows the how-to."""
    folder = tmp_path / "reader"
    folder.mkdir()
    return folder


def test_the_how_to_works_as_it_is_written(reader: Path, environment: dict[str, str], store: Store) -> None:
    """A block of shell is run; any other one that begins with a file's name in a comment is that file."""
    blocks = FENCE.findall((ROOT / "docs" / "howto" / "alembic.md").read_text(encoding="utf-8"))
    ran = 0
    for language, block in blocks:
        first = block.partition("\n")[0]
        if language == "shell":
            done = bash(block, reader, environment)
            assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
            ran += 1
        elif named := re.fullmatch(r"# ([\w./]+\.\w+)", first):
            file = reader / named[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block)
    assert ran >= 4
    assert store.list_collections() == ["books"]
