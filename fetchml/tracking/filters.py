"""The grammar of filters and orders of searches for runs, which is MLflow's:

    metrics.loss < 0.1 and params.lr = '0.01' and tags.team LIKE 'vis%' and status IN ('FINISHED')

Conditions are joined by AND only. A name with other characters is in backticks or double quotes.
Parsing takes time linear in the text.
"""

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import NamedTuple, NoReturn

from fetchml.core.requests.checks import text_fault
from fetchml.core.requests.text import shown
from fetchml.core.tracking import MAX_KEY
from fetchml.core.tracking_filters import (
    NUMBERS,
    Attribute,
    Compare,
    Condition,
    Conditions,
    Field,
    IsNull,
    OneOf,
    Op,
    Order,
    Source,
)
from fetchml.errors import BadRequest

MAX_CHARACTERS = 100_000
MAX_CONDITIONS = 50
MAX_VALUES = 1_000
"""Values of one IN."""
MAX_ORDERS = 10
_SHOWN = 60

_TOKEN = re.compile(
    r"""\s*+(?:
      (?P<text> '(?:[^']|'')*+' | "(?:[^"]|"")*+" )
    | (?P<word> [^\W\d][\w.:/-]*+ (?: (?<=\.) (?: `[^`]*+` | "[^"]*+" ) )? | `[^`]*+` )
    | (?P<number> [+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?+ )
    | (?P<sign> <= | >= | != | <> | [=<>(),] )
    )""",
    re.VERBOSE,
)
_SOURCES = {
    **dict.fromkeys(("metric", "metrics"), Source.METRIC),
    **dict.fromkeys(("param", "params", "parameter", "parameters"), Source.PARAM),
    **dict.fromkeys(("tag", "tags"), Source.TAG),
    **dict.fromkeys(("attribute", "attributes", "attr", "run"), Source.ATTRIBUTE),
}


class Attributes(NamedTuple):
    """The attributes of what is searched."""

    names: Mapping[str, str]
    """Name in the text, in small letters → name of the field."""
    numbers: Set[str]
    """Names of fields that are numbers; the others are text."""


RUNS = Attributes(
    {
        **{each.value: each for each in Attribute},
        "user_id": Attribute.USER,
        "start_time": Attribute.STARTED_AT,
        "created": Attribute.STARTED_AT,
        "end_time": Attribute.ENDED_AT,
        "run name": Attribute.RUN_NAME,
    },
    NUMBERS,
)
_EXACT_DIGITS = 18


class _Token(NamedTuple):
    kind: str
    """`text`, `word`, `number`, `sign`; empty at the end."""
    text: str

    def is_word(self, word: str) -> bool:
        return self.kind == "word" and self.text.upper() == word


def parse_filter(text: str, attributes: Attributes = RUNS) -> Conditions:
    """Parse a filter such as `metrics.loss < 0.1 and params.lr = '0.01'`. Raises BadRequest."""
    if not text.strip():
        return ()
    parser = _Parser("filter", text, attributes)
    conditions = [parser.condition()]
    while parser.take_word("AND"):
        if len(conditions) == MAX_CONDITIONS:
            parser.fail(f"at most {MAX_CONDITIONS} conditions")
        conditions.append(parser.condition())
    parser.end("AND or the end")
    return tuple(conditions)


def parse_order(texts: Sequence[str], attributes: Attributes = RUNS) -> tuple[Order, ...]:
    """Parse orders such as `metrics.loss DESC`. Raises BadRequest."""
    if len(texts) > MAX_ORDERS:
        raise BadRequest(f"order_by: at most {MAX_ORDERS} orders")
    return tuple(_order(text, attributes) for text in texts)


def _order(text: str, attributes: Attributes) -> Order:
    parser = _Parser("order_by", text, attributes)
    field = parser.field()
    descending = parser.take_word("DESC")
    if not descending:
        parser.take_word("ASC")
    parser.end("ASC, DESC or the end")
    return Order(field, descending)


