from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

MODULES = [
    "alembic",
    "alembic.autogenerate",
    "alembic.command",
    "alembic.config",
    "alembic.op",
    "alembic.operations",
    "alembic.runtime.plugins",
    "vecstore",
    "vecstore.alembic",
    "vecstore.alembic.autogeneration",
    "vecstore.alembic.comparison",
    "vecstore.alembic.operations",
    "vecstore.alembic.plugin",
    "vecstore.alembic.rendering",
    "vecstore.alembic.running",
    "vecstore.alembic.scripts",
]
LOOK = """
from alembic import op
from alembic.runtime.plugins import _all_plugins
print(hasattr(op, "create_collection"), "vecstore" in _all_plugins)
"""


def test_alembic_finds_the_plugin_by_the_entry_point() -> None:
    (found,) = importlib.metadata.entry_points(group="alembic.plugins", name="vecstore")
    assert found.value == "vecstore.alembic.plugin"


@pytest.mark.parametrize("first", MODULES)
def test_the_plugin_is_there_whatever_is_imported_first(first: str) -> None:
    command = [sys.executable, "-W", "error", "-c", f"import {first}\n{LOOK}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "True"], done.stderr
