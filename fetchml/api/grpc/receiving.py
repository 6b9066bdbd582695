"""How many gRPC calls may wait for a message at one time, and for how long.

gRPC buffers a message until it is whole, up to the size that one message may have. So each call
that waits for a message can make the server hold so many bytes, and needs a place to wait in.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

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


class _Place:
    __slots__ = ("caller", "deadline", "since", "taken", "task", "too_late")

    def __init__(
        self, caller: str, task: "asyncio.Task[object]", since: float, deadline: float, late: str
    ) -> None:
        self.caller = caller
        self.task = task
        self.since = since
        self.deadline = deadline
        self.too_late = late
        self.taken: RequestError | None = None
        """Why the call must leave; None: it need not."""

    def take(self, why: RequestError) -> None:
        if self.taken is None:
            self.taken = why
            self.task.cancel()


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
        self._held = Counter[str]()
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
        if self._is_full(caller):
            await self._turn(caller, seconds, late)
        else:
            self._held[caller] += 1
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # grpc.aio serves every call in a task
        now = loop.time()
        place = self._places[task] = _Place(caller, task, now, now + seconds, late)
        if self._sweep is None:
            self._sweep = loop.call_later(SWEEP_SECONDS, self._look)
        try:
            return await read()
        except asyncio.CancelledError:
            if place.taken is None or task.uncancel() > 0:
                raise
            raise place.taken from None
        finally:
            del self._places[task]
            self._release(caller)

    def close(self, why: RequestError) -> None:
        """End every call that waits for its message."""
        for place in list(self._places.values()):
            place.take(why)

    def _is_full(self, caller: str) -> bool:
        return (
            len(self._places) + self._given >= self._most
            or self._held[caller] >= self._most_by_caller
        )

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
        self._held[caller] -= 1
        if not self._held[caller]:
            del self._held[caller]
        if self._waiting:
            self._hand_on()

    def _hand_on(self) -> None:
        """Give the free place to a caller that may have it."""
        for caller, waiting in self._waiting.items():
            if self._is_full(caller):
                continue
            while waiting:
                turn = waiting.popleft()
                if not turn.done():
                    turn.set_result(None)
                    self._held[caller] += 1
                    self._given += 1
                    self._waiting.move_to_end(caller)
                    return

    def _look(self) -> None:
        """End what is too late, and make way for what waits."""
        loop = asyncio.get_running_loop()
        self._sweep = loop.call_later(SWEEP_SECONDS, self._look) if self._places else None
        now = loop.time()
        for place in self._places.values():
            if place.deadline <= now:
                place.take(BadRequest(place.too_late))
        if len(self._places) + self._given < self._most:
            return
        wanted = sum(map(len, self._waiting.values()))
        held = Counter(place.caller for place in self._places.values() if place.taken is None)
        for place in self._places.values():
            if wanted <= 0:
                return
            slow = place.taken is None and place.since + self._least_seconds <= now
            if slow and held[place.caller] >= max(held.values()):
                place.take(GaveWay())
                held[place.caller] -= 1
                wanted -= 1
