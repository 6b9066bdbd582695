"""The numbers that a task reports, a flat JSON object in /outputs/metrics.json, and requests that
rank the runs of a sweep by one of them."""

import json
import math
from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from fetchml.core.requests.checks import Rule, Violation
from fetchml.core.requests.listing import range_fault
from fetchml.core.requests.text import is_valid

METRICS_FILE = "metrics.json"
MAX_METRICS_BYTES = 64 * 1024
"""A larger file has no metrics."""
MAX_METRICS = 100
"""Of one task; the first of them count."""
MAX_METRIC_NAME = 128
MAX_EXACT = 2**53


def metrics_in(content: bytes) -> dict[str, float]:
    """Return the finite numbers of a flat JSON object. Any other content has no metrics."""
    if len(content) > MAX_METRICS_BYTES:
        return {}
    try:
        decoded = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(decoded, dict):
        return {}
    numbers: dict[str, float] = {}
    for name, value in decoded.items():
        number = _number(value)
        if number is not None and len(name) <= MAX_METRIC_NAME and is_valid(name):
            numbers[name] = number
            if len(numbers) == MAX_METRICS:
                break
    return numbers


def _number(value: object) -> float | None:
    """A whole number stays one if a double holds it exactly."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    if not math.isfinite(number):
        return None
    return value if abs(number) < MAX_EXACT else number


DEFAULT_RESULTS = 10
MAX_METRIC_NAMES = 100
"""Names of metrics in one answer."""

_metric = Rule(Annotated[str, Meta(min_length=1, max_length=MAX_METRIC_NAME)]).fault


class Goal(StrEnum):
    MIN = "min"
    """The lowest value is the best."""
    MAX = "max"
    """The highest value is the best."""


def ranking_fault(metric: str, goal: str, limit: int) -> Violation | None:
    """The first fault of a request for the best runs; `None` if there is none."""
    if wrong := _metric(metric):
        return Violation("metric", f"{wrong}: name a metric, such as loss")
    if goal not in tuple(Goal):
        return Violation("goal", "must be min or max")
    if wrong := range_fault("limit", limit, least=1):
        return Violation("limit", wrong.removeprefix("limit: "))
    return None
