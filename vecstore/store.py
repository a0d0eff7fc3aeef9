"""connect(), and the Store: collections by name, and transactions over all of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, cast

from sqlalchemy import URL, Connection, Engine

from . import catalog, trash
from .collection import Collection
from .database import Database, Settings, translating
from .description import CollectionSummary
from .engines import as_folder, as_url, check_prepares_nothing, checked_engine, engine_for
from .errors import CollectionNotFound, InvalidArgument, NotInstalled, SchemaOutdated
from .facts import ADVISED_VECTOR, check_server, version_tuple
from .lexemes import Lexeme
from .operations import aliases, collections, databases, freeing, lexemes, maintenance, overview, restoring
from .operations import privileges as rights
from .operations.maintenance import Finding
from .operations.overview import CollectionOverview
from .partition import Partition
from .schema import CollectionSchema, Field
from .trash import TrashEntry

T = TypeVar("T")


class Store:
    """The collections of a database. A context manager; close() stops an embedded server that nobody else uses."""

    def __init__(self, database: Database, *, release: Callable[[], None] | None = None) -> None:
        self._database = database
        self._release = release

    @property
    def engine(self) -> Engine:
        """The SQLAlchemy Engine, for statements of the caller's own."""
        return self._database.engine

    def __repr__(self) -> str:
        return f"<Store {self.engine.url.render_as_string(hide_password=True)}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back what connect() opened: the engine's connections, and the hold on an embedded server.

        An Engine that the caller handed to connect() stays open. May be called twice.
        """
        if self._release is not None:
            release, self._release = self._release, None
            release()

    def upgrade(self) -> None:
        """Create schema `vecstore` and extension `vector`, or migrate them; one transaction, others wait for it.

        Needs a role that may create schemas and extensions; connect() does it for the embedded server. Locks that
        others hold are tried for again until ddl_timeout; then LockTimeout, nothing changed. Raises PermissionDenied,
        NotOurs where somebody else has a schema of this name, SchemaTooNew.
        """
        from . import installation  # noqa: PLC0415 - a tenth of a second, for Alembic

        self._database.migrate("upgrade schema 'vecstore'", installation.upgrade)

    def downgrade(self, revision: str) -> None:
        """Take schema `vecstore` back for an older library; one transaction, which waits as upgrade()'s does.

        revision  such as "vecstore_0001"; "base" for nothing of ours, where no collection is left

        No row of a collection is lost. Raises InvalidArgument, PermissionDenied, LockTimeout, SchemaTooNew.
        """
        from . import installation  # noqa: PLC0415 - as above

        self._database.migrate(
            f"take schema 'vecstore' back to {revision!r}", partial(installation.downgrade, revision=revision)
        )

    # Transactions

    @contextmanager
    def transaction(self) -> Iterator[Store]:
        """One transaction over everything done through the Store that it yields; rolled back on any error.

        Structural changes in it do not wait for locks that others hold longer than a moment: they raise LockTimeout,
        and the transaction is to be begun again. An error of one call leaves the rest of the transaction usable.
        """
        with self._database.writing("transaction") as connection:
            bound = self._database.bound_to(connection)
            yield Store(bound)
        self._finish(bound)

    def change(self, work: Callable[[Store], T]) -> T:
        """Run structural changes together, in one transaction that is begun again while others hold a lock.

        work  makes the changes through the Store that it is given, and may be called several times; what it returns is
              returned

        Tried until ddl_timeout, as each change by itself is; then LockTimeout, nothing changed. In a transaction of the
        caller's it is tried once.
        """
        tried: list[Database] = []

        def together(connection: Connection) -> T:
            tried.append(self._database.bound_to(connection))
            return work(Store(tried[-1]))

        result = self._database.alter("change together", (), together)
        self._finish(tried[-1])
        return result

    def _finish(self, bound: Database) -> None:
        """Do what a transaction has left to be done after its commit, or leave it to the caller's."""
        if not self._database.owns_transactions:
            self._database.after_commit.extend(bound.after_commit)
            return
        for finish in bound.after_commit:
            finish(self._database)

    def bind(self, connection: Connection) -> Store:
        """A Store inside the caller's own transaction: the caller commits or rolls back, and closes.

        connection  a SQLAlchemy Connection by psycopg 3 to this database, not in AUTOCOMMIT
        """
        if not isinstance(connection, Connection):
            raise InvalidArgument(f"bind() takes a SQLAlchemy Connection, got a {type(connection).__name__}")
        if connection.dialect.driver != "psycopg":
            raise InvalidArgument(f"bind() needs a connection by psycopg 3, got {connection.dialect.driver}")
        with translating("bind"):
            driver_connection = connection.connection.driver_connection
        if getattr(driver_connection, "autocommit", False):
            raise InvalidArgument("bind() needs a connection with transactions, this one is in AUTOCOMMIT")
        return Store(self._database.bound_to(connection))

    # Collections

    def create_collection(
        self,
        name: str,
        fields: Iterable[Field],
        *,
        description: str = "",
        dynamic: bool = False,
        properties: Mapping[str, str] | None = None,
        num_partitions: int = 16,
        exist_ok: bool = False,
    ) -> Collection:
        """Create a collection, with its partition `_default`, or its hash partitions where a field is partition_key.

        dynamic         entities may have keys beside the fields; they are kept as JSON
        num_partitions  how many hash partitions
        exist_ok        leave a collection of this name as it is, with its rows, if it has these fields and is as
                        dynamic; description, properties and num_partitions are not compared

        Raises CollectionExists, NotOurs where somebody else has a schema of this name, InvalidName, InvalidSchema.
        """
        schema = CollectionSchema(
            cast("tuple[Field, ...]", fields), dynamic, description, properties or {}, num_partitions
        )
        collections.create(self._database, name, schema, exist_ok=exist_ok)
        return Collection(self._database, name)

    def collection(self, name: str, *, check: bool = True) -> Collection:
        """The collection of this name or alias; raises CollectionNotFound.

        check  look whether it is there now; otherwise the first call on it finds out, and that is one look less
        """
        found = Collection(self._database, name)
        if check:
            found.describe()
        return found

    def has_collection(self, name: str) -> bool:
        """Whether there is a collection, or alias, of this name."""
        try:
            self.collection(name)
        except CollectionNotFound:
            return False
        return True

    def list_collections(self) -> list[str]:
        """The names of all collections, sorted; aliases are not among them."""
        with self._database.reading("list collections") as connection:
            return catalog.collection_names(connection)

    def overview(self) -> tuple[CollectionOverview, ...]:
        """All collections that the role may use, each as Collection.overview() shows it."""
        return overview.overview(self._database)

    def summaries(self) -> list[CollectionSummary]:
        """Name, oid, properties and time of creation of each collection, in the order of their names."""
        with self._database.reading("list collections") as connection:
            return catalog.collection_summaries(connection)

    def rename_collection(self, name: str, new_name: str) -> None:
        """Give a collection another name; its aliases stay with it. Locks no table.

        Raises CollectionNotFound, CollectionExists, NotOurs, InvalidName.
        """
        collections.rename(self._database, name, new_name)

    def drop_collection(
        self, name: str, *, missing_ok: bool = False, cascade: bool = False, keep: timedelta | None = None
    ) -> None:
        """Drop a collection; see Collection.drop()."""
        try:
            collections.drop(self._database, name, cascade=cascade, keep=keep)
        except CollectionNotFound:
            if not missing_ok:
                raise

    # The trash

    def trash(self) -> tuple[TrashEntry, ...]:
        """What was dropped and is kept, the oldest first, as far as the role may look into it."""
        with self._database.reading("look into the trash") as connection:
            return trash.entries(connection)

    def restore(
        self, name: str, *, as_name: str | None = None, trash_id: int | None = None, with_aliases: bool = True
    ) -> Collection:
        """Take back the drop of a collection: data, indexes, comments, grants and aliases, as they were.

        name          the one that it had: the drop of this name that came last, unless trash_id says which
        as_name       another name for it, where its own is taken meanwhile
        with_aliases  False: leave its aliases out, where their names are taken meanwhile

        Locks no table, and costs the same for any size. One that is past its keep can be restored until purge() has
        freed it. Raises TrashNotFound, CollectionExists, NotOurs, AliasExists, PermissionDenied unless it is one's
        own, LockTimeout.
        """
        target = restoring.restore(self._database, name, as_name=as_name, trash_id=trash_id, with_aliases=with_aliases)
        return Collection(self._database, target)

    def restore_partition(self, collection_name: str, partition_name: str, *, trash_id: int | None = None) -> Partition:
        """Take back the drop of a partition: data, indexes, comments and grants, as they were.

        trash_id  which drop; the last one where it is left out

        Its rows are read once, for PostgreSQL makes sure that they belong there; no index is built, but one that the
        collection has got meanwhile. Searches and writers go on. A partition of a collection that was dropped meanwhile
        fits into another one of that name and with the same fields. Raises TrashNotFound, PartitionExists,
        OperationRefused where the fields have changed, PermissionDenied, LockTimeout.
        """
        restoring.restore_partition(self._database, collection_name, partition_name, trash_id=trash_id)
        return Partition(Collection(self._database, collection_name), partition_name)

    def purge(self, older_than: timedelta | None = None) -> tuple[TrashEntry, ...]:
        """Free what was dropped and is past its keep, and return it.

        older_than  also what was dropped longer ago than that, however long it was to be kept; timedelta(0): all

        Of several roles each frees its own. In batches, each a transaction: interrupted, it is gone on with by the next
        call, or repair(). What somebody uses keeps nothing else from being freed. Raises LockTimeout, InvalidArgument
        inside a transaction.
        """
        return freeing.purge(self._database, older_than)

    # Aliases

    def create_alias(self, collection_name: str, alias: str) -> None:
        """Give a collection a second name: a schema with a view, so that `SELECT ... FROM prod.entities` works.

        Raises AliasExists, CollectionExists, NotOurs, CollectionNotFound, InvalidName.
        """
        aliases.create(self._database, collection_name, alias)

    def alter_alias(self, collection_name: str, alias: str) -> None:
        """Let an alias stand for another collection, from one moment to the next.

        Grants on the alias's view stay where the columns are the same. Raises AliasNotFound, CollectionNotFound.
        """
        aliases.alter(self._database, collection_name, alias)

    def drop_alias(self, alias: str) -> None:
        """Drop an alias; the collection stays. Raises AliasNotFound, DependentObjects."""
        aliases.drop(self._database, alias)

    def list_aliases(self) -> dict[str, str]:
        """Each alias and the collection that it stands for."""
        with self._database.reading("list aliases") as connection:
            return catalog.aliases(connection)

    # Texts

    def lexemes(self, texts: str | Sequence[str], *, text_search: str | None = None) -> list[list[Lexeme]]:
        """What text search makes of texts: one list a text, of its words as text_match() and BM25 look for them.

        text_search  the configuration, as of a Field: "english", or "schema.name"; None: PostgreSQL's "simple", which
                     changes no word but to lower case and drops none

        To see why a word is found, or is not. Reads no collection. Raises InvalidArgument.
        """
        return lexemes.lexemes(self._database, texts, text_search)

    # Roles

    def grant(self, role: str, *, on: str | None = None, privileges: str = "read") -> None:
        """Let a role use a collection, by SQL and through this library, with its aliases and all future partitions.

        on          a collection, or an alias of it; None: all collections that there are now
        privileges  "read": search, query, count. "write": insert, upsert and delete as well, not truncate. "own":
                    everything, the collection passes from its owner to the role; let several own it by making them
                    members of that role

        Rights are given on the parent table, never on a partition's. "own" locks each table for a moment, as a drop
        does. Raises CollectionNotFound, PermissionDenied unless the collection is one's own, InvalidArgument for a
        role that is not there.
        """
        rights.grant(self._database, role, on=on, privileges=privileges)

    def revoke(self, role: str, *, on: str | None = None, privileges: str = "read") -> None:
        """Take from a role what grant() gave it, and what is more than that: of "read", everything.

        "own" passes the collection to the role that revokes. What a role has as a member of another stays. Raises what
        grant() does, and OperationRefused where the role owns the collection, or is to lose it and does not.
        """
        rights.revoke(self._database, role, on=on, privileges=privileges)

    # Databases

    def list_databases(self) -> dict[str, dict[str, str]]:
        """The databases that create_database() has made on this server, other than this one: name and properties."""
        return databases.properties(self._database)

    def database(self, name: str) -> Store:
        """A store for another database of this server, made by create_database(). The caller closes it.

        Raises DatabaseNotFound, and what connect() raises.
        """
        databases.check_made(self._database, name)
        return self._beside(name)

    def _beside(self, name: str) -> Store:
        settings = self._database.settings
        engine = engine_for(self.engine.url.set(database=name), settings)
        return _opened(Database(engine, settings, keepalive=self._database.keepalive), release=engine.dispose)

    def create_database(self, name: str, *, properties: Mapping[str, str] | None = None) -> None:
        """Make a database for collections on this server, with schema `vecstore` and pgvector.

        properties  free text pairs that travel with it, as JSON in its comment

        Needs a role that may create databases. No transaction: what fails is undone. Raises DatabaseExists,
        InvalidName, PermissionDenied, UnsupportedServer.
        """
        databases.create(self._database, name, properties or {})
        try:
            with self._beside(name) as made:
                made.upgrade()
        except BaseException:
            databases.undo(self._database, name)
            raise

    def alter_database(self, name: str, properties: Mapping[str, str], *, delete: Iterable[str] = ()) -> None:
        """Add properties to a database, or replace them; and delete some. Raises DatabaseNotFound, PermissionDenied."""
        databases.alter_properties(self._database, name, properties, delete)

    def drop_database(self, name: str) -> None:
        """Drop a database that create_database() made and that holds no collection and no other table.

        Ends the connections that others have to it. Raises DatabaseNotFound, OperationRefused where it is not empty,
        PermissionDenied, LockTimeout.
        """
        with self.database(name) as inside:
            databases.drop(self._database, inside.engine, name)

    # Upkeep

    def doctor(self) -> tuple[Finding, ...]:
        """Look for what is not as it should be; changes nothing. Nothing found: an empty tuple.

        What interrupted work or plain SQL left behind, worn indexes, vectors that an index leaves out, partitions of
        other owners or open to others. Reads every vector under an index, where the role may.
        """
        return maintenance.doctor(self._database)

    def repair(self) -> tuple[Finding, ...]:
        """Clear away what interrupted work or plain SQL left, and return it; what else doctor() finds is the caller's.

        A finding's message says what to do about it. No row is lost.
        """
        return maintenance.repair(self._database)


