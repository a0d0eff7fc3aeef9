"""For those who never call the library: views of what there is, search, and the changes that SQL has no words for."""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "vecstore_0002"
down_revision = "vecstore_0001"
branch_labels = None
depends_on = None

SCRIPTS = ("01_registry.sql", "02_views.sql", "03_changes.sql", "04_search.sql")

# What a view says is looked up when the view is made, and must not be found in a schema of somebody else. The caller's
# own transaction keeps its search path.
LOOK_NOWHERE_ELSE = (
    "SELECT pg_catalog.set_config('vecstore.search_path', pg_catalog.current_setting('search_path'), true)",
    "SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)",
)
LOOK_AS_BEFORE = "SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('vecstore.search_path'), true)"

DOWNGRADE = (
    "DROP FUNCTION vecstore.search(text, text, int, jsonb, text, text, text[], boolean)",
    "DROP FUNCTION vecstore._plan(oid, text, text, text, int, text, text, jsonb, boolean)",
    "DROP PROCEDURE vecstore._check_query(text, text, text, int, text)",
    "DROP FUNCTION vecstore._condition(oid, text, jsonb)",
    "DROP PROCEDURE vecstore.drop_collection(text, boolean)",
    "DROP PROCEDURE vecstore.drop_partition(text, text, boolean)",
    "DROP PROCEDURE vecstore.truncate_partition(text, text)",
    "DROP PROCEDURE vecstore.create_partition(text, text)",
    "DROP PROCEDURE vecstore.drop_index(text, text)",
    "DROP PROCEDURE vecstore._check_partitions_by_hand(oid, text, text)",
    "DROP PROCEDURE vecstore._check_tables(text, oid)",
    "DROP PROCEDURE vecstore._refuse_dependents(text, text)",
    "DROP PROCEDURE vecstore._change(text, text)",
    "DROP FUNCTION vecstore._needs_too_many_locks(oid)",
    "DROP FUNCTION vecstore._leaf(oid, text, text)",
    "DROP FUNCTION vecstore._locked_collection(text)",
    "DROP FUNCTION vecstore._collection(text)",
    "DROP VIEW vecstore.collections, vecstore.indexes, vecstore.fields, vecstore.partitions, vecstore.aliases",
    "DROP FUNCTION vecstore._meaning(text)",
    "DROP FUNCTION vecstore._bytes(regclass)",
    "REVOKE INSERT, UPDATE, DELETE ON vecstore.collection_registry, vecstore.alias_registry FROM PUBLIC",
    "DROP POLICY written_by_owner ON vecstore.collection_registry",
    "DROP POLICY written_by_owner ON vecstore.alias_registry",
    "DROP POLICY read_by_all ON vecstore.collection_registry",
    "DROP POLICY read_by_all ON vecstore.alias_registry",
    "ALTER TABLE vecstore.collection_registry DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE vecstore.alias_registry DISABLE ROW LEVEL SECURITY",
    "COMMENT ON COLUMN vecstore.collection_registry.created_at IS NULL",
    "COMMENT ON COLUMN vecstore.alias_registry.view IS NULL",
    "COMMENT ON COLUMN vecstore.alias_registry.created_at IS NULL",
    "COMMENT ON TABLE vecstore.alembic_version IS NULL",
    "COMMENT ON COLUMN vecstore.alembic_version.version_num IS NULL",
)


def upgrade() -> None:
    for statement in LOOK_NOWHERE_ELSE:
        op.execute(statement)
    for name in SCRIPTS:
        script = files("vecstore").joinpath("sql", name).read_text(encoding="utf-8")
        for statement in script.strip().removesuffix(";").split(";\n\n\n"):
            op.execute(statement)
    op.execute(LOOK_AS_BEFORE)


def downgrade() -> None:
    for statement in DOWNGRADE:
        op.execute(statement)
