"""No text of a caller becomes SQL: the source is read for statements put together from strings."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import vecstore

SINKS = {"execute", "exec_driver_sql", "text", "SQL", "copy", "executemany", "literal_column", "DDL"}


def is_built(node: ast.expr) -> bool:
    """Whether an expression makes a string out of parts."""
    if isinstance(node, ast.JoinedStr):
        return True
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        return True
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"format", "join", "replace", "format_map"}
        and isinstance(node.func.value, ast.Constant | ast.JoinedStr | ast.Name)
    )


def offenders(source: str) -> list[int]:
    """The lines where a string made of parts reaches a call that takes SQL, by itself or through a name."""
    found = []
    for scope in ast.walk(ast.parse(source)):
        if not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
            continue
        built = {
            target.id
            for node in ast.walk(scope)
            if isinstance(node, ast.Assign) and is_built(node.value)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(scope):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
            first = node.args[0]
            if name in SINKS and (is_built(first) or (isinstance(first, ast.Name) and first.id in built)):
                found.append(node.lineno)
    return sorted(set(found))


@pytest.mark.parametrize(
    "planted",
    [
        'connection.execute(f"DROP TABLE {name}")',
        'connection.exec_driver_sql("DROP TABLE %s" % name)',
        'text("DROP TABLE " + name)',
        'sql.SQL("DROP TABLE {}".format(name))',
        'statement = f"DROP {name}"\nconnection.execute(statement)',
        'def f(name):\n    words = " ".join(("DROP", name))\n    text(words)',
    ],
)
def test_the_reader_finds_an_offender_that_was_planted(planted: str) -> None:
    assert offenders(planted)


@pytest.mark.parametrize(
    "innocent",
    [
        'text("SELECT 1")',
        'sql.SQL("COPY {table}").format(table=sql.Identifier(name))',
        "connection.execute(ddl.drop_table(schema, table))",
        'raise ValueError(f"no table {name}")',
    ],
)
def test_the_reader_lets_the_innocent_go(innocent: str) -> None:
    assert offenders(innocent) == []


def test_no_statement_of_the_library_is_put_together_from_strings() -> None:
    sources = sorted(Path(vecstore.__file__).parent.rglob("*.py"))
    assert len(sources) > 30
    found = {str(path): lines for path in sources if (lines := offenders(path.read_text(encoding="utf-8")))}
    assert found == {}