def connect(
    target: str | Path | URL | Engine | None = None,
    *,
    ddl_timeout: float = 30.0,
    max_connections: int = 15,
    pgbouncer: bool = False,
    keep_dropped: timedelta | None = None,
) -> Store:
    """Open a store.

    target       None: an embedded PostgreSQL with its data in the user's data directory; a path: the same, with its
                 data there; a postgresql:// URL or a SQLAlchemy Engine (psycopg 3): a server
    ddl_timeout  seconds that a structural change is tried for while others use what it changes
    max_connections  how many at most, of an Engine its own number; a call more waits for one of them
    pgbouncer    the server is behind PgBouncer in transaction mode: prepare nothing, set nothing for a session; an
                 Engine must have been made so, with connect_args={"prepare_threshold": None}
    keep_dropped  how long restore() can take back what this store drops, where neither the call nor the collection says
                 it; None: as the setting vecstore.keep_dropped of the database or role says, else not at all

    Several processes may open the same folder; the last one out stops the server. Raises UnsupportedServer,
    ConnectionLost, SchemaTooNew, and for the embedded server MissingExtra or EmbeddedServerError. A server whose schema
    `vecstore` is missing or older is opened, for upgrade(): every other call raises NotInstalled or SchemaOutdated.
    """
    settings = Settings(ddl_timeout, max_connections, pgbouncer, keep_dropped)
    if isinstance(target, Engine):
        return _opened(Database(checked_engine(target), settings), release=None)
    url = as_url(target)
    if url is not None:
        engine = engine_for(url, settings)
        return _opened(Database(engine, settings), release=engine.dispose)
    return _open_embedded(as_folder(target), settings)


