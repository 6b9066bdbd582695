"""The outbox: the messages that are to be sent, in memory and in the store.

Messages are made of notices, one for each address that asks for the event. Rows are written in the
same commit as the change of the task that they report. They are deleted when they are delivered,
and kept as dead letters when a day's attempts have failed.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from fetchml.core.events import Deliver, Notice
from fetchml.core.model import EventKind, NotifyTarget, Task
from fetchml.core.notification_outbox import DAY_MS, SERVER, Channel, Delivery
from fetchml.ports.store import Document, Store

KIND = "notification"
DEAD_KEPT_MS = 30 * 86_400_000


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    of_a_user: int = 1000
    """Rows, dead letters included."""
    in_all: int = 4000


class Outbox:
    """Used from one event loop."""

    def __init__(self, store: Store, limits: OutboxLimits) -> None:
        self._store = store
        self.limits = limits
        self._rows: dict[str, Delivery] = {}
        """Oldest first."""
        self._by_user: dict[str, dict[str, None]] = {}
        self._dead: dict[str, None] = {}
        self._encode = msgspec.json.Encoder().encode
        self.dropped: dict[str, int] = {}
        """Rows of each user that were dropped for lack of room, since the server started."""
        self.dropped_in_all = 0
        self.on_drop: Callable[[str], None] = lambda delivery_id: None
        """Called with the id of each row that is dropped."""

    async def load(self) -> list[Delivery]:
        """Read all rows; return those that are pending."""
        decode = msgspec.json.Decoder(Delivery).decode
        for data in await self._store.list_documents(KIND):
            self._keep(decode(data))
        return [row for row in self._rows.values() if row.dead_at is None]

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def dead(self) -> int:
        return len(self._dead)

    @property
    def pending(self) -> int:
        return len(self._rows) - len(self._dead)

    def get(self, delivery_id: str) -> Delivery | None:
        return self._rows.get(delivery_id)

    def of(self, user: str) -> Iterator[Delivery]:
        """Yield a user's rows, newest first."""
        return (self._rows[each] for each in reversed(list(self._by_user.get(user, ()))))

    def add(self, new: Sequence[Delivery]) -> list[Document]:
        """Add rows, and return the documents to commit with the changes that they report: the rows,
        and the removal of those that had to go for them.

        Over a limit the oldest row goes, a dead letter first: of the user, or of the user with the
        most rows.
        """
        changed = list[str]()
        for row in new:
            while len(self._by_user.get(row.user, ())) >= self.limits.of_a_user:
                changed.append(self._drop(row.user))
            while len(self._rows) >= self.limits.in_all:
                changed.append(self._drop(max(self._by_user, key=self._size)))
            self._keep(row)
            changed.append(row.id)
        return [self.document(each) for each in changed]

    def change(self, row: Delivery) -> None:
        """Replace a row if it is still there."""
        if row.id in self._rows:
            self._keep(row)

    def remove(self, delivery_id: str) -> None:
        """Remove a row if it is there."""
        row = self._rows.pop(delivery_id, None)
        if row is None:
            return
        self._dead.pop(delivery_id, None)
        rows = self._by_user[row.user]
        del rows[delivery_id]
        if not rows:
            del self._by_user[row.user]

    def document(self, delivery_id: str) -> Document:
        """Return what the store is to hold of a row that was changed or removed."""
        row = self._rows.get(delivery_id)
        return Document(KIND, delivery_id, None if row is None else self._encode(row))

    def count_dropped(self, user: str) -> None:
        self.dropped[user] = self.dropped.get(user, 0) + 1
        self.dropped_in_all += 1

    def old_dead(self, now: int) -> list[str]:
        """Return the ids of dead letters that have been kept long enough."""
        return [
            each for each in self._dead if (self._rows[each].dead_at or now) < now - DEAD_KEPT_MS
        ]

    def _size(self, user: str) -> int:
        return len(self._by_user[user])

    def _keep(self, row: Delivery) -> None:
        self._rows[row.id] = row
        self._by_user.setdefault(row.user, {})[row.id] = None
        if row.dead_at is None:
            self._dead.pop(row.id, None)
        else:
            self._dead[row.id] = None

    def _drop(self, user: str) -> str:
        """Remove a user's oldest row, and return its id."""
        rows = self._by_user[user]
        oldest = next((each for each in rows if each in self._dead), next(iter(rows)))
        self.count_dropped(user)
        self.remove(oldest)
        self.on_drop(oldest)
        return oldest


SWEEP_ENDED = "sweep.ended"

log = logging.getLogger(__name__)


class ServerTarget(NamedTuple):
    """An address of the server's settings."""

    url: str
    """For Apprise the name of the address."""
    on: tuple[EventKind, ...]
    channel: Channel = Channel.WEBHOOK


class _Target(NamedTuple):
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
                log.exception("creating a message failed", extra={"task": notice.task.id})
        return (self._outbox.add(new), Deliver(tuple(new))) if new else ([], None)

    def _with_room(self, notices: Sequence[Notice]) -> Sequence[Notice]:
        """Leave out the first notices of a user of whom one decision has more than the outbox
        holds."""
        most = self._outbox.limits.of_a_user
        if len(notices) <= most:
            return notices
        counts, accepted = Counter[str](), list[Notice]()
        for notice in reversed(notices):
            counts[notice.task.user] += 1
            if counts[notice.task.user] <= most:
                accepted.append(notice)
            elif any(self._wanted(notice)):
                self._outbox.count_dropped(notice.task.user)
        return accepted[::-1]

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

    def _wanted(self, notice: Notice) -> Iterator[_Target]:
        task = notice.task
        own = task.spec.notify or self._own_default(task.user)
        if own:
            for target in own:
                if _wants(target.on, notice):
                    yield _Target(task.user, target.url)
            return
        for address in self._server:
            if _wants(address.on, notice):
                yield _Target(SERVER, address.url, address.channel)


def _wants(on: Sequence[EventKind], notice: Notice) -> bool:
    """Return whether a target gets the notice. The end of a sweep counts as an end of a task."""
    if notice.ends_sweep:
        return EventKind.COMPLETED in on or EventKind.FAILED in on
    return notice.kind in on
