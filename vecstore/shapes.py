"""Statements that differ in no more than the values of their conditions are compiled once.

What a condition is, but for its values, its own text tells: a value is a parameter there, or is part of the text.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

from psycopg.abc import AdaptContext
from sqlalchemy import ColumnElement, and_
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.expression import ClauseElement

from .recent import Recent
from .wire import Template, template

_LONGEST_TEXT = 8_192


@dataclass(frozen=True, slots=True)
class _Form:
    """A statement, and where in it the values of its conditions stand, in their order."""

    template: Template
    places: Sequence[int]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a statement is but for its conditions.

    kept     statements of earlier calls
    key      equal where it is the same; None where that cannot be told, and nothing is kept
    dialect  numbered()
    """

    kept: Recent
    key: Hashable | None
    dialect: Dialect

    def compiled(
        self,
        form: Hashable,
        conditions: Sequence[ColumnElement[bool]],
        build: Callable[[], ClauseElement],
        context: AdaptContext,
        blanks: Sequence[str] = (),
    ) -> Template:
        """template() of what is built, with the values of these conditions.

        form  which of the statements of this shape it is
        """
        if self.key is None or not conditions:
            return template(build(), self.dialect, context, blanks)
        given = template(and_(*conditions), self.dialect, context)
        key = (self.key, form, given.text)
        known: _Form | None = self.kept.known(key)
        if known is not None:
            return known.template.with_values(known.places, given)
        made = template(build(), self.dialect, context, blanks)
        place_of = {id(bind): place for place, bind in enumerate(made.binds)}
        places = [place_of[id(bind)] for bind in given.binds if id(bind) in place_of]
        if len(places) == len(given.binds) and len(given.text) <= _LONGEST_TEXT:
            self.kept.keep(key, _Form(replace(made, binds=()), places))
        return made
