"""Indexes as clients know them: what was asked, beside what PostgreSQL has. Pure.

What was asked for an index of PostgreSQL is kept with it, for one that PostgreSQL does not need with the collection;
and there, too, while it is not built yet, so that a search knows by which metric it goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ..bm25 import Bm25
from ..description import CollectionDescription, IndexDescription, IndexState, OtherIndex
from ..schema import Btree, Hnsw, IvfFlat, Metric
from .errors import invalid

_EXACT_PROPERTY = "milvus.index."
_WANTED_PROPERTY = "milvus.wanted."
_NAME, _FIELD, _PARAMS = "milvus.name", "milvus.field", "milvus.params"
_HELD, _NUMBER, _FAILED = "milvus.held", "milvus.number", "milvus.failed"
_USUAL = Bm25()


@dataclass(frozen=True, slots=True)
class Wanted:
    """That an index is to be built, and goes on being built after the answer.

    number  tells it from others of the name, before it and after
    held    the name that the index gets in PostgreSQL
    failed  why it was not built; empty as long as nobody knows
    """

    number: int
    held: str
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """An index as a client knows it.

    name    the client's; that in PostgreSQL is `held`, None where there is no index in PostgreSQL
    field   the field's name; of an index on a path, the path is among the parameters
    params  as they were asked, in that order
    wanted  None where it is there, as far as it is to be
    """

    name: str
    field: str
    params: Mapping[str, str]
    held: str | None
    state: IndexState = IndexState.READY
    wanted: Wanted | None = None

    @property
    def is_built(self) -> bool:
        """As far as it is to be."""
        return self.state is IndexState.READY and (self.held is not None or self.wanted is None)

    @property
    def place(self) -> str | None:
        """The name in PostgreSQL that it has or is to get."""
        return self.wanted.held if self.held is None and self.wanted is not None else self.held

    @property
    def number(self) -> int | None:
        return None if self.wanted is None else self.wanted.number

    def failing(self, why: str) -> Asked:
        return self if self.wanted is None else replace(self, wanted=replace(self.wanted, failed=why))

    @property
    def told(self) -> dict[str, str]:
        """The parameters, those in the JSON of `params` among them."""
        return {name: value for name, value in self.params.items() if name != "params"} | inner(self.params)

    @property
    def path(self) -> str:
        """What tells it from others on the same field."""
        return self.told.get("json_path", "")

    @property
    def is_of_vectors(self) -> bool:
        """As clients see it: also on what a function makes."""
        return bool(self.told.get("metric_type"))

    @property
    def metric(self) -> Metric | None:
        """Of vectors that are stored."""
        told = self.told.get("metric_type", "").upper()
        return Metric(told) if told in Metric.__members__ else None


def asked_indexes(found: CollectionDescription) -> list[Asked]:
    """The indexes of a collection, as its clients know them; made by the library or SQL ones, too."""
    wanted = {it.name: it for it in _wanted(found)}
    held = [replace(it, wanted=wanted.pop(it.name).wanted) if it.name in wanted else it for it in _held(found)]
    return [*held, *_exact(found), *wanted.values()]


def bm25_of(found: CollectionDescription, output: str) -> Bm25:
    """How what a function makes is ranked, as its index was asked for."""
    told: Mapping[str, str] = next((it.told for it in asked_indexes(found) if it.field == output), {})
    return formula(told)


def formula(told: Mapping[str, str]) -> Bm25:
    given = {}
    for name, usual in (("k1", _USUAL.k1), ("b", _USUAL.b)):
        value = told.get(f"bm25_{name}", usual)
        try:
            given[name] = float(value)
        except ValueError:
            raise invalid(f"param 'bm25_{name}' of an index should be a number, got {value!r:.40}") from None
    return Bm25(**given)


def metric_of(found: CollectionDescription, field_name: str) -> Metric | None:
    """The metric that searches of a vector field go by; None where it has no index."""
    return next((it.metric for it in asked_indexes(found) if it.field == field_name and it.metric), None)


def _held(found: CollectionDescription) -> Iterator[Asked]:
    for index in found.indexes:
        if isinstance(index.spec, OtherIndex):
            continue
        kept = index.properties
        params = _loaded(kept.get(_PARAMS, ""))
        name, field = kept.get(_NAME, index.name), kept.get(_FIELD, "")
        if params is None or not field:
            field, params = _of_library(index)
        yield Asked(name, field, params, index.name, index.state)


def _exact(found: CollectionDescription) -> Iterator[Asked]:
    for key, value in found.schema.properties.items():
        kept = _loaded(value) if key.startswith(_EXACT_PROPERTY) else None
        if kept is not None and (field := kept.get(_FIELD)) in found.schema.by_name:
            params = {name: it for name, it in kept.items() if name != _FIELD}
            yield Asked(key.removeprefix(_EXACT_PROPERTY), str(field), params, None)


def _wanted(found: CollectionDescription) -> Iterator[Asked]:
    for key, value in found.schema.properties.items():
        kept = _loaded(value) if key.startswith(_WANTED_PROPERTY) else None
        if kept is not None and kept.keys() >= {_FIELD, _HELD, _NUMBER} and kept[_NUMBER].isdecimal():
            wanted = Wanted(int(kept[_NUMBER]), kept[_HELD], kept.get(_FAILED, ""))
            params = _loaded(kept.get(_PARAMS, "")) or {}
            yield Asked(key.removeprefix(_WANTED_PROPERTY), kept[_FIELD], params, None, wanted=wanted)


def _loaded(kept: str) -> dict[str, str] | None:
    try:
        found = json.loads(kept)
    except ValueError:
        return None
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else None


def _of_library(index: IndexDescription) -> tuple[str, dict[str, str]]:
    """Field and parameters of an index that no client of Milvus has asked for."""
    spec = index.spec
    if isinstance(spec, Hnsw):
        params = {"M": spec.m, "efConstruction": spec.ef_construction}
        return index.field, {"index_type": "HNSW", "metric_type": spec.metric, "params": json.dumps(params)}
    if isinstance(spec, IvfFlat):
        params = {"nlist": spec.lists}
        return index.field, {"index_type": "IVF_FLAT", "metric_type": spec.metric, "params": json.dumps(params)}
    if isinstance(spec, Btree) and spec.cast is not None:
        field = index.field.split("[", 1)[0]
        return field, {"index_type": "INVERTED", "json_path": index.field, "json_cast_type": spec.cast}
    return index.field, {"index_type": "STL_SORT" if isinstance(spec, Btree) else "INVERTED"}


def inner(params: Mapping[str, str]) -> dict[str, str]:
    if not params.get("params"):
        return {}
    try:
        inner = json.loads(params["params"])
    except ValueError:
        inner = None
    if not isinstance(inner, dict):
        raise invalid(f"params of an index must be a JSON object, got {params['params']!r:.60}")
    return {str(name): it if isinstance(it, str) else json.dumps(it) for name, it in inner.items()}


# How it is kept


def with_index(asked: Asked) -> dict[str, str]:
    """The properties of an index of PostgreSQL that say what was asked."""
    number = {} if asked.number is None else {_NUMBER: str(asked.number)}
    return {_NAME: asked.name, _FIELD: asked.field, _PARAMS: json.dumps(dict(asked.params)), **number}


def is_of_number(index: IndexDescription, number: int | None) -> bool:
    """Whether an index of PostgreSQL was built because it was wanted under this number."""
    return index.properties.get(_NUMBER) == str(number)


def with_collection(asked: Asked) -> dict[str, str]:
    """The property of the collection that says what was asked, where PostgreSQL has no index."""
    return {_exact_property(asked): json.dumps({_FIELD: asked.field, **asked.params})}


def while_wanted(asked: Asked) -> dict[str, str]:
    """The property of the collection that says what is to be built; none for what is there."""
    wanted = asked.wanted
    if wanted is None:
        return {}
    kept = {**with_index(asked), _HELD: wanted.held, _FAILED: wanted.failed}
    return {_wanted_property(asked): json.dumps(kept)}


def _wanted_property(asked: Asked) -> str:
    return f"{_WANTED_PROPERTY}{asked.name}"


def _exact_property(asked: Asked) -> str:
    return f"{_EXACT_PROPERTY}{asked.name}"


def forgotten_with_index(asked: Asked) -> list[str]:
    """The properties of the collection to be deleted with an index."""
    if asked.wanted is not None:
        return [_wanted_property(asked)]
    return [_exact_property(asked)] if asked.held is None else []


def forgotten_with_field(found: CollectionDescription, field: str) -> list[str]:
    """Those to be deleted with a field."""
    return [name for it in asked_indexes(found) if it.field == field for name in forgotten_with_index(it)]
