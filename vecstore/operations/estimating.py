"""How many rows match a search's conditions, as the planner expects: it is asked without running anything."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, select

from ..conditions import Selection
from ..description import CollectionDescription
from ..execution import Explained
from ..pipeline import Rows
from ..planning import Estimate
from ..recent import Recent
from ..search import Request
from .opening import of_version

T = TypeVar("T")


Conditions = Sequence[ColumnElement[bool]]
Plan = Mapping[str, Any]
Explain = Callable[[Request, Conditions], Rows]


@dataclass(frozen=True, slots=True)
class Estimator:
    """Of one version of a collection.

    kept     estimates of earlier calls, for some seconds: they decide the way, not the answer
    version  what the collection is known by; None where nothing is to be kept
    explain  runs rows(), with these conditions
    """

    kept: Recent
    version: str | None
    explain: Explain

    def estimate(self, request: Request, selection: Selection, description: CollectionDescription) -> Estimate:
        """For a request of this selection."""

        def find() -> Estimate:
            matching = self._plan(request, request.conditions)
            searched = Selection(selection.partition_names)
            conditions = searched.conditions(description, request.table)
            if len(conditions) == len(request.conditions):
                return _estimate(matching, matching)
            everywhere = self._recent(("everywhere", searched.key), lambda: self._plan(request, conditions))
            return _estimate(matching, everywhere)

        known = selection.key
        return self._recent(None if known is None else (request.field.name, known), find)

    def _plan(self, request: Request, conditions: Conditions) -> Plan:
        plan: Plan = self.explain(request, conditions)[0][0][0]["Plan"]
        return plan

    def _recent(self, key: Hashable | None, find: Callable[[], T]) -> T:
        return self.kept.get(of_version(self.version, key), find)


def rows(request: Request, conditions: Conditions) -> Explained:
    """The plan of reading the rows that conditions leave, as far as a search does."""
    columns = request.table.c
    return Explained(select(columns[request.key], columns[request.field.name]).where(*conditions))


def _estimate(matching: Plan, everywhere: Plan) -> Estimate:
    scans = [node for node in _nodes(matching) if "Relation Name" in node]
    return Estimate(
        matching=int(matching["Plan Rows"]),
        rows=int(everywhere["Plan Rows"]),
        leaves=len({node["Relation Name"] for node in scans}),
        sequential=any(node["Node Type"] == "Seq Scan" and "Filter" in node for node in scans),
        width=int(everywhere["Plan Width"]),
    )


def _nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
