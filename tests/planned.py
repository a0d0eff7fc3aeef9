"""The plan that PostgreSQL has for a statement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.sql.expression import ClauseElement

from vecstore.execution import Explained, fetch
from vecstore.facts import ServerFacts


def plan_of(connection: Connection, facts: ServerFacts, statement: ClauseElement) -> Mapping[str, Any]:
    plan: Mapping[str, Any] = fetch(connection, facts, Explained(statement))[0][0][0]["Plan"]
    return plan
