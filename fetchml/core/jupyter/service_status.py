"""The states of a Jupyter service that clients see, and the reason of each."""

import re
from enum import StrEnum

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
