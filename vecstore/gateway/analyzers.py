"""Milvus's analyzers as configurations of PostgreSQL's text search. Pure.

An analyzer parts a text into words and changes these; PostgreSQL's parser and dictionaries do that, too. Where theirs
would be other words, so that a search would miss what it should find, the analyzer is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .errors import invalid

_PARTING = frozenset({"standard", "whitespace"})  # at blanks; PostgreSQL's parser does so at most signs, too
_BUILT_IN: Mapping[str, str | None] = {"standard": None, "english": "english"}
# What PostgreSQL's simple configuration does anyway.
_USUAL_FILTERS = frozenset({"lowercase", "alphanumonly"})
# Snowball's, in Milvus and PostgreSQL alike.
_STEMMED = frozenset(
    {"arabic", "danish", "dutch", "english", "finnish", "french", "german", "greek", "hungarian", "italian"}
    | {"norwegian", "portuguese", "romanian", "russian", "spanish", "swedish", "tamil", "turkish"}
)


def configuration(asker: str, params: Mapping[str, str], *, needed: bool) -> str | None:
    """The text search configuration for an analyzer, None for PostgreSQL's simple one.

    asker   whose it is, for errors: "field title"
    needed  by somebody who will search the words; else what cannot be had is left out

    Raises MilvusError.
    """
    try:
        analyzer = json.loads(params.get("analyzer_params") or "{}")
    except (ValueError, RecursionError):
        raise invalid("analyzer_params is no JSON") from None
    if needed and params.get("multi_analyzer_params"):
        raise _refused(asker, "a field is read by one analyzer, not by that of each row: multi_analyzer_params")
    if not isinstance(analyzer, dict):
        raise _refused(asker, f"analyzer_params must be an object of JSON, got {analyzer!r:.60}")
    found, wrong = _of_type(analyzer) if "type" in analyzer else _of_parts(analyzer)
    if wrong and needed:
        raise _refused(asker, wrong)
    return found


def _refused(asker: str, why: str) -> Exception:
    return invalid(
        f"{asker}: {why}; texts are read by PostgreSQL's text search, and of analyzers there are the types "
        "standard and english, and tokenizer standard or whitespace with the filters lowercase, alphanumonly, and a "
        "stemmer with the stop words of its language"
    )


def _of_type(analyzer: Mapping[str, Any]) -> tuple[str | None, str]:
    """The configuration, and what there is not; for one of those that Milvus has built in."""
    kind = str(analyzer["type"])
    if kind not in _BUILT_IN:
        return None, f"the analyzer of type {kind:.40} is not supported"
    if analyzer.get("stop_words"):
        return _BUILT_IN[kind], "stop words of one's own are not supported"
    return _BUILT_IN[kind], ""


def _of_parts(analyzer: Mapping[str, Any]) -> tuple[str | None, str]:
    """The same, for one that is put together."""
    tokenizer = _named(analyzer.get("tokenizer", "standard"), "type")
    if tokenizer not in _PARTING:
        return None, f"the tokenizer {tokenizer} is not supported"
    filters = analyzer.get("filter", [])
    listed = filters if isinstance(filters, list) else [filters]
    given = [it for it in listed if _named(it, "type") not in _USUAL_FILTERS]
    stemmers = [it for it in given if _named(it, "type") == "stemmer"]
    language = _named(stemmers[0], "language").lower() if len(stemmers) == 1 else ""
    stops = {"type": "stop", "stop_words": [f"_{language}_"]}
    others = [it for it in given if it not in stemmers and it != stops]
    if others:
        return None, f"the filter {_named(others[0], 'type')} is not supported"
    if stemmers and language not in _STEMMED:
        return None, f"a stemmer of {language or 'several languages'} is not supported"
    return language or None, ""


def _named(part: object, name: str) -> str:
    found = part.get(name, part) if isinstance(part, dict) else part
    return str(found)[:40]
