"""The single writer: an event goes through the core, its changes to disk, and then its effects are
carried out.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from fetchml.core.events import (
    CheckGpus,
    Deliver,
    Effect,
    Event,
    Notice,
    Submitted,
    TimePassed,
)
from fetchml.core.model import Change, Task
from fetchml.core.reactor import step
from fetchml.core.requests import text
from fetchml.core.state import State
from fetchml.errors import BadRequest
from fetchml.ports.store import Document, Store

E = TypeVar("E", bound=Effect)
WriteNotices = Callable[[int, Sequence[Notice]], tuple[Sequence[Document], Deliver | None]]

log = logging.getLogger(__name__)


def _no_messages(now: int, notices: Sequence[Notice]) -> tuple[Sequence[Document], Deliver | None]:
    return (), None


class Dispatcher:
    """Used from one event loop. `committed` is to be subscribed to the store, behind all that reads
    and watches are answered from."""

    def __init__(
        self,
        state: State,
        store: Store,
        last_seq: int,
        clock: Callable[[], int],
        write_notices: WriteNotices = _no_messages,
    ) -> None:
        """`last_seq`: the number of the last change that is durable. `write_notices` makes
        messages of a decision's notices, which are committed with its changes."""
        self._state = state
        self._store = store
        self._clock = clock
        self._write_notices = write_notices
        self._seq = last_seq
        self._handlers: dict[type[object], Callable[[Any], None]] = {}
        self._effects: deque[tuple[int, list[Effect]]] = deque()
        """With the number of the last change that must be durable before them."""
        self._newest: asyncio.Future[None] | None = None
        """Done when all changes so far are durable; `None` if there was none."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due: int | None = None

    def handle(self, kind: type[E], handler: Callable[[E], None]) -> None:
        """Carry out all effects of this kind with `handler`, from now on."""
        self._handlers[kind] = handler

    def apply(self, event: Event, documents: Sequence[Document] = ()) -> asyncio.Future[None]:
        """Return a future that is done when the event's changes are durable and published, in one
        commit with `documents`, which only a submission has, and with the messages to users.

        A record is made of what is in the state and in the event. So the event is looked at before
        anything is decided: then each of its records can be encoded. Raises BadRequest, with
        nothing done, if a submission cannot; in other events, which have happened and must be
        recorded, the text is mended.
        """
        encoded: Sequence[str] = ()
        if isinstance(event, Submitted):
            encoded = self._encode((*event.tasks, *event.replaced))
        else:
            event = text.storable(event)
        decision = step(self._state, event)
        if decision.next_due != self._timer_due:
            self._set_timer(decision.next_due)
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
        if decision.notices:
            messages, deliver = self._write_notices(event.now, decision.notices)
            documents = (*documents, *messages)
            if deliver is not None:
                decision.effects.append(deliver)
        # The task that gets the GPU next starts as soon as that is on the disk.
        durable = self.record(
            event.now,
            decision.changes,
            followed=bool(checks),
            documents=documents,
            encoded=encoded,
        )
        if decision.effects:
            self._effects.append((self._seq, decision.effects))
        return durable

    def _encode(self, tasks: Sequence[Task]) -> list[str]:
        """Return the records of tasks that were submitted, which are the first changes of the
        decision. Raises BadRequest: the checks at the edge let no such text pass; here it is
        certain."""
        encode = self._store.encode
        try:
            return [encode(task) for task in tasks]
        except UnicodeEncodeError:
            raise BadRequest(
                "The request holds text that is not valid Unicode: send UTF-8"
            ) from None

    def record(
        self,
        now: int,
        tasks: Sequence[Task],
        *,
        followed: bool = False,
        documents: Sequence[Document] = (),
        encoded: Sequence[str] = (),
    ) -> asyncio.Future[None]:
        """Make new versions of tasks durable, past the core: for tasks that have ended. `encoded`:
        see `Store.append`."""
        changes = [Change(seq, now, task) for seq, task in enumerate(tasks, start=self._seq + 1)]
        durable = self._store.append(
            changes, followed=followed, documents=documents, encoded=encoded
        )
        # Only now: what the store refuses to take must leave no gap in the numbers.
        self._seq += len(changes)
        self._newest = durable
        return durable

    async def settled(self) -> None:
        """Return once all changes so far are durable and published."""
        if self._newest is not None:
            await asyncio.shield(self._newest)

    def committed(self, changes: Sequence[Change]) -> None:
        """Carry out the effects that waited for these changes."""
        while self._effects and self._effects[0][0] <= changes[-1].seq:
            for effect in self._effects.popleft()[1]:
                self._carry_out(effect)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _carry_out(self, effect: Effect) -> None:
        """A failure of one task must not delay the answers to others."""
        try:
            self._handlers[type(effect)](effect)
        except Exception:
            log.exception("an effect failed", extra={"effect": type(effect).__name__})

    def _set_timer(self, due: int | None) -> None:
        """A delayed retry becomes ready by itself."""
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
