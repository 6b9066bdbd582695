"""Fair shares: how much of the host each user has used lately. Users who used less go first.

Use is counted in GPU-seconds and halved in every half-life, so that the past fades. A task without
GPUs counts as a fraction of one GPU: its cores divided by the host's. A running task counts from
its start as if it had run for five minutes; otherwise one user could fill an idle host before any
use is counted.
"""

from collections.abc import Mapping
from typing import NamedTuple

from fetchml.core.model import Resources

STEP_SECONDS = 300.0
"""GPU-seconds per level. Users of one level are equal, and the older task goes first. So the order
does not change with every second that a task runs."""
NEGLIGIBLE_SECONDS = 1.0
ENTRIES = 1024
"""Users with recorded use above which those with negligible use are dropped."""


class Usage(NamedTuple):
    gpu_seconds: float
    """The use at the time `at`."""
    at: int


def weight(wanted: Resources, cores: int) -> float:
    """GPU-seconds that a task counts for in a second. `cores`: those of the host."""
    return float(wanted.gpu) if wanted.gpu else min(1.0, wanted.cpu / max(1, cores))


class Shares:
    def __init__(self, half_life_ms: int, past: Mapping[str, Usage] | None = None) -> None:
        """`past`: a result of `dump`."""
        self._half_life_ms = half_life_ms
        self._past = {user: Usage(*usage) for user, usage in (past or {}).items()}
        self._running: dict[str, dict[str, tuple[float, int]]] = {}
        """By user and task: its weight and the start of its use."""
        self._sweep_at = ENTRIES

    def dump(self) -> dict[str, Usage]:
        """The use of ended tasks, to be stored. That of running tasks follows from the tasks."""
        return dict(self._past)

    def copy(self) -> "Shares":
        other = Shares(self._half_life_ms, self._past)
        other._running = {user: dict(tasks) for user, tasks in self._running.items()}
        return other

    def begin(self, user: str, task_id: str, weight: float, now: int) -> None:
        if weight > 0:
            self._running.setdefault(user, {})[task_id] = (weight, now)

    def end(self, user: str, task_id: str, now: int) -> None:
        running = self._running.get(user, {})
        if task_id not in running:
            return
        weight, since = running.pop(task_id)
        if not running:
            del self._running[user]
        used = self._past_of(user, now) + weight * max(0, now - since) / 1000
        self._past[user] = Usage(used, now)
        if len(self._past) > self._sweep_at:
            self._forget(now)

    def used(self, user: str, now: int) -> float:
        """Return the user's use in GPU-seconds."""
        used = self._past_of(user, now)
        for weight, since in self._running.get(user, {}).values():
            used += weight * max(STEP_SECONDS, (now - since) / 1000)
        return used

    def level(self, user: str, now: int) -> int:
        """The user's fair-share level: lower goes first."""
        return int(self.used(user, now) / STEP_SECONDS)

    def _past_of(self, user: str, now: int) -> float:
        past = self._past.get(user)
        if past is None:
            return 0.0
        if self._half_life_ms <= 0 or now <= past.at:
            return past.gpu_seconds
        return float(past.gpu_seconds * 0.5 ** ((now - past.at) / self._half_life_ms))

    def _forget(self, now: int) -> None:
        self._past = {
            user: usage
            for user, usage in self._past.items()
            if self._past_of(user, now) >= NEGLIGIBLE_SECONDS
        }
        self._sweep_at = max(ENTRIES, 2 * len(self._past))
