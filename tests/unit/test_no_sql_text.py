"""No text that a program put together is ever sent as SQL: a look at the source, not at what it does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import vecstore

PACKAGE = Path(vecstore.__file__).parent

# What sends its first argument as SQL, or makes SQL of it; the last two are the templates of ddl.py.
SINKS = frozenset(
    {
        "execute",
        "executemany",
        "exec_driver_sql",
        "scalar",
        "scalars",
        "copy",
        "stream",
        "text",
        "literal_column",
        "DDL",
        "SQL",
        "prefix_with",
        "suffix_with",
        "_sql",
        "Statement",
    }
)
KEYWORDS = frozenset({"statement", "text", "query", "sql", "obj", "template"})
# str's own methods that make one text of others.
JOINING = frozenset({"format", "format_map", "join", "replace"})


def called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


class Source:
    """A module, and what its names stand for: all that is ever assigned to them, and what its functions return."""

    def __init__(self, code: str) -> None:
        self.tree = ast.parse(code)
        self.meanings: dict[str, list[ast.expr]] = {}
        for node in ast.walk(self.tree):
            for target, value in assignments(node):
                self.meanings.setdefault(target, []).append(value)

    def offenders(self) -> Iterator[int]:
        """The lines on which a text that was put together reaches a sink."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and called(node) in SINKS:
                given = [*node.args[:1], *(word.value for word in node.keywords if word.arg in KEYWORDS)]
                if any(self.is_put_together(value, frozenset()) for value in given):
                    yield node.lineno

    def is_put_together(self, value: ast.AST, seen: frozenset[str]) -> bool:
        if isinstance(value, ast.JoinedStr):
            return any(isinstance(part, ast.FormattedValue) for part in value.values)
        if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add | ast.Mod | ast.Mult):
            return True
        if isinstance(value, ast.Name):
            return value.id not in seen and self.is_any_put_together(value.id, seen)
        if isinstance(value, ast.Call):
            return self.is_result_put_together(value, seen)
        if isinstance(value, ast.IfExp | ast.BoolOp | ast.NamedExpr | ast.Starred | ast.Tuple | ast.List | ast.Await):
            return any(self.is_put_together(part, seen) for part in ast.iter_child_nodes(value))
        return False

    def is_any_put_together(self, name: str, seen: frozenset[str]) -> bool:
        return any(self.is_put_together(meaning, seen | {name}) for meaning in self.meanings.get(name, ()))

    def is_result_put_together(self, call: ast.Call, seen: frozenset[str]) -> bool:
        name = called(call)
        if isinstance(call.func, ast.Attribute):
            maker = call.func.value
            if isinstance(maker, ast.Call) and (called(maker) == "SQL" or name == "join"):
                # psycopg.sql.SQL("...").format(...) takes no text, only what is quoted; select(...).join(...) is a join.
                return False
            return name in JOINING or (
                name in self.meanings and is_self(maker) and self.is_any_put_together(name, seen)
            )
        if name in {"str", "cast"}:
            return any(self.is_put_together(part, seen) for part in call.args)
        return name not in seen and self.is_any_put_together(name, seen)


