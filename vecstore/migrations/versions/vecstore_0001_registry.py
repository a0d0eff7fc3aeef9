"""The registry: which schemas are collections and aliases of ours.

A row names the collection's table, as a regclass: it follows a rename by whomever, dies with the table, and is
written by name into a dump, so that a restored database finds its collections again.
"""

from __future__ import annotations

from alembic import op

revision = "vecstore_0001"
down_revision = None
branch_labels = ("vecstore",)
depends_on = None

UPGRADE = (
    # Not wherever the search path of the role that upgrades leads: a schema that is dropped takes its types along.
    """
    DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'vector') THEN
            IF pg_catalog.to_regnamespace('public') IS NOT NULL THEN
                CREATE EXTENSION vector SCHEMA public;
            ELSE
                CREATE EXTENSION vector SCHEMA vecstore;
            END IF;
        END IF;
    END $$
    """,
    """
    CREATE TABLE vecstore.collection_registry (
        entities     regclass PRIMARY KEY,
        fields       jsonb NOT NULL DEFAULT '{}',
        properties   jsonb NOT NULL DEFAULT '{}',
        created_at   timestamptz NOT NULL DEFAULT now(),
        dropped_at   timestamptz,
        dropped_name text
    )
    """,
    """
    CREATE TABLE vecstore.alias_registry (
        view       regclass PRIMARY KEY,
        created_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "COMMENT ON SCHEMA vecstore IS 'vecstore: which schemas of this database are its collections'",
    "COMMENT ON TABLE vecstore.collection_registry IS 'One row a collection: what the catalogue cannot say'",
    "COMMENT ON COLUMN vecstore.collection_registry.entities IS 'The collection''s partitioned table'",
    "COMMENT ON COLUMN vecstore.collection_registry.fields IS 'By field: attributes the catalogue has no place for'",
    "COMMENT ON COLUMN vecstore.collection_registry.properties IS 'The caller''s own text pairs'",
    "COMMENT ON COLUMN vecstore.collection_registry.dropped_at IS 'Set while its very many partitions are being freed'",
    "COMMENT ON COLUMN vecstore.collection_registry.dropped_name IS 'The name it had'",
    "COMMENT ON TABLE vecstore.alias_registry IS 'One row an alias: a schema whose view shows a collection'",
    # Reading a collection needs no more than rights on the collection itself.
    "GRANT USAGE ON SCHEMA vecstore TO PUBLIC",
    "GRANT SELECT ON vecstore.collection_registry, vecstore.alias_registry, vecstore.alembic_version TO PUBLIC",
)

DOWNGRADE = (
    """
    DO $$ BEGIN
        IF EXISTS (SELECT FROM vecstore.collection_registry) THEN
            RAISE EXCEPTION 'collections are registered: drop them first' USING ERRCODE = 'object_in_use';
        END IF;
    END $$
    """,
    "DROP TABLE vecstore.alias_registry, vecstore.collection_registry",
)


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWNGRADE:
        op.execute(statement)
