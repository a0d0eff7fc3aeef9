"""The text of a filter, and the tree it means."""

from __future__ import annotations

import math
import re
from functools import cache
from importlib.resources import files
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedInput, UnexpectedToken
from lark.exceptions import VisitError

from .errors import Fault, unsupported
from .limits import MAX_DEPTH, check_size
from .tree import (
    Binary,
    Call,
    Chain,
    Constant,
    Exists,
    Expression,
    Interval,
    IsNull,
    Listing,
    Logic,
    Moment,
    Name,
    Template,
    Unary,
)

# How the terminals of the grammar are called in errors.
_SPOKEN = {
    "$END": "the end of the filter",
    "NAME": "a field",
    "META": "$meta",
    "INTEGER": "a number",
    "FLOAT": "a number",
    "STRING": "a string",
    "RAW_STRING": "a string",
    "BOOLEAN": "true or false",
    "LBRACE": "a {template}",
    "LSQB": "[",
    "LPAR": "(",
    "RPAR": ")",
    "RSQB": "]",
    "RBRACE": "}",
    "COMMA": ",",
    "EQUAL": "=",
    "_AND": "and",
    "_OR": "or",
    "NOT": "not",
    "IN": "in",
    "LIKE": "like",
    "EXISTS": "exists",
    "IS_NULL": "is null",
    "IS_NOT_NULL": "is not null",
    "RELATION": "< <= > >=",
    "EQUALITY": "== !=",
    "REGEX": "=~ !~",
    "PLUS": "+",
    "MINUS": "-",
    "PRODUCT": "* / %",
    "POWER": "**",
    "ISO": "ISO '...'",
    "INTERVAL": "INTERVAL '...'",
}
_UNSPOKEN = {"NULL", "STRUCT", "TILDE", "SHIFT", "BIT_AND", "BIT_OR", "BIT_XOR"}

_ESCAPE = re.compile(
    r"\\(?:x(?P<hex>[0-9a-fA-F]{1,2})|u(?P<four>[0-9a-fA-F]{4})|U(?P<eight>[0-9a-fA-F]{8})"
    r"|(?P<octal>[0-7]{1,3})|(?P<plain>[abfnrtv\\'\"?]))"
)
_PLAIN_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_LAST_CODE_POINT = 0x10FFFF


def parsed(text: str) -> Expression:
    """The tree of a filter that is not empty; raises Fault."""
    check_size(text)
    try:
        tree: Any = _parser().parse(text)  # what the builder made
    except UnexpectedInput as unexpected:
        raise _unexpected(text, unexpected) from None
    except VisitError as refused:
        if isinstance(refused.orig_exc, Fault):
            raise refused.orig_exc from None
        raise
    expression: Expression = tree
    return expression


@cache
def _parser() -> Lark:
    grammar = files(__package__).joinpath("grammar.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", lexer="contextual", transformer=_Builder(), maybe_placeholders=False)


def _unexpected(text: str, unexpected: UnexpectedInput) -> Fault:
    position, found, names = len(text.rstrip()), "the end of the filter", set[str]()
    if isinstance(unexpected, UnexpectedToken):
        names = set(unexpected.accepts or unexpected.expected)
        if unexpected.token.type != "$END":
            position, found = unexpected.token.start_pos or 0, repr(str(unexpected.token))
    elif isinstance(unexpected, UnexpectedCharacters):
        names = set(unexpected.allowed or ())
        position = unexpected.pos_in_stream or 0
        found = repr(text[position])
    spoken = dict.fromkeys(_SPOKEN.get(name, name.lower()) for name in sorted(names - _UNSPOKEN))
    return Fault(position, f"unexpected {found}{_hint(text, position)}", tuple(spoken))


def _hint(text: str, position: int) -> str:
    if text[position : position + 1] == "=":
        return "; equality is =="
    if text[position : position + 1] in {"'", '"'}:
        return "; is the string closed?"
    return ""


def unescaped(text: str) -> str:
    r"""What C's escapes mean; an unknown one such as \% stays as it is."""
    return _ESCAPE.sub(_unescaped_one, text) if "\\" in text else text


def _unescaped_one(found: re.Match[str]) -> str:
    plain = found["plain"]
    if plain is not None:
        return _PLAIN_ESCAPES.get(plain, plain)
    octal = found["octal"]
    code = int(octal, 8) if octal else int(found["hex"] or found["four"] or found["eight"], 16)
    return chr(code) if code <= _LAST_CODE_POINT else found[0]


def check_text(value: str, position: int) -> str:
    """Raise Fault for what PostgreSQL's text cannot hold."""
    if "\0" in value:
        raise Fault(position, "the string contains a NUL character, which PostgreSQL cannot store")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Fault(position, "the string contains a lone surrogate, which is no character") from None
    return value


def _at(token: Token) -> int:
    return token.start_pos or 0


