"""How many gRPC calls may wait for a message at one time, and for how long.

gRPC buffers a message until it is whole, up to the size that one message may have. So each call
that waits for a message can make the server hold so many bytes, and needs a place to wait in.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from fetchml.errors import BadRequest, RateLimited, RequestError, TooManyStreams

MAX_MESSAGE_BYTES = 1 << 20
"""Of one message that a client sends, as of one body in REST."""
UNREAD_BYTES = 32 * 1024
"""What gRPC takes of a call that does not wait for a message: HTTP/2's window of a stream."""
PLACES = 256
PLACES_BY_KEY = 64
KEYLESS_PLACES = 32
KEYLESS_PLACES_BY_ADDRESS = 16
CHECK_PLACES = 16
"""Of calls without a key that are answered once, apart from streams without a key."""
CHECK_PLACES_BY_ADDRESS = 4
IN_ALL_BYTES = (PLACES + KEYLESS_PLACES + CHECK_PLACES) * MAX_MESSAGE_BYTES

SWEEP_SECONDS = 0.5
LEAST_SECONDS = 2.0
"""While others wait for a place, a call keeps its place for at least so long."""
CHECK_LEAST_SECONDS = 0.2
"""The same for a probe: its message is some bytes, which come together with its headers."""

T = TypeVar("T")


class GaveWay(RateLimited):
    """The call's message came too slowly while others waited."""

    RETRY_AFTER = 5

    def __init__(self) -> None:
        message = "The call's message came too slowly, and other calls waited: send it at once"
        super().__init__(self.RETRY_AFTER, message=message)


class _Place(NamedTuple):
    caller: str
    since: float
    deadline: float
    too_late: str
    """The error's message once the deadline has passed."""


class Receiving:
    """Places to wait for a message in.

    A call without a place waits for one. While all places are taken and calls wait, the caller
    that holds the most gives up its oldest place, if its call has waited `least_seconds`: who
    sends messages slowly keeps nobody out.
    """

    def __init__(
        self,
        places: int,
        by_caller: int,
        *,
        waiting_by_caller: int,
        least_seconds: float | None = None,
    ) -> None:
        """`waiting_by_caller`: calls of one caller that may wait for a place. `least_seconds`: how
        long a call keeps its place at least; `None` is `LEAST_SECONDS`."""
        self._least_seconds = LEAST_SECONDS if least_seconds is None else least_seconds
        self._most = places
        self._most_by_caller = by_caller
        self._most_waiting = waiting_by_caller
        self._places: dict[asyncio.Task[object], _Place] = {}
        """The oldest first."""
        self._taken: dict[asyncio.Task[object], RequestError] = {}
        """Calls that must leave their places, and why."""
        self._held: dict[str, int] = {}
        """Caller → its places, unless it has none."""
        self._given = 0
        """Places that were handed to a waiting call, which has not run yet."""
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        """Callers that wait for a place; whose turn it is comes first."""
        self._sweep: asyncio.TimerHandle | None = None

    async def receive(
        self, caller: str, read: Callable[[], Awaitable[T]], seconds: float, late: str
    ) -> T:
        """What `read` returns. Raises BadRequest with `late` if that takes longer than `seconds`,
        GaveWay, and TooManyStreams if too many calls of the caller wait for a place."""
        held = self._held.get(caller, 0)
        if held >= self._most_by_caller or len(self._places) + self._given >= self._most:
            await self._turn(caller, seconds, late)
        else:
            self._held[caller] = held + 1
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # grpc.aio serves every call in a task
        now = loop.time()
        self._places[task] = _Place(caller, now, now + seconds, late)
        if self._sweep is None:
            self._sweep = loop.call_later(SWEEP_SECONDS, self._look)
        try:
            return await read()
        except asyncio.CancelledError:
            why = self._taken.get(task)
            if why is None or task.uncancel() > 0:
                raise
            raise why from None
        finally:
            del self._places[task]
            if self._taken:
                self._taken.pop(task, None)
            self._release(caller)

    def close(self, why: RequestError) -> None:
        """End every call that waits for its message."""
        for task in list(self._places):
            self._take(task, why)

    def _take(self, task: "asyncio.Task[object]", why: RequestError) -> None:
        if task not in self._taken:
            self._taken[task] = why
            task.cancel()

    async def _turn(self, caller: str, seconds: float, late: str) -> None:
        """Wait for a place, which is then counted as the caller's."""
        waiting = self._waiting.setdefault(caller, deque())
        if len(waiting) >= self._most_waiting:
            raise TooManyStreams(self._most_waiting)
        turn = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                # The place came too late.
                self._given -= 1
                self._release(caller)
            elif turn in waiting:
                waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise BadRequest(late) from None
            raise
        else:
            self._given -= 1
        finally:
            if not waiting and self._waiting.get(caller) is waiting:
                del self._waiting[caller]

    def _release(self, caller: str) -> None:
        left = self._held[caller] - 1
        if left:
            self._held[caller] = left
        else:
            del self._held[caller]
        if self._waiting:
            self._hand_on()

    def _hand_on(self) -> None:
        """Give the free place to a caller that may have it."""
        if len(self._places) + self._given >= self._most:
            return
        for caller, waiting in self._waiting.items():
            held = self._held.get(caller, 0)
            if held >= self._most_by_caller:
                continue
            while waiting:
                turn = waiting.popleft()
                if not turn.done():
                    turn.set_result(None)
                    self._held[caller] = held + 1
                    self._given += 1
                    self._waiting.move_to_end(caller)
                    return

    def _look(self) -> None:
        """End what is too late, and make way for what waits."""
        loop = asyncio.get_running_loop()
        self._sweep = loop.call_later(SWEEP_SECONDS, self._look) if self._places else None
        now = loop.time()
        for task, place in self._places.items():
            if place.deadline <= now:
                self._take(task, BadRequest(place.too_late))
        if len(self._places) + self._given < self._most:
            return
        wanted = sum(map(len, self._waiting.values()))
        held = Counter(
            place.caller for task, place in self._places.items() if task not in self._taken
        )
        for task, place in self._places.items():
            if wanted <= 0:
                return
            slow = task not in self._taken and place.since + self._least_seconds <= now
            if slow and held[place.caller] >= max(held.values()):
                self._take(task, GaveWay())
                held[place.caller] -= 1
                wanted -= 1
