"""Replies of slurmrestd, which differ from version to version."""

from collections.abc import Callable
from typing import Any, TypedDict

import msgspec

from fetchml.adapters.slurm.job import (
    NOT_QUEUED,
    ArrayTask,
    Job,
    JobId,
    PendingJob,
    indexes_in,
    job_id,
    task_name,
)
from fetchml.adapters.slurm.transports.transport import SlurmAway


class _State(msgspec.Struct):
    """One entry of /jobs/state/."""

    job_id: int | str = ""
    """A text, with a part for an array's task."""
    state: tuple[str, ...] | str | None = None


class _States(TypedDict, total=False):
    jobs: list[_State] | None
    errors: list[dict[str, Any]] | None


class _Queued(msgspec.Struct):
    """One entry of /jobs/."""

    job_id: Any = None
    job_state: Any = None
    priority: Any = None
    partition: Any = ""
    state_reason: Any = ""
    array_job_id: Any = None
    array_task_id: Any = None
    array_task_string: Any = ""


class _Queue(TypedDict, total=False):
    jobs: list[_Queued] | None
    errors: list[dict[str, Any]] | None


QUEUE = msgspec.json.Decoder(_Queue)
STATES = msgspec.json.Decoder(_States)
"""The list of all jobs of the cluster comes twice a second: only what is used is read from it."""


def reply_of(status: int, data: bytes, decode: Callable[[bytes], Any]) -> dict[str, Any]:
    """Return a reply; empty if an error's can't be read. Raises SlurmAway for any other that can't,
    such as the page of a proxy: taken for an empty reply, it would mean that all jobs are gone."""
    try:
        reply = decode(data)
    except (ValueError, RecursionError):
        reply = None
    if isinstance(reply, dict):
        return reply
    if status < 400:
        raise SlurmAway("slurmrestd's reply can't be read: it is not the expected JSON")
    return {}


def rows(reply: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return a list of objects in a reply; empty if it is not there. Raises SlurmAway if it is
    something else."""
    found = reply.get(name) or []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise SlurmAway(f"slurmrestd's reply can't be read: {name} is not a list of objects")
    return found


def object_in(reply: dict[str, Any], name: str) -> dict[str, Any]:
    """Return an object in a reply; empty if it is not there."""
    found = reply.get(name)
    return found if isinstance(found, dict) else {}


def errors_of(reply: dict[str, Any]) -> str:
    """Return Slurm's words for what went wrong; empty if there are none."""
    words = [
        str(each.get("error") or each.get("description") or "") for each in rows(reply, "errors")
    ]
    return "; ".join(dict.fromkeys(filter(None, words)))


def _words(value: object) -> tuple[str, ...]:
    """States are a list, and were one word in older versions."""
    if isinstance(value, str):
        return (value,)
    return tuple(map(str, value)) if isinstance(value, tuple | list) else ()


def listed_job(each: _State) -> Job | None:
    number = job_id(str(each.job_id))
    return Job(number, _words(each.state)) if number is not None else None


def pending_in(each: _Queued) -> list[PendingJob]:
    """Return the jobs of an entry that wait for their turn: of an array, one for each task."""
    number, priority = number_in(each.job_id) or 0, number_in(each.priority) or 0
    if "PENDING" not in _words(each.job_state) or str(each.state_reason or "") in NOT_QUEUED:
        return []
    array, index = number_in(each.array_job_id), number_in(each.array_task_id)
    ids: list[JobId] = [number]
    if array and index is not None:
        ids = [ArrayTask(array, index)]
    elif array:
        ids = [ArrayTask(array, index) for index in indexes_in(str(each.array_task_string or ""))]
    partitions = tuple(str(each.partition or "").split(","))
    return [PendingJob(each_id, priority, partitions) for each_id in ids or [number]]


def number_in(value: object) -> int | None:
    """A number that may be set, infinite, or plain in older versions."""
    if isinstance(value, dict):
        value = value.get("number") if value.get("set") else None
    return value if isinstance(value, int) else None


def job_of(each: dict[str, Any]) -> Job:
    exit_code = each.get("exit_code")
    code = exit_code.get("return_code") if isinstance(exit_code, dict) else None
    number: JobId = number_in(each.get("job_id")) or 0
    name = str(each.get("name", ""))
    array, index = number_in(each.get("array_job_id")), number_in(each.get("array_task_id"))
    if array and index is not None:
        number, name = ArrayTask(array, index), task_name(name, index)
    return Job(
        id=number,
        state=_words(each.get("job_state")),
        name=name,
        reason=str(each.get("state_reason") or ""),
        nodes=str(each.get("nodes") or ""),
        code=number_in(code),
        begins_at=number_in(each.get("start_time")) or None,
        user=str(each.get("user_name") or ""),
    )
