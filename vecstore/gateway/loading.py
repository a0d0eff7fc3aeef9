"""Load and release: a state that is kept for clients, and changed at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from ..description import CollectionDescription
from ..errors import PermissionDenied
from ..store import Store
from . import state
from .call import Call
from .errors import Fault, MilvusError, invalid
from .state import Load

_State = common_pb2.LoadState


def _keep(call: Call, name: str, changed: Callable[[CollectionDescription], Load | Iterable[str]]) -> None:
    """Write the state that follows from the one there is; two clients at once do not undo each other's."""
    found = call.described(name)

    def work(together: Store) -> None:
        collection = together.collection(found.name, check=False)
        collection.alter()  # keeps the properties from others, so that nobody changes what is read now
        collection.alter(properties={state.PROPERTY: state.written(changed(collection.describe()))})

    call.store.change(work)


def load_collection(call: Call, request: Any) -> None:
    """As it is, where it is to be loaded anew: what cannot be searched is not made searchable by that."""
    if request.refresh:
        state.check_loaded(call.described(request.collection_name))
        return
    try:
        _keep(call, request.collection_name, lambda _: Load.ALL)
    except PermissionDenied:  # clients load what they are to search, those of a role that may only read as well
        if not state.is_loaded(call.described(request.collection_name)):
            raise


def release_collection(call: Call, request: Any) -> None:
    _keep(call, request.collection_name, lambda _: ())


def load_partitions(call: Call, request: Any) -> None:
    names = _checked(request.partition_names)

    def changed(found: CollectionDescription) -> Load | Iterable[str]:
        _check_partitions(found, names)
        before = state.loaded(found)
        return Load.ALL if before is Load.ALL else _names(found, before) | set(names)

    _keep(call, request.collection_name, changed)


def release_partitions(call: Call, request: Any) -> None:
    names = _checked(request.partition_names)

    def changed(found: CollectionDescription) -> Iterable[str]:
        if found.schema.partition_key is not None:
            raise invalid("disable release partitions if partition key mode is used")
        _check_partitions(found, names)
        before = state.loaded(found)
        every = {it.name for it in found.partitions}
        return (every if isinstance(before, Load) else before) - set(names)

    _keep(call, request.collection_name, changed)


def _names(found: CollectionDescription, before: Load | frozenset[str]) -> frozenset[str]:
    return frozenset() if isinstance(before, Load) else before


def _checked(names: Sequence[str]) -> Sequence[str]:
    if not names:
        raise invalid("partition names should not be empty")
    return names


def _check_partitions(found: CollectionDescription, names: Iterable[str]) -> None:
    there = {it.name for it in found.partitions}
    for name in names:
        if name not in there:
            raise MilvusError(Fault.PARTITION_NOT_FOUND, partition=name)


def get_load_state(call: Call, request: Any) -> Any:
    try:
        found = call.known(request.collection_name)
    except MilvusError as error:
        if error.fault is not Fault.COLLECTION_NOT_FOUND:
            raise
        return milvus_pb2.GetLoadStateResponse(state=_State.LoadStateNotExist)
    _check_partitions(found, request.partition_names)
    asked: Sequence[str | None] = request.partition_names or [None]
    loaded = all(state.is_loaded(found, name) for name in asked)
    return milvus_pb2.GetLoadStateResponse(state=_State.LoadStateLoaded if loaded else _State.LoadStateNotLoad)


def get_loading_progress(call: Call, request: Any) -> Any:
    found = call.known(request.collection_name)
    _check_partitions(found, request.partition_names)
    state.check_loaded(found, request.partition_names)
    return milvus_pb2.GetLoadingProgressResponse(progress=100, refresh_progress=100)


CALLS = {
    "GetLoadState": get_load_state,
    "GetLoadingProgress": get_loading_progress,
    "LoadCollection": load_collection,
    "LoadPartitions": load_partitions,
    "ReleaseCollection": release_collection,
    "ReleasePartitions": release_partitions,
}
