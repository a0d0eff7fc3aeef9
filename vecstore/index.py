"""Index: a handle on one index of a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .description import IndexDescription, IndexState

if TYPE_CHECKING:
    from .collection import Collection


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
