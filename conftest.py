"""Every Python block of the documents is run, each document in a folder of its own, as its reader would."""

from __future__ import annotations

import tempfile
from contextlib import chdir
from typing import Any

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser


def _enter(namespace: dict[str, Any]) -> None:
    folder = tempfile.TemporaryDirectory(prefix="vecstore-document-")
    here = chdir(folder.name)
    here.__enter__()
    namespace["__leave"] = (folder, here)


def _leave(namespace: dict[str, Any]) -> None:
    if "store" in namespace:
        namespace["store"].close()
    folder, here = namespace["__leave"]
    here.__exit__(None, None, None)
    folder.cleanup()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()],
    patterns=["README.md", "docs/howto/*.md"],
    setup=_enter,
    teardown=_leave,
).pytest()
