"""The bodies of webhooks: the basic view of a task, or the counts of a sweep, with links."""

import json
from collections.abc import Mapping
from typing import Any

from fetchml.api.task_json import rfc3339, task_json
from fetchml.core.model import EventKind, Status, Task
from fetchml.core.notification_outbox import Delivery
from fetchml.core.sweeps.model import Sweep

MAX_ERROR = 2000
"""Characters of a task's error."""
MAX_DATASETS = 20


class Bodies:
    def __init__(self, public_url: str) -> None:
        """`public_url`: the server's URL for browsers, without a final slash."""
        self._url = public_url

    def of_task(self, kind: EventKind, task: Task, now: int) -> str:
        view = task_json(task)
        view["attempt"] = task.attempt
        if task.failure_reason is not None:
            view["failure_reason"] = task.failure_reason
        if task.exit_code is not None:
            view["exit_code"] = task.exit_code
        if task.idle_since is not None:
            view["idle_since"] = rfc3339(task.idle_since)
        if task.error is not None:
            view["error"] = task.error[:MAX_ERROR]
        if len(task.spec.datasets or ()) > MAX_DATASETS:
            del view["datasets"]
        if task.spec.sweep is not None:
            view["sweep_id"] = task.spec.sweep.id
        links = {
            "task": f"{self._url}/v1/tasks/{task.id}",
            "page": f"{self._url}/ui/tasks/{task.id}",
        }
        return _body(f"task.{kind}", now, {"task": view, "links": links})

    def of_sweep(
        self, delivery: Delivery, sweep: Sweep | None, counts: Mapping[Status, int]
    ) -> str:
        """`sweep`: `None` if it was deleted meanwhile."""
        view: dict[str, Any] = {"id": delivery.sweep_id, "counts": _counts(counts)}
        if sweep is not None:
            view |= {"name": sweep.name, "total": sweep.total, "user_id": sweep.user}
            view["created_at"] = rfc3339(sweep.created_at)
        links = {"sweep": f"{self._url}/v1/sweeps/{delivery.sweep_id}"}
        return _body(delivery.type, delivery.created_at, {"sweep": view, "links": links})

    def of_test(self, user: str, now: int) -> str:
        message = "A test message: the receiver's answer is shown to its sender."
        return _body("test", now, {"message": message, "user_id": user})


def _counts(counts: Mapping[Status, int]) -> dict[str, int]:
    return {status: number for status, number in counts.items() if number}


def _body(kind: str, now: int, data: Mapping[str, object]) -> str:
    body = {"type": kind, "timestamp": rfc3339(now), "data": data}
    return json.dumps(body, separators=(",", ":"))
