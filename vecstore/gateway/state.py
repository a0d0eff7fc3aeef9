"""What clients are kept to have loaded: a property of the collection, so that every worker knows it, and a restart.

PostgreSQL has nothing to load. A collection that no client has loaded or released, made by the library or by SQL, is
there for everybody: it can be searched, and none of its drops is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

from ..description import CollectionDescription
from .errors import Fault, MilvusError

PROPERTY = "milvus.loaded"


class Load(Enum):
    """What stands in the property, other than a list of partitions."""

    UNTOLD = None
    ALL = "all"


def loaded(description: CollectionDescription) -> Load | frozenset[str]:
    """Which partitions are loaded; a name of one that is gone means nothing."""
    kept = description.schema.properties.get(PROPERTY)
    if kept is None:
        return Load.UNTOLD
    try:
        names = json.loads(kept)
    except ValueError:
        return Load.UNTOLD
    if not isinstance(names, list):
        return Load.ALL
    return frozenset(str(name) for name in names) & {found.name for found in description.partitions}


def is_any_loaded(properties: Mapping[str, str]) -> bool:
    """Whether anything of a collection with these properties can be searched."""
    return properties.get(PROPERTY) != written(())


def written(partitions: Load | Iterable[str]) -> str:
    """The property's value for this state."""
    return json.dumps(partitions.value if isinstance(partitions, Load) else sorted(partitions))


def is_loaded(description: CollectionDescription, partition_name: str | None = None) -> bool:
    """Whether a partition, or any at all, can be searched."""
    state = loaded(description)
    if isinstance(state, Load):
        return True
    return bool(state) if partition_name is None else partition_name in state


def holds_back_drops(description: CollectionDescription, partition_name: str | None = None) -> bool:
    """Whether a client has loaded it, and must release it before a part of it is dropped."""
    return loaded(description) is not Load.UNTOLD and is_loaded(description, partition_name)


def check_loaded(description: CollectionDescription, partition_names: Sequence[str] = ()) -> None:
    """Raise MilvusError, as searches and queries must, unless the collection, or these partitions, are loaded."""
    if not is_loaded(description):
        raise MilvusError(Fault.COLLECTION_NOT_LOADED, collection=description.name)
    for name in partition_names:
        if not is_loaded(description, name):
            raise MilvusError(Fault.PARTITION_NOT_LOADED, partition=name)