def _opened(database: Database, *, release: Callable[[], None] | None) -> Store:
    """The store of a server that will do; one that will not is let go of again."""
    try:
        with translating("connect"), database.engine.connect() as connection:
            if database.settings.pgbouncer:
                check_prepares_nothing(connection)
            version = check_server(connection)
            database.read_facts_on(connection)
    except BaseException:
        if release is not None:
            release()
        raise
    if version_tuple(version) < ADVISED_VECTOR:
        warnings.warn(
            f"pgvector {version} has known faults that corrupt HNSW indexes: upgrade to 0.8.4 or newer",
            UserWarning,
            stacklevel=3,
        )
    return Store(database, release=release)


def _open_embedded(folder: Path | None, settings: Settings) -> Store:
    from .embedded import start  # noqa: PLC0415 - an optional part

    server = start(folder)
    engine = engine_for(server.url(), settings)

    def release() -> None:
        engine.dispose()
        server.release()

    database = Database(engine, settings, keepalive=server)
    store = _opened(database, release=release)
    try:
        _upgrade_if_needed(store, database)
    except BaseException:
        store.close()
        raise
    return store


def _upgrade_if_needed(store: Store, database: Database) -> None:
    try:
        _ = database.facts
    except (NotInstalled, SchemaOutdated):
        store.upgrade()
