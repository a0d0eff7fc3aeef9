"""Which RPC is served by which function. Every other one is in `refusals`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import (
    aliases,
    analyzing,
    cluster,
    collections,
    connecting,
    databases,
    fields,
    indexes,
    loading,
    partitions,
    querying,
    searching,
    upkeep,
    writing,
)
from .call import Call

Function = Callable[[Call, Any], Any]
"""Takes a call and its request, gives the response, None for a plain success; may raise any error."""

CALLS: Mapping[str, Function] = {
    name: function
    for module in (
        aliases,
        analyzing,
        cluster,
        collections,
        connecting,
        databases,
        fields,
        indexes,
        loading,
        partitions,
        querying,
        searching,
        upkeep,
        writing,
    )
    for name, function in module.CALLS.items()
}

OF_ENTITIES = frozenset({*analyzing.CALLS, *querying.CALLS, *searching.CALLS, *writing.CALLS})
"""The RPCs that change no collection, only what is in it."""
