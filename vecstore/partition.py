"""Partition: a handle on one partition of a collection."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement

from .hits import Hits
from .operations.deleting import DeleteResult
from .operations.entities import InsertResult
from .projection import Record

if TYPE_CHECKING:
    from .collection import Collection


class Partition:
    """One partition of a collection: the collection's calls, kept to it."""

    def __init__(self, collection: Collection, name: str) -> None:
        self.collection = collection
        self.name = name

    def __repr__(self) -> str:
        return f"<Partition {self.name!r} of {self.collection.name!r}>"

    @property
    def num_entities(self) -> int:
        return self.count()

    def count(self, filter: str | None = None, *, where: ColumnElement[bool] | None = None) -> int:  # noqa: A002
        return self.collection.count(filter, where=where, partition_names=[self.name])

    def insert(self, data: Any, *, rebuild_indexes: bool = False, progress: bool = False) -> InsertResult:
        return self.collection.insert(
            data, partition_name=self.name, rebuild_indexes=rebuild_indexes, progress=progress
        )

    def upsert(self, data: Any, *, progress: bool = False) -> InsertResult:
        return self.collection.upsert(data, partition_name=self.name, progress=progress)

    def delete(
        self,
        filter: str | None = None,  # noqa: A002 - Milvus's word
        *,
        ids: Any = None,
        where: ColumnElement[bool] | None = None,
    ) -> DeleteResult:
        return self.collection.delete(filter, ids=ids, where=where, partition_names=[self.name])

    def query(self, filter: str | None = None, **options: Any) -> list[Record]:  # noqa: A002
        """Query this partition alone; options are those of Collection.query(), partition_names aside."""
        return self.collection.query(filter, partition_names=[self.name], **options)

    def search(self, vectors: Any = None, limit: int = 10, **options: Any) -> list[Hits]:
        """Search this partition alone; options are those of Collection.search(), partition_names aside."""
        return self.collection.search(vectors, limit, partition_names=[self.name], **options)

    def truncate(self) -> None:
        self.collection.truncate(self.name)

    def drop(self, *, cascade: bool = False, keep: timedelta | None = None) -> None:
        self.collection.drop_partition(self.name, cascade=cascade, keep=keep)
