"""Which message is sent next: fair between users, and patient with receivers that fail.

Messages of one user to one address form a lane. A lane has a few messages on the way at once, one
after a failure, and after a failure it rests, longer each time. So a receiver that hangs occupies
little of its user's places, and none of others'.
"""

from collections import deque
from heapq import heapify, heappop, heappush

from fetchml.core.notifications.delivery import Delivery
from fetchml.core.notifications.retry import FIRST_DELAY_MS, delay_ms

IN_ALL = 64
"""Messages that are on the way at one time."""
UNPROVEN = 48
"""Of these, to addresses whose last message was not delivered: the others have places left."""
OF_A_USER = 4
OF_A_LANE = 2
MAX_PROVEN = 5_000
"""Addresses that are remembered because they took their last message."""
SWEPT = 10_000
"""Entries of removed messages that may be in the heaps."""

_Key = tuple[str, str]


class _Lane:
    __slots__ = ("expected", "failures", "key", "not_before", "on_the_way", "ready", "waiting")

    def __init__(self, key: _Key) -> None:
        self.key = key
        self.waiting: list[tuple[int, str]] = []
        """A heap of (time, id). Messages that were removed may still be in it."""
        self.expected: int | None = None
        """When the schedule looks at it next; `None` if it need not."""
        self.failures = 0
        """In a row."""
        self.not_before = 0
        self.on_the_way = 0
        self.ready = False
        """It is in its user's line."""

    @property
    def is_full(self) -> bool:
        return self.on_the_way >= (1 if self.failures else OF_A_LANE)


