"""Reading the messages of a call, within limits on waiting calls: their number, and their time.

gRPC buffers a message until it is complete. Each waiting call can therefore occupy memory up to the
largest message size, so it needs one of a limited number of slots.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

import grpc
import msgspec

from fetchml.errors import BadRequest, RateLimited, RequestError, TooManyStreams

MAX_MESSAGE_BYTES = 1 << 20
"""Largest message from a client, the same as the largest body in REST."""
UNREAD_BYTES = 32 * 1024
"""Bytes that gRPC buffers for a call that does not wait for a message: the HTTP/2 stream window."""
PLACES = 256
PLACES_BY_KEY = 64
KEYLESS_PLACES = 32
"""Places of streams without a key."""
KEYLESS_PLACES_BY_ADDRESS = 16
CHECK_PLACES = 16
"""Places of calls without a key that have a single reply."""
CHECK_PLACES_BY_ADDRESS = 4
IN_ALL_BYTES = (PLACES + KEYLESS_PLACES + CHECK_PLACES) * MAX_MESSAGE_BYTES

SWEEP_SECONDS = 0.5
LEAST_SECONDS = 2.0
"""A call keeps its slot for at least this long, even while other calls wait for one."""
CHECK_LEAST_SECONDS = 0.2
"""The same for a probe, whose message of a few bytes arrives together with its headers."""

T = TypeVar("T")


class MessageTooSlow(RateLimited):
    """The call's message arrived too slowly while other calls waited for a slot."""

    RETRY_AFTER = 5

    def __init__(self) -> None:
        message = "The call's message arrived too slowly while other calls waited: send it at once"
        super().__init__(self.RETRY_AFTER, message=message)


class _Slot(msgspec.Struct, frozen=True, gc=False):
    caller: str
    since: float
    deadline: float
    late: str
    """The error's message after the deadline."""


class MessageSlots:
    """Slots for calls that receive a message.

    A call without a slot waits for one. While all slots are taken and other calls wait, the caller
    with the most slots loses its oldest one, provided that its call has had the slot for
    `least_seconds`. So a caller that sends messages slowly does not block others.
    """

    def __init__(
        self,
        slots: int,
        by_caller: int,
        *,
        waiting_by_caller: int,
        least_seconds: float | None = None,
    ) -> None:
        """`by_caller`: slots of one caller. `waiting_by_caller`: calls of one caller that may wait
        for a slot. `least_seconds`: shortest time for which a call keeps its slot; `None` means
        `LEAST_SECONDS`."""
        self._least_seconds = LEAST_SECONDS if least_seconds is None else least_seconds
        self._most = slots
        self._most_by_caller = by_caller
        self._most_waiting = waiting_by_caller
        self._slots: dict[asyncio.Task[object], _Slot] = {}
        """Call → its slot, the oldest first."""
        self._evicted: dict[asyncio.Task[object], RequestError] = {}
        """Calls that must leave their slots, with the reasons."""
        self._held: dict[str, int] = {}
        """Caller → number of its slots; callers without slots are absent."""
        self._given = 0
        """Places that were given to a waiting call which has not resumed yet."""
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        """Caller → its calls that wait for a slot; the next caller to be served comes first."""
        self._sweep: asyncio.TimerHandle | None = None

    async def receive(
        self, caller: str, read: Callable[[], Awaitable[T]], seconds: float, late: str
    ) -> T:
        """Wait for a slot, call `read` and return its result.

        Raises BadRequest with the message `late` after `seconds`, MessageTooSlow if the slot is
        needed by another call, and TooManyStreams if too many calls of the caller wait for a slot.
        """
        in_use = self._held.get(caller, 0)
        if in_use >= self._most_by_caller or len(self._slots) + self._given >= self._most:
            await self._wait_for_slot(caller, seconds, late)
        else:
            self._held[caller] = in_use + 1
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None  # noqa: S101  # grpc.aio serves every call in a task.
        now = loop.time()
        self._slots[task] = _Slot(caller, now, now + seconds, late)
        if self._sweep is None:
            self._sweep = loop.call_later(SWEEP_SECONDS, self._check_slots)
        try:
            return await read()
        except asyncio.CancelledError:
            why = self._evicted.get(task)
            if why is None or task.uncancel() > 0:
                raise
            raise why from None
        finally:
            del self._slots[task]
            if self._evicted:
                self._evicted.pop(task, None)
            self._release(caller)

    def close(self, why: RequestError) -> None:
        """End every call that waits for its message."""
        for task in list(self._slots):
            self._evict(task, why)

    def _evict(self, task: "asyncio.Task[object]", why: RequestError) -> None:
        if task not in self._evicted:
            self._evicted[task] = why
            task.cancel()

    async def _wait_for_slot(self, caller: str, seconds: float, late: str) -> None:
        """Wait for a slot, which then counts as the caller's."""
        waiting = self._waiting.setdefault(caller, deque())
        if len(waiting) >= self._most_waiting:
            raise TooManyStreams(self._most_waiting)
        granted = asyncio.get_running_loop().create_future()
        waiting.append(granted)
        try:
            async with asyncio.timeout(seconds):
                await granted
        except BaseException as error:
            if granted.done() and not granted.cancelled():
                # The slot came too late.
                self._given -= 1
                self._release(caller)
            elif granted in waiting:
                waiting.remove(granted)
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
            self._give_slot()

    def _give_slot(self) -> None:
        """Give the free slot to the next caller that is below its limit."""
        if len(self._slots) + self._given >= self._most:
            return
        for caller, waiting in self._waiting.items():
            in_use = self._held.get(caller, 0)
            if in_use >= self._most_by_caller:
                continue
            while waiting:
                granted = waiting.popleft()
                if not granted.done():
                    granted.set_result(None)
                    self._held[caller] = in_use + 1
                    self._given += 1
                    self._waiting.move_to_end(caller)
                    return

    def _check_slots(self) -> None:
        """End calls that are past their deadlines, and free slots for waiting calls."""
        loop = asyncio.get_running_loop()
        self._sweep = loop.call_later(SWEEP_SECONDS, self._check_slots) if self._slots else None
        now = loop.time()
        for task, slot in self._slots.items():
            if slot.deadline <= now:
                self._evict(task, BadRequest(slot.late))
        if len(self._slots) + self._given < self._most:
            return
        wanted = sum(map(len, self._waiting.values()))
        in_use = Counter(
            slot.caller for task, slot in self._slots.items() if task not in self._evicted
        )
        for task, slot in self._slots.items():
            if wanted <= 0:
                return
            slow = task not in self._evicted and slot.since + self._least_seconds <= now
            if slow and in_use[slot.caller] >= max(in_use.values()):
                self._evict(task, MessageTooSlow())
                in_use[slot.caller] -= 1
                wanted -= 1


