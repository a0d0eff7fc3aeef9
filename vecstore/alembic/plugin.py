"""Where Alembic's entry point leads. A leaf: it is loaded while Alembic itself is half imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic.runtime.plugins import Plugin


def setup(plugin: Plugin) -> None:
    # They need more of Alembic than a leaf may.
    from .autogeneration import register_comparators  # noqa: PLC0415
    from .rendering import register_renderers  # noqa: PLC0415
    from .running import register_implementations  # noqa: PLC0415

    register_implementations()
    register_renderers()
    register_comparators(plugin)
