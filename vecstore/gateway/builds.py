"""Index builds that take longer than clients wait: they go on after the answer, and clients look how far they are.

What is asked for stands in a property of the collection from before the build until after it, with the reason where it
fails: so each worker knows the index before PostgreSQL does. How far it is, PostgreSQL tells.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from pymilvus.grpc_gen import common_pb2

from ..collection import Collection
from ..description import CollectionDescription, IndexState
from ..errors import VecstoreError
from ..operations.building import IndexBuild
from ..store import Store
from .asked import Asked, asked_indexes, forgotten_with_index, is_of_number, while_wanted, with_index
from .call import Call
from .errors import described

_State = common_pb2.IndexState

T = TypeVar("T")

INTERRUPTED = "its build was interrupted: create the index again, or drop it"


@dataclass(frozen=True, slots=True)
class Standing:
    """How an index stands: Milvus's state of it, the part of the rows that is in it, and why it failed."""

    index: Asked
    state: int = _State.Finished
    done: float = 1.0
    reason: str = ""

    @property
    def has_failed(self) -> bool:
        return bool(self.state == _State.Failed)


def standings(call: Call, name: str) -> tuple[CollectionDescription, list[Standing]]:
    """A collection, and how its indexes stand; raises MilvusError."""
    found = call.described(name)
    indexes = asked_indexes(found)
    if all(index.is_built for index in indexes):
        return found, [Standing(index) for index in indexes]
    builds = {_key(index): _build(call, found, index) for index in indexes if not index.is_built}
    # Who was not at work a moment ago is at its end, and what it has come to is in the catalogue by now.
    found = call.described(name)
    return found, [_standing(index, builds) for index in asked_indexes(found)]


def _key(index: Asked) -> Hashable:
    return index.name, index.number


def _standing(index: Asked, builds: dict[Hashable, IndexBuild | None]) -> Standing:
    if index.is_built:
        return Standing(index)
    if index.wanted is not None and index.wanted.failed:
        return Standing(index, _State.Failed, 0.0, index.wanted.failed)
    build = builds.get(_key(index), _BEGUN)
    if build is None:
        return Standing(index, _State.Failed, 0.0, INTERRUPTED)
    return Standing(index, _State.InProgress, build.done)


_BEGUN = IndexBuild(0.0, "")


def _build(call: Call, found: CollectionDescription, index: Asked) -> IndexBuild | None:
    """How far a build is, by this process or another; None where nobody is at work, or about to be."""
    build = None if index.place is None else call.collection(found.name).index_build(index.place)
    if build is not None or index.wanted is None:
        return build
    is_ours = call.stores.undertakings.under_way(_undertaking(call, found, index.number)) is not None
    return _BEGUN if is_ours or _is_built_besides(call, found, index) else None


def _is_built_besides(call: Call, found: CollectionDescription, index: Asked) -> bool:
    """Whether another index of the collection is being built, so that this one has to wait."""
    collection = call.collection(found.name)
    others = [it.name for it in found.indexes if it.state is IndexState.INVALID and it.name != index.place]
    return any(collection.index_build(other) is not None for other in others)


def _undertaking(call: Call, found: CollectionDescription, number: int | None) -> Hashable:
    return "create index", call.database, found.oid, number


def begin(
    call: Call, found: CollectionDescription, index: Asked, before: Asked | None, build: Callable[[], object]
) -> bool:
    """Have an index built that is wanted; returns when it is, or is being built for some seconds.

    before  what failed of the same, and is to be replaced

    Returns False where another client was faster with an index of this name. Raises what is raised by then, and leaves
    nothing; what is raised later, those are told who ask after the index.
    """
    order = _Order(call.store, found.name, index)
    if not order.place(before):
        return False

    def work() -> None:
        try:
            while order.stands():
                build()
                if order.settle():
                    return
        except Exception as exc:
            with suppress(VecstoreError):
                order.fail(str(described(exc, None, call.database)))
            raise

    try:
        of, line = _undertaking(call, found, index.number), (call.database, found.oid)
        call.stores.undertakings.begin(of, work, line=line)
    except Exception:
        with suppress(VecstoreError):
            order.take_back()
        raise
    return True


@dataclass(frozen=True, slots=True)
class _Order:
    """What a property of the collection says of an index that is wanted; whoever drops the index deletes it."""

    store: Store
    collection: str
    index: Asked

    def place(self, before: Asked | None) -> bool:
        """Whether it could be: no other index of the name is there."""
        replaced = None if before is None else _key(before)

        def work(collection: Collection, there: Sequence[Asked]) -> bool:
            if any(it.name == self.index.name and _key(it) != replaced for it in there):
                return False
            collection.alter(properties=while_wanted(self.index))
            return True

        return self._alone(work)

    def stands(self) -> bool:
        return self._alone(lambda _, there: self._is_among(there))

    def fail(self, why: str) -> None:
        def work(collection: Collection, there: Sequence[Asked]) -> None:
            if self._is_among(there):
                collection.alter(properties=while_wanted(self.index.failing(why)))

        self._alone(work)

    def take_back(self) -> None:
        def work(collection: Collection, there: Sequence[Asked]) -> None:
            if self._is_among(there):
                collection.alter(delete_properties=forgotten_with_index(self.index))

        self._alone(work)

    def settle(self) -> bool:
        """It is built; what was dropped before there was anything to drop goes now.

        Returns False where another process has built it, for an order that is over, and dropped it again.
        """

        def work(collection: Collection, there: Sequence[Asked]) -> bool:
            ours = [it for it in collection.describe().indexes if is_of_number(it, self.index.number)]
            if not self._is_among(there):
                for it in ours:
                    collection.drop_index(it.name)
                return True
            held = next((it.held for it in there if it.name == self.index.name), None)
            if held is None:
                return False
            if not ours:
                collection.index(held).alter_properties(with_index(self.index))
            collection.alter(delete_properties=forgotten_with_index(self.index))
            return True

        return self._alone(work)

    def _is_among(self, there: Sequence[Asked]) -> bool:
        return _key(self.index) in map(_key, there)

    def _alone(self, work: Callable[[Collection, Sequence[Asked]], T]) -> T:
        """Look at the indexes, and change what is kept of them; nobody else does meanwhile."""

        def together(store: Store) -> T:
            collection = store.collection(self.collection, check=False)
            collection.alter()  # keeps the properties from others
            return work(collection, asked_indexes(collection.describe()))

        return self.store.change(together)
