"""How many rows match a search's conditions, as the planner expects: it is asked without running anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, select

from ..conditions import Selection
from ..execution import plan_of
from ..planning import Estimate
from ..search import Request
from .opening import Opened


def estimate(collection: Opened, request: Request, selection: Selection) -> Estimate:
    """The estimate for a request of this selection, remembered for some seconds: it decides the way, not the answer."""

    def plan(conditions: Sequence[ColumnElement[bool]]) -> Mapping[str, Any]:
        return plan_of(collection.connection, collection.facts, _rows(request, conditions))

    def find() -> Estimate:
        matching = plan(request.conditions)
        searched = Selection(selection.partition_names).conditions(collection.description, request.table)
        is_filtered = len(searched) < len(request.conditions)
        return _estimate(matching, plan(searched) if is_filtered else matching)

    key = selection.key
    if key is None or collection.version is None:
        return find()
    return collection.database.estimates.get((collection.version, key), find)


def _rows(request: Request, conditions: Sequence[ColumnElement[bool]]) -> Select[Any]:
    columns = request.table.c
    return select(columns[request.key], columns[request.field.name]).where(*conditions)


def _estimate(matching: Mapping[str, Any], everywhere: Mapping[str, Any]) -> Estimate:
    scans = [node for node in _nodes(matching) if "Relation Name" in node]
    return Estimate(
        matching=int(matching["Plan Rows"]),
        rows=int(everywhere["Plan Rows"]),
        leaves=len({node["Relation Name"] for node in scans}),
        sequential=any(node["Node Type"] == "Seq Scan" and "Filter" in node for node in scans),
        width=int(everywhere["Plan Width"]),
    )


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
