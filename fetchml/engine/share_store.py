"""The recent use of the host by each user, kept over restarts.

Saved every minute. The use since then follows from the tasks: ended ones record their times, and
running ones record when they began.
"""

from collections.abc import Callable, Mapping

import msgspec

from fetchml.core.model import Task
from fetchml.core.scheduling.shares import Shares, Usage, weight
from fetchml.core.state import Limits
from fetchml.ports.store import Store, StoredState

KIND = "shares"
SAVE_SECONDS = 60.0


class Saved(msgspec.Struct, frozen=True):
    at: int
    """Milliseconds since the epoch (UTC)."""
    used: dict[str, Usage]


class ShareStore:
    def __init__(self, store: Store, clock: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock
        self._written: Mapping[str, Usage] | None = None

    async def load(self, restored: StoredState, limits: Limits) -> dict[str, Usage]:
        documents = await self._store.list_documents(KIND)
        saved = msgspec.json.decode(documents[0], type=Saved) if documents else Saved(0, {})
        shares = Shares(limits.half_life_ms, saved.used)
        tasks = [*restored.live, *(task for some in restored.recent.values() for task in some)]
        for task in sorted(tasks, key=lambda task: task.end.at if task.end is not None else 0):
            _add(shares, task, saved.at, limits.capacity.cpu)
        return shares.dump()

    async def save(self, shares: Shares) -> None:
        """Durable on return."""
        used = shares.dump()
        if used == self._written:
            return
        data = msgspec.json.encode(Saved(self._clock(), used))
        await self._store.put_document(KIND, KIND, data)
        self._written = used


def _add(shares: Shares, task: Task, since: int, cores: int) -> None:
    """Add what the task's last attempt used, if it ended since then."""
    end = task.end
    if end is None or end.at < since or end.started_at is None:
        return
    begun = task.allocated_at or end.started_at
    shares.begin(task.user, task.id, weight(task.spec.resources, cores), begun)
    shares.end(task.user, task.id, end.at)