def is_self(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id in {"self", "cls"}


def assignments(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.Assign):
        pairs = [(target, node.value) for target in node.targets]
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
        pairs = [(node.target, node.value)]
    elif isinstance(node, ast.AugAssign):
        # What is added to a text makes it one that was put together.
        pairs = [(node.target, ast.BinOp(ast.Constant(""), node.op, node.value))]
    elif isinstance(node, ast.For | ast.comprehension):
        pairs = [(node.target, node.iter)]
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        made = [part for part in ast.walk(node) if isinstance(part, ast.Return | ast.Yield) and part.value is not None]
        pairs = [(ast.Name(node.name), part.value) for part in made]
    else:
        pairs = []
    for target, value in pairs:
        if isinstance(target, ast.Name):
            yield target.id, value


MODULES = sorted(PACKAGE.rglob("*.py"))


def test_the_whole_package_is_looked_at():
    names = {path.relative_to(PACKAGE).as_posix() for path in MODULES}
    assert {"ddl.py", "catalog.py", "operations/entities.py", "ingest/statements.py", "embedded/server.py"} <= names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_text_that_was_put_together_reaches_the_database(path):
    offenders = list(Source(path.read_text(encoding="utf-8")).offenders())
    assert not offenders, (
        f"{path}, lines {offenders}: SQL from an f-string, %, .format() or +; use ddl.py or parameters"
    )


@pytest.mark.parametrize(
    "planted",
    [
        'connection.execute(f"DROP TABLE {name}")',
        'connection.execute("DROP TABLE %s" % name)',
        'connection.execute("DROP TABLE {}".format(name))',
        'connection.execute("DROP TABLE " + name)',
        'connection.execute(text(f"DROP TABLE {name}"))',
        'connection.exec_driver_sql(f"DROP TABLE {name}")',
        'cursor.executemany(f"INSERT INTO {name} VALUES (%s)", rows)',
        'cursor.copy(f"COPY {name} FROM STDIN")',
        'sql.SQL(f"DROP TABLE {name}")',
        'sql.SQL("DROP TABLE {}" + name).format(x)',
        'sqlalchemy.text(" ".join(parts))',
        'text("DROP TABLE NAME".replace("NAME", name))',
        'text(text=f"DROP TABLE {name}")',
        'connection.execute(statement=f"DROP TABLE {name}")',
        'connection.execute(str(f"DROP TABLE {name}"))',
        'connection.execute(f"DROP TABLE {name}" if name else "SELECT 1")',
        'connection.execute(name and f"DROP TABLE {name}")',
        'connection.execute(statement := f"DROP TABLE {name}")',
        'statement = f"DROP TABLE {name}"\nconnection.execute(statement)',
        'statement = "DROP TABLE "\nstatement += name\nconnection.execute(statement)',
        'first = "DROP TABLE " + name\nsecond = first\nconnection.execute(text(second))',
        'def drop(name):\n    return f"DROP TABLE {name}"\nconnection.exec_driver_sql(drop("a"))',
        'def drop(name):\n    yield f"DROP TABLE {name}"\nfor one in drop("a"):\n    connection.execute(one)',
        'for one in ("SELECT 1", f"DROP TABLE {name}"):\n    connection.execute(one)',
        '[connection.execute(one) for one in [f"DROP TABLE {name}"]]',
        '_sql(f"DROP TABLE {name}")',
        'Statement("DROP TABLE " + name, {})',
        'literal_column(f"{name}.id")',
        'class A:\n    def drop(self):\n        return "DROP TABLE " + self.name\n    def run(self):\n        execute(self.drop())',
    ],
)
def test_planted_offenders_are_found(planted):
    assert list(Source(planted).offenders())


@pytest.mark.parametrize(
    "harmless",
    [
        'connection.execute(text("SELECT 1"), {"name": f"{name}!"})',
        'connection.execute(select(table.c["a" + name]))',
        'sql.SQL("COPY {table}").format(table=sql.Identifier(f"{name}_x"))',
        'columns = sql.SQL(", ").join(map(sql.Identifier, names))',
        'connection.execute("one " "two")',
        'connection.execute(f"no blanks")',
        'message = f"no collection {name}"\nraise KeyError(message)',
        'where = f", partition {name}"\nconnection.execute(select(table).where(condition))',
        "connection.execute(select(a).join(b, a.c.x == b.c.x))",
        '_sql("DROP TABLE {table}", table=Name("a" + name))',
        'for one in ("SELECT 1", "SELECT 2"):\n    connection.execute(one)',
    ],
)
def test_what_is_harmless_is_let_through(harmless):
    assert not list(Source(harmless).offenders())
