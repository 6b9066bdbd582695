"""Runs, which record what a training logs: metrics as curves, parameters, tags; and their limits.

A run is in an experiment and has a user. It has a task if a task made it.
"""

import math
import re
from collections.abc import Iterable, Sequence
from enum import StrEnum

from fetchml.core.model import Value
from fetchml.core.requests.checks import text_fault

DEFAULT_EXPERIMENT = "0"
"""Id of the experiment of runs that name none. It always exists and nobody owns it."""

MAX_KEY = 250
"""Characters of the name of a metric, a parameter or a tag."""
MAX_PARAM_VALUE = 6_000
MAX_TAG_VALUE = 8_000
MAX_RUN_NAME = 500
MAX_DETAILS = 1_000_000
"""Characters of `Run.details`."""
MAX_POINTS_OF_CALL = 10_000
MAX_TIME = 253_402_300_799_999
"""Milliseconds since the epoch up to the end of the year 9999."""
DELETED_KEPT_MS = 30 * 24 * 3_600_000
"""Time after which a deleted run is removed for good, and its points."""
MAX_METRICS_OF_RUN = 10_000
MAX_PARAMS_OF_RUN = 5_000
MAX_TAGS_OF_RUN = 1_000
MAX_RUNS_OF_SEARCH = 50_000
MAX_HISTORY_PAGE = 25_000
TIME_RULE = f"the time must be 0 to {MAX_TIME}, in milliseconds since 1970"
_MAX_BIGINT = (1 << 63) - 1
_RUN_ID = re.compile(r"[0-9a-f]{32}")


class RunStatus(StrEnum):
    """States of a run. The training reports them; nothing enforces an order."""

    RUNNING = "RUNNING"
    SCHEDULED = "SCHEDULED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


class Run(Value, frozen=True):
    """Times are in milliseconds since the epoch (UTC)."""

    id: str
    """32 hexadecimal digits."""
    experiment_id: str
    user: str
    name: str
    status: RunStatus
    started_at: int
    task_id: str | None = None
    """Task that made it; `None` if it was made with a user's key."""
    ended_at: int | None = None
    deleted_at: int | None = None
    """`None` unless it is deleted; until it is removed for good it can be restored."""
    details: str = ""
    """Inputs and outputs as JSON, as the MLflow protocol reports them; empty if there are none."""


class Point(Value, frozen=True):
    """One value of a metric."""

    key: str
    """Name of the metric."""
    value: float
    """May be infinite or not a number."""
    at: int
    """Milliseconds since the epoch (UTC)."""
    step: int = 0


class RunView(Value, frozen=True):
    """A run with all that was logged except the earlier points of its metrics."""

    run: Run
    metrics: tuple[Point, ...]
    """The latest point of each metric (by step, then time), in the order of names."""
    params: dict[str, str]
    tags: dict[str, str]


class RunPage(Value, frozen=True):
    runs: tuple[RunView, ...]
    next_page_token: str = ""
    """Empty on the last page."""


class HistoryPage(Value, frozen=True):
    points: tuple[Point, ...]
    """In the order of step, then time."""
    next_page_token: str = ""
    """Empty on the last page."""


class Visibility(StrEnum):
    """Which runs a search returns."""

    ACTIVE = "active"
    """Those that are not deleted."""
    DELETED = "deleted"
    ALL = "all"


class Axis(StrEnum):
    """What a curve is drawn over."""

    STEP = "step"
    TIME = "time"
    """Seconds since the epoch (UTC)."""
    RELATIVE = "relative"
    """Seconds since the run's start."""


MIN_BUCKETS = 320
MAX_BUCKETS = 1_000
DEFAULT_BUCKETS = 500
MAX_CURVE_RUNS = 20
MAX_CURVE_METRICS = 200
MAX_CURVES = 400
"""Curves of one request: runs times metrics."""
MAX_BUCKETS_OF_REQUEST = 128_000
"""More curves get fewer buckets each, so that a reply is no larger than others may be."""


