"""Reader: what is asked of a collection's entities, by key, by condition or by vector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement

from .asking import Asked, asked
from .conditions import Selection
from .database import Database
from .fusion import AnnRequest, Ranker, TextRequest
from .hits import Hits
from .operations import hybrid, paging, querying, searching, texts
from .operations.hybrid import Common
from .operations.searching import Query
from .projection import Record
from .query import Question
from .reranking import Reranker, reading
from .schema import Metric


class Reader:
    """The half of a Collection that reads entities and changes nothing."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self.name = name

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
