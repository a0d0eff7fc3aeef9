"""Every Python and SQL block of the documents is run, each document in a folder of its own, as its reader would."""

from __future__ import annotations

import tempfile
from contextlib import chdir
from typing import Any

import psycopg
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

from vecstore import Store


def _enter(namespace: dict[str, Any]) -> None:
    folder = tempfile.TemporaryDirectory(prefix="vecstore-document-")
    here = chdir(folder.name)
    here.__enter__()
    namespace["__leave"] = (folder, here)


def _leave(namespace: dict[str, Any]) -> None:
    if "__psql" in namespace:
        namespace["__psql"].close()
    if "store" in namespace:
        namespace["store"].close()
    folder, here = namespace["__leave"]
    here.__exit__(None, None, None)
    folder.cleanup()


def _psql(store: Store) -> psycopg.Connection[tuple[Any, ...]]:
    """A session as psql's: BEGIN and ROLLBACK are the document's own."""
    url = store.engine.url.set(drivername="postgresql")
    return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)


def _run_sql(example: Example) -> None:
    """Run a block on the document's `store`; what its last SELECT gives is `rows` to the Python blocks after it."""
    namespace = example.namespace
    if "__psql" not in namespace:
        namespace["__psql"] = _psql(namespace["store"])
    cursor = namespace["__psql"].execute(example.parsed)
    for result in cursor.results():
        if result.description is not None:
            namespace["rows"] = result.fetchall()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), CodeBlockParser(language="sql", evaluator=_run_sql)],
    patterns=["README.md", "docs/howto/*.md"],
    setup=_enter,
    teardown=_leave,
).pytest()
