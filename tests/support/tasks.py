"""The factory of tasks."""

from typing import Any

from fetchml.core.model import Task, TaskSpec


def spec(**fields: Any) -> TaskSpec:
    return TaskSpec(**{"job_name": "job", "image": "image", "command": ("run",), **fields})


def task(task_id: str = "t", **fields: Any) -> Task:
    """Alice's queued task. `fields` are those of `Task` and of its `TaskSpec`, by name."""
    requested = {name: fields.pop(name) for name in TaskSpec.__struct_fields__ if name in fields}
    fields = {"user": "alice", "created_at": 1, **fields}
    if requested or "spec" not in fields:
        fields["spec"] = spec(**requested)
    return Task(id=task_id, **fields)
