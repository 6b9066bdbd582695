"""Which runs of a sweep are the best by a metric."""

from enum import StrEnum

from fetchml.core.metrics import MAX_METRIC_NAME
from fetchml.core.requests.checks import Violation, text
from fetchml.core.requests.listing import range_fault

DEFAULT_RESULTS = 10
MAX_NAMES = 100
"""Names of metrics in one answer."""

_metric = text(MAX_METRIC_NAME, empty=False)


class Goal(StrEnum):
    MIN = "min"
    """The lowest value is the best."""
    MAX = "max"
    """The highest value is the best."""


def fault(metric: str, goal: str, limit: int) -> Violation | None:
    """The first fault of a request for the best runs; `None` if there is none."""
    if wrong := _metric(metric):
        return Violation("metric", f"{wrong}: name a metric, such as loss")
    if goal not in tuple(Goal):
        return Violation("goal", "must be min or max")
    if wrong := range_fault("limit", limit, least=1):
        return Violation("limit", wrong.removeprefix("limit: "))
    return None
