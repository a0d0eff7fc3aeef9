"""A search's highlighter: words marked in the texts of its hits.

What is marked is as in Milvus: internal/proxy/highlighter.go, and GetHighlight of the delegator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from ..collection import Collection
from ..errors import InvalidArgument
from ..highlighting import Highlighter
from ..hits import Hit
from ..schema import TEXTS, CollectionSchema
from .errors import invalid
from .parameters import Parameters
from .placeholders import Texts
from .requests import Ask

_TEXT_MATCH = "TextMatch"
_TAGS = ("pre_tags", "post_tags")
_SIZES = ("fragment_offset", "fragment_size", "num_of_fragments")


@dataclass(frozen=True, slots=True)
class Highlighting:
    """What is marked in the hits of a search.

    fields  by their names, the texts whose words are marked in all hits
    search  the field in which the text that was searched for is marked, too
    """

    highlighter: Highlighter
    fields: Mapping[str, Sequence[str]]
    search: str | None = None

    def results(
        self, collection: Collection, looked_for: object, answers: Sequence[Sequence[Hit]]
    ) -> Iterator[common_pb2.HighlightResult]:
        """One a field, with the fragments of each hit."""
        searched = looked_for.texts if isinstance(looked_for, Texts) else ()
        for name, words in self.fields.items():
            result = common_pb2.HighlightResult(field_name=name)
            for number, hits in enumerate(answers):
                wanted = [*words, *(searched[number : number + 1] if name == self.search else ())]
                texts = [hit.fields[name] for hit in hits]
                for fragments in collection.highlight(texts, wanted, field=name, highlighter=self.highlighter):
                    result.datas.add(fragments=fragments)
            yield result


def highlighting_of(schema: CollectionSchema, request: milvus_pb2.SearchRequest, ask: Ask) -> Highlighting | None:
    """Raise MilvusError for one that cannot be had."""
    if not request.HasField("highlighter"):
        return None
    if request.highlighter.type != common_pb2.HighlightType.Lexical:
        raise invalid("a semantic highlighter asks a model, which vecstore has not: use a lexical one")
    if request.HasField("search_aggregation"):
        raise invalid("highlighter is not supported together with search_aggregation")
    given = Parameters(request.highlighter.params)
    fields: dict[str, list[str]] = {}
    for name, text in _queries(given):
        if name not in schema.by_name:
            raise invalid(f"highlight field not found in schema: {name:.80}")
        if schema.by_name[name].data_type not in TEXTS:
            raise invalid(f"get highlight failed, the highlight field not found, {name}: it is no field of text")
        fields.setdefault(name, []).append(text)
    searched = _searched(given, ask)
    if searched is not None:
        fields.setdefault(searched, [])
    return Highlighting(_highlighter(given), fields, searched)


def _searched(given: Parameters, ask: Ask) -> str | None:
    if not given.flag("highlight_search_text"):
        return None
    if ask.bm25 is None:
        raise invalid(f'Search highlight only support with metric type "BM25" but was: {ask.metric}')
    return ask.field.name


def _highlighter(given: Parameters) -> Highlighter:
    options: dict[str, Any] = {name: given.integer(name) for name in _SIZES}
    options |= {name: given.values(name) for name in _TAGS if given.text(name) is not None}
    try:
        return Highlighter(**{name: value for name, value in options.items() if value is not None})
    except InvalidArgument as exc:
        raise invalid(str(exc)) from None


def _queries(given: Parameters) -> Iterator[tuple[str, str]]:
    """The fields and texts of `highlight_query`."""
    for query in given.values("highlight_query"):
        if not isinstance(query, dict):
            raise invalid("unmarshal highlight queries failed: item in array is not json object")
        name, text, kind = (_part(query, part) for part in ("field", "text", "type"))
        if kind != _TEXT_MATCH:
            raise invalid(f"unmarshal highlight queries failed: invalid highlight query type: {kind:.40}")
        yield name, text


def _part(query: Mapping[str, Any], name: str) -> str:
    if name not in query:
        raise invalid(f"unmarshal highlight queries failed: must set `{name}` in query")
    if not isinstance(query[name], str):
        raise invalid(f"unmarshal highlight queries failed: `{name}` must be string")
    return str(query[name])
