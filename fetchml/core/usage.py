"""Use of resources: samples of tasks and GPUs, holds of GPUs, sums by user and day, and limits of
requests for them.

A sample is taken every SAMPLE_MS and kept for DETAIL_MS; then those of each hour are summed up.
"""

from collections.abc import Iterator

from fetchml.core.model import Value

SAMPLE_MS = 10_000
HOUR_MS = 3_600_000
DETAIL_MS = 7 * 24 * HOUR_MS
"""Age at which samples are replaced by a row for each hour."""
HISTORY_MS = 366 * 24 * HOUR_MS
"""Age at which rows of hours, and of who held a GPU, are removed."""
SUMS_MS = 3 * HISTORY_MS
"""Age at which the sums of a day are removed."""
_QUARTER_MS = HOUR_MS // 4
"""In every time zone a day begins at a multiple of it."""


class TaskSample(Value, frozen=True):
    """Use of one attempt of a task since the sample before, and the memory that it uses."""

    at: int
    """Milliseconds since the epoch (UTC), the same for all samples of a moment."""
    task_id: str
    attempt: int
    cpu: int
    """Hundredths of a core."""
    memory: int
    """In units of 64 KiB."""
    read: int
    """KiB a second."""
    write: int
    """KiB a second."""


class GpuSample(Value, frozen=True):
    """The state of one GPU. `None`: the driver does not report it."""

    at: int
    uuid: str
    utilisation: int | None
    """Percent."""
    memory: int | None
    """MiB in use."""
    temperature: int | None
    """Degrees Celsius."""
    power: int | None
    """Watts."""
    held: bool
    """Whether a task held it."""


class GpuHold(Value, frozen=True):
    """A time in which an attempt of a task held a GPU."""

    uuid: str
    task_id: str
    user: str
    since: int
    until: int | None = None
    """`None` while the task holds it."""


class UserDay(Value, frozen=True):
    """A day of one user."""

    day: str
    """YYYY-MM-DD in the server's time zone."""
    user: str


class DayUse(Value, frozen=True):
    """Sums over a day of one user."""

    gpu_ms: int = 0
    """GPU time held; half of it counts for a GPU that two tasks share."""
    cpu_ms: int = 0
    """Time of the cores that tasks requested."""
    completed: int = 0
    """Tasks that ended."""
    failed: int = 0

    def plus(self, other: "DayUse") -> "DayUse":
        return DayUse(
            self.gpu_ms + other.gpu_ms,
            self.cpu_ms + other.cpu_ms,
            self.completed + other.completed,
            self.failed + other.failed,
        )


def parts_of_days(since: int, until: int) -> Iterator[tuple[int, int]]:
    """Cut a time into (begin, length) so that each part lies in one day of every time zone."""
    while since < until:
        end = min(until, since - since % _QUARTER_MS + _QUARTER_MS)
        yield since, end - since
        since = end


def step_ms(since: int, until: int, points: int) -> int:
    """Return the width of the buckets that divide a time into at most `points`: whole samples."""
    samples = -(-(until - since) // SAMPLE_MS)
    return max(1, -(-samples // points)) * SAMPLE_MS


MAX_POINTS = 2_000
DEFAULT_POINTS = 300
MAX_POINTS_IN_ALL = 20_000
"""Of all GPUs in one reply."""
MAX_HOLDS = 1_000
"""Times in which tasks held a GPU, in one reply: the latest."""
MAX_DAYS = 400
DEFAULT_DAYS = 30
MAX_ROWS = 10_000
"""Rows of users and days in one reply."""
DAY_MS = 24 * HOUR_MS
_LAST_MS = 253_402_128_000_000
"""Two days before the end of the year 9999, in every time zone."""


class Period(Value, frozen=True):
    """The time that a request is about, in milliseconds since the epoch (UTC)."""

    since: int
    until: int
    points: int = DEFAULT_POINTS


def history_fault(since: int | None, until: int | None, points: int | None) -> str | None:
    """Return the fault of a request for points; `None` if it is valid."""
    if points is not None and not 1 <= points <= MAX_POINTS:
        return f"points: must be between 1 and {MAX_POINTS}"
    return _order_fault(since, until)


def days_fault(since: int | None, until: int | None, now: int) -> str | None:
    """Return the fault of a request for days; `None` if it is valid."""
    if fault := _order_fault(since, until):
        return fault
    period = of_days(since, until, now)
    if period.until - period.since > MAX_DAYS * DAY_MS:
        return f"since: must be at most {MAX_DAYS} days before until"
    return None


def of_task(since: int | None, until: int | None, points: int | None, now: int) -> Period:
    """Return the period of a valid request; by default all that there is."""
    end = now + SAMPLE_MS
    return Period(
        0 if since is None else since,
        end if until is None else min(until, end),
        points or DEFAULT_POINTS,
    )


def of_gpus(since: int | None, until: int | None, points: int | None, now: int) -> Period:
    """Return the period of a valid request; by default the last hour."""
    end = now if until is None else min(until, now)
    return Period(end - HOUR_MS if since is None else since, end, points or DEFAULT_POINTS)


def of_days(since: int | None, until: int | None, now: int) -> Period:
    """Return the period of a valid request; by default the last 30 days."""
    end = now if until is None else min(until, now)
    begin = end - (DEFAULT_DAYS - 1) * DAY_MS if since is None else since
    return Period(max(0, begin), max(0, end))


def _order_fault(since: int | None, until: int | None) -> str | None:
    for name, value in (("since", since), ("until", until)):
        if value is not None and not 0 <= value <= _LAST_MS:
            return f"{name}: must be between the years 1970 and 9999"
    if since is not None and until is not None and since >= until:
        return "since: must be before until"
    return None
