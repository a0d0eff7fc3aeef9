"""Years and languages."""

from __future__ import annotations

from alembic import op

import vecstore

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_field("books", vecstore.Field("year", vecstore.DataType.INT32, nullable=True))
    op.create_partition("books", "poetry")
    op.create_scalar_index(
        "books",
        "year",
        vecstore.Btree(),
        name="year_idx",
        existing=vecstore.Field("year", vecstore.DataType.INT32, nullable=True),
    )
    op.create_scalar_index(
        "books",
        "$meta['language']",
        vecstore.Btree(cast=vecstore.DataType.VARCHAR),
        name="meta_language_idx",
    )
    op.create_alias("books", "catalogue")


def downgrade() -> None:
    op.drop_alias("catalogue")
    op.drop_scalar_index("books", "meta_language_idx")
    op.drop_scalar_index("books", "year_idx")
    op.drop_partition("books", "poetry")
    op.drop_field("books", "year")
