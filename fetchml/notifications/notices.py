"""Messages made of notices: one for each address that asks for the event."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from fetchml.core.events import Deliver, Notice
from fetchml.core.model import EventKind, NotifyTarget, Task
from fetchml.core.notifications import DAY_MS, SERVER, Channel, Delivery
from fetchml.notifications.outbox import Outbox
from fetchml.ports.store import Document

SWEEP_ENDED = "sweep.ended"

log = logging.getLogger(__name__)


class ServerTarget(NamedTuple):
    """An address of the server's settings."""

    url: str
    """For Apprise the name of the address."""
    on: tuple[EventKind, ...]
    channel: Channel = Channel.WEBHOOK


class _Wanted(NamedTuple):
    user: str
    url: str
    channel: Channel = Channel.WEBHOOK


class Notices:
    """Writes the outbox's rows for the dispatcher."""

    def __init__(
        self,
        outbox: Outbox,
        *,
        own_default: Callable[[str], Sequence[NotifyTarget]],
        server: Sequence[ServerTarget],
        render: Callable[[EventKind, Task, int], str],
        new_id: Callable[[int], str],
        enabled: bool = True,
    ) -> None:
        """`own_default`: the default targets of a user. `server`: those of the settings. `render`:
        the body of a task's event at a time. `new_id`: the id of a message of a time."""
        self._outbox = outbox
        self._own_default = own_default
        self._server = server
        self._render = render
        self._new_id = new_id
        self._enabled = enabled

    def write(self, now: int, notices: Sequence[Notice]) -> tuple[list[Document], Deliver | None]:
        """Return the documents to commit with the decision, and the effect that sends them."""
        if not self._enabled:
            return [], None
        new = list[Delivery]()
        for notice in self._with_room(notices):
            try:
                new += self._messages(now, notice)
            except Exception:  # No message is worth a task.
                log.exception("a message could not be made", extra={"task": notice.task.id})
        return (self._outbox.add(new), Deliver(tuple(new))) if new else ([], None)

    def _with_room(self, notices: Sequence[Notice]) -> Sequence[Notice]:
        """Leave out the first notices of a user of whom one decision has more than the outbox
        holds."""
        most = self._outbox.limits.of_a_user
        if len(notices) <= most:
            return notices
        counts, kept = Counter[str](), list[Notice]()
        for notice in reversed(notices):
            counts[notice.task.user] += 1
            if counts[notice.task.user] <= most:
                kept.append(notice)
            elif any(self._wanted(notice)):
                self._outbox.count_dropped(notice.task.user)
        return kept[::-1]

    def _messages(self, now: int, notice: Notice) -> Iterator[Delivery]:
        task, body = notice.task, ""
        for user, url, channel in self._wanted(notice):
            if not notice.ends_sweep:
                body = body or self._render(notice.kind, task, now)
            sweep = task.spec.sweep
            yield Delivery(
                id=self._new_id(now),
                user=user,
                type=SWEEP_ENDED if notice.ends_sweep else f"task.{notice.kind}",
                url=url,
                created_at=now,
                give_up_at=now + DAY_MS,
                next_at=now,
                task_id="" if notice.ends_sweep else task.id,
                sweep_id=sweep.id if sweep is not None else "",
                body=body,
                channel=channel,
            )

    def _wanted(self, notice: Notice) -> Iterator[_Wanted]:
        task = notice.task
        own = task.spec.notify or self._own_default(task.user)
        if own:
            for target in own:
                if _wants(target.on, notice):
                    yield _Wanted(task.user, target.url)
            return
        for address in self._server:
            if _wants(address.on, notice):
                yield _Wanted(SERVER, address.url, address.channel)


def _wants(on: Sequence[EventKind], notice: Notice) -> bool:
    """Return whether a target gets the notice. The end of a sweep counts as an end of a task."""
    if notice.ends_sweep:
        return EventKind.COMPLETED in on or EventKind.FAILED in on
    return notice.kind in on
