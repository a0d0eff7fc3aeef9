"""A call of a client: which database, who asks; and the stores that calls work on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TypeVar

from ..collection import Collection
from ..description import CollectionDescription
from ..errors import CollectionNotFound, DatabaseNotFound, NotFound
from ..recent import Recent
from ..store import Store
from .errors import Fault, MilvusError
from .undertakings import Undertakings

DEFAULT_DATABASE = "default"

T = TypeVar("T")


# Seconds that a search may go by an older look at a collection which another process has changed.
_LOOKS_HOLD = 1.0
# Seconds that what is asked, of a collection that is the same, need not be read again.
_QUESTIONS_HOLD = 10.0


@dataclass(frozen=True)
class Stores:
    """A store for each database that somebody has asked for, all on one server: `default` is the one served.

    looks         what searches found collections to be a moment ago
    questions     what searches asked a moment ago
    undertakings  what goes on after its answer, and some that did
    """

    default: Store
    looks: Recent = field(default_factory=lambda: Recent(seconds=_LOOKS_HOLD))
    questions: Recent = field(default_factory=lambda: Recent(seconds=_QUESTIONS_HOLD))
    undertakings: Undertakings = field(default_factory=Undertakings)
    _others: dict[str, Store] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, database: str) -> Store:
        """The store of a database, by Milvus's name of it; raises MilvusError."""
        if database == DEFAULT_DATABASE:
            return self.default
        with self._lock:
            if database not in self._others:
                try:
                    self._others[database] = self.default.database(database)
                except DatabaseNotFound:
                    raise MilvusError(Fault.DATABASE_NOT_FOUND, database=database) from None
            return self._others[database]

    def is_gone(self, database: str) -> bool:
        """Whether a database that was served has been dropped, by another worker or by SQL; if so, let go of it."""
        if database == DEFAULT_DATABASE or database in self.default.list_databases():
            return False
        self.forget(database)
        return True

    def forget(self, database: str) -> None:
        """Let go of the connections to a database, which is to be dropped."""
        with self._lock:
            store = self._others.pop(database, None)
        if store is not None:
            store.close()

    def close(self) -> None:
        for database in list(self._others):
            self.forget(database)
        self.default.close()


@dataclass(frozen=True, slots=True)
class Call:
    """What a call knows beside its request.

    rpc         the name of the RPC
    database    Milvus's name of the database: from the metadata, the request, or "default"
    user        who asks
    request_id  the client's
    """

    rpc: str
    stores: Stores
    database: str
    user: str
    request_id: str

    @property
    def store(self) -> Store:
        return self.stores.of(self.database)

    def collection(self, name: str) -> Collection:
        """A handle by a collection's name or alias; nobody has looked whether it is there."""
        return self.store.collection(name, check=False)

    def described(self, name: str) -> CollectionDescription:
        """A collection as the catalogue has it now; raises MilvusError."""
        try:
            return self.collection(name).describe()
        except CollectionNotFound:
            raise self.no_collection(name) from None

    def known(self, name: str) -> CollectionDescription:
        """A collection as far as reads and writes depend on it: from memory while nothing has changed.

        Names of leaves and indexes, and comments, may be older. Raises MilvusError.
        """
        try:
            return self.collection(name).describe(fresh=False)
        except CollectionNotFound:
            raise self.no_collection(name) from None

    def answered(self, name: str, answer: Callable[[CollectionDescription], T]) -> T:
        """What a search answers, which goes by a look at its collection that may be a second old.

        So it pays for one round trip to PostgreSQL, not for two. What this process changes is seen at once, for every
        call but those that read and write entities ends with a look to be taken anew; and no error is due to an old
        look: where one is met, and the collection is another by now, the answer is made again.
        """
        seen = self.stores.looks.get((self.database, name), lambda: self.known(name))
        try:
            return answer(seen)
        except (MilvusError, NotFound, ValueError, TypeError):
            known = self.known(name)
            if known is seen:
                raise
        return answer(known)

    def no_collection(self, name: str) -> MilvusError:
        return MilvusError(Fault.COLLECTION_NOT_FOUND, database=self.database, collection=name)


def number_of(*names: str) -> int:
    """A number for what PostgreSQL knows by name alone, such as a partition: the same as long as the name is."""
    digest = blake2b("/".join(names).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1
