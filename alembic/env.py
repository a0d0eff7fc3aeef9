"""Where revisions of schema `vecstore` are written: `alembic revision -m "..."` puts them into the package.

Running them is left to the environment inside the package, which the wheel carries.
"""

from __future__ import annotations

import runpy
from importlib.resources import as_file, files

with as_file(files("vecstore.migrations") / "env.py") as environment:
    runpy.run_path(str(environment))
