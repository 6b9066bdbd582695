"""The connection to a Docker engine that may go away and come back at any time."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import docker
from docker.constants import DEFAULT_UNIX_SOCKET
from docker.errors import APIError, DockerException, StreamParseError
from docker.utils import kwargs_from_env
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from fetchml.adapters.docker_client import connect
from fetchml.adapters.docker_http import REQUEST_SECONDS, EngineAway, EngineHttp
from fetchml.folder_watch import Changes

if TYPE_CHECKING:
    from docker.types.daemon import CancellableStream

_HEAVY_REQUESTS = max(4, 2 * (os.cpu_count() or 1))
"""At once. A start takes a core for most of its time: more at once start no container sooner, and
cost more together."""
_FIRST_ANSWER_SECONDS = 5
_RETRY_SECONDS = (0.1, 5.0)
"""Between two tries to reach the engine: at first, and at most."""

T = TypeVar("T")


class DockerEngine:
    """Requests in the event loop; pulls in threads; one thread that follows the engine's events.

    The threads are daemons, for an engine that hangs must not keep the server from ending.

    Events only say that it is worth to look again: they are lost when the engine restarts. So
    whoever watches a container is also woken whenever the engine has come back.
    """

    def __init__(self, host: str | None) -> None:
        """`host`: as in DOCKER_HOST. None: what the environment names, or the local socket."""
        self._address: dict[str, Any] = {"base_url": host} if host else {**kwargs_from_env()}
        self._client: docker.APIClient | None = None
        self._http: EngineHttp | None = None
        self._closings: set[asyncio.Task[None]] = set()
        self._events: CancellableStream[dict[str, Any]] | None = None
        self._heavy = asyncio.Semaphore(_HEAVY_REQUESTS)
        self._closing = threading.Event()
        self._available = asyncio.Event()
        self._watchers: dict[str, set[Changes]] = {}
        self.connections = 0
        """How often the engine was found. A higher number than before: it may have restarted."""

    async def open(self, label: str, on_available: Callable[[bool, str], None]) -> None:
        """Connect, and tell of containers that carry `label` from now on."""
        self._label = label
        self._loop = asyncio.get_running_loop()
        answered = asyncio.Event()
        self._last_told: tuple[bool, str] | None = None

        def tell(available: bool, sentence: str) -> None:
            answered.set()
            if self._last_told != (available, sentence):
                self._last_told = (available, sentence)
                on_available(available, sentence)

        self._tell = tell
        self._thread = threading.Thread(target=self._follow, name="docker-events", daemon=True)
        self._thread.start()
        try:
            await asyncio.wait_for(answered.wait(), _FIRST_ANSWER_SECONDS)
        except TimeoutError:
            tell(False, "The Docker engine has not answered yet")

    @property
    def is_available(self) -> bool:
        return self._available.is_set()

    async def available(self) -> None:
        """Return when the engine answers."""
        await self._available.wait()

    async def call(self, request: Callable[[EngineHttp], Awaitable[T]]) -> T:
        """One request, or a few. Raises EngineAway, EngineRefused."""
        if self._http is None:
            raise EngineAway
        return await request(self._http)

    async def call_heavy(self, request: Callable[[EngineHttp], Awaitable[T]]) -> T:
        """The same for what takes the engine long, a few at once."""
        async with self._heavy:
            return await self.call(request)

    async def insist(self, request: Callable[[EngineHttp], Awaitable[T]]) -> T:
        """The same, again until the engine has answered: for what may be done twice."""
        while True:
            await self._available.wait()
            try:
                return await self.call(request)
            except EngineAway:
                await asyncio.sleep(_RETRY_SECONDS[0])

    async def call_long(self, request: Callable[[docker.APIClient], T]) -> T:
        """One that may take minutes, in nobody's way. Raises EngineAway; APIError when the engine
        refused."""
        client = self._client
        if client is None or not self._available.is_set():
            raise EngineAway
        future: asyncio.Future[T] = self._loop.create_future()

        def work() -> None:
            try:
                result = _ask(client, request)
            except BaseException as error:  # noqa: BLE001 - raised where it is awaited
                self._post(_fail, future, error)
            else:
                self._post(_succeed, future, result)

        threading.Thread(target=work, name="docker-request", daemon=True).start()
        return await future

    @contextmanager
    def watch(self, container: str) -> Iterator[Changes]:
        """Wake when the container has ended or is gone, and when the engine has come back."""
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
        self._closing.set()
        self._available.clear()
        self._forget_http()
        await asyncio.gather(*self._closings, asyncio.to_thread(self._close))

    def _close(self) -> None:
        if self._events is not None:
            with suppress(OSError, AttributeError):
                self._events.close()
        self._thread.join(_FIRST_ANSWER_SECONDS)

    # In the events thread:

    def _follow(self) -> None:
        pause = _RETRY_SECONDS[0]
        while not self._closing.is_set():
            try:
                with closing(connect(REQUEST_SECONDS, **self._address)) as client:
                    pause = _RETRY_SECONDS[0]
                    self._follow_events(client)
            except Exception as error:  # noqa: BLE001 - whatever it was, the engine is looked for
                self._post(self._lost, _reason(error))
            if self._closing.wait(pause):
                return
            pause = min(2 * pause, _RETRY_SECONDS[1])

    def _follow_events(self, client: docker.APIClient) -> None:
        version = client.version()["Version"]
        # First the stream, then the news that the engine is back: who looks then misses nothing.
        self._events = client.events(
            decode=True,
            filters={"type": "container", "event": ["die", "destroy"], "label": self._label},
        )
        if self._closing.is_set():  # too late for `close` to end the stream
            return
        self._post(self._found, client, version)
        for event in self._events:
            name = event.get("Actor", {}).get("Attributes", {}).get("name", "")
            self._post(self._wake, name)

    def _post(self, function: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(function, *arguments)

    # In the event loop:

    def _found(self, client: docker.APIClient, version: str) -> None:
        self.connections += 1
        self._client = client
        self._forget_http()
        self._http = EngineHttp(client)
        self._available.set()
        self._tell(True, f"Docker engine {version}")
        for container in list(self._watchers):
            self._wake(container)

    def _lost(self, reason: str) -> None:
        self._available.clear()
        self._forget_http()
        where = self._address.get("base_url") or DEFAULT_UNIX_SOCKET.removeprefix("http+")
        self._tell(False, f"The Docker engine does not answer at {where}: {reason}")

    def _forget_http(self) -> None:
        """Ends the requests under way: the engine is away, or another one is there."""
        if self._http is not None:
            closing = asyncio.create_task(self._http.close())
            self._closings.add(closing)
            closing.add_done_callback(self._closings.discard)
            self._http = None

    def _wake(self, container: str) -> None:
        for changes in self._watchers.get(container, ()):
            changes.wake()


def _ask(client: docker.APIClient, request: Callable[[docker.APIClient], T]) -> T:
    try:
        return request(client)
    except APIError:
        raise
    except (DockerException, StreamParseError, RequestException, HTTPError) as error:
        raise EngineAway from error


def _succeed(future: asyncio.Future[T], result: T) -> None:
    if not future.done():  # nor cancelled
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def _reason(error: BaseException) -> str:
    """What the operating system said, far down in what the libraries made of it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error)
