from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vecstore
from samples import BOOK_FIELDS, book
from vecstore import Btree, Collection, DataType, Field, Store
from vecstore.cli import main
from vecstore.progress import working


class Typed(io.StringIO):
    """A terminal at which somebody types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def books(store: Store, monkeypatch: pytest.MonkeyPatch) -> Collection:
    """A collection with two partitions and an index, in the database of the environment."""
    monkeypatch.setenv("DATABASE_URL", store.engine.url.render_as_string(hide_password=False))
    books = store.create_collection("books", BOOK_FIELDS)
    books.create_partition("novel")
    books.insert([book(key) for key in range(10)])
    books.insert([book(key) for key in range(10, 30)], partition_name="novel")
    books.create_index("year", Btree())
    return books


COMMANDS = {
    "drop collection 'books'": (["drop", "collection", "books"], "books"),
    "drop partition 'novel' of collection 'books'": (["drop", "partition", "books", "novel"], "novel"),
    "drop index 'year_idx' of collection 'books'": (["drop", "index", "books", "year_idx"], "year_idx"),
    "delete entities of collection 'books'": (["delete", "books", "--filter", "year < 1905"], "books"),
    "truncate collection 'books'": (["truncate", "books"], "books"),
    "truncate partition 'novel' of collection 'books'": (["truncate", "books", "novel"], "novel"),
}


def state(store: Store, books: Collection) -> tuple[int, int, int] | None:
    if not store.has_collection("books"):
        return None
    return books.count(), len(books.partitions), len(books.indexes)


AFTER = {
    "drop collection 'books'": None,
    "drop partition 'novel' of collection 'books'": (10, 1, 1),
    "drop index 'year_idx' of collection 'books'": (30, 2, 0),
    "delete entities of collection 'books'": (25, 2, 1),
    "truncate collection 'books'": (0, 2, 1),
    "truncate partition 'novel' of collection 'books'": (10, 2, 1),
}


@pytest.mark.parametrize("title", COMMANDS)
def test_a_command_shows_its_plan_and_does_it_when_the_name_was_typed(
    store: Store,
    books: Collection,
    title: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words, name = COMMANDS[title]
    before = state(store, books)
    assert main([*words, "--dry-run"]) == 0
    shown, err = capsys.readouterr()
    assert (shown.startswith(f"{title}\n\n"), err) == (True, "")
    assert {"Locks", "Statements"} <= set(shown.splitlines())
    assert state(store, books) == before
    for answer in ("", "\n", f"{name}x\n", "yes\n"):
        monkeypatch.setattr(sys, "stdin", Typed(answer))
        assert main(words) == 3
        out, err = capsys.readouterr()
        assert out == shown
        assert err == f"Type {name} to do it: vecstore: not confirmed, nothing was changed\n"
        assert state(store, books) == before
    monkeypatch.setattr(sys, "stdin", Typed(f"{name}\n"))
    assert main(words) == 0
    assert capsys.readouterr().out == f"{shown}done: {title}\n"
    assert state(store, books) == AFTER[title]


def test_where_nobody_can_be_asked_nothing_is_done_without_yes(
    store: Store, books: Collection, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [sys.executable, "-m", "vecstore", "drop", "collection", "books"]
    ended = subprocess.run(words, input="books\n", capture_output=True, check=False, text=True)
    assert ended.returncode == 3
    assert ended.stderr == "vecstore: nobody to ask, nothing was changed: pass --yes, or --dry-run to see the plan\n"
    assert ended.stdout.startswith("drop collection 'books'\n")
    ended = subprocess.run([*words, "--yes"], stdin=subprocess.DEVNULL, capture_output=True, check=True, text=True)
    assert (ended.stdout.splitlines()[-1], ended.stderr) == ("done: drop collection 'books'", "")
    assert store.list_collections() == []


def test_the_name_is_typed_at_a_real_terminal(store: Store, books: Collection) -> None:
    leader, follower = pty.openpty()
    words = [sys.executable, "-m", "vecstore", "truncate", "books", "novel"]
    with subprocess.Popen(words, stdin=follower, stdout=subprocess.PIPE, stderr=follower, text=True) as command:
        os.close(follower)
        said = b""
        while b"Type novel to do it: " not in said:
            said += os.read(leader, 1024)
        os.write(leader, b"novel\n")
        # What the terminal shows is read until the command has gone: it must not wait for that.
        try:
            while os.read(leader, 1024):
                pass
        except OSError:  # Linux says so when the last one at the terminal has gone
            pass
        assert command.stdout is not None
        assert command.stdout.read().endswith("done: truncate partition 'novel' of collection 'books'\n")
    os.close(leader)
    assert command.returncode == 0
    assert books.count() == 10


def test_an_interrupt_is_no_confirmation(
    store: Store, books: Collection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(Typed):
        def readline(self, *_: object) -> str:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Interrupted())
    assert main(["drop", "collection", "books"]) == 3
    assert capsys.readouterr().err.endswith("not confirmed, nothing was changed\n")


def test_json_is_one_document_of_the_plan_and_what_came_of_it(
    store: Store, books: Collection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["drop", "partition", "books", "novel", "--json", "--dry-run"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["done"] is False
    plan = document["plan"]
    assert (plan["kind"], plan["rows"], plan["rows_exact"]) == ("drop partition", 20, True)
    assert plan["statements"] == ["DROP TABLE books.entities_novel RESTRICT"]
    assert plan["objects"][0]["bytes"] == plan["bytes_freed"] > 0
    assert {lock["mode"] for lock in plan["locks"]} == {"ACCESS EXCLUSIVE"}
    monkeypatch.setattr(sys, "stdin", Typed("no\n"))
    assert main(["truncate", "books", "--json"]) == 3
    out, err = capsys.readouterr()
    assert json.loads(out)["done"] is False
    assert err.startswith("truncate collection 'books'\n")
    assert main(["truncate", "books", "--json", "--yes"]) == 0
    assert json.loads(capsys.readouterr().out)["done"] is True
    assert books.count() == 0


def test_what_stands_against_a_drop_is_shown_and_told_by_the_status(
    store: Store, books: Collection, capsys: pytest.CaptureFixture[str]
) -> None:
    store.create_alias("books", "prod")
    for words in (["drop", "collection", "books", "--dry-run"], ["drop", "collection", "books", "--yes"]):
        assert main(words) == 1
        out, err = capsys.readouterr()
        assert "CollectionHasAliases: collection 'books' has aliases, drop them first: prod" in out
        assert err.startswith("vecstore: collection 'books' has aliases, drop them first: prod")
    assert main(["drop", "collection", "books", "--dry-run", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["plan"]["objections"][0]["error"] == "CollectionHasAliases"
    assert store.list_collections() == ["books"]


def test_keys_are_given_as_the_collection_has_them(
    store: Store, books: Collection, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["delete", "books", "--ids", "1", "2", "77", "--yes"]) == 0
    assert main(["delete", "books", "--ids", "1", "two"]) == 1
    assert "primary keys are numbers here, got 1 two" in capsys.readouterr().err
    words = store.create_collection(
        "words", [Field("word", DataType.VARCHAR, primary_key=True, max_length=9), BOOK_FIELDS[3]]
    )
    words.insert([{"word": word, "embedding": [1, 2, 3, 4]} for word in ("1", "two")])
    assert main(["delete", "words", "--ids", "1", "two", "--yes"]) == 0
    assert (books.count(), words.count()) == (28, 0)


def test_a_drop_is_kept_where_it_is_told_to(
    store: Store, books: Collection, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["drop", "partition", "books", "novel", "--keep", "7 days", "--yes"]) == 0
    assert main(["drop", "collection", "books", "--keep", "a while"]) == 1
    assert "--keep is 'a while', which is no time" in capsys.readouterr().err
    assert main(["drop", "collection", "books", "--keep", "12 hours", "--yes"]) == 0
    assert "kept for 12:00:00" in capsys.readouterr().out
    assert [entry.partition for entry in store.trash()] == ["novel", None]


def test_a_delete_keeps_to_the_partitions_it_names(
    store: Store, books: Collection, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["delete", "books", "--filter", "id >= 0", "--partition", "novel", "--yes"]) == 0
    assert "drop_partition('novel') or truncate('novel')" in capsys.readouterr().out
    assert books.count() == 10


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["drop", "collection", "nothing"], "no collection 'nothing'"),
        (["drop", "partition", "books", "drama"], "no partition 'drama'"),
        (["drop", "index", "books", "drama"], "no index 'drama'"),
        (["truncate", "books", "drama"], "no partition 'drama'"),
        (["delete", "books", "--filter", "true"], "truncate() deletes everything"),
        (["delete", "books", "--filter", "colour == 1"], "colour"),
        (["drop", "partition", "books", "_default", "--yes"], "cannot be dropped"),
    ],
)
def test_what_cannot_be_done_is_explained(
    store: Store, books: Collection, words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 1
    err = capsys.readouterr().err
    assert err.startswith("vecstore: ")
    assert reason in err
    assert state(store, books) == (30, 2, 1)


@pytest.mark.parametrize(
    "words",
    [
        ["drop"],
        ["drop", "collection"],
        ["drop", "partition", "books"],
        ["drop", "everything"],
        ["delete", "books"],
        ["delete", "books", "--filter", "id > 1", "--ids", "1"],
        ["truncate", "books", "--yes", "--dry-run"],
    ],
)
def test_wrong_usage_has_a_status_of_its_own(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--target", "postgresql://localhost/x"])
    assert ended.value.code == 2
    assert re.match("usage: vecstore (drop|delete|truncate)", capsys.readouterr().err)


@pytest.mark.parametrize("words", [["drop"], *(words[:-1] for words, _ in COMMANDS.values())])
def test_help_teaches_by_examples(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*(word for word in words if word not in {"books", "--filter"}), "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert re.search(r"^  vecstore (drop|delete|truncate) ", out, re.MULTILINE)


def test_what_is_under_way_is_shown_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Typed()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with working("drop collection 'books' [red]"):
        pass
    assert "drop collection 'books' [red]" in terminal.getvalue()
    monkeypatch.setitem(sys.modules, "rich.console", None)
    plain = Typed()
    monkeypatch.setattr(sys, "stderr", plain)
    with working("drop collection 'books'"):
        pass
    assert plain.getvalue() == ""


THINK_TWICE = Path(__file__).parents[2] / "docs" / "howto" / "think-twice.md"


def shape(text: str) -> str:
    """Words alone: figures and the width of columns are another server's."""
    return re.sub(r"[ ~]+", " ", re.sub(r"\d[\d,.]*", "0", text)).strip()


def test_the_commands_of_the_how_to_print_what_it_says(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    document = THINK_TWICE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", document, re.DOTALL | re.MULTILINE)
    (console,) = re.findall(r"^```console\n(.*?)^```$", document, re.DOTALL | re.MULTILINE)
    monkeypatch.setattr(vecstore, "connect", lambda _: store)
    names: dict[str, object] = {}
    for block in blocks[: document[: document.index("```console")].count("```python\n")]:
        exec(block, names)  # noqa: S102 - our own document
    monkeypatch.undo()
    environment = {**os.environ, "DATABASE_URL": store.engine.url.render_as_string(hide_password=False)}
    examples = console.removeprefix("$ ").split("\n$ ")
    assert len(examples) == 2
    for example in examples:
        command, _, output = example.partition("\n")
        words = [sys.executable, "-m", *command.split()]
        ended = subprocess.run(words, env=environment, capture_output=True, check=True, text=True)
        assert shape(ended.stdout) == shape(output)
