"""What requests carry as text: the options of a search or a query, and the values of a filter's templates. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pymilvus.grpc_gen import common_pb2, schema_pb2

from ..errors import InvalidData
from ..filters import FilterError
from .errors import invalid
from .records import documents

_BOOLEANS = {"true": True, "false": False}


class Parameters:
    """Options by name, as texts or, within `params`, as JSON; what stands outside of it decides.

    Each call raises MilvusError for a value that is none of its sort. An empty text is no value.
    """

    def __init__(self, pairs: Iterable[common_pb2.KeyValuePair]) -> None:
        outer = {pair.key: pair.value for pair in pairs}
        self._values: dict[str, Any] = {**_object("params", outer.pop("params", "")), **outer}

    def expression(self, name: str) -> str | None:
        """A text whose quotes are its own."""
        value = self._values.get(name)
        return None if value in (None, "", "None") else str(value)

    def text(self, name: str) -> str | None:
        text = self.expression(name)
        if text is None:
            return None
        return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text

    def integer(self, name: str) -> int | None:
        text = self.text(name)
        try:
            return None if text is None else int(text)
        except ValueError:
            raise invalid(f"{name} [{text:.40}] is invalid: it should be an integer") from None

    def number(self, name: str) -> float | None:
        text = self.text(name)
        try:
            value = None if text is None else float(text)
        except ValueError:
            value = math.nan
        if value is not None and not math.isfinite(value):
            raise invalid(f"{name} [{text:.40}] is invalid: it should be a number")
        return value

    def flag(self, name: str) -> bool:
        text = self.text(name) or "false"
        if text.lower() not in _BOOLEANS:
            raise invalid(f"{name} [{text:.40}] is invalid: it should be true or false")
        return _BOOLEANS[text.lower()]

    def names(self, name: str) -> list[str]:
        """A list with commas."""
        return [part.strip() for part in (self.text(name) or "").split(",") if part.strip()]

    def nested(self, name: str) -> Mapping[str, Any]:
        """An object of JSON."""
        value = self._values.get(name)
        return value if isinstance(value, dict) else _object(name, self.text(name) or "")

    def values(self, name: str) -> list[Any]:
        """A list of JSON."""
        value = self._values.get(name)
        found = value if isinstance(value, list) else _parsed(name, self.text(name) or "[]")
        if not isinstance(found, list):
            raise invalid(f"{name} should be a list")
        return found

    def refuse(self, *names: str) -> None:
        """Raise MilvusError where an option is given that cannot be honoured."""
        for name in names:
            if self.text(name) not in {None, "False", "false"}:
                raise invalid(f"{name} is not supported")


def _object(name: str, text: str) -> dict[str, Any]:
    found = _parsed(name, text or "{}")
    if not isinstance(found, dict):
        raise invalid(f"{name} should be an object of JSON")
    return found


def _parsed(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise invalid(f"{name} cannot be read: it should be JSON, got {text:.80}") from None


def templates(values: Mapping[str, schema_pb2.TemplateValue]) -> dict[str, Any] | None:
    """The values of a filter's {templates}; None where there are none. Raises InvalidData."""
    try:
        return {name: _template(value) for name, value in values.items()} or None
    except (ValueError, RecursionError) as exc:
        raise InvalidData(f"a value of the filter's templates cannot be read: {exc}") from None


def _template(value: schema_pb2.TemplateValue) -> Any:
    which = value.WhichOneof("val")
    if which is None:
        return None
    return _listing(value.array_val) if which == "array_val" else getattr(value, which)


def _listing(value: schema_pb2.TemplateArrayValue) -> list[Any]:
    which = value.WhichOneof("data")
    if which is None:
        return []
    data = getattr(value, which).data
    if which == "array_data":
        return [_listing(item) for item in data]
    return documents(data) if which == "json_data" else list(data)


@contextmanager
def planning(expression: str, kind: str = "query") -> Iterator[None]:
    """Milvus's words for a filter that cannot be understood."""
    try:
        yield
    except FilterError as exc:
        raise invalid(f"failed to create {kind} plan: cannot parse expression: {expression}, error: {exc}") from exc