class DeliveryTurns:
    """The pending messages. All times are given; nothing here waits."""

    def __init__(self, first_delay_ms: int = FIRST_DELAY_MS) -> None:
        """`first_delay_ms`: see `delay_ms`."""
        self._first_delay_ms = first_delay_ms
        self._pending: dict[str, Delivery] = {}
        self._on_the_way: dict[str, Delivery] = {}
        self._lanes: dict[_Key, _Lane] = {}
        self._times: list[tuple[int, _Key]] = []
        """A heap of when a lane may be ready."""
        self._lines: dict[str, deque[_Lane]] = {}
        """Ready lanes by user; the users in the order of their turns."""
        self._user_on_the_way: dict[str, int] = {}
        self._ends: list[tuple[int, str]] = []
        """A heap of (`give_up_at`, id)."""
        self._proven: dict[_Key, None] = {}
        """Lanes whose last message was delivered, the latest one last."""
        self._unproven = set[str]()
        """Ids of the messages of other lanes that are on the way."""
        self._removed = 0
        """Messages that were removed since the heaps were swept."""

    def __len__(self) -> int:
        """Number of messages that wait or are on the way."""
        return len(self._pending) + len(self._on_the_way)

    def is_on_the_way(self, delivery_id: str) -> bool:
        return delivery_id in self._on_the_way

    def add(self, delivery: Delivery) -> None:
        """Add a message, or replace one that waits."""
        self._pending[delivery.id] = delivery
        lane = self._lane(delivery)
        heappush(lane.waiting, (delivery.next_at, delivery.id))
        heappush(self._ends, (delivery.give_up_at, delivery.id))
        self._expect(lane)

    def remove(self, delivery_id: str) -> None:
        """Remove a message that waits. One that is on the way goes on."""
        self._pending.pop(delivery_id, None)
        self._removed += 1
        if self._removed > SWEPT:
            self._sweep()

    def send_now(self, delivery: Delivery, now: int) -> None:
        """Add a message that its owner sends again: it waits for no earlier failure."""
        lane = self._lane(delivery)
        lane.not_before = min(lane.not_before, now)
        self.add(delivery)

    def take(self, now: int) -> list[Delivery]:
        """Return the messages to send now. Report `succeeded` or `failed` for each."""
        taken = list[Delivery]()
        while True:
            self._line_up(now)
            before = len(taken)
            for user in list(self._lines):
                if len(self._on_the_way) >= IN_ALL:
                    return taken
                if (found := self._next_of(user)) is not None:
                    taken.append(found)
            if len(taken) == before:
                return taken

    def _line_up(self, now: int) -> None:
        """Put the lanes whose time has come into their users' lines."""
        while self._times and self._times[0][0] <= now:
            due, key = heappop(self._times)
            lane = self._lanes.get(key)
            if lane is None or lane.expected != due:
                continue
            lane.expected = None
            if lane.is_full or (at := self._time(lane)) is None:
                continue
            if at > now:
                self._expect(lane)
                continue
            lane.ready = True
            self._lines.setdefault(key[0], deque()).append(lane)

    def _next_of(self, user: str) -> Delivery | None:
        """Take the next message of a user, who goes behind all others then."""
        if self._user_on_the_way.get(user, 0) >= OF_A_USER:
            return None
        line = self._lines.pop(user)
        found = None
        for _ in range(len(line)):
            lane = line.popleft()
            proven = lane.key in self._proven
            if not proven and len(self._unproven) >= UNPROVEN:
                line.append(lane)
                continue
            lane.ready = False
            if self._time(lane) is not None:  # It is `None` if its message was removed.
                _, delivery_id = heappop(lane.waiting)
                found = self._on_the_way[delivery_id] = self._pending.pop(delivery_id)
                lane.on_the_way += 1
                if not proven:
                    self._unproven.add(delivery_id)
                self._user_on_the_way[user] = self._user_on_the_way.get(user, 0) + 1
            self._expect(lane)
            if found is not None:
                break
        if line:
            self._lines[user] = line
        return found

    def succeeded(self, delivery_id: str) -> None:
        lane = self._back(delivery_id)
        lane.failures = lane.not_before = 0
        self._proven.pop(lane.key, None)
        self._proven[lane.key] = None
        if len(self._proven) > MAX_PROVEN:
            del self._proven[next(iter(self._proven))]
        self._expect(lane)

    def failed(self, delivery_id: str, now: int, jitter: float, again: Delivery | None) -> None:
        """`again`: the message as it waits for its next attempt; `None` if it was given up."""
        lane = self._back(delivery_id)
        lane.failures += 1
        self._proven.pop(lane.key, None)
        lane.not_before = now + delay_ms(lane.failures, jitter, self._first_delay_ms)
        if again is not None:
            self.add(again)
        else:
            self._expect(lane)

    def expired(self, now: int) -> list[Delivery]:
        """Remove and return the waiting messages whose time is over."""
        over = list[Delivery]()
        while self._ends and self._ends[0][0] < now:
            end, delivery_id = heappop(self._ends)
            found = self._pending.get(delivery_id)
            if found is not None and found.give_up_at == end:
                over.append(self._pending.pop(delivery_id))
        return over

    def next_at(self) -> int | None:
        """When `take` or `expired` may find something next; `None`: not before a change."""
        times = [self._times[0][0]] if self._times else []
        if self._ends:
            times.append(self._ends[0][0] + 1)
        return min(times, default=None)

    def _back(self, delivery_id: str) -> _Lane:
        delivery = self._on_the_way.pop(delivery_id)
        self._unproven.discard(delivery_id)
        lane = self._lane(delivery)
        lane.on_the_way -= 1
        left = self._user_on_the_way[delivery.user] - 1
        if left:
            self._user_on_the_way[delivery.user] = left
        else:
            del self._user_on_the_way[delivery.user]
        return lane

    def _lane(self, delivery: Delivery) -> _Lane:
        key = (delivery.user, delivery.url)
        found = self._lanes.get(key)
        if found is None:
            found = self._lanes[key] = _Lane(key)
        return found

    def _time(self, lane: _Lane) -> int | None:
        """When the lane's first message may be sent; `None` if none waits."""
        while lane.waiting:
            at, delivery_id = lane.waiting[0]
            delivery = self._pending.get(delivery_id)
            if delivery is not None and delivery.next_at == at:
                return max(at, lane.not_before)
            heappop(lane.waiting)
        return None

    def _expect(self, lane: _Lane) -> None:
        """Look at the lane again when it may have a message to send."""
        if lane.ready or lane.is_full:
            return
        at = self._time(lane)
        if at is None:
            if not lane.on_the_way:
                self._lanes.pop(lane.key, None)
        elif lane.expected is None or at < lane.expected:
            lane.expected = at
            heappush(self._times, (at, lane.key))

    def _sweep(self) -> None:
        """Rebuild the heaps without the messages that were removed."""
        self._removed = 0
        for lane in list(self._lanes.values()):
            lane.waiting = [entry for entry in lane.waiting if entry[1] in self._pending]
            heapify(lane.waiting)
            self._expect(lane)
        self._ends = [entry for entry in self._ends if entry[1] in self._pending]
        heapify(self._ends)
