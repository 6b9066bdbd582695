"""The single writer: an event goes through the core, its changes to disk, and then, in the order
of their numbers, to readers and watchers; after them the effects are carried out.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

from fetchml.core.events import CheckGpus, Effect, Event, Submitted, TimePassed
from fetchml.core.model import ENDED, Change, Status, Task
from fetchml.core.reactor import step
from fetchml.core.requests import text
from fetchml.core.state import State
from fetchml.engine.daily_counts import DailyCounts
from fetchml.engine.feed import Feed
from fetchml.engine.task_index import TaskIndex
from fetchml.errors import BadRequest
from fetchml.ports.store import Store, StoredState

TOLD = frozenset({Status.PREPARING, Status.RUNNING}) | ENDED
"""The states whose beginning is worth a line in the log."""

log = logging.getLogger(__name__)


class Dispatcher:
    def __init__(
        self,
        state: State,
        restored: StoredState,
        store: Store,
        tally: DailyCounts,
        *,
        clock: Callable[[], int],
        act: Callable[[Effect], None],
        service_changed: Callable[[Task], None],
    ) -> None:
        self.state = state
        self.catalog = TaskIndex(restored)
        self.feed = Feed(restored.last_seq)
        self.tally = tally
        self._store = store
        self._clock = clock
        self._act = act
        self._service_changed = service_changed
        self._seq = restored.last_seq
        self._effects: deque[tuple[int, list[Effect]]] = deque()
        """With the number of the last change that must be durable before them."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due: int | None = None

    def apply(self, event: Event) -> asyncio.Future[None]:
        """Done when the event's changes are durable and published.

        A record is made of what is in the state and in the event. So the event is looked at before
        anything is decided: then each of its records can be encoded. Raises BadRequest, with
        nothing done, if a submission cannot; in other events, which have happened and must be
        recorded, the text is mended.
        """
        if isinstance(event, Submitted):
            _require_storable(event)
        else:
            event = text.storable(event)
        decision = step(self.state, event)
        self._set_timer()
        checks: list[CheckGpus] = []
        if decision.effects:
            checks = [effect for effect in decision.effects if isinstance(effect, CheckGpus)]
            decision.effects = [e for e in decision.effects if not isinstance(e, CheckGpus)]
        for check in checks:
            # It changes nothing, so it need not wait for the disk; a GPU that is idle does.
            self._carry_out(check)
        if not decision.changes:
            if self._effects:
                # Behind those that wait for the disk: what is to be thrown away must have begun.
                self._effects.append((self._seq, decision.effects))
            else:
                for effect in decision.effects:
                    self._carry_out(effect)
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done
        # The task that gets the GPU next starts as soon as that is on the disk.
        durable = self.record(event.now, decision.changes, followed=bool(checks))
        if decision.effects:
            self._effects.append((self._seq, decision.effects))
        return durable

    def record(
        self, now: int, tasks: Sequence[Task], *, followed: bool = False
    ) -> asyncio.Future[None]:
        """Make new versions of tasks durable, past the core: for tasks that have ended."""
        changes = [Change(seq, now, task) for seq, task in enumerate(tasks, start=self._seq + 1)]
        durable = self._store.append(changes, followed=followed)
        # Only now: what the store refuses to take must leave no gap in the numbers.
        self._seq += len(changes)
        return durable

    def on_durable(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self.catalog.apply(change)
            task = change.task
            if task.status in ENDED:
                if change.is_upkeep:
                    continue
                self.tally.add(change)
            if task.status in TOLD:
                _tell(change)
            if task.service:
                self._service_changed(task)
        self.feed.publish(changes)
        while self._effects and self._effects[0][0] <= self.feed.last_seq:
            for effect in self._effects.popleft()[1]:
                self._carry_out(effect)

    def close(self) -> None:
        self.feed.close()
        if self._timer is not None:
            self._timer.cancel()

    def _carry_out(self, effect: Effect) -> None:
        """What goes wrong with one task is not to keep others from their answers."""
        try:
            self._act(effect)
        except Exception:
            log.exception("an effect failed", extra={"effect": type(effect).__name__})

    def _set_timer(self) -> None:
        """A delayed retry becomes ready by itself."""
        due = self.state.queue.next_due()
        if due == self._timer_due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        if due is not None:
            delay = max(0, due - self._clock()) / 1000
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(delay, self._time_passed, due)

    def _time_passed(self, due: int) -> None:
        self._timer_due = None
        self.apply(TimePassed(self._clock(), due))


def _require_storable(event: Submitted) -> None:
    """The checks at the edge let nothing else pass; here it is certain. Raises BadRequest."""
    if not text.is_storable(event):
        raise BadRequest("The request holds text that is not valid Unicode: send UTF-8")


def _tell(change: Change) -> None:
    task = change.task
    if task.hidden or task.progress is not None:
        return
    extra = {"task_id": task.id, "attempt": task.attempt, "user": task.user}
    if task.error is not None:
        extra["error"] = task.error
    what = "prestaged" if task.prestaged else task.status
    log.info("%s %s", "service" if task.service else "task", what, extra=extra)
