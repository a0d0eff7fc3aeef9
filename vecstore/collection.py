"""Collection: a handle, no more than a name and a database; what is true of it is asked when needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Table
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from . import tables
from .asking import Asked, asked
from .conditions import Selection
from .database import Database
from .description import CollectionDescription
from .fusion import AnnRequest, Ranker, TextRequest
from .highlighting import Highlighter
from .hits import Hits
from .index import Index
from .operations import (
    collections,
    compacting,
    delete_plans,
    deleting,
    entities,
    fields,
    hybrid,
    indexes,
    lexemes,
    overview,
    paging,
    partitions,
    plans,
    querying,
    searching,
    statistics,
    texts,
)
from .operations.building import IndexBuild
from .operations.compacting import CompactResult
from .operations.deleting import DeleteResult, Doomed
from .operations.entities import InsertResult
from .operations.hybrid import Common
from .operations.opening import opened, opened_anew
from .operations.overview import CollectionOverview
from .operations.searching import Query
from .operations.statistics import CollectionStats
from .partition import Partition
from .plan import Plan
from .projection import Record
from .query import Question
from .reranking import Reranker, reading
from .schema import Field, IndexSpec, Metric


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

    def describe(self, *, fresh: bool = True) -> CollectionDescription:
        """What the catalogue says now: schema, partitions, indexes, aliases.

        fresh  False: from memory while nothing has changed that reads and writes depend on; names of leaves and
               indexes, and comments, may then be those of an earlier look
        """
        look = opened_anew if fresh else opened
        with look(self._database, self.name, "describe") as found:
            return found.description

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

    def overview(self) -> CollectionOverview:
        """Rows, estimated by PostgreSQL's statistics, sizes and the states of indexes: waits for no lock, reads no row.

        Raises CollectionNotFound, PermissionDenied without USAGE on the collection's schema.
        """
        return overview.one(self._database, self.name)

    # What is asked of its entities

    def get(
        self,
        ids: Any = None,
        *,
        filter: str | None = None,  # noqa: A002 - Milvus's word
        filter_params: Mapping[str, Any] | None = None,
        where: ColumnElement[bool] | None = None,
        output_fields: Sequence[str] | None = None,
        partition_names: Sequence[str] | None = None,
    ) -> list[Record]:
        """The entities of these primary keys, in the order asked for; those that are not there are left out.

        filter, where  as for delete(): which of them, or, without ids, which of all, in the order of the primary key
        output_fields  all fields, dynamic ones too, where it is left out

        Vectors come back as NumPy arrays (float32, float16 or int8), BINARY_VECTOR as bytes, SPARSE_FLOAT_VECTOR as
        {index: value}, NULL as None. A key that two partitions hold gives two entities. Raises InvalidArgument where
        neither ids nor a condition is given, InvalidData for what is no key, FilterError, FieldNotFound,
        PartitionNotFound.
        """
        selection = Selection(partition_names, where, filter, filter_params)
        return querying.get(self._database, self.name, ids, Question(selection, output_fields))

    def query(
        self,
        filter: str | None = None,  # noqa: A002 - Milvus's word
        *,
        output_fields: Sequence[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
        order_by: str | Sequence[str] | None = None,
        group_by: str | Sequence[str] | None = None,
        aggregates: str | Sequence[str] | None = None,
        filter_params: Mapping[str, Any] | None = None,
        where: ColumnElement[bool] | None = None,
        partition_names: Sequence[str] | None = None,
    ) -> list[Record]:
        """The entities that match, or what is computed over them: a list of dicts, as get() gives.

        filter, where  as for delete(); every entity without them. query_iterator() is for more than fit into memory
        limit, offset  how many, and how many to pass over; no ceiling, and offset needs no limit
        order_by       "year", "year:desc", or several; NULL is last, descending first. Equal ones, and all where it
                       is left out, are in the order of the primary key, so that pages fit together
        aggregates     "count(*)", and count, sum, avg, min or max of a field, of its values that are not NULL; may
                       stand in output_fields, too. Sums of integers are exact, averages are floats, and None is the
                       answer where there is no value. The keys of the result are the texts given
        group_by       one record for each value, NULL too, of one or several fields; order_by may then name these and
                       aggregates, output_fields only these and aggregates

        Text is in the order of the database. Raises InvalidArgument, FilterError, FieldNotFound, PartitionNotFound.
        """
        selection = Selection(partition_names, where, filter, filter_params)
        question = Question(selection, output_fields, limit, offset, order_by, group_by, aggregates)
        return querying.query(self._database, self.name, question)

    def query_iterator(
        self,
        filter: str | None = None,  # noqa: A002 - Milvus's word
        *,
        batch_size: int = 1000,
        limit: int | None = None,
        output_fields: Sequence[str] | None = None,
        filter_params: Mapping[str, Any] | None = None,
        where: ColumnElement[bool] | None = None,
        partition_names: Sequence[str] | None = None,
    ) -> Iterator[list[Record]]:
        """Go through the entities that match, in the order of the primary key, in pages of batch_size (1 to 16,384).

        limit  how many in all; all that match where it is left out

        Each page is a transaction of its own that begins after the key at which the last one ended: nothing stays open
        or locked in between. An entity that is there all the while comes once; one that is inserted meanwhile comes if
        its key lies ahead, one that is deleted meanwhile comes no more. Raises as query() does, of what is wrong with
        the question at once, and CollectionNotFound from the page after a drop.
        """
        selection = Selection(partition_names, where, filter, filter_params)
        question = Question(selection, output_fields, limit)
        return querying.pages(self._database, self.name, question, batch_size=batch_size)

    def count(
        self,
        filter: str | None = None,  # noqa: A002 - Milvus's word
        *,
        where: ColumnElement[bool] | None = None,
        filter_params: Mapping[str, Any] | None = None,
        partition_names: Sequence[str] | None = None,
    ) -> int:
        """How many entities there are, or match; filter and where as for delete()."""
        return querying.count(self._database, self.name, Selection(partition_names, where, filter, filter_params))

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
        group_by: str | Sequence[str] | None = None,
        group_size: int = 1,
        strict_group_size: bool = False,
        order_by: str | Sequence[str] | None = None,
        ranker: Reranker | None = None,
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
        group_by       a scalar field, or several: the nearest `group_size` of each value, or of values that come
                       together, limit and offset counting these. strict_group_size: no group smaller than that, unless
                       no more of it match
        order_by       "year" or "year:desc", or several: how the rows found are ordered, instead of nearest first
        ranker         Decay, Boost or Boosts: the nearest `limit + offset` ordered by what it makes of their scores,
                       which `distance` then is; one request of hybrid_search() lets it choose among more

        Without `exact` the way is chosen by how many rows are expected to match, and an index that comes back short is
        followed by the exact search: `Hits.path` tells. Scores are Milvus's: squared L2, HAMMING and JACCARD ascending,
        IP and COSINE similarity descending. Raises InvalidData for a vector that does not fit, InvalidArgument,
        FilterError, FieldNotFound, PartitionNotFound, IndexNotFound for exact=False without an index.
        """
        question = asked(
            partition_names,
            where,
            filter,
            filter_params,
            limit,
            offset,
            field,
            metric,
            output_fields,
            ef,
            probes,
            exact,
            radius,
            range_filter,
            group_by,
            group_size,
            strict_group_size,
            order_by,
        )
        if ranker is not None:
            return hybrid.ranked_search(self._database, self.name, Query(vectors, ids), question, ranker)
        return searching.search(self._database, self.name, Query(vectors, ids), question)

    def search_iterator(
        self,
        vectors: Any = None,
        *,
        ids: Any = None,
        batch_size: int = 1000,
        limit: int | None = None,
        field: str | None = None,
        filter: str | None = None,  # noqa: A002 - Milvus's word
        filter_params: Mapping[str, Any] | None = None,
        where: ColumnElement[bool] | None = None,
        partition_names: Sequence[str] | None = None,
        output_fields: Sequence[str] | None = None,
        metric: Metric | str | None = None,
        ef: int | None = None,
        probes: int | None = None,
        exact: bool | None = None,
        radius: float | None = None,
        range_filter: float | None = None,
    ) -> Iterator[Hits]:
        """Go through the entities from the nearest to the farthest, in pages of batch_size.

        limit  how many in all, more than search() gives too; all that match where it is left out

        The other options are those of search(). Each page is a transaction of its own that begins after the distance
        and key at which the last one ended: nothing stays open or locked in between, and a page sees what was written
        before it was asked for. No entity comes twice, unless its vector was changed meanwhile; one that an index
        misses on an early page does not come later (exact=True misses none). Raises as search() does, of what is wrong
        with the question at once, and CollectionNotFound from the page after a drop.
        """
        question = Asked(
            Selection(partition_names, where, filter, filter_params),
            field=field,
            metric=metric,
            output_fields=output_fields,
            ef=ef,
            probes=probes,
            exact=exact,
            radius=radius,
            range_filter=range_filter,
        )
        query = Query(vectors, ids)
        return paging.search_pages(self._database, self.name, query, question, batch_size=batch_size, limit=limit)

    def search_text(
        self,
        query: str | Sequence[str],
        limit: int = 10,
        *,
        field: str | None = None,
        filter: str | None = None,  # noqa: A002 - Milvus's word
        filter_params: Mapping[str, Any] | None = None,
        where: ColumnElement[bool] | None = None,
        partition_names: Sequence[str] | None = None,
        output_fields: Sequence[str] | None = None,
        offset: int = 0,
        k1: float = 1.2,
        b: float = 0.75,
    ) -> list[Hits]:
        """Find the entities whose text has any of the words: one Hits a text, best first.

        query   a text, or several; words that the field's text_search drops, such as "the", are not looked for
        field   a field of text; may be left out where one has bm25. Without bm25, ranked as TextRequest says
        k1      how much a word counts that is there again and again: 0 for not at all, to 3
        b       how much long texts are held back: 0 for not at all, to 1

        The other options are those of search(). `distance` is the score of BM25, larger for better: a word counts for
        more, the fewer texts of the partitions searched have it, whatever the filter. Every text with one of the words
        is looked at; Gin() on the field finds them. How many texts have a word is counted in each search. How many
        there are, and how long they are on average, is too in collections of up to 8 MB; of larger ones it may be ten
        seconds old, and the average is that of a sample. Raises InvalidArgument, FilterError, FieldNotFound,
        PartitionNotFound.
        """
        request = TextRequest(field, query, limit, filter, filter_params, where, k1, b)
        return texts.search_text(
            self._database,
            self.name,
            request,
            offset=offset,
            output_fields=output_fields,
            partition_names=partition_names,
        )

    def highlight(
        self,
        texts: Sequence[str | None],
        words: str | Sequence[str],
        *,
        field: str | None = None,
        highlighter: Highlighter | None = None,
    ) -> list[list[str]]:
        """Mark in texts what they were found by: of each text the fragments around the words, none where no word is.

        texts        of the field, as a search gave them back; None has no fragment
        words        a text whose words are marked, or several
        field        whose text_search says what a word is; may be left out where one field has bm25
        highlighter  how; Highlighter() where it is left out

        `<em>foxes</em>` for "fox" where text_search is "english". Texts are not escaped: a page of HTML has to. Looks
        at no entity. Raises InvalidArgument, FieldNotFound.
        """
        return lexemes.highlight(self._database, self.name, texts, words, field=field, how=highlighter or Highlighter())

    def hybrid_search(
        self,
        requests: Sequence[AnnRequest | TextRequest],
        ranker: Ranker,
        limit: int = 10,
        *,
        offset: int = 0,
        output_fields: Sequence[str] | None = None,
        partition_names: Sequence[str] | None = None,
    ) -> list[Hits]:
        """Search in several ways at once, and fuse what they find: one Hits a query, best first.

        requests  AnnRequest of a vector field, TextRequest of a text; each as many queries as the others
        ranker    Rrf() by ranks; Weighted(0.7, 0.3) by scores, one weight a request; Decay(...) by an entity's best
                  score and a field; Boost(...) or Boosts(...), of one request
        limit     of the fused ranking; each request has its own

        `distance` is the fused score, larger for better, or what Boost makes of a distance. Raises as search() does.
        """
        common = Common(limit, offset, reading(output_fields, ranker), partition_names)
        return hybrid.hybrid_search(self._database, self.name, requests, ranker, common)

    # What is done to its entities

    def insert(
        self,
        data: Any,
        *,
        partition_name: str | None = None,
        rebuild_indexes: bool = False,
        progress: bool = False,
    ) -> InsertResult:
        """Add entities, all or none.

        data            a list of dicts; a dict of columns (lists or NumPy arrays, vectors as (n, dim)); a NumPy
                        structured array; a pandas DataFrame; an Arrow table
        partition_name  `_default` where it is left out
        rebuild_indexes drop the vector indexes, load, and build them anew over all rows, by the same names and with
                        the same comments; for a first load, or one that is larger than what is there. Takes
                        ACCESS EXCLUSIVE until it is committed, so searches wait as well as writers, and needs the
                        owner's rights. Those made by hand in ways that create_index() does not know stay
        progress        show a bar on stderr (needs rich)

        Everything is checked before the first row is sent. Raises InvalidData with field and row, DuplicateKey for a
        key that the partition holds, PartitionNotFound; with rebuild_indexes PermissionDenied and LockTimeout, too.
        Warns SlowLoadWarning of 10,000 rows or more for an empty collection that has a vector index.
        """
        write = entities.load if rebuild_indexes else entities.insert
        return write(self._database, self.name, data, partition=partition_name, progress=progress)

    def upsert(
        self, data: Any, *, partition_name: str | None = None, partial: bool = False, progress: bool = False
    ) -> InsertResult:
        """Add entities or replace those of the same primary key in the partition, all or none; data as for insert().

        partial  change the fields given alone, the same in every row, and of the dynamic keys those given; what is
                 left out stays as it is, and is needed as ever where there is no such entity yet

        Otherwise the whole entity is replaced: a field left out becomes its default or NULL. An auto_id collection
        takes only keys that it has drawn. Raises as insert() does.
        """
        return entities.upsert(
            self._database, self.name, data, partition=partition_name, partial=partial, progress=progress
        )

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
        doomed = Doomed(ids, Selection(partition_names, where, filter, filter_params))
        return deleting.delete(self._database, self.name, doomed)

    # What it is made of

    def drop(self, *, cascade: bool = False, keep: timedelta | None = None) -> None:
        """Drop the collection with all its partitions, indexes and entities; their space is free at commit.

        cascade  drop also what others made on top of it, e.g. views; of a drop that is kept, its aliases instead
        keep     how long Store.restore() can take it back; timedelta(0): not at all. Where it is left out, what the
                 property "vecstore.keep_dropped" of the collection says, or connect(), or the setting
                 vecstore.keep_dropped of the database or role; else not at all

        Takes ACCESS EXCLUSIVE on the table and its partitions. Where these are too many for the server's lock table
        the name is free at commit and the space in batches after it. A drop that is kept locks no table and costs the
        same for any size: its name is free at commit, its space when Store.purge() frees it; it needs the right to
        create schemas. Indexes that are being built online, by a role that one is a member of, are built no further.
        Raises DependentObjects, CollectionHasAliases, LockTimeout, CollectionNotFound, PermissionDenied,
        InvalidArgument.
        """
        collections.drop(self._database, self.name, cascade=cascade, keep=keep)

    def compact(
        self, *, partition_names: Sequence[str] | None = None, force: bool = False, progress: bool = False
    ) -> CompactResult:
        """Give back what deleted rows hold: build worn vector indexes anew, then VACUUM; in all partitions or some.

        force     build all vector indexes anew
        progress  show a bar on stderr (needs rich)

        Searches and writers go on; other structural changes of the collection wait. No transaction: a partition at a
        time, and an interrupted call leaves the rest as it was. Raises InvalidArgument inside a transaction,
        PartitionNotFound, PermissionDenied, LockTimeout where the collection is being changed.
        """
        return compacting.compact(
            self._database, self.name, partition_names=partition_names, force=force, progress=progress
        )

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

    def drop_partition(self, partition_name: str, *, cascade: bool = False, keep: timedelta | None = None) -> None:
        """Drop a partition and all entities in it; its space is free at commit.

        keep  as for drop(): how long Store.restore_partition() can take it back

        Takes ACCESS EXCLUSIVE on the collection's table and the partition, for a moment. Raises PartitionNotFound,
        OperationRefused for `_default`, DependentObjects, LockTimeout, PermissionDenied, InvalidArgument.
        """
        partitions.drop(self._database, self.name, partition_name, cascade=cascade, keep=keep)

    def truncate(self, partition_name: str | None = None) -> None:
        """Delete all entities, of one partition or of all, at once; the space is free at commit.

        Takes ACCESS EXCLUSIVE on the partitions. Unlike delete(), it is seen by transactions that began before it.
        Raises PartitionNotFound, LockTimeout.
        """
        partitions.truncate(self._database, self.name, partition_name)

    @property
    def indexes(self) -> list[Index]:
        """The indexes, in the order in which they were made; the primary key's is not among them."""
        return [Index(self, found, self._database) for found in self.describe().indexes]

    def index(self, index_name: str) -> Index:
        """The index of this name; raises IndexNotFound."""
        return Index(self, self.describe().index(index_name), self._database)

    def create_index(
        self,
        field_name: str,
        spec: IndexSpec,
        *,
        name: str | None = None,
        online: bool = False,
        properties: Mapping[str, str] | None = None,
        progress: bool = False,
    ) -> Index:
        """Index a field, or a place in JSON, in all partitions there are and will be.

        field_name  a field; or, with Btree(cast=...), a path as filters write it, "meta['lang']", or a dynamic key; or,
                    with Gin(), "$meta", all dynamic keys
        name        `<field>_idx` where it is left out
        online      writers do not wait for the build; then it is no transaction, takes longer, and, if interrupted,
                    is undone; it waits until other online builds of the collection are done, and `Index.build` tells
                    everybody how far it is. Otherwise takes SHARE: searches go on, writers wait until it is built
        properties  free text pairs that travel with the index, in its comment
        progress    show on stderr how far the build is (needs rich); read on a connection of its own

        An HNSW index is built with the memory that its largest partition needs, and at most the session's
        maintenance_work_mem, which is as before afterwards; with as many parallel workers as
        max_parallel_maintenance_workers allows. Vectors of 2,001 to 4,000 dimensions in single precision are indexed in
        half precision.

        Raises IndexExists (of this name, or of this field by this metric), FieldNotFound, InvalidArgument where the
        field cannot be indexed so, InvalidData where a row cannot, LockTimeout, MissingExtra. Warns
        IndexQualityWarning of an IvfFlat on too few rows.
        """
        build = indexes.create_online if online else indexes.create
        asked = indexes.Asked(field_name, spec, name, properties or {})
        return self.index(build(self._database, self.name, asked, progress=progress))

    def index_build(self, index_name: str) -> IndexBuild | None:
        """How far the online build of an index is, whoever runs it; None where none is under way.

        It may be under way before the index is there, for the rows are looked at first. Of a build by a role that one
        is not a member of, no more is told than that it is under way.
        """
        return indexes.build_of(self._database, self.name, index_name)

    def drop_index(self, index_name: str | None = None) -> None:
        """Drop an index; without a name the one there is. Searches become exact, and slower.

        One that is being built online, by a role that one is a member of, is built no further: its create_index()
        raises QueryTimeout.
        Takes ACCESS EXCLUSIVE on the table and all partitions, for a moment. Raises IndexNotFound, InvalidArgument
        naming the candidates where there are several, LockTimeout.
        """
        indexes.drop(self._database, self.name, index_name)

    def add_field(self, field: Field) -> None:
        """Add a field: entities that are there have its default_value, or None where it is nullable.

        The views of aliases show it as their last column. Takes ACCESS EXCLUSIVE on the table and all partitions, for
        a moment; where the type has a size (VARCHAR, INT8, ARRAY), until each row is read. Raises InvalidSchema for a
        key or a field that is there, InvalidData where entities would be without a value, LockTimeout.
        """
        fields.add(self._database, self.name, field)

    def alter_field(self, field: Field) -> None:
        """Give the field of this name another size, nullable, default, text search, bm25 or description; values stay.

        Takes ACCESS EXCLUSIVE, and may read every row. Raises OperationRefused, InvalidData, FieldNotFound.
        """
        fields.alter(self._database, self.name, field)

    def drop_field(self, field_name: str, *, cascade: bool = False) -> None:
        """Drop a field with its values and its indexes.

        cascade  drop also what others made on top of it, e.g. views

        The views of aliases are made anew without it, with their grants. Takes ACCESS EXCLUSIVE on the table and all
        partitions, for a moment. Raises FieldNotFound, OperationRefused for a key or the only vector field,
        DependentObjects, LockTimeout.
        """
        fields.drop(self._database, self.name, field_name, cascade=cascade)

    def alter(
        self,
        *,
        description: str | None = None,
        properties: Mapping[str, str] | None = None,
        delete_properties: Iterable[str] = (),
    ) -> None:
        """Give the collection another description, add or replace properties, delete some.

        Nobody waits for it, and it waits for nobody but others who do the same: not for an index that is being built.
        Raises PermissionDenied for a collection that is not one's own.
        """
        fields.alter_collection(self._database, self.name, description, properties, delete_properties)

    # Plans: see it first

    def drop_plan(self, *, cascade: bool = False, keep: timedelta | None = None) -> Plan:
        """What drop() would do now: print() it, and run() it. Takes no lock that anybody waits for, changes nothing.

        Rows are counted where the tables have up to 64 MiB, else they are PostgreSQL's estimate. What somebody drops or
        alters at this moment is not measured. Raises CollectionNotFound.
        """
        return plans.drop_collection(self._database, self.name, cascade=cascade, keep=keep)

    def drop_partition_plan(self, partition_name: str, *, cascade: bool = False, keep: timedelta | None = None) -> Plan:
        """What drop_partition() would do now, as drop_plan() says it. Raises PartitionNotFound."""
        return plans.drop_partition(self._database, self.name, partition_name, cascade=cascade, keep=keep)

    def drop_index_plan(self, index_name: str | None = None) -> Plan:
        """What drop_index() would do now, and about how long it takes to build the index again.

        Raises IndexNotFound, InvalidArgument naming the candidates where there are several and none is named.
        """
        return plans.drop_index(self._database, self.name, index_name)

    def truncate_plan(self, partition_name: str | None = None) -> Plan:
        """What truncate() would do now, as drop_plan() says it. Raises PartitionNotFound."""
        return plans.truncate(self._database, self.name, partition_name)

    def delete_plan(
        self,
        filter: str | None = None,  # noqa: A002 - Milvus's word
        *,
        ids: Any = None,
        where: ColumnElement[bool] | None = None,
        filter_params: Mapping[str, Any] | None = None,
        partition_names: Sequence[str] | None = None,
    ) -> Plan:
        """What delete() would do now: counts what matches, as a search reads it, and says where another way is better.

        run() deletes if exactly as many entities match then; of which they are it keeps no account. Raises what
        delete() raises of what it is told.
        """
        doomed = Doomed(ids, Selection(partition_names, where, filter, filter_params))
        return delete_plans.delete(self._database, self.name, doomed)
