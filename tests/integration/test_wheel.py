"""The built wheel, in a fresh environment that holds it and what it says it depends on, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from sysconfig import get_path

import pytest
from packaging.requirements import Requirement
from sqlalchemy import URL

import vecstore
from vecstore.revisions import revisions

ROOT = Path(__file__).parents[2]
FIRST, HEAD = revisions()[0], revisions()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, ROOT], check=True)
    (built,) = folder.glob("*.whl")
    return built


def depended_on(requirements: list[str], extra: str = "") -> Iterator[str]:
    """The distributions that are needed, and what those need."""
    for requirement in map(Requirement, requirements):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement.name
            further = distribution(requirement.name).requires or []
            for wanted in ("", *requirement.extras):
                yield from depended_on(further, wanted)


def link(name: str, folder: Path) -> None:
    """Let an installed distribution be seen from another folder, without installing it again."""
    packages = Path(get_path("platlib"))
    for part in {file.parts[0] for file in distribution(name).files or []} - {"..", "__pycache__"}:
        if not (folder / part).exists():
            (folder / part).symlink_to(packages / part)


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of the fresh environment."""
    folder = tmp_path_factory.mktemp("fresh") / "environment"
    venv.create(folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    interpreter = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", interpreter, "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, wheel], check=True)
    for name in set(depended_on(distribution("vecstore").requires or [])):
        link(name, packages)
    return interpreter