class _Parser:
    def __init__(self, what: str, text: str, attributes: Attributes) -> None:
        self._what = what
        self._attributes = attributes
        if len(text) > MAX_CHARACTERS:
            self.fail(f"at most {MAX_CHARACTERS} characters")
        if fault := text_fault(text):
            self.fail(fault)
        self._tokens = self._read(text.rstrip())
        self._next = next(self._tokens)

    def condition(self) -> Condition:
        field = self.field()
        token = self._take()
        negated = token.is_word("NOT")
        if negated:
            token = self._take()
        if token.is_word("IN") and not self._is_number(field):
            return OneOf(field, self._values(), negated)
        if token.is_word("IS") and not negated and field.source is not Source.ATTRIBUTE:
            negated = self.take_word("NOT")
            if self.take_word("NULL"):
                return IsNull(field, negated)
            self._expected("NULL", self._next)
        operator = "!=" if token.text == "<>" else token.text.upper()
        allowed = _NUMBER_OPS if self._is_number(field) else _TEXT_OPS
        if negated or operator not in allowed:
            self._expected(f"one of {', '.join(allowed)} after {field.name[:_SHOWN]!r}", token)
        return Compare(field, Op(operator), self._value(field))

    def field(self) -> Field:
        token = self._take()
        if token.kind != "word":
            self._expected("a field such as metrics.loss", token)
        prefix, dot, name = token.text.partition(".")
        source = _SOURCES.get(prefix) if dot else Source.ATTRIBUTE
        name = _unquoted(name if dot else prefix)
        if source is None:
            self.fail(f"{_cut(prefix)}: expected metrics, params, tags or attributes before the .")
        if source is Source.ATTRIBUTE:
            names = self._attributes.names
            attribute = names.get(name.lower())
            if attribute is None:
                self.fail(f"{_cut(name)} is not one of {', '.join(sorted(names))}")
            return Field(source, attribute)
        if not 1 <= len(name) <= MAX_KEY:
            self.fail(f"a name has 1 to {MAX_KEY} characters")
        return Field(source, name)

    def _is_number(self, field: Field) -> bool:
        if field.source is Source.ATTRIBUTE:
            return field.name in self._attributes.numbers
        return field.source is Source.METRIC

    def take_word(self, word: str) -> bool:
        """Take the next token if it is this word."""
        if self._next.is_word(word):
            self._take()
            return True
        return False

    def end(self, expected: str) -> None:
        if self._next.kind:
            self._expected(expected, self._next)

    def fail(self, fault: str) -> NoReturn:
        raise BadRequest(f"{self._what}: {fault}")

    def _value(self, field: Field) -> str | float | int:
        token = self._take()
        if self._is_number(field):
            if token.kind != "number":
                self._expected("a number", token)
            if token.text.lstrip("+-").isdigit() and len(token.text) <= _EXACT_DIGITS:
                return int(token.text)
            return float(token.text)
        return self._text(token)

    def _values(self) -> tuple[str, ...]:
        self._take_sign("(")
        values = [self._text(self._take())]
        while self._next.text == ",":
            self._take()
            if len(values) == MAX_VALUES:
                self.fail(f"at most {MAX_VALUES} values of IN")
            values.append(self._text(self._take()))
        self._take_sign(")")
        return tuple(values)

    def _text(self, token: _Token) -> str:
        if token.kind != "text":
            self._expected("a text in quotes", token)
        quote = token.text[0]
        return token.text[1:-1].replace(quote * 2, quote)

    def _take_sign(self, sign: str) -> None:
        token = self._take()
        if token.text != sign:
            self._expected(sign, token)

    def _take(self) -> _Token:
        token = self._next
        self._next = next(self._tokens, _END)
        return token

    def _expected(self, what: str, token: _Token) -> NoReturn:
        found = _cut(token.text) if token.kind else "the end"
        self.fail(f"expected {what}, found {found}")

    def _read(self, text: str) -> Iterator[_Token]:
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                self.fail(f"cannot read {_cut(text[at : at + 2 * _SHOWN].strip())}")
            kind = match.lastgroup or ""
            yield _Token(kind, match[kind])
            at = match.end()
        yield _END


_END = _Token("", "")
_NUMBER_OPS = (Op.LT, Op.LE, Op.GT, Op.GE, Op.EQ, Op.NE)
_TEXT_OPS = (Op.EQ, Op.NE, Op.LIKE, Op.ILIKE)


def _unquoted(name: str) -> str:
    return name[1:-1] if name[:1] in ("`", '"') else name


def _cut(text: str) -> str:
    return repr(shown(text, _SHOWN))
