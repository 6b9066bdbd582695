"""Conditions and orders on records in memory."""

import asyncio
import fnmatch
import math

from hypothesis import given
from hypothesis import strategies as st

from fetchml.core.tracking_filters import Field, Order, Source
from fetchml.tracking.filters import parse_filter
from fetchml.tracking.matching import search

Record = dict[str, str | float]
A = Field(Source.METRIC, "a")


def value_of(record: Record, field: Field) -> str | float | None:
    return record.get(field.name)


def holds(text: str, **record: str | float) -> bool:
    return bool(asyncio.run(search([record], parse_filter(text), (), value_of)))


def ordered(records: list[Record], *orders: Order) -> list[Record]:
    return asyncio.run(search(records, (), orders, value_of))


def test_conditions() -> None:
    assert holds("metrics.a > 1 and params.b = 'x'", a=2, b="x")
    assert not holds("metrics.a > 1 and params.b = 'x'", a=1, b="x")
    assert holds("params.b != 'x'", b="y")
    assert not holds("params.b != 'x'"), "a missing field holds for no comparison"
    assert holds("params.b IS NULL")
    assert holds("params.b IS NOT NULL", b="")
    assert holds("params.b IN ('x', 'y')", b="y")
    assert not holds("params.b NOT IN ('x')")
    assert not holds("metrics.a > 1", a=math.nan)
    assert holds("params.b LIKE 'a%_c'", b="a\nbc")
    assert not holds("params.b LIKE 'a%'", b="A")
    assert holds("params.b ILIKE 'a%'", b="A")
    assert not holds("params.b LIKE '.*'", b="x"), "no pattern of re"


@given(st.text("ab%_", max_size=12), st.text("abc", max_size=12))
def test_like_is_a_pattern(pattern: str, text: str) -> None:
    expected = fnmatch.fnmatchcase(text, pattern.replace("%", "*").replace("_", "?"))
    assert holds(f"params.b LIKE '{pattern}'", b=text) is expected


def test_no_pattern_takes_long() -> None:
    # One that backtracks takes hours.
    assert not holds(f"params.b LIKE '{'%a' * 5_000}b'", b="a" * 8_000)


def test_an_order_has_no_numbers_and_missing_fields_last() -> None:
    records: list[Record] = [
        {"a": 2, "n": 1},
        {"n": 2},
        {"a": math.nan},
        {"a": 1},
        {"a": 2, "n": 0},
    ]
    up = ordered(records, Order(A))
    assert up == [records[3], records[0], records[4], records[2], records[1]]
    down = ordered(records, Order(A, descending=True))
    assert down == [records[0], records[4], records[3], records[2], records[1]]
    then = [Order(A, descending=True), Order(Field(Source.METRIC, "n"))]
    assert ordered(records, *then)[:2] == [records[4], records[0]]
