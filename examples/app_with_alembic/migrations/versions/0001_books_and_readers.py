"""Books and readers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import vecstore

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "readers",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_collection(
        "books",
        vecstore.Field("id", vecstore.DataType.INT64, primary_key=True),
        vecstore.Field("title", vecstore.DataType.VARCHAR, max_length=512, description="as on the cover"),
        vecstore.Field("embedding", vecstore.DataType.FLOAT_VECTOR, dim=3),
        dynamic=True,
        description="What there is to borrow",
    )
    op.create_partition("books", "novel")
    op.create_vector_index(
        "books",
        "embedding",
        vecstore.Hnsw(metric=vecstore.Metric.COSINE, m=16, ef_construction=64),
        name="embedding_idx",
        existing=vecstore.Field("embedding", vecstore.DataType.FLOAT_VECTOR, dim=3),
    )


def downgrade() -> None:
    op.drop_collection("books")
    op.drop_table("readers")
