"""What the application keeps: two tables, and two collections."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, DateTime, ForeignKey, MetaData, Table, Text, func

from vecstore import Btree, CollectionMetadata, DataType, Field, Gin, Hnsw, IndexDeclaration, Metric

metadata = MetaData()

readers = Table(
    "readers",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("name", Text, nullable=False),
)

loans = Table(
    "loans",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("reader_id", ForeignKey("readers.id"), nullable=False),
    Column("book_id", BigInteger, nullable=False),  # of collection books
    Column("since", DateTime(timezone=True), server_default=func.now(), nullable=False),
)

collections = CollectionMetadata()

books = collections.declare(
    "books",
    [
        Field("id", DataType.INT64, primary_key=True),
        Field("title", DataType.VARCHAR, max_length=512, description="as on the cover"),
        Field("embedding", DataType.FLOAT_VECTOR, dim=3),
        Field("year", DataType.INT32, nullable=True),
    ],
    description="What there is to borrow",
    dynamic=True,
    partitions=["novel", "poetry"],
    indexes=[
        IndexDeclaration("embedding", Hnsw(metric=Metric.COSINE)),
        IndexDeclaration("year", Btree()),
        IndexDeclaration("$meta['language']", Btree(cast=DataType.VARCHAR)),
    ],
    aliases=["catalogue"],
)

reviews = collections.declare(
    "reviews",
    [
        Field("id", DataType.INT64, primary_key=True, auto_id=True),
        Field("book_id", DataType.INT64, partition_key=True),
        Field("words", DataType.TEXT, text_search="english"),
        Field("embedding", DataType.FLOAT_VECTOR, dim=3),
    ],
    num_partitions=4,
    indexes=[IndexDeclaration("words", Gin())],
)
