"""An Alembic plugin: operations on collections for revisions, and autogenerate for declared ones.

Alembic loads it by the entry point `alembic.plugins`; an environment asks for its comparisons by its name, `vecstore`.
"""

from __future__ import annotations

# First, for it loads the plugin: were it imported by a module of this package, that one would be half done then.
import alembic  # noqa: F401
