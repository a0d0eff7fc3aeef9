"""What is dropped can be kept, taken back and freed later."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

from alembic import op

revision = "vecstore_0003"
down_revision = "vecstore_0002"
branch_labels = None
depends_on = None

# As in vecstore_0002.
LOOK_NOWHERE_ELSE = (
    "SELECT pg_catalog.set_config('vecstore.search_path', pg_catalog.current_setting('search_path'), true)",
    "SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)",
)
LOOK_AS_BEFORE = "SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('vecstore.search_path'), true)"

DOWNGRADE = (
    """
    DO $$ BEGIN
        IF EXISTS (SELECT FROM vecstore.trash_registry t JOIN pg_catalog.pg_class c ON c.oid = t.relation) THEN
            RAISE EXCEPTION 'the trash is not empty: restore what is in it, or purge it'
                USING ERRCODE = 'object_in_use';
        END IF;
    END $$
    """,
    "DROP PROCEDURE vecstore.purge(interval)",
    "DROP FUNCTION vecstore._free_next(bigint)",
    "DROP FUNCTION vecstore._purge_next(interval, bigint)",
    "DROP PROCEDURE vecstore._draw_from_sequence(oid, text, text)",
    "DROP PROCEDURE vecstore._give_to_owner(oid, text, text)",
    "DROP PROCEDURE vecstore.restore_partition(text, text, bigint)",
    "DROP FUNCTION vecstore._stale_indexes(oid, oid, text[])",
    "DROP FUNCTION vecstore._differences(oid, oid)",
    "DROP PROCEDURE vecstore.restore_collection(text, text, bigint, boolean)",
    "DROP PROCEDURE vecstore._check_restored_name(text, text)",
    "DROP FUNCTION vecstore._trashed(text, text, oid, bigint)",
    "DROP PROCEDURE vecstore.drop_collection(text, boolean, interval)",
    "DROP PROCEDURE vecstore.drop_partition(text, text, boolean, interval)",
    "DROP PROCEDURE vecstore._keep_partition(oid, text, text, text, interval)",
    "DROP FUNCTION vecstore._drawn_columns(oid)",
    "DROP PROCEDURE vecstore._keep_collection(oid, text, text[], interval)",
    "DROP PROCEDURE vecstore._refuse_kept(text, text, text, boolean)",
    "DROP FUNCTION vecstore._kept_for(oid, interval)",
    "DROP FUNCTION vecstore._dependents(text, text, boolean)",
    "DROP VIEW vecstore.trash",
    "DROP TABLE vecstore.trash_registry",
    "DROP SEQUENCE vecstore.trash_id_seq",
)

# What this revision replaces is made again as the released file has it.
REPLACED = ("PROCEDURE vecstore.drop_partition(", "PROCEDURE vecstore.drop_collection(")


def statements(name: str) -> list[str]:
    script = files("vecstore").joinpath("sql", name).read_text(encoding="utf-8")
    return script.strip().removesuffix(";").split(";\n\n\n")


def replaced() -> Iterator[str]:
    for statement in statements("03_changes.sql"):
        if any(f"CREATE {it}" in statement or f"COMMENT ON {it}" in statement for it in REPLACED):
            yield statement


def upgrade() -> None:
    for statement in (*LOOK_NOWHERE_ELSE, *statements("05_trash.sql"), LOOK_AS_BEFORE):
        op.execute(statement)


def downgrade() -> None:
    for statement in (*DOWNGRADE, *replaced()):
        op.execute(statement)
