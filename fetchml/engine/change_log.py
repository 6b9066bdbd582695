"""The lines in the server's log about tasks that start and end."""

import logging
from collections.abc import Sequence

from fetchml.core.model import ENDED, Change, Status

LOGGED = frozenset({Status.PREPARING, Status.RUNNING}) | ENDED
"""The states whose beginning is logged."""

log = logging.getLogger(__name__)


def log_changes(changes: Sequence[Change]) -> None:
    for change in changes:
        task = change.task
        if task.status not in LOGGED or task.hidden or task.progress is not None:
            continue
        if task.status in ENDED and change.is_after_end:
            continue
        extra = {"task_id": task.id, "attempt": task.attempt, "user": task.user}
        if task.error is not None:
            extra["error"] = task.error
        what = "prestaged" if task.prestaged else task.status
        log.info("%s %s", "service" if task.service else "task", what, extra=extra)
