"""Supervision of Jupyter services: each from its task's start to its end."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial

from msgspec.structs import replace

from fetchml.core import jupyter
from fetchml.core.jupyter import Idle, Service
from fetchml.core.model import ENDED, Server, Status, Task
from fetchml.engine.service_tasks import ServiceTasks
from fetchml.files.folder_events import FolderEvents
from fetchml.jupyter.records import ServiceRecords
from fetchml.ports.jupyter import JupyterClient, JupyterEndpoint, JupyterLink, JupyterSilent
from fetchml.system.background import BackgroundWork, every

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
"""Interval of the checks whether Jupyter responds."""

log = logging.getLogger(__name__)


class ServiceSupervisor:
    """Waits until Jupyter responds, follows its activity, and stops it when it is idle."""

    def __init__(
        self,
        record: Service,
        task: Task,
        *,
        idle_ms: int,
        client: JupyterClient,
        watch_folders: FolderEvents,
        endpoint: Callable[[Task], JupyterEndpoint],
        clock: Callable[[], int],
        stop: Callable[[str], Awaitable[None]],
    ) -> None:
        """`endpoint` returns where the task's attempt runs. `stop` ends the service for the reason
        that it is given."""
        self.link: JupyterLink | None = None
        """`None` until Jupyter responds, and after its processes have ended."""
        self.last_activity: int | None = None
        self._record = record
        self._task = task
        self._idle_ms = idle_ms
        self._client = client
        self._watch_folders = watch_folders
        self._endpoint = endpoint
        self._clock = clock
        self._stop = stop
        self._idle = Idle()
        self._runs = asyncio.Event()
        self._over = asyncio.Event()
        """Set when no process of the service is left."""
        self._ended = asyncio.Event()
        self.task_changed(task)

    @property
    def stops_at(self) -> int | None:
        """When the service is stopped unless there is activity; `None` if it is in use."""
        return self._idle.stops_at

    def task_changed(self, task: Task) -> None:
        self._task = task
        if task.status is Status.RUNNING:
            self._runs.set()
        elif task.status is Status.COLLECTING:
            self._over.set()
        elif task.status in ENDED:
            self._over.set()
            self._ended.set()

    def note_use(self) -> None:
        """Count a change that a person has just made as activity."""
        self.last_activity = self._clock()
        self._take_warning_back()

    async def run(self) -> None:
        """Return when the task has ended. After an error this may be called again."""
        over = asyncio.create_task(self._over.wait())
        following = asyncio.create_task(self._follow())
        try:
            await asyncio.wait({over, following}, return_when=asyncio.FIRST_COMPLETED)
            if not over.done():
                following.result()
                await over
        finally:
            over.cancel()
            following.cancel()
            await asyncio.gather(over, following, return_exceptions=True)
            self._close_link()
        await self._ended.wait()

    async def _follow(self) -> None:
        """Return when the service was stopped for being idle."""
        await self._runs.wait()
        self.link = link = await self._wait_for_answer()
        self.last_activity = self._clock()
        log.info("jupyter answers", extra=self._extra)
        while True:
            await self._check(link)
            if self._idle.now:
                break
            pause = jupyter.next_check_ms(self._clock(), self._idle_ms, self._idle)
            await asyncio.sleep(pause / 1000)
        reason = jupyter.describe_idle(self._idle_ms)
        log.warning("jupyter is stopped: %s", reason, extra=self._extra)
        await self._stop(reason)

    async def _wait_for_answer(self) -> JupyterLink:
        endpoint = self._endpoint(self._task)
        pause = FIRST_PAUSE_SECONDS
        async with self._watch_folders.subscribe(endpoint.run_folder) as changes:
            while True:
                link = await self._open(endpoint)
                if link is None:
                    # A container may make files there without end: not a turn for each of them.
                    await asyncio.sleep(FIRST_PAUSE_SECONDS)
                    with suppress(TimeoutError):  # What a node does causes no event.
                        async with asyncio.timeout(LONGEST_PAUSE_SECONDS):
                            await changes.wait()
                    continue
                try:
                    answers = await self._client.answers(link)
                except BaseException:
                    link.close()
                    raise
                if answers:
                    return link
                link.close()
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _open(self, endpoint: JupyterEndpoint) -> JupyterLink | None:
        try:
            return await self._client.open_link(endpoint)
        except OSError as error:
            log.debug("cannot reach jupyter: %s", error, extra=self._extra)
            return None

    async def _check(self, link: JupyterLink) -> None:
        """Update the activity and its consequences. A silent Jupyter leaves them as they are."""
        try:
            activity = await self._client.activity(link)
        except JupyterSilent as silent:
            log.debug("jupyter is silent: %s", silent, extra=self._extra)
            return
        now = self._clock()
        last = now if activity.busy else min(activity.last or 0, now)
        self.last_activity = last = max(self.last_activity or 0, last)
        idle = jupyter.idle(now, last, self._idle_ms, self._idle)
        if idle.stops_at is None:
            self._take_warning_back()
        elif self._idle.stops_at is None:
            seconds = (idle.stops_at - now) // 1000
            log.warning("jupyter is idle and will be stopped in %d s", seconds, extra=self._extra)
        self._idle = idle

    def _take_warning_back(self) -> None:
        if self._idle.stops_at is not None:
            log.info("jupyter is used again", extra=self._extra)
        self._idle = Idle()

    def _close_link(self) -> None:
        self._idle = Idle()
        if self.link is not None:
            self.link.close()
            self.link = None

    @property
    def _extra(self) -> dict[str, str]:
        return {"service_id": self._record.id, "user": self._record.user}


MAX_ENDED = 1_000
"""Ended services that are kept: all are in memory, and in one reply that lists them."""
KEPT_MS = 7 * 86_400_000
"""Time for which an ended service is shown."""
PRUNE_SECONDS = 3600
RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 30.0


class Supervision:
    """Has one supervisor for each live service. Used from one event loop."""

    def __init__(
        self,
        records: ServiceRecords,
        tasks: ServiceTasks,
        client: JupyterClient,
        watch_folders: FolderEvents,
        *,
        idle_ms: int,
        clock: Callable[[], int],
    ) -> None:
        self._records = records
        self._tasks = tasks
        self._client = client
        self._watch_folders = watch_folders
        self._idle_ms = idle_ms
        self._clock = clock
        self._supervisors: dict[str, ServiceSupervisor] = {}
        self._driving = BackgroundWork()

    def of(self, service_id: str) -> ServiceSupervisor | None:
        """Return the service's supervisor; `None` if it has ended or does not exist."""
        return self._supervisors.get(service_id)

    def link(self, service_id: str) -> JupyterLink | None:
        """Return the link to the service; `None` if it does not exist or does not answer."""
        supervisor = self.of(service_id)
        return supervisor.link if supervisor is not None else None

    def note_use(self, service_id: str) -> None:
        """Count a change that a person has just made as activity."""
        if supervisor := self.of(service_id):
            supervisor.note_use()

    def task_changed(self, task: Task) -> None:
        if supervisor := self.of(task.id):
            supervisor.task_changed(task)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While inside, live services are supervised and old ones are removed."""
        for record in list(self._records):
            if self._records.is_live(record) or record.last_words is None:
                self.begin(record)
        try:
            async with every(PRUNE_SECONDS, self.prune, failure="old services cannot be removed"):
                yield
        finally:
            await self._driving.cancel()
            await self._records.settled()

    def begin(self, record: Service) -> None:
        """Supervise a service until it has ended and the end of its log is stored."""

        async def stop(reason: str) -> None:
            await self._tasks.cancel(record.id, Server(reason))

        self._supervisors[record.id] = supervisor = ServiceSupervisor(
            record,
            self._records.task_of(record),
            idle_ms=self._idle_ms,
            client=self._client,
            watch_folders=self._watch_folders,
            endpoint=partial(self._endpoint, record),
            clock=self._clock,
            stop=stop,
        )
        self._driving.start(self._drive(record, supervisor))

    def _endpoint(self, record: Service, task: Task) -> JupyterEndpoint:
        return JupyterEndpoint(
            record.id,
            task.attempt,
            self._tasks.attempt(task).run,
            record.token,
            self._records.relay_secret(task),
        )

    async def prune(self) -> None:
        """Remove services that ended long ago, and the oldest if too many have ended. Their
        workspaces stay."""
        ended = [
            each
            for each in self._records
            if not self._records.is_live(each) and each.id not in self._supervisors
        ]
        before = self._clock() - KEPT_MS
        surplus = max(0, len(ended) - MAX_ENDED)
        for number, record in enumerate(ended):
            if number < surplus or (self._records.task_of(record).ended_at or 0) < before:
                await self._records.change(self._remove, record)

    async def _drive(self, record: Service, supervisor: ServiceSupervisor) -> None:
        pause = RETRY_SECONDS
        while True:
            try:
                await supervisor.run()
                await self._records.change(self._store_last_line, record)
                break
            except Exception:
                log.exception(
                    "the supervision of a service failed and is started again",
                    extra={"service_id": record.id},
                )
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_RETRY_SECONDS)
        del self._supervisors[record.id]
        if len(self._records) > MAX_ENDED:
            await self.prune()

    async def _store_last_line(self, record: Service) -> None:
        log_tail = await self._tasks.log_tail(self._records.task_of(record))
        words = jupyter.last_words(log_tail, record.token)
        await self._records.update(replace(record, last_words=words))

    async def _remove(self, record: Service) -> None:
        if self._records.get(record.id) is None:
            return
        # The files first: with the record they are found again, should the server end here.
        await self._tasks.remove_files(record.id)
        await self._records.remove(record)
