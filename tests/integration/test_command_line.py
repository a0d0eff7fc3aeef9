from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import URL, make_url

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import Btree, DataType, Field, Hnsw, Store
from vecstore.cli import main
from vecstore.revisions import revisions

FIRST, HEAD = revisions()[0], revisions()[-1]
HOWTO = Path(__file__).parents[2] / "docs" / "howto" / "deploy.md"


@pytest.fixture
def target(empty_url: URL, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty database, which the environment names too."""
    url = empty_url.render_as_string(hide_password=False)
    monkeypatch.setenv("DATABASE_URL", url)
    return url


def examples(document: str) -> Iterator[tuple[str, str]]:
    """Each command of a document's console blocks, and what it prints."""
    for block in re.findall(r"^```console\n(.*?)^```$", document, re.DOTALL | re.MULTILINE):
        for example in block.removeprefix("$ ").split("\n$ "):
            command, _, output = example.partition("\n")
            yield command, output.strip()


def test_the_commands_of_the_how_to_do_what_it_says(target: str, tmp_path: Path) -> None:
    document = HOWTO.read_text(encoding="utf-8")
    assert len(list(examples(document))) == 7
    for command, output in examples(document):
        words = re.sub(r"\bvecstore (?=current|upgrade|downgrade)", f"{sys.executable} -m vecstore ", command)
        ended = subprocess.run(words, shell=True, cwd=tmp_path, capture_output=True, check=True, text=True)  # noqa: S602
        assert ended.stdout.strip() == output
    assert (tmp_path / "install.sql").read_text().strip().endswith("COMMIT;")
    assert "CREATE TABLE vecstore.collection_registry" not in (tmp_path / "from_0001.sql").read_text()


def test_a_target_goes_before_the_environment(
    target: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@localhost:1/nothing")
    assert main(["upgrade", "--target", target]) == 0
    assert capsys.readouterr().out == f"schema vecstore: base -> {HEAD}\n"
    assert main(["current"]) == 1
    assert "vecstore: connect: connection" in capsys.readouterr().err


def test_a_folder_is_a_target_and_brings_the_programs_for_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    folder = ["--target", str(tmp_path / "data")]
    with vecstore.connect(tmp_path / "data") as store:
        store.create_collection("books", BOOK_FIELDS)
        assert main(["current", *folder]) == 0
        assert capfd.readouterr().out == f"{HEAD}\n"
        assert main(["psql", *folder, "--", "-At", "-c", "SELECT name FROM vecstore.collections"]) == 0
        assert capfd.readouterr().out == "books\n"
        assert main(["psql", *folder, "--", "-c", "SELECT 1 / 0"]) == 1
        assert "division by zero" in capfd.readouterr().err
        assert main(["pg_dump", *folder, "--", "--schema=books"]) == 0
        assert "CREATE TABLE books.entities" in capfd.readouterr().out


def test_a_password_is_not_in_the_list_of_processes(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "psql").write_text('#!/bin/sh\necho "$@"; echo "$PGPASSWORD"\n')
    (tmp_path / "psql").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with_password = make_url(target).set(password="c'est la vie")  # noqa: S106
    assert main(["psql", "--target", with_password.render_as_string(hide_password=False), "--", "-l"]) == 0
    said = f"--dbname={make_url(target).set(drivername='postgresql').render_as_string()} -l\nc'est la vie\n"
    assert capfd.readouterr().out == said


def test_the_status_says_whether_the_database_is_at_this_librarys_revision(
    target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command, status, out, err in (
        (["current"], 1, "base\n", f"vecstore: this library needs {HEAD}: vecstore upgrade\n"),
        (["upgrade"], 0, f"schema vecstore: base -> {HEAD}\n", ""),
        (["current"], 0, f"{HEAD}\n", ""),
        (["upgrade"], 0, f"schema vecstore: {HEAD}\n", ""),
        (["downgrade", FIRST], 0, f"schema vecstore: {HEAD} -> {FIRST}\n", ""),
        (["current"], 1, f"{FIRST}\n", f"vecstore: this library needs {HEAD}: vecstore upgrade\n"),
    ):
        assert main(command) == status
        assert capsys.readouterr() == (out, err)


def test_what_is_not_done_is_explained_without_a_traceback(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["upgrade"])
    with vecstore.connect(target) as store:
        store.create_collection("books", BOOK_FIELDS)
        for command, reason in (
            (["downgrade", "base"], "collections are registered: drop them first"),
            (["downgrade", "nonsense"], f"no revision 'nonsense': expected {FIRST}"),
            (["upgrade", "--sql", "nonsense"], f"no revision 'nonsense': expected {FIRST}"),
            (["upgrade", "--wait", "-1"], "ddl_timeout must be seconds"),
            (["upgrade", "--target", "mysql://localhost/x"], "vecstore runs on PostgreSQL"),
        ):
            capsys.readouterr()
            assert main(command) == 1
            out, err = capsys.readouterr()
            assert (out, err.startswith("vecstore: "), reason in err) == ("", True, True)
        assert store.list_collections() == ["books"]


@pytest.mark.parametrize(
    "words", [[], ["upgrade"], ["current"], ["explode"], ["downgrade"], ["upgrade", "--wait", "x"]]
)
def test_wrong_usage_has_a_status_of_its_own(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage: vecstore" in capsys.readouterr().err


def test_no_password_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:topsecret@localhost:1/nothing")
    assert main(["current"]) == 1
    with pytest.raises(SystemExit):
        main(["current", "--help"])
    assert "topsecret" not in "".join(capsys.readouterr())


def output_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command prints that is done, and says nothing else."""
    capsys.readouterr()
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


@pytest.fixture
def shelf(store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Store:
    """Two collections, one of them with a partition, indexes and an alias, in the database of the environment."""
    monkeypatch.setenv("DATABASE_URL", store.engine.url.render_as_string(hide_password=False))
    books = store.create_collection("books", BOOK_FIELDS, description="What was read", dynamic=True)
    books.create_partition("novel")
    books.insert([book(key) for key in range(50)], partition_name="novel")
    books.create_index("embedding", Hnsw())
    books.create_index("year", Btree())
    store.create_alias("books", "prod")
    tags = Field("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_length=8, max_capacity=3)
    tenant = Field("tenant", DataType.INT64, partition_key=True, description="whose")
    stars = Field("stars", DataType.INT16, default_value=0)
    key = Field("id", DataType.INT64, primary_key=True, auto_id=True)
    store.create_collection("films", [key, tenant, stars, tags, BOOK_FIELDS[-1]], num_partitions=2)
    return store


def test_ls_lists_the_collections(shelf: Store, capsys: pytest.CaptureFixture[str]) -> None:
    heads, books, films = output_of(["ls"], capsys).splitlines()
    assert heads.split() == ["collection", "rows", "size", "partitions", "indexes", "aliases"]
    assert re.fullmatch(r"books +~\d+ +\d+\.\d kB +2 +2  prod", books)
    assert re.fullmatch(r"films +~0 +\d+\.\d kB +2 +0", films)
    listed = json.loads(output_of(["ls", "--json"], capsys))
    assert [found["name"] for found in listed] == ["books", "films"]
    assert listed[0]["bytes"] == sum(part["bytes"] for part in listed[0]["partitions"]) > 0
    assert {index["name"]: index["state"] for index in listed[0]["indexes"]} == {
        "embedding_idx": "ready",
        "year_idx": "ready",
    }


def test_ls_says_so_where_there_is_nothing(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["upgrade"])
    assert output_of(["ls"], capsys) == "no collections\n"
    assert output_of(["ls", "--json"], capsys) == "[]\n"


def test_describe_shows_fields_partitions_and_indexes(shelf: Store, capsys: pytest.CaptureFixture[str]) -> None:
    head, fields, partitions, indexes = output_of(["describe", "prod"], capsys).split("\n\n")
    assert head.splitlines()[0] == "books: What was read"
    assert head.splitlines()[2:] == ["aliases: prod", "dynamic: entities may have more keys than the fields"]
    assert [" ".join(line.split()) for line in fields.splitlines()[1:]] == [
        "id INT64 primary key",
        "title VARCHAR(64)",
        "year INT32 nullable",
        "embedding FLOAT_VECTOR(4)",
    ]
    assert [line.split()[0] for line in partitions.splitlines()[1:]] == ["_default", "novel"]
    assert [line.split()[:-2] for line in indexes.splitlines()[1:]] == [
        ["embedding_idx", "embedding", "hnsw", "COSINE", "ready"],
        ["year_idx", "year", "btree", "ready"],
    ]
    assert [" ".join(line.split()) for line in output_of(["describe", "films"], capsys).splitlines()[3:8]] == [
        "field type",
        "id INT64 primary key, drawn",
        "tenant INT64 partition key: whose",
        "stars INT16 default 0",
        "tags ARRAY of up to 3 VARCHAR(8)",
    ]


def test_describe_for_programs_is_json(shelf: Store, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(output_of(["describe", "films", "--json"], capsys))
    assert (found["name"], found["dynamic"], found["rows_estimated"]) == ("films", False, 0)
    assert found["fields"][2] == {"name": "stars", "data_type": "INT16", "default_value": 0}
    assert len(found["partitions"]) == 2
    assert main(["describe", "nothing"]) == 1
    assert capsys.readouterr() == ("", "vecstore: no collection 'nothing'\n")


def as_role(store: Store, role: str) -> str:
    """A target where one is a new role, with no rights."""
    with store.engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role}")
    return store.engine.url.update_query_dict({"options": f"-c role={role}"}).render_as_string(hide_password=False)


def test_what_a_role_may_not_see_is_not_described(shelf: Store, capsys: pytest.CaptureFixture[str]) -> None:
    stranger = as_role(shelf, "stranger_to_the_shelf")
    assert output_of(["ls", "--target", stranger], capsys) == "no collections\n"
    assert main(["describe", "books", "--target", stranger]) == 1
    assert "store.grant() gives them" in capsys.readouterr().err


def test_nothing_waits_for_a_drop_that_is_under_way(shelf: Store, capsys: pytest.CaptureFixture[str]) -> None:
    with shelf.transaction() as dropping:
        dropping.collection("books").drop_partition("novel")
        listed = json.loads(output_of(["ls", "--json"], capsys))
        assert [found["name"] for found in listed] == ["books", "films"]
        assert listed[0]["bytes"] is None
        assert re.search(r"novel +~\d+ +\?", output_of(["describe", "books"], capsys))


def test_what_was_dropped_and_kept_is_listed_restored_and_freed(
    shelf: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert output_of(["trash"], capsys) == "nothing in the trash\n"
    shelf.collection("books").drop_partition("novel", keep=timedelta(days=7))
    shelf.drop_collection("books", keep=timedelta(days=7), cascade=True)
    heads, novel, books = output_of(["trash"], capsys).splitlines()
    assert heads.split("  ")[0] == "id"
    assert re.fullmatch(r" *\d+  books +novel +\d+\.\d kB  20\d\d-.* postgres  20\d\d-\S+ \S+", novel)
    assert re.fullmatch(r" *\d+  books +\d+\.\d kB .* prod", books)
    listed = json.loads(output_of(["trash", "--json"], capsys))
    assert [entry["partition"] for entry in listed] == ["novel", None]
    last = output_of(["ls"], capsys).splitlines()[-1]
    assert re.fullmatch(r"in the trash: 2 drops, \d+\.\d kB \(vecstore trash\)", last)

    assert main(["restore", "books", "--id", str(listed[0]["id"])]) == 1
    assert "as number" in capsys.readouterr().err
    shelf.create_collection("books", BOOK_FIELDS)
    assert main(["restore", "books"]) == 1
    assert "as_name" in capsys.readouterr().err
    restored = output_of(["restore", "books", "--as", "old_books", "--without-aliases"], capsys)
    assert restored == "restored: collection old_books\n"
    assert output_of(["restore", "old_books", "novel"], capsys) == "restored: partition novel of old_books\n"
    assert shelf.list_aliases() == {}

    shelf.drop_collection("books", keep=timedelta(days=7))
    assert output_of(["purge"], capsys) == "freed: 0 drops, 0 bytes\n"
    assert output_of(["purge", "--older-than", "1 day"], capsys) == "freed: 0 drops, 0 bytes\n"
    assert re.fullmatch(r"freed: 1 drop, \d+\.\d kB\n", output_of(["purge", "--older-than", "0"], capsys))
    assert main(["purge", "--older-than", "soon"]) == 1
    assert "--older-than is 'soon', which is no time" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["upgrade"],
        ["downgrade"],
        ["current"],
        ["ls"],
        ["describe"],
        ["trash"],
        ["restore"],
        ["purge"],
        ["psql"],
        ["pg_dump"],
    ],
)
def test_help_teaches(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "DATABASE_URL" in out
    assert len(out.splitlines()) >= 10


def test_who_reads_only_the_beginning_of_a_script_sees_no_traceback() -> None:
    words = f"set -o pipefail; {sys.executable} -m vecstore upgrade --sql | head -1"
    ended = subprocess.run(["bash", "-c", words], capture_output=True, check=False, text=True)  # noqa: S607
    assert (ended.stdout, ended.stderr) == ("BEGIN;\n", "")
