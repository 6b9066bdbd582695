"""Rules of checkpoints and of the warning before the end: `checkpoint`, `checkpoint_from`,
`warn_seconds`."""

from collections.abc import Mapping

from fetchml.core.model import Task
from fetchml.core.requests.checks import Violation

MAX_WARN_SECONDS = 600
"""A preempted task may keep the resources of a more urgent one for so long."""


def violations(fields: Mapping[str, object]) -> list[Violation]:
    """Return the violations of valid fields that don't fit each other."""
    found = []
    if "checkpoint_from" in fields and fields.get("checkpoint") is False:
        found.append(Violation("checkpoint_from", "needs a checkpoint: leave out checkpoint=false"))
    warn, limit = fields.get("warn_seconds"), fields.get("timeout_seconds")
    if isinstance(warn, int) and isinstance(limit, int) and 0 < limit <= warn:
        rule = f"must be less than timeout_seconds, which is {limit}"
        found.append(Violation("warn_seconds", rule))
    return found


def source_fault(source: Task | None) -> str | None:
    """Return why a task can't begin with the checkpoint of `source`; `None` if it can, or may be
    able to when it starts. `source`: `None` if there is no such task that the user may see."""
    if source is None:
        return "there is no such task"
    if not source.spec.checkpoint:
        return "that task has no checkpoint: it was submitted without checkpoint=true"
    if source.outputs_removed_at is not None:
        return "the checkpoint of that task was removed with its outputs"
    return None