def _text_of(token: Token) -> str:
    quoted = str(token)
    quote = quoted[-1]
    inner = quoted[quoted.index(quote) + 1 : -1]
    return check_text(inner if token.type == "RAW_STRING" else unescaped(inner), _at(token))


def _integer(token: Token) -> int:
    text = str(token)
    prefix = text[:2].lower()
    if prefix == "0x":
        return int(text, 16)
    if prefix == "0b":
        return int(text, 2)
    if text[0] == "0":
        return int(text, 8)
    if len(text) > 400:  # noqa: PLR2004 - far beyond 64 bits, and short of where int() refuses
        raise Fault(_at(token), "the number is beyond 64 bits")
    return int(text)


def _floating(token: Token) -> float:
    text = str(token)
    try:
        value = float.fromhex(text) if text[:2].lower() == "0x" else float(text)
    except OverflowError:
        value = math.inf
    if math.isinf(value):
        raise Fault(_at(token), "the number is beyond double precision")
    return value


Parts = list[Any]


class _Builder(Transformer[Token, Expression]):
    """Called by the parser for each rule as it ends; no recursion, however deep the filter."""

    def start(self, parts: Parts) -> Expression:
        tree: Expression = parts[0]
        return tree

    def disjunction(self, parts: Parts) -> Expression:
        return Logic("or", tuple(parts), position=parts[0].position)

    def conjunction(self, parts: Parts) -> Expression:
        return Logic("and", tuple(parts), position=parts[0].position)

    def binary(self, parts: Parts) -> Expression:
        left, operator, right = parts
        spelled = "in" if operator.type == "IN" else "like" if operator.type == "LIKE" else str(operator)
        return Binary(spelled, left, right, position=_at(operator))

    def not_in(self, parts: Parts) -> Expression:
        left, operator, _, right = parts
        if operator.value == "!":
            raise Fault(_at(operator), "unexpected '!'", ("not in",))
        return Binary("not in", left, right, position=_at(operator))

    def relation(self, parts: Parts) -> Expression:
        operands, operators = parts[::2], parts[1::2]
        if len(operators) == 1:
            return Binary(str(operators[0]), *operands, position=_at(operators[0]))
        return Chain(tuple(map(str, operators)), tuple(operands), position=_at(operators[0]))

    def unary(self, parts: Parts) -> Expression:
        operator, operand = parts
        spelled = "not" if operator.type == "NOT" else str(operator)
        return Unary(spelled, operand, position=_at(operator))

    def exists(self, parts: Parts) -> Expression:
        return Exists(parts[1], position=_at(parts[0]))

    def string(self, parts: Parts) -> Expression:
        return Constant(_text_of(parts[0]), position=_at(parts[0]))

    def template(self, parts: Parts) -> Expression:
        return Template(str(parts[1]), position=_at(parts[0]))

    def integer(self, parts: Parts) -> Expression:
        return Constant(_integer(parts[0]), position=_at(parts[0]))

    def floating(self, parts: Parts) -> Expression:
        return Constant(_floating(parts[0]), position=_at(parts[0]))

    def boolean(self, parts: Parts) -> Expression:
        return Constant(str(parts[0]).lower() == "true", position=_at(parts[0]))

    def null(self, parts: Parts) -> Expression:
        raise Fault(_at(parts[0]), "NULL is not a value; write `is null` or `is not null`")

    def moment(self, parts: Parts) -> Expression:
        return Moment(_text_of(parts[1]), position=_at(parts[0]))

    def interval(self, parts: Parts) -> Expression:
        return Interval(_text_of(parts[1]), position=_at(parts[0]))

    def is_null(self, parts: Parts) -> Expression:
        return IsNull(parts[0], negated=False, position=parts[0].position)

    def is_not_null(self, parts: Parts) -> Expression:
        return IsNull(parts[0], negated=True, position=parts[0].position)

    def call(self, parts: Parts) -> Expression:
        name, *given = parts
        options = tuple(part for part in given if isinstance(part, tuple))
        arguments = tuple(part for part in given if not isinstance(part, tuple))
        return Call(str(name), arguments, options, position=_at(name))

    def option(self, parts: Parts) -> Any:
        return (str(parts[0]), parts[1])

    def listing(self, parts: Parts) -> Expression:
        return Listing(tuple(parts[1:]), position=_at(parts[0]))

    def struct(self, parts: Parts) -> Expression:
        raise unsupported(_at(parts[0]), "an array of structs, `$[...]`,")

    def name(self, parts: Parts) -> Expression:
        keys = [_key(part) for part in parts[1:] if part.type != "LSQB"]
        if len(keys) > MAX_DEPTH:
            raise Fault(_at(parts[0]), f"a path has at most {MAX_DEPTH} keys")
        return Name(str(parts[0]), tuple(keys), position=_at(parts[0]))


def _key(token: Token) -> str | int:
    if token.type == "NAME":
        raise unsupported(_at(token), f"an array of structs, `[{token}]`,")
    return _integer(token) if token.type == "INTEGER" else _text_of(token)
