"""What BM25 has to know of all the texts of a field: how many there are, how long they are, how many have a word.

How many have a word is counted in each search, or was counted by an earlier one that saw the same: two snapshots of one
server that name the same transactions as done see the same rows. Any transaction that writes, in whatever table,
makes another snapshot. docs/decisions/0030-bm25.md
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import ColumnElement, case, select, text
from sqlalchemy.sql.expression import ClauseElement

from .. import bm25
from ..bm25 import Bm25Search, Lengths, Word
from ..pipeline import Rows
from ..schema import Field, Gin
from ..text_search import TextSearch
from ..wire import Command, Template, WireValue, wire_array, wire_text
from .opening import Opened
from .programs import shape_of

# So much is read in each search for the mean length of the texts. Of more, a sample of that size is, and what it says,
# with the number of texts, is kept for some seconds.
EXACT_PAGES = 1_000

# Of so many words each is counted by itself, by an index; of more, all in one pass over the texts with any of them.
_FEW_WORDS = 4

_PAGES = text("""
    SELECT CAST(coalesce(pg_catalog.sum(pg_catalog.pg_relation_size(c.oid)), 0) AS float8)
        / CAST(pg_catalog.current_setting('block_size') AS float8)
    FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = CAST(CAST(:entities AS text) AS oid) AND c.relname = ANY (CAST(:leaves AS text[]))
""").bindparams(entities=None, leaves=None)

# Not so on a standby, whose snapshots do not name who is at work; of what this transaction wrote itself; where a policy
# shows some rows to some; of rows on other servers.
_TELLS_ALL = text("""
    NOT pg_catalog.pg_is_in_recovery() AND pg_catalog.pg_current_xact_id_if_assigned() IS NULL
    AND NOT pg_catalog.row_security_active(CAST(CAST(:entities AS text) AS oid))
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'citus')
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
                    WHERE i.inhparent = CAST(CAST(:entities AS text) AS oid) AND c.relkind <> 'r')
""").bindparams(entities=None)


def pages(collection: Opened, partition_names: Sequence[str] | None) -> Command:
    """How many pages the tables of these partitions have, or of all."""
    found = collection.description
    leaves = [it.table for it in found.partitions if partition_names is None or it.name in partition_names]
    values = {"entities": wire_text(str(found.oid)), "leaves": wire_array(leaves)}
    return command(collection, ("pages",), lambda: _PAGES, values)


def moment(collection: Opened) -> Command:
    """What is seen now, as bm25.snapshot() has it; NULL where that does not tell all."""
    values = {"entities": wire_text(str(collection.description.oid))}
    return command(collection, ("moment",), lambda: select(case((_TELLS_ALL, bm25.snapshot()))), values)


@dataclass(frozen=True, slots=True)
class Frequencies:
    """How many texts have each of some words: in these partitions, or in all.

    moment  of the search; None where what was counted by others may be another number
    """

    collection: Opened
    search: TextSearch
    partition_names: tuple[str, ...] | None
    moment: str | None

    @property
    def indexed(self) -> bool:
        """Whether GIN has the words of the field."""
        ready = self.collection.description.ready_indexes
        return any(name == self.search.field.name and isinstance(spec, Gin) for name, spec in ready)

    def known(self, words: Sequence[Word]) -> dict[Word, int]:
        """What was counted at this very moment."""
        if self._key is None:
            return {}
        kept = ((word, self.collection.database.counts.known((*self._key, word.lexeme))) for word in words)
        return {word: found[1] for word, found in kept if found is not None and found[0] == self.moment}

    def command(self, words: Sequence[Word]) -> Command:
        name, named, counting = self.search.field.name, self.partition_names, Bm25Search(self.search, len(words))
        if self.indexed and len(words) <= _FEW_WORDS:
            build = partial(counting.frequencies_by_index, named)
            return command(self.collection, ("each", name, named), build, bm25.each(words))
        build = partial(counting.frequencies, named)
        values = bm25.queries(words) | bm25.matching(bm25.any_of(words))
        return command(self.collection, ("frequencies", name, len(words), named), build, values)

    def counted(self, words: Sequence[Word], rows: Rows) -> dict[Word, int]:
        """By what the command found."""
        counts = dict(zip(words, (count for row in rows for count in row[:-1]), strict=True))
        if self._key is not None:
            for word, count in counts.items():
                self.collection.database.counts.keep((*self._key, word.lexeme), (rows[0][-1], count))
        return counts

    @property
    def _key(self) -> tuple[Hashable, ...] | None:
        version, name = self.collection.version, self.search.field.name
        known = version is not None and self.moment is not None
        return (version, "frequency", name, self.partition_names) if known else None


@dataclass(frozen=True, slots=True)
class Measure:
    """How many texts a field has, and how long they are: in these partitions, or in all.

    percent  of the pages that are looked at
    """

    collection: Opened
    field: Field
    partition_names: tuple[str, ...] | None
    percent: float

    @property
    def _key(self) -> Hashable | None:
        """What is found out may be known by; None where it is to be found out in each search."""
        version = self.collection.version
        is_all = self.percent == 100.0  # noqa: PLR2004
        return None if is_all or version is None else (version, "lengths", self.field.name, self.partition_names)

    def known(self) -> Lengths | None:
        found: Lengths | None = None if self._key is None else self.collection.database.estimates.known(self._key)
        return found

    def commands(self) -> list[Command]:
        table, field, named = self.collection.table, self.field, self.partition_names
        entities = partial(bm25.entities, table, named)
        lengths = partial(bm25.lengths, table, field, named, self.percent)
        return [
            command(self.collection, ("entities", named), entities, {}),
            command(self.collection, ("lengths", field.name, named, self.percent), lengths, {}),
        ]

    def lengths(self, rows: Sequence[Rows]) -> Lengths:
        """By what the commands found."""
        [[entities]], [[share, mean]] = rows
        found = Lengths(entities * (1.0 if share is None else share), mean or 1.0)
        return found if self._key is None else self.collection.database.estimates.keep(self._key, found)


def command(
    collection: Opened,
    key: tuple[Hashable, ...] | None,
    build: Callable[[], ClauseElement],
    values: Mapping[str, WireValue],
    conditions: Sequence[ColumnElement[bool]] = (),
) -> Command:
    """A statement with these values in its blanks, compiled once as long as the collection is the same.

    key  equal for the same statement but for its conditions; None for one that is not kept
    """
    session, kept = collection.session, collection.database.statements
    shape = shape_of(collection.database, collection.version, key)
    statement: Template | None = None if shape.key is None or conditions else kept.known(shape.key)
    if statement is None:
        statement = shape.compiled("words", conditions, build, session, list(values))
        if shape.key is not None and not conditions:
            kept.keep(shape.key, statement)
    return statement.filled(values)


def rows_of(collection: Opened, *commands: Command) -> list[Rows]:
    """Of each command, in one round trip."""
    return collection.session.rows(collection.session.run(commands))
