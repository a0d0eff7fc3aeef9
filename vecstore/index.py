"""Index: a handle on one index of a collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from .database import Database
from .description import IndexDescription, IndexState
from .operations import indexes
from .operations.building import IndexBuild

if TYPE_CHECKING:
    from .collection import Collection


class Index:
    """An index as it was described; `state` is asked anew each time."""

    def __init__(self, collection: Collection, description: IndexDescription, database: Database) -> None:
        self.collection = collection
        self._database = database
        self.name = description.name
        self.field = description.field
        self.spec = description.spec

    def __repr__(self) -> str:
        return f"<Index {self.name!r} on {self.field!r} of {self.collection.name!r}: {self.spec}>"

    @property
    def state(self) -> IndexState:
        """Whether searches use it; raises IndexNotFound when it is gone."""
        return self.collection.describe().index(self.name).state

    @property
    def build(self) -> IndexBuild | None:
        """How far its online build is, whoever runs it; None where it is ready, or was left unfinished."""
        return self.collection.index_build(self.name)

    @property
    def properties(self) -> Mapping[str, str]:
        """The free text pairs that travel with it; raises IndexNotFound when it is gone."""
        return self.collection.describe().index(self.name).properties

    def alter_properties(self, properties: Mapping[str, str], *, delete: Iterable[str] = ()) -> None:
        """Add properties, or replace them, and delete some; nobody waits. Raises IndexNotFound, InvalidSchema."""
        indexes.alter_properties(self._database, self.collection.name, self.name, properties, delete)

    def drop(self) -> None:
        self.collection.drop_index(self.name)
