"""Filters and orders of searches for runs: what they mean, and that any other text is rejected."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchml.core.tracking_filters import (
    Attribute,
    Compare,
    Condition,
    Field,
    IsNull,
    OneOf,
    Op,
    Order,
    Source,
)
from fetchml.errors import BadRequest
from fetchml.tracking.filters import MAX_CHARACTERS, MAX_CONDITIONS, parse_filter, parse_order

LOSS = Field(Source.METRIC, "loss")
RATE = Field(Source.PARAM, "lr")
STATUS = Field(Source.ATTRIBUTE, Attribute.STATUS)
RUN_ID = Field(Source.ATTRIBUTE, Attribute.RUN_ID)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("metrics.loss < 0.1", Compare(LOSS, Op.LT, 0.1)),
        ("metric.loss>=-1e-3", Compare(LOSS, Op.GE, -0.001)),
        ("metrics.loss <> 3", Compare(LOSS, Op.NE, 3)),
        ("metrics.`val loss` = 1", Compare(Field(Source.METRIC, "val loss"), Op.EQ, 1)),
        ('metrics."val-loss/x" = 1', Compare(Field(Source.METRIC, "val-loss/x"), Op.EQ, 1)),
        ("metrics.val.loss = 1", Compare(Field(Source.METRIC, "val.loss"), Op.EQ, 1)),
        ("params.lr = '0.01'", Compare(RATE, Op.EQ, "0.01")),
        ('parameters.lr like "0%"', Compare(RATE, Op.LIKE, "0%")),
        ("params.lr ILIKE 'it''s'", Compare(RATE, Op.ILIKE, "it's")),
        ("tags.mlflow.user != 'a'", Compare(Field(Source.TAG, "mlflow.user"), Op.NE, "a")),
        ("metrics.loss IS NULL", IsNull(LOSS)),
        ("tags.x IS NULL", IsNull(Field(Source.TAG, "x"))),
        ("params.lr is not null", IsNull(RATE, negated=True)),
        ("status = 'FINISHED'", Compare(STATUS, Op.EQ, "FINISHED")),
        ("attributes.status = 'FINISHED'", Compare(STATUS, Op.EQ, "FINISHED")),
        ("run_id IN ('a', 'b')", OneOf(RUN_ID, ("a", "b"))),
        ("attribute.run_id not in ('a')", OneOf(RUN_ID, ("a",), negated=True)),
        (
            "start_time > 1664067852747",
            Compare(Field(Source.ATTRIBUTE, Attribute.STARTED_AT), Op.GT, 1664067852747),
        ),
        (
            "attributes.`Run name` = 'x'",
            Compare(Field(Source.ATTRIBUTE, Attribute.RUN_NAME), Op.EQ, "x"),
        ),
    ],
)
def test_a_condition(text: str, condition: Condition) -> None:
    assert parse_filter(text) == (condition,)
    assert parse_filter(f"  {text}\nAND {text} ") == (condition, condition)


def test_no_condition() -> None:
    assert parse_filter(" \n") == ()


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("metrics.loss", Order(LOSS)),
        ("metric.loss ASC", Order(LOSS)),
        ("params.lr desc", Order(RATE, descending=True)),
        (
            "attributes.start_time DESC",
            Order(Field(Source.ATTRIBUTE, Attribute.STARTED_AT), descending=True),
        ),
        ("metrics.`a b` DESC", Order(Field(Source.METRIC, "a b"), descending=True)),
    ],
)
def test_an_order(text: str, order: Order) -> None:
    assert parse_order([text]) == (order,)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("loss", "is not one of"),
        ("metrics.loss", "found the end"),
        ("metrics.loss < '1'", "expected a number"),
        ("metrics.loss LIKE '1'", "expected one of <, <=, >, >=, =, !="),
        ("metrics.loss NOT IN (1)", "expected one of <"),
        ("params.lr = 0.01", "expected a text in quotes"),
        ("params.lr > '0.01'", "expected one of =, !=, LIKE, ILIKE"),
        ("params.lr NOT LIKE '1'", "expected one of ="),
        ("status IS NULL", "expected one of ="),
        ("tags.x IS 'a'", "expected NULL"),
        ("run_id IN ()", "expected a text in quotes"),
        ("run_id IN ('a'", "expected )"),
        ("params.lr = '1' OR params.lr = '2'", "expected AND or the end, found 'OR'"),
        ("params.lr = '1' AND", "expected a field"),
        ("params.lr = '1", "cannot read"),
        ("params.`` = '1'", "1 to 250 characters"),
        ("models.x = '1'", "expected metrics, params, tags or attributes"),
        ("datasets.name = '1'", "expected metrics, params, tags or attributes"),
        ("metrics.loss < 1; DROP TABLE runs", "cannot read ';"),
        ("metrics.loss < 1 -- x", "cannot read"),
        ("status = 'a\0'", "NUL"),
        ("status = '\ud800'", "surrogates"),
        ("(status = 'a')", "expected a field"),
        (" AND ".join(["status = 'a'"] * (MAX_CONDITIONS + 1)), "at most 50 conditions"),
        ("run_id IN (" + "'a', " * 1000 + "'a')", "at most 1000 values"),
        ("x" * (MAX_CHARACTERS + 1), "at most 100000 characters"),
    ],
)
def test_a_fault_is_named(text: str, fault: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_filter(text)
    assert fault in refused.value.message
    assert len(refused.value.message) < 400


@pytest.mark.parametrize(
    "text",
    [
        "'" * (MAX_CHARACTERS - 1),
        "metrics." + "`" * (MAX_CHARACTERS - 9),
        "metrics.a = " + "1" * (MAX_CHARACTERS - 13) + "x",
        "metrics.a = 1" + "e" * (MAX_CHARACTERS - 13),
        "a." * (MAX_CHARACTERS // 2),
        " " * (MAX_CHARACTERS - 1) + "'",
        "params.a = '" + "''" * (MAX_CHARACTERS // 2 - 10),
    ],
)
def test_no_text_takes_long(text: str) -> None:
    # A pattern that backtracks takes hours for these.
    with pytest.raises(BadRequest):
        parse_filter(text)


@pytest.mark.parametrize("orders", [["metrics.loss UP"], [""], ["metrics.loss, metrics.a"]])
def test_another_order_is_rejected(orders: list[str]) -> None:
    with pytest.raises(BadRequest):
        parse_order(orders)


_texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
_names = st.text(st.characters(codec="utf-8", exclude_characters="\0`"), min_size=1, max_size=30)


@st.composite
def _conditions(draw: st.DrawFn) -> tuple[str, Condition]:
    """A condition as text, and what it means."""
    name, text = draw(_names), draw(_texts)
    quoted = "'" + text.replace("'", "''") + "'"
    match draw(st.integers(0, 3)):
        case 0:
            op, number = (
                draw(st.sampled_from(["<", "<=", ">", ">=", "=", "!="])),
                draw(st.floats(allow_nan=False, allow_infinity=False)),
            )
            field = Field(Source.METRIC, name)
            return f"metrics.`{name}` {op} {number!r}", Compare(field, Op(op), number)
        case 1:
            field, negated = Field(Source.TAG, name), draw(st.booleans())
            word = "NOT NULL" if negated else "NULL"
            return f"tags.`{name}` IS {word}", IsNull(field, negated)
        case 2:
            return f"run_id IN ({quoted},{quoted})", OneOf(RUN_ID, (text, text))
    op = draw(st.sampled_from(["=", "!=", "LIKE", "ILIKE"]))
    return f"params.`{name}` {op} {quoted}", Compare(Field(Source.PARAM, name), Op(op), text)


@given(st.lists(_conditions(), min_size=1, max_size=5))
def test_a_filter_means_what_it_was_made_from(conditions: list[tuple[str, Condition]]) -> None:
    text = " AND ".join(text for text, _ in conditions)
    assert parse_filter(text) == tuple(condition for _, condition in conditions)


_pieces = st.sampled_from(
    ["metrics.a", "params.b", "status", "`", "'", '"', "IN", "NOT", "NULL", "IS", "(", ")", ",",
     "<", "=", "1", "-1e5", "'x'", " ", "AND", "LIKE", ".", "\0", "\ud800", "é"]
)  # fmt: skip


@given(st.one_of(st.text(), st.lists(_pieces).map("".join), st.lists(_pieces).map(" ".join)))
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    for parse in (parse_filter, lambda text: parse_order([text])):
        with contextlib.suppress(BadRequest):
            parse(text)
