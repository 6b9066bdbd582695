"""Use of resources: samples of tasks and GPUs, holds of GPUs, and sums by user and day.

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
