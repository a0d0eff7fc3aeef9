"""A collection as it stands, with every other structural change of it kept out until the transaction ends."""

from __future__ import annotations

from sqlalchemy import Connection

from .. import catalog
from ..database import lock_name
from ..description import CollectionDescription


def locked(connection: Connection, name: str) -> CollectionDescription:
    """Describe a collection whose name, or alias, is locked already.

    Of an alias, the collection behind it is locked as well and then looked at again. Aliases are locked before
    collections everywhere, so two changes never wait for each other. Raises CollectionNotFound.
    """
    description = catalog.describe(connection, name)
    if description.name == name:
        return description
    lock_name(connection, description.name)
    return catalog.describe(connection, name)
