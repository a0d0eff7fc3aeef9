"""Loans and reviews."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import vecstore

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "loans",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("reader_id", sa.BigInteger(), nullable=False),
        sa.Column("book_id", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["reader_id"], ["readers.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_collection(
        "reviews",
        vecstore.Field("id", vecstore.DataType.INT64, primary_key=True, auto_id=True),
        vecstore.Field("book_id", vecstore.DataType.INT64, partition_key=True),
        vecstore.Field("words", vecstore.DataType.TEXT, text_search="english"),
        vecstore.Field("embedding", vecstore.DataType.FLOAT_VECTOR, dim=3),
        num_partitions=4,
    )
    op.create_scalar_index(
        "reviews",
        "words",
        vecstore.Gin(),
        name="words_idx",
        existing=vecstore.Field("words", vecstore.DataType.TEXT, text_search="english"),
    )


def downgrade() -> None:
    op.drop_collection("reviews")
    op.drop_table("loans")
