"""Jupyter services: their status, and when an idle one is warned and stopped."""

import re
from enum import StrEnum
from typing import NamedTuple

from fetchml.core.model import ENDED, FailureReason, Server, Status, Task, User
from fetchml.core.requests.jupyter import Service

UNISOLATED = "It runs as a plain process of the server's own user, which nothing isolates"
SILENT = (
    "The cluster has lost sight of its node. It may still run there: stop it when it does not "
    "answer any more"
)
MAX_LAST_WORDS = 200
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class ServiceStatus(StrEnum):
    """The contract's states of a Jupyter service. The last two are final."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    ERROR = "error"


def status_of(task: Task, *, answers: bool) -> ServiceStatus:
    """The status that clients see. `answers`: whether Jupyter has answered since its task runs."""
    if task.status in ENDED:
        return ServiceStatus.ERROR if task.cancel is None else ServiceStatus.STOPPED
    if task.cancel is not None:
        return ServiceStatus.STOPPING
    if task.status is Status.COLLECTING:
        return ServiceStatus.ERROR
    if task.status is Status.RUNNING and answers:
        return ServiceStatus.RUNNING
    return ServiceStatus.STARTING


def reason_of(
    task: Task,
    status: ServiceStatus,
    waits: str,
    *,
    isolated: bool = True,
    is_silent: bool = False,
) -> str | None:
    """The reason of a service's status; `None` if it needs none. `waits`: the reason while its task
    waits. `is_silent`: whether a cluster has lost sight of it while it runs."""
    match status:
        case ServiceStatus.STARTING | ServiceStatus.RUNNING if is_silent:
            return SILENT
        case ServiceStatus.STARTING if task.status is Status.RUNNING:
            return "Jupyter runs and does not answer yet."
        case ServiceStatus.STARTING:
            return waits
        case ServiceStatus.RUNNING:
            return None if isolated else UNISOLATED
        case ServiceStatus.STOPPING | ServiceStatus.STOPPED:
            return _why_stopped(task)
        case ServiceStatus.ERROR:
            return _why_ended(task)


def _why_stopped(task: Task) -> str | None:
    if task.cancel is None:
        return None
    match task.cancel.actor:
        case Server(reason=reason):
            return reason
        case User(name=name):
            return f"stopped by {name}"


def _why_ended(task: Task) -> str:
    if task.error is not None and task.failure_reason is not FailureReason.EXIT_CODE:
        return task.error
    if task.exit_code is None:
        return "Jupyter has ended"
    return f"Jupyter ended by itself with exit code {task.exit_code}"


def with_last_words(reason: str, task: Task, record: Service) -> str:
    """Append the last line of the log if the service ended by itself: it shows the cause."""
    by_itself = task.failure_reason in (None, FailureReason.EXIT_CODE)
    return f"{reason}: {record.last_words}" if by_itself and record.last_words else reason


def last_words(log: str, token: str) -> str:
    """The last line of a log without the token; empty if it is not printable."""
    line = next((line for line in reversed(log.splitlines()) if line.strip()), "").strip()
    line = _COLOURS.sub("", line).replace(token, "…")
    return line if len(line) <= MAX_LAST_WORDS and line.isprintable() else ""


WARNING_MS = 10 * 60_000
"""Length of the warning before an idle service ends, at most a quarter of the idle time allowed."""
LOOK_MS = 30_000
"""Longest pause between two looks at a service's activity."""
SHORTEST_LOOK_MS = 100


def idle_words(idle_ms: int) -> str:
    """The reason why the server stops a service that was idle for so long."""
    seconds = idle_ms // 1000
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds and seconds % size == 0:
            return f"idle for {seconds // size} {unit}"
    return f"idle for {seconds} s"


class Idle(NamedTuple):
    """The consequence of a service's inactivity."""

    stops_at: int | None = None
    """When the idle service will be stopped; `None` if it is in use."""
    warned_at: int | None = None
    """When the warning began; `None` if there is none."""
    now: bool = False
    """Whether it is to be stopped now."""


def idle(now: int, last_activity: int, idle_ms: int, before: Idle) -> Idle:
    """Decide whether a service is idle.

    `idle_ms`: the idle time allowed; 0 for no limit. `before`: the result of the last look.

    A service is never stopped without a warning of full length, however long ago the last look was.
    """
    warning = min(WARNING_MS, idle_ms // 4)
    ends = last_activity + idle_ms
    if not idle_ms or now < ends - warning:
        return Idle()
    warned_at = before.warned_at if before.warned_at is not None else now
    stops_at = max(ends, warned_at + warning)
    return Idle(stops_at, warned_at, now=now >= stops_at)


def next_look_ms(now: int, idle_ms: int, found: Idle) -> int:
    """The pause in milliseconds before the next look at a service's activity."""
    pause = min(LOOK_MS, idle_ms // 10) if idle_ms else LOOK_MS
    if found.stops_at is not None and found.stops_at > now:
        pause = min(pause, found.stops_at - now)
    return max(pause, SHORTEST_LOOK_MS)
