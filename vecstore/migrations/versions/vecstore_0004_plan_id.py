"""A prepared statement can say whether its tables are what they were."""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "vecstore_0004"
down_revision = "vecstore_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    script = files("vecstore").joinpath("sql", "06_plan_id.sql").read_text(encoding="utf-8")
    for statement in script.strip().removesuffix(";").split(";\n\n\n"):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP FUNCTION vecstore._plan_id()")
