"""The outbox: the messages that are to be sent, in memory and in the store.

Rows are written in the same commit as the change of the task that they report. They are deleted
when they are delivered, and kept as dead letters when a day's attempts have failed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from fetchml.core.notifications import Delivery
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
