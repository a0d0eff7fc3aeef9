from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

import vecstore
from samples import BOOK_FIELDS
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
    assert "CREATE TABLE vecstore." not in (tmp_path / "from_0001.sql").read_text()


def test_a_target_goes_before_the_environment(
    target: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@localhost:1/nothing")
    assert main(["upgrade", "--target", target]) == 0
    assert capsys.readouterr().out == f"schema vecstore: base -> {HEAD}\n"
    assert main(["current"]) == 1
    assert "vecstore: connect: connection" in capsys.readouterr().err


def test_a_folder_is_a_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["current", "--target", str(tmp_path / "data")]) == 0
    assert capsys.readouterr().out == f"{HEAD}\n"


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


@pytest.mark.parametrize("command", [[], ["upgrade"], ["downgrade"], ["current"]])
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
