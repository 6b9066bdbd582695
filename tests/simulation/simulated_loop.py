"""An event loop in which time passes only when nothing is left to do."""

import asyncio
import heapq
from collections.abc import Callable
from concurrent.futures import Executor, Future
from itertools import count
from random import Random
from typing import Any

START_MS = 1_760_000_000_000


class Crash(BaseException):
    """The server is killed, between two callbacks of its event loop."""


class World:
    """What goes on whether or not a server runs: time, and events at times."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 - no secrets
        self.now = START_MS / 1000
        """Seconds since the epoch."""
        self.crash_after: int | None = None
        """Callbacks of the loop until the server is killed; `None`: it is not."""
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    @property
    def now_ms(self) -> int:
        return round(self.now * 1000)

    @property
    def now_ns(self) -> int:
        return self.now_ms * 1_000_000

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), event))

    def pause(self, longest: float) -> float:
        """Return seconds that something takes: often almost none."""
        return 0.0 if self.random.random() < 0.3 else self.random.random() ** 3 * longest

    def next_event(self) -> float | None:
        return self._events[0][0] if self._events else None

    def happen(self) -> None:
        """Let the next event happen."""
        self.now, _, event = heapq.heappop(self._events)
        event()


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Runs one callback at a time, and between them may be ended by `Crash`. Work for threads is
    done in the loop, when it is asked for or later."""

    _ready: Any
    _scheduled: Any

    def __init__(self, world: World) -> None:
        self._world = world
        super().__init__()

    def time(self) -> float:
        return self._world.now

    def run_in_executor(  # type: ignore[override]
        self, _: Executor | None, work: Callable[..., Any], *arguments: Any
    ) -> asyncio.Future[Any]:
        future = self.create_future()
        works_first = self._world.random.random() < 0.5
        done = _outcome(work, *arguments) if works_first else None

        def finish() -> None:
            result, error = done or _outcome(work, *arguments)
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        self.call_later(self._world.pause(0.1), finish)
        return future

    def _write_to_self(self) -> None:
        """Nothing waits in a system call."""

    def _run_once(self) -> None:
        world = self._world
        while not self._ready:
            while self._scheduled and self._scheduled[0].cancelled():
                heapq.heappop(self._scheduled)._scheduled = False
            event = world.next_event()
            timer = self._scheduled[0].when() if self._scheduled else None
            if timer is not None and (event is None or timer <= event):
                world.now = max(world.now, timer)
                handle = heapq.heappop(self._scheduled)
                handle._scheduled = False
                self._ready.append(handle)
            elif event is not None:
                world.happen()
            else:
                raise AssertionError("nothing will ever happen again")
        if world.crash_after is not None:
            if world.crash_after == 0:
                raise Crash
            world.crash_after -= 1
        handle = self._ready.popleft()
        if not handle.cancelled():
            handle._run()


def _outcome(work: Callable[..., Any], *arguments: Any) -> tuple[Any, BaseException | None]:
    try:
        return work(*arguments), None
    except Exception as error:  # noqa: BLE001 - raised where the future is awaited
        return None, error


class InlineExecutor(Executor):
    """Does all work in the thread that asks for it."""

    def __init__(self, *_: object) -> None: ...

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **more: Any) -> Future[Any]:
        future = Future[Any]()
        try:
            future.set_result(work(*arguments, **more))
        except Exception as error:  # noqa: BLE001 - raised where the future is awaited
            future.set_exception(error)
        return future
