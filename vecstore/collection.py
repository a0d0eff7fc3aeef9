"""Handles: Collection, Partition, Index. Each is a name and a database; what is true of it is asked when needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from . import catalog, tables
from .asking import Asked
from .conditions import Selection
from .database import Database
from .description import CollectionDescription, IndexDescription, IndexState
from .hits import Hits
from .operations import collections, entities, indexes, partitions, searching, statistics
from .operations.entities import DeleteResult, InsertResult
from .operations.searching import Query
from .operations.statistics import CollectionStats
from .projection import Record
from .schema import IndexSpec, Metric


class Collection:
    """A collection, by its name or an alias. Made by Store.create_collection() and Store.collection().

    Each call is one transaction, or, on a Store that is bound to a transaction, a part of that one. Calls on a
    collection that was dropped meanwhile raise CollectionNotFound.
    """

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self.name = name

    def __repr__(self) -> str:
        return f"<Collection {self.name!r}>"

    def describe(self) -> CollectionDescription:
        """What the catalogue says now: schema, partitions, indexes, aliases."""
        with self._database.reading(f"describe {self.name!r}") as connection:
            return catalog.describe(connection, self.name)

    @property
    def table(self) -> Table:
        """The collection as a SQLAlchemy Table, for statements of the caller's own."""
        return tables.table_of(self.describe(), self._database.facts.extension_schema)

    @property
    def c(self) -> ReadOnlyColumnCollection[str, Any]:
        """The columns of `table`, to write conditions with: `books.c.year > 1990`."""
        return self.table.c

    @property
    def num_entities(self) -> int:
        """How many entities there are: counted, never estimated."""
        return self.count()

    def stats(self) -> CollectionStats:
        """Rows, and bytes on disk, of the whole, each partition and each index. Reads every row's header."""
        return statistics.stats(self._database, self.name)

    def drop(self, *, cascade: bool = False) -> None:
        """Drop the collection with all its partitions, indexes and entities; their space is free at commit.

        cascade  drop also what others made on top of it, e.g. views

        Takes ACCESS EXCLUSIVE on the table and its partitions. Where these are too many for the server's lock table
        the name is free at commit and the space in batches after it. Raises DependentObjects, CollectionHasAliases,
        LockTimeout, CollectionNotFound.
        """
        collections.drop(self._database, self.name, cascade=cascade)

    # Partitions

    @property
    def partitions(self) -> list[Partition]:
        """The partitions, in the order in which they were made."""
        return [Partition(self, found.name) for found in self.describe().partitions]

    def has_partition(self, partition_name: str) -> bool:
        return any(found.name == partition_name for found in self.describe().partitions)

    def partition(self, partition_name: str) -> Partition:
        """The partition of this name; raises PartitionNotFound."""
        return Partition(self, self.describe().partition(partition_name).name)

    def create_partition(self, partition_name: str) -> Partition:
        """Add a partition, with all indexes that the collection has. Locks out neither searches nor inserts.

        Raises PartitionExists, InvalidName, OperationRefused (a partition key decides the partitions, or 1,024 are
        there), LockTimeout.
        """
        partitions.create(self._database, self.name, partition_name)
        return Partition(self, partition_name)

    def drop_partition(self, partition_name: str, *, cascade: bool = False) -> None:
        """Drop a partition and all entities in it; its space is free at commit.

        Takes ACCESS EXCLUSIVE on the collection's table and the partition, for a moment. Raises PartitionNotFound,
        OperationRefused for `_default`, DependentObjects, LockTimeout.
        """
        partitions.drop(self._database, self.name, partition_name, cascade=cascade)

    def truncate(self, partition_name: str | None = None) -> None:
        """Delete all entities, of one partition or of all, at once; the space is free at commit.

        Takes ACCESS EXCLUSIVE on the partitions. Unlike delete(), it is seen by transactions that began before it.
        Raises PartitionNotFound, LockTimeout.
        """
        partitions.truncate(self._database, self.name, partition_name)

    # Indexes

    @property
    def indexes(self) -> list[Index]:
        """The indexes, in the order in which they were made; the primary key's is not among them."""
        return [Index(self, found) for found in self.describe().indexes]

    def index(self, index_name: str) -> Index:
        """The index of this name; raises IndexNotFound."""
        return Index(self, self.describe().index(index_name))

    def create_index(self, field_name: str, spec: IndexSpec, *, name: str | None = None, online: bool = False) -> Index:
        """Index a field, in all partitions there are and will be.

        name    `<field>_idx` where it is left out
        online  writers do not wait for the build; then it is no transaction, takes longer, and, if interrupted,
                is undone. Otherwise takes SHARE: searches go on, writers wait until it is built

        Raises IndexExists (of this name, or of this field by this metric), FieldNotFound, InvalidArgument where the
        field cannot be indexed so, InvalidData where a row cannot, LockTimeout. Warns IndexQualityWarning of an
        IvfFlat on too few rows.
        """
        build = indexes.create_online if online else indexes.create
        return self.index(build(self._database, self.name, field_name, spec, name))

    def drop_index(self, index_name: str | None = None) -> None:
        """Drop an index; without a name the one there is. Searches become exact, and slower.

        Takes ACCESS EXCLUSIVE on the table and all partitions, for a moment. Raises IndexNotFound, InvalidArgument
        naming the candidates where there are several, LockTimeout.
        """
        indexes.drop(self._database, self.name, index_name)

    # Entities

    def insert(self, data: Any, *, partition_name: str | None = None, progress: bool = False) -> InsertResult:
        """Add entities, all or none.

        data            a list of dicts; a dict of columns (lists or NumPy arrays, vectors as (n, dim)); a NumPy
                        structured array; a pandas DataFrame; an Arrow table
        partition_name  `_default` where it is left out
        progress        show a bar on stderr (needs rich)

        Everything is checked before the first row is sent. Raises InvalidData with field and row, DuplicateKey for a
        key that the partition holds, PartitionNotFound.
        """
        return entities.insert(self._database, self.name, data, partition=partition_name, progress=progress)

    def upsert(self, data: Any, *, partition_name: str | None = None, progress: bool = False) -> InsertResult:
        """Add entities or replace those of the same primary key in the partition, all or none; data as for insert().

        The whole entity is replaced: a field left out becomes its default or NULL. An auto_id collection takes only
        keys that it has drawn. Raises as insert() does.
        """
        return entities.upsert(self._database, self.name, data, partition=partition_name, progress=progress)

    def delete(
        self,
        filter: str | None = None,  # noqa: A002 - Milvus's word
        *,
        ids: Any = None,
        where: ColumnElement[bool] | None = None,
        filter_params: Mapping[str, Any] | None = None,
        partition_names: Sequence[str] | None = None,
    ) -> DeleteResult:
        """Delete entities by primary key or by condition, atomically; the result's count is the true one.

        filter  in Milvus's language: "id in [1, 2, 3]", "year < 1990 and title like 'A%'"; unknown is not true
        ids     one key or many; those that are not there are no error
        where   a SQLAlchemy expression over `c`, instead of a filter or beside it; NULL is not true

        Raises InvalidArgument unless it is told what to delete, or where the condition is always true; FilterError.
        """
        selection = Selection(partition_names, where, filter, filter_params)
        return entities.delete(self._database, self.name, ids=ids, selection=selection)

    def get(
        self,
        ids: Any,
        *,
        output_fields: Sequence[str] | None = None,
        partition_names: Sequence[str] | None = None,
    ) -> list[Record]:
        """The entities of these primary keys, in the order asked for; those that are not there are left out.

        output_fields  all fields, dynamic ones too, where it is left out

        Vectors come back as NumPy arrays (float32, float16 or int8), BINARY_VECTOR as bytes, SPARSE_FLOAT_VECTOR as
        {index: value}, NULL as None. A key that two partitions hold gives two entities.
        """
        return entities.get(
            self._database, self.name, ids, output_fields=output_fields, partition_names=partition_names
        )

    def count(
        self,
        filter: str | None = None,  # noqa: A002 - Milvus's word
        *,
        where: ColumnElement[bool] | None = None,
        filter_params: Mapping[str, Any] | None = None,
        partition_names: Sequence[str] | None = None,
    ) -> int:
        """How many entities there are, or match; filter and where as for delete()."""
        return entities.count(self._database, self.name, Selection(partition_names, where, filter, filter_params))

    def search(
        self,
        vectors: Any = None,
        limit: int = 10,
        *,
        ids: Any = None,
        field: str | None = None,
        filter: str | None = None,  # noqa: A002 - Milvus's word
        filter_params: Mapping[str, Any] | None = None,
        where: ColumnElement[bool] | None = None,
        partition_names: Sequence[str] | None = None,
        output_fields: Sequence[str] | None = None,
        offset: int = 0,
        metric: Metric | str | None = None,
        ef: int | None = None,
        probes: int | None = None,
        exact: bool | None = None,
        radius: float | None = None,
        range_filter: float | None = None,
        group_by: str | None = None,
        group_size: int = 1,
        strict_group_size: bool = False,
        order_by: str | Sequence[str] | None = None,
    ) -> list[Hits]:
        """Find the entities nearest to each vector: one Hits a query vector, nearest first.

        vectors        one vector, or several as (n, dim)
        limit          1 to 16,384, offset included; as many rows come back, unless fewer match
        ids            instead of vectors: take those of the entities of these keys, which find themselves, too
        field          the vector field; may be left out where there is one
        filter, where  which entities may be found, as for delete()
        output_fields  names, dynamic keys, or "*"; none where it is left out
        offset         nearest rows to pass over; search_iterator() is for going far
        metric         the index's where it is left out; without an index COSINE (HAMMING, IP for binary, sparse)
        ef, probes     how far an Hnsw (1 to 1,000; 100) or an IvfFlat index (the root of its lists) looks
        exact          True: compare every matching row; False: only ask the index, and take what it gives
        radius, range_filter  only scores from range_filter, included, to radius, excluded: Milvus's range search
        group_by       a scalar field: the nearest `group_size` of each value, limit and offset counting values.
                       strict_group_size: no group smaller than that, unless no more of it match
        order_by       "year" or "year:desc", or several: how the rows found are ordered, instead of nearest first

        Without `exact` the way is chosen by how many rows are expected to match, and an index that comes back short is
        followed by the exact search: `Hits.path` tells. Scores are Milvus's: squared L2, HAMMING and JACCARD ascending,
        IP and COSINE similarity descending. Raises InvalidData for a vector that does not fit, InvalidArgument,
        FilterError, FieldNotFound, PartitionNotFound, IndexNotFound for exact=False without an index.
        """
        asked = Asked(
            Selection(partition_names, where, filter, filter_params),
            limit=limit,
            offset=offset,
            field=field,
            metric=metric,
            output_fields=output_fields,
            ef=ef,
            probes=probes,
            exact=exact,
            radius=radius,
            range_filter=range_filter,
            group_by=group_by,
            group_size=group_size,
            strict_group_size=strict_group_size,
            order_by=order_by,
        )
        return searching.search(self._database, self.name, Query(vectors, ids), asked)


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

    def insert(self, data: Any, *, progress: bool = False) -> InsertResult:
        return self.collection.insert(data, partition_name=self.name, progress=progress)

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

    def search(self, vectors: Any = None, limit: int = 10, **options: Any) -> list[Hits]:
        """Search this partition alone; options are those of Collection.search(), partition_names aside."""
        return self.collection.search(vectors, limit, partition_names=[self.name], **options)

    def truncate(self) -> None:
        self.collection.truncate(self.name)

    def drop(self, *, cascade: bool = False) -> None:
        self.collection.drop_partition(self.name, cascade=cascade)


class Index:
    """An index as it was described; `state` is asked anew each time."""

    def __init__(self, collection: Collection, description: IndexDescription) -> None:
        self.collection = collection
        self.name = description.name
        self.field = description.field
        self.spec = description.spec

    def __repr__(self) -> str:
        return f"<Index {self.name!r} on {self.field!r} of {self.collection.name!r}: {self.spec}>"

    @property
    def state(self) -> IndexState:
        """Whether searches use it; raises IndexNotFound when it is gone."""
        return self.collection.describe().index(self.name).state

    def drop(self) -> None:
        self.collection.drop_index(self.name)
