"""Conditions and orders on records in memory: experiments and logged models."""

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from fetchml.core.tracking_filters import Compare, Condition, Conditions, Field, IsNull, Op, Order
from fetchml.system.pacing import Pace

_COMPARE: dict[Op, Callable[[Any, Any], bool]] = {
    Op.EQ: operator.eq,
    Op.NE: operator.ne,
    Op.LT: operator.lt,
    Op.LE: operator.le,
    Op.GT: operator.gt,
    Op.GE: operator.ge,
}

T = TypeVar("T")
ValueOf = Callable[[T, Field], str | float | None]
"""Returns the value of a field; `None` if the record lacks it."""


async def search(
    records: Iterable[T], conditions: Conditions, orders: Sequence[Order], value_of: ValueOf[T]
) -> list[T]:
    """Return the records that match, sorted by the first order, then by the next ones, then as
    they come. Other requests have their turn meanwhile."""
    pace = Pace()
    result: list[T] = []
    for record in records:
        if pace.due:
            await pace.turn()
        if all(_holds(each, value_of(record, each.field)) for each in conditions):
            result.append(record)
    for order in reversed(orders):
        present, no_number, missing = list[tuple[Any, T]](), list[T](), list[T]()
        for record in result:
            if pace.due:
                await pace.turn()
            value = value_of(record, order.field)
            if value is None:
                missing.append(record)
            elif isinstance(value, float) and math.isnan(value):
                no_number.append(record)
            else:
                present.append((value, record))
        present.sort(key=_first, reverse=order.descending)
        result = [record for _, record in present] + no_number + missing
    return result


def _first(keyed: tuple[Any, object]) -> Any:
    return keyed[0]


def _holds(condition: Condition, value: str | float | None) -> bool:
    if isinstance(condition, IsNull):
        return (value is None) is not condition.negated
    if value is None:
        return False
    if not isinstance(condition, Compare):
        return (value in condition.values) is not condition.negated
    if condition.op in _COMPARE:
        return _COMPARE[condition.op](value, condition.value)
    pattern = _pattern(str(condition.value), ignore_case=condition.op is Op.ILIKE)
    return pattern.fullmatch(str(value)) is not None


@lru_cache(maxsize=64)
def _pattern(like: str, *, ignore_case: bool) -> re.Pattern[str]:
    """Each part between two % is searched once, from the left, so no text takes long."""
    first, *others = (
        "".join("." if c == "_" else re.escape(c) for c in part) for part in like.split("%")
    )
    middle = "".join(f"(?>.*?{part})" for part in others[:-1])
    last = f".*{others[-1]}" if others else ""
    return re.compile(first + middle + last, re.DOTALL | (re.IGNORECASE if ignore_case else 0))
