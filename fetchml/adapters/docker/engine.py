"""The connection to a Docker engine, which may go away and come back at any time."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from fetchml.adapters.docker.engine_http import (
    DEFAULT_HOST,
    EngineAddress,
    EngineHttp,
    EngineUnavailable,
)
from fetchml.files.folder_events import Changes
from fetchml.system.threads import resolve

if TYPE_CHECKING:
    import docker

_HEAVY_REQUESTS = max(4, 2 * (os.cpu_count() or 1))
"""Maximum number at once. A start takes a core for most of its time: more at once start no
container sooner, and cost more in total."""
_FIRST_ANSWER_SECONDS = 5
_RETRY_SECONDS = (0.1, 5.0)
"""Between two tries to reach the engine: the first and the longest pause."""

T = TypeVar("T")


class DockerEngine:
    """Sends requests in the event loop, follows the engine's events, and pulls images in threads.

    The threads are daemons: an engine that hangs must not keep the server from exiting.

    Events only show that it is worth to look again: they are lost when the engine restarts. So
    every subscriber of a container is also woken whenever the engine has come back.
    """

    def __init__(self, host: str | None) -> None:
        """`host`: as in DOCKER_HOST. None: what the environment names, or the local socket."""
        self._host = host
        self._http: EngineHttp | None = None
        self._heavy = asyncio.Semaphore(_HEAVY_REQUESTS)
        self._available = asyncio.Event()
        self._watchers: dict[str, set[Changes]] = {}
        self.connections = 0
        """Number of connections so far. A higher number than before: the engine may have
        restarted."""

    async def open(self, label: str, on_available: Callable[[bool, str], None]) -> None:
        """Connect, and follow the containers with `label` from now on."""
        self._label = label
        self._loop = asyncio.get_running_loop()
        answered = asyncio.Event()
        self._last_reported: tuple[bool, str] | None = None

        def report(available: bool, sentence: str) -> None:
            answered.set()
            if self._last_reported != (available, sentence):
                self._last_reported = (available, sentence)
                on_available(available, sentence)

        self._report = report
        self._following = asyncio.create_task(self._follow())
        try:
            async with asyncio.timeout(_FIRST_ANSWER_SECONDS):
                await answered.wait()
        except TimeoutError:
            report(False, "No response from the Docker engine yet")

    @property
    def is_available(self) -> bool:
        return self._available.is_set()

    async def available(self) -> None:
        """Wait until the engine responds."""
        await self._available.wait()

    async def call(self, request: Callable[[EngineHttp], Awaitable[T]]) -> T:
        """Run one request, or a few. Raises EngineUnavailable, EngineRefused."""
        if self._http is None:
            raise EngineUnavailable
        return await request(self._http)

    async def call_heavy(self, request: Callable[[EngineHttp], Awaitable[T]]) -> T:
        """Run a request that is expensive for the engine, a few at once."""
        async with self._heavy:
            return await self.call(request)

    async def insist(self, request: Callable[[EngineHttp], Awaitable[T]]) -> T:
        """Repeat a request until the engine responds. It must be safe to repeat."""
        while True:
            await self._available.wait()
            try:
                return await self.call(request)
            except EngineUnavailable:
                await asyncio.sleep(_RETRY_SECONDS[0])

    async def call_long(self, request: "Callable[[docker.APIClient], T]") -> T:
        """Run a request that may take minutes in a separate thread. Raises EngineUnavailable."""
        if not self._available.is_set():
            raise EngineUnavailable
        future: asyncio.Future[T] = self._loop.create_future()

        def ask() -> T:
            from fetchml.adapters.docker import sdk  # noqa: PLC0415 - see address.py

            return sdk.ask(self._host, request)

        work = partial(resolve, future, ask)
        threading.Thread(target=work, name="docker-request", daemon=True).start()
        return await future

    @contextmanager
    def watch(self, container: str) -> Iterator[Changes]:
        """Wake when the container has ended or is gone, and when the engine is back."""
        changes = Changes()
        watchers = self._watchers.setdefault(container, set())
        watchers.add(changes)
        try:
            yield changes
        finally:
            watchers.discard(changes)
            if not watchers:
                self._watchers.pop(container, None)

    async def close(self) -> None:
        """End the requests under way."""
        self._following.cancel()
        await asyncio.wait([self._following])

    async def _follow(self) -> None:
        """Connect to the engine and follow its events, until cancelled."""
        pause = _RETRY_SECONDS[0]
        while True:
            try:
                http = EngineHttp(EngineAddress.find(self._host))
                try:
                    version = await http.agree()
                    pause = _RETRY_SECONDS[0]
                    await self._follow_events(http, version)
                finally:
                    # Running requests end here: the engine is unavailable, or was replaced.
                    self._available.clear()
                    self._http = None
                    await http.close()
            except Exception as error:  # noqa: BLE001 - whatever it was, the engine is looked for
                where = self._host or os.environ.get("DOCKER_HOST") or DEFAULT_HOST
                why = _reason(error)
                self._report(False, f"Cannot reach the Docker engine at {where}: {why}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _RETRY_SECONDS[1])

    async def _follow_events(self, http: EngineHttp, version: str) -> None:
        """Raises EngineUnavailable when they end."""
        filters = {"type": ["container"], "event": ["die", "destroy"], "label": [self._label]}
        async with http.events(filters) as events:
            # First the stream, then the announcement that the engine is back, so that no event is
            # missed.
            self.connections += 1
            self._http = http
            self._available.set()
            self._report(True, f"Docker engine {version}")
            for container in list(self._watchers):
                self._wake(container)
            async for event in events:
                self._wake(event.get("Actor", {}).get("Attributes", {}).get("name", ""))
        raise EngineUnavailable("it closed the connection")

    def _wake(self, container: str) -> None:
        for changes in self._watchers.get(container, ()):
            changes.wake()


def _reason(error: BaseException) -> str:
    """Return the operating system's error, which libraries wrap several times."""
    cause: BaseException | None = error
    last = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        last, cause = cause, cause.__cause__ or cause.__context__
    return str(error) or str(last) or type(last).__name__