MESSAGE_SECONDS = 30
"""Longest wait for a call's first message."""
CHECK_SECONDS = 5
"""Longest wait for the message of a keyless call with a single reply."""
NEXT_MESSAGE_SECONDS = 60
"""Longest wait for each later message."""
NO_MESSAGE = "The call ended without a message"


def late(seconds: float) -> str:
    """Return the error message for a first message that did not arrive in time."""
    return f"The call timed out after {seconds} s: no message received"


async def read_messages(
    slots: MessageSlots, caller: str, context: Any, seconds: float | None = None
) -> AsyncGenerator[Any]:
    """Yield a call's messages, the first within `seconds`; `None`: MESSAGE_SECONDS. Raises the
    errors of `MessageSlots.receive`."""
    if seconds is None:
        seconds = MESSAGE_SECONDS
    message_late = late(seconds)
    while True:
        message = await slots.receive(caller, context.read, seconds, message_late)
        if message is grpc.aio.EOF:
            return
        yield message
        seconds = NEXT_MESSAGE_SECONDS
        message_late = f"The call timed out: no message received for {seconds} s"


async def only_message(messages: AsyncGenerator[Any]) -> Any:
    """Return the message of a call that has one. Raises BadRequest if there is none."""
    async with aclosing(messages):
        async for message in messages:
            return message
    raise BadRequest(NO_MESSAGE)


async def read_conversation(slots: MessageSlots, caller: str, context: Any) -> AsyncGenerator[Any]:
    """Yield the messages of a call that may stay quiet for hours: only the first has a time limit
    and needs a slot. The method itself limits the number of such calls.

    Raises the errors of `MessageSlots.receive`.
    """
    message = await slots.receive(caller, context.read, MESSAGE_SECONDS, late(MESSAGE_SECONDS))
    while message is not grpc.aio.EOF:
        yield message
        message = await context.read()