class CurveQuery(Value, frozen=True):
    """Which curves to return, and how."""

    run_ids: tuple[str, ...]
    metrics: tuple[str, ...] = ()
    """Names; empty for the metrics of the runs, up to the limits."""
    buckets: int = DEFAULT_BUCKETS
    """Points of a curve at most; two more for its first and last point."""
    axis: Axis = Axis.STEP
    start: float | None = None
    """Only points from here on, in the unit of the axis."""
    end: float | None = None
    """Only points up to here, inclusive."""


class Curve(Value, frozen=True):
    """Columns of one metric of one run, in the order of `x`: an entry for each point, or for each
    bucket of points. Entry i of every list belongs to the same bucket."""

    run_id: str
    metric: str
    whole: bool
    """Whether each entry is one point."""
    x: Sequence[float] = ()
    """Position of the bucket's first point."""
    min: Sequence[float] = ()
    """Smallest, largest, average and latest number of a bucket; 0 if it has no number."""
    max: Sequence[float] = ()
    mean: Sequence[float] = ()
    last: Sequence[float] = ()
    count: Sequence[int] = ()
    """Points of the bucket that are finite numbers."""
    not_numbers: Sequence[int] = ()
    """Its other points: not a number, or infinite."""


def is_run_id(text: str) -> bool:
    return _RUN_ID.fullmatch(text) is not None


def run_of_task(task_id: str) -> str:
    """Return the id of the run that holds a task's own curves."""
    return task_id.replace("-", "")


def key_fault(what: str, key: str) -> str | None:
    """Return why this is no name of a metric, parameter or tag; `None` if it is one."""
    if not 1 <= len(key) <= MAX_KEY:
        return f"{what}: the name must have 1 to {MAX_KEY} characters"
    fault = text_fault(key)
    return fault and f"{what}: the name {fault}"


def points_fault(points: Sequence[Point]) -> str | None:
    """Return the first fault of points to log."""
    if len(points) > MAX_POINTS_OF_CALL:
        return f"metrics: at most {MAX_POINTS_OF_CALL} points at once"
    for key in {each.key for each in points}:
        if fault := key_fault("metric", key):
            return fault
    for each in points:
        if not -_MAX_BIGINT <= each.step <= _MAX_BIGINT:
            return f"metric {each.key!r}: the step must fit into 64 bits"
        if not 0 <= each.at <= MAX_TIME:
            return f"metric {each.key!r}: {TIME_RULE}"
    return None


def values_fault(what: str, values: Iterable[tuple[str, str]], most: int) -> str | None:
    """Return the first fault of parameters or tags to log. `most`: characters of a value."""
    for key, value in values:
        if fault := key_fault(what, key):
            return fault
        if len(value) > most:
            return f"{what} {key!r}: the value must have at most {most} characters"
        if fault := text_fault(value):
            return f"{what} {key!r}: the value {fault}"
    return None


def curves_fault(query: CurveQuery) -> str | None:
    """Return the first fault of a request for curves."""
    if not 1 <= len(query.run_ids) <= MAX_CURVE_RUNS:
        return f"run_ids: 1 to {MAX_CURVE_RUNS} runs"
    if len(query.metrics) > MAX_CURVE_METRICS:
        return f"metrics: at most {MAX_CURVE_METRICS} names"
    if len(query.run_ids) * len(query.metrics) > MAX_CURVES:
        return f"metrics: at most {MAX_CURVES} curves in all, which is runs times metrics"
    if not MIN_BUCKETS <= query.buckets <= MAX_BUCKETS:
        return f"buckets: must be {MIN_BUCKETS} to {MAX_BUCKETS}"
    for name, bound in (("from", query.start), ("to", query.end)):
        if bound is not None and not math.isfinite(bound):
            return f"{name}: must be a finite number"
    return None