def run(*words: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE"))}
    return subprocess.run(words, cwd=cwd, env={**environment, **variables}, capture_output=True, check=False, text=True)


def address(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def test_the_wheel_holds_the_whole_package_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = ROOT / "vecstore"
    expected = {path.relative_to(ROOT) for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert names == {str(path) for path in expected}
    assert {"py.typed", "filters/grammar.lark", "migrations/env.py", "migrations/script.py.mako"} <= {
        name.removeprefix("vecstore/") for name in names
    }
    assert any(name.startswith("vecstore/sql/") for name in names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[-1][: len(HEAD)] for name in names if "/versions/" in name} == set(revisions())


def test_the_source_holds_what_its_tests_need_and_nothing_that_tools_made(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", tmp_path]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    folders = ("alembic", "benchmarks", "docs/howto", "examples", "tests/unit", "vecstore")
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()):
        made = path.suffix == ".pyc"
        assert (str(path.relative_to(ROOT)) in names) is not made, path
    assert {"conftest.py", "README.md", "LICENSE", "Makefile", "docker-compose.yml", "pyproject.toml"} <= names
    assert not any("node_modules" in name or name.startswith(".") for name in names - {".gitignore"})


def test_the_environment_is_the_wheels_own(python: Path, tmp_path: Path) -> None:
    asked = "import vecstore; print(vecstore.__version__, vecstore.__file__)"
    version, path = run(python, "-c", asked, cwd=tmp_path).stdout.split()
    assert version == vecstore.__version__
    assert Path(path).is_relative_to(python.parents[1])
    ended = run(python.with_name("vecstore"), "current", "--target", "data", cwd=tmp_path)
    assert (ended.returncode, "pip install 'vecstore[embedded]'" in ended.stderr) == (1, True)
    ended = run(python.with_name("vecstore"), "serve", cwd=tmp_path)
    assert (ended.returncode, "pip install 'vecstore[gateway]'" in ended.stderr) == (1, True)


def test_the_command_upgrades_a_database(python: Path, tmp_path: Path, empty_url: URL) -> None:
    command = python.with_name("vecstore")
    for words, out in (
        (["--version"], f"vecstore {vecstore.__version__}\n"),
        (["upgrade"], f"schema vecstore: base -> {HEAD}\n"),
        (["downgrade", FIRST], f"schema vecstore: {HEAD} -> {FIRST}\n"),
        (["upgrade"], f"schema vecstore: {FIRST} -> {HEAD}\n"),
        (["current"], f"{HEAD}\n"),
    ):
        ended = run(command, *words, cwd=tmp_path, DATABASE_URL=address(empty_url))
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, out, "")
    with vecstore.connect(empty_url) as store:
        assert store.list_collections() == []


def test_every_module_of_the_wheel_can_be_imported(python: Path, tmp_path: Path) -> None:
    walk = """
import pkgutil, importlib, vecstore
leave = ("vecstore.__main__", "vecstore.migrations", "vecstore.embedded", "vecstore.gateway")
for module in pkgutil.walk_packages(vecstore.__path__, "vecstore."):
    if not module.name.startswith(leave):
        importlib.import_module(module.name)
        print(module.name)
"""
    ended = run(python, "-W", "error", "-c", walk, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "vecstore.filters.parsing" in ended.stdout.split()


def test_alembics_own_command_runs_our_history_from_the_wheel(python: Path, tmp_path: Path, empty_url: URL) -> None:
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = vecstore:migrations\n")
    for words, status, said in (
        (["upgrade", "head"], 0, ""),
        (["current"], 0, f"{HEAD} (head)\n"),
        (["downgrade", "-1"], 0, ""),
        (["current"], 0, f"{revisions()[-2]}\n"),
        (["current", "--check-heads"], 255, "FAILED: Database is not on all head revisions\n"),
    ):
        ended = run(python, "-m", "alembic", *words, cwd=tmp_path, DATABASE_URL=address(empty_url))
        assert (ended.returncode, ended.stdout) == (status, said), ended.stderr
    ended = run(python, "-m", "alembic", "upgrade", "head", cwd=tmp_path)
    assert (ended.returncode, "say which database: DATABASE_URL" in ended.stderr + ended.stdout) == (255, True)


@pytest.mark.parametrize(
    "order",
    [
        "import alembic, vecstore",
        "import vecstore, alembic",
        "import vecstore.alembic",
        "import vecstore.alembic.plugin",
        "from vecstore.alembic.operations import *",
        "from alembic import op, autogenerate, command",
        "import alembic.command, vecstore.alembic",
    ],
)
def test_alembic_loads_our_plugin_whoever_is_imported_first(python: Path, tmp_path: Path, order: str) -> None:
    ask = """
from importlib.metadata import entry_points
from alembic.operations import Operations
import alembic.command, vecstore.alembic
(ours,) = [point for point in entry_points(group="alembic.plugins") if point.dist.name == "vecstore"]
print(ours.load().__name__, hasattr(Operations, "create_collection"))
"""
    ended = run(python, "-W", "error", "-c", f"{order}\n{ask}", cwd=tmp_path)
    assert (ended.stdout, ended.stderr) == ("vecstore.alembic.plugin True\n", "")


# An application that mixes its revisions with ours


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """The environment at the top of the repository, and a folder of the application's own revisions beside it."""
    for name in ("env.py", "script.py.mako"):
        shutil.copy(ROOT / "alembic" / name, tmp_path)
    (tmp_path / "versions").mkdir()
    (tmp_path / "alembic.ini").write_text(
        "[alembic]\n"
        "script_location = %(here)s\n"
        "version_locations = %(here)s/versions vecstore:migrations/versions\n"
        "path_separator = space\n"
    )
    return tmp_path


def revise(application: Path, depends_on: str) -> None:
    (application / "versions" / "notes.py").write_text(
        "from alembic import op\n"
        f"revision, down_revision, branch_labels, depends_on = 'notes', None, ('app',), ({depends_on!r},)\n"
        "def upgrade():\n"
        "    op.execute('CREATE TABLE notes (id int)')\n"
        "def downgrade():\n"
        "    op.execute('DROP TABLE notes')\n"
    )


def test_an_application_runs_its_history_and_ours_with_one_command(
    python: Path, application: Path, empty_url: URL
) -> None:
    revise(application, HEAD)
    for words in (["upgrade", "heads"], ["downgrade", "app@base"], ["downgrade", "base"], ["upgrade", "heads"]):
        ended = run(python, "-m", "alembic", *words, cwd=application, DATABASE_URL=address(empty_url))
        assert ended.returncode == 0, ended.stderr
    with vecstore.connect(empty_url) as store, store.engine.connect() as connection:
        assert store.list_collections() == []
        assert connection.exec_driver_sql("SELECT count(*) FROM notes").scalar_one() == 0
    ended = run(python.with_name("vecstore"), "upgrade", "--target", address(empty_url), cwd=application)
    assert (ended.returncode, "run `alembic upgrade heads` there" in ended.stderr) == (1, True)


def test_a_revision_depends_on_ours_by_the_identifier_and_by_nothing_else(
    python: Path, application: Path, empty_url: URL
) -> None:
    """What the how-to warns of: should Alembic mend it, this is where it is noticed."""

    views = "SELECT count(*) FROM pg_class WHERE relnamespace = 'vecstore'::regnamespace AND relkind = 'v'"

    def alembic(*words: str) -> int:
        ended = run(python, "-m", "alembic", *words, cwd=application, DATABASE_URL=address(empty_url))
        return ended.returncode

    def has_views() -> bool:
        with vecstore.connect(empty_url) as store, store.engine.connect() as connection:
            return bool(connection.exec_driver_sql(views).scalar_one())

    revise(application, "vecstore@head")
    assert alembic("upgrade", "notes") != 0
    revise(application, "vecstore")
    assert alembic("upgrade", "notes") == 0
    assert not has_views()
    assert alembic("downgrade", "base") == 0
    revise(application, HEAD)
    assert alembic("upgrade", "notes") == 0
    assert has_views()
