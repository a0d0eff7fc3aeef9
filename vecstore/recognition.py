"""An index as the catalogue has it, and what it is to us. Pure.

What an index on an expression means travels with it, as the JSON of its comment. A comment that is gone, or was
changed into one that makes no sense, leaves an index that somebody made by hand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .description import IndexDescription, IndexState, OtherIndex
from .errors import InvalidArgument
from .naming import path_text
from .schema import Btree, Gin, Hnsw, IndexSpec, IvfFlat
from .tables import metric_of_operator_class

# The operator classes of our scalar indexes, or that serve the same conditions. Strings are not among those of `btree`
# with text_ops: filters compare them byte by byte, which text_pattern_ops does.
_OTHER_BTREES = frozenset({"text_ops", "varchar_ops"})
_GIN_CLASSES = frozenset({"array_ops", "jsonb_ops", "jsonb_path_ops"})


def index_comment(meaning: Mapping[str, Any], properties: Mapping[str, str]) -> str:
    """What the catalogue does not say of an index, for COMMENT ON INDEX: of its expression, and its properties."""
    return json.dumps({"vecstore": {**meaning, **({"properties": dict(properties)} if properties else {})}})


def recognised(row: Mapping[str, Any], words: Mapping[str, str]) -> IndexDescription:
    """The description of an index, from what catalog.py has read of it.

    words  which field's words a column keeps
    """
    field, spec = _meant(row) or _of_words(row, words) or (_field_text(row), _spec(row))
    return IndexDescription(
        name=row["name"],
        field=field,
        spec=spec,
        state=IndexState.READY if row["valid"] else IndexState.INVALID,
        half_precision=row["half_precision"] and isinstance(spec, Hnsw | IvfFlat),
        properties=_properties(row),
    )


def _properties(row: Mapping[str, Any]) -> dict[str, str]:
    properties = _meaning(row["comment"]).get("properties")
    if not isinstance(properties, dict):
        return {}
    return {name: value for name, value in properties.items() if isinstance(value, str)}


def _field_text(row: Mapping[str, Any]) -> str:
    if row["expression"] is not None:
        return str(row["expression"])
    return path_text(row["column"], ()) if row["column"] else str(row["name"])


def _meant(row: Mapping[str, Any]) -> tuple[str, IndexSpec] | None:
    """What an expression of ours indexes, by its comment; None for one that says nothing, or no sense."""
    if not row["is_expression"] or row["partial"] or row["columns"] > 1 or row["column"] is None:
        return None
    meaning = _meaning(row["comment"])
    if row["method"] == "gin" and "text_search" in meaning:
        return row["column"], Gin()
    keys = meaning.get("keys")
    if row["method"] != "btree" or not isinstance(keys, list) or not all(type(key) in {str, int} for key in keys):
        return None
    try:
        return path_text(row["column"], keys), Btree(cast=meaning["cast"])
    except (KeyError, InvalidArgument):
        return None


def _of_words(row: Mapping[str, Any], words: Mapping[str, str]) -> tuple[str, IndexSpec] | None:
    """The field whose words are indexed; None for another index."""
    is_whole = not (row["is_expression"] or row["partial"] or row["columns"] > 1)
    if is_whole and row["column"] in words and (row["method"], row["class"]) == ("gin", "tsvector_ops"):
        return words[row["column"]], Gin()
    return None


def _meaning(comment: str | None) -> Mapping[str, Any]:
    try:
        meaning = json.loads(comment or "{}")["vecstore"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return {}
    return meaning if isinstance(meaning, dict) else {}


def _spec(row: Mapping[str, Any]) -> IndexSpec | OtherIndex:
    """What an index is, from its access method, operator class and options."""
    other = OtherIndex(row["method"], row["class"])
    if row["partial"] or row["columns"] > 1:
        return other
    options = dict(option.split("=", 1) for option in row["options"] or ())
    metric = metric_of_operator_class(row["class"])
    if row["method"] == "hnsw" and metric is not None:
        m, ef_construction = int(options.get("m", 16)), int(options.get("ef_construction", 64))
        return Hnsw(metric=metric, m=m, ef_construction=ef_construction)
    if row["method"] == "ivfflat" and metric is not None:
        return IvfFlat(metric=metric, lists=int(options.get("lists", 100)))
    if row["is_expression"]:
        return other
    if row["method"] == "btree" and row["class"] not in _OTHER_BTREES:
        return Btree()
    return Gin() if row["method"] == "gin" and row["class"] in _GIN_CLASSES else other
