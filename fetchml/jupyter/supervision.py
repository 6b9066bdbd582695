"""Supervision of all Jupyter services: of live ones, and of ended ones until their removal."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from functools import partial

from msgspec.structs import replace

from fetchml.core import jupyter
from fetchml.core.jupyter import Service
from fetchml.core.model import Server, Task
from fetchml.engine.service_tasks import ServiceTasks
from fetchml.files.folder_events import FolderEvents
from fetchml.jupyter.records import ServiceRecords
from fetchml.jupyter.supervisor import ServiceSupervisor
from fetchml.ports.jupyter import JupyterClient, JupyterLink, JupyterPlace
from fetchml.system.background import BackgroundWork, every

MAX_ENDED = 1_000
"""Ended services that are kept: all are in memory, and in one reply that lists them."""
KEPT_MS = 7 * 86_400_000
"""Time for which an ended service is shown."""
PRUNE_SECONDS = 3600
RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 30.0

log = logging.getLogger(__name__)


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
        """Supervise a service until it has ended and its last words are stored."""

        async def stop(reason: str) -> None:
            await self._tasks.cancel(record.id, Server(reason))

        self._supervisors[record.id] = supervisor = ServiceSupervisor(
            record,
            self._records.task_of(record),
            idle_ms=self._idle_ms,
            client=self._client,
            watch_folders=self._watch_folders,
            place=partial(self._place, record),
            clock=self._clock,
            stop=stop,
        )
        self._driving.start(self._drive(record, supervisor))

    def _place(self, record: Service, task: Task) -> JupyterPlace:
        return JupyterPlace(
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
                await self._records.change(self._keep_last_words, record)
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

    async def _keep_last_words(self, record: Service) -> None:
        log_tail = await self._tasks.log_tail(self._records.task_of(record))
        words = jupyter.last_words(log_tail, record.token)
        await self._records.update(replace(record, last_words=words))

    async def _remove(self, record: Service) -> None:
        if self._records.get(record.id) is None:
            return
        # The files first: with the record they are found again, should the server end here.
        await self._tasks.remove_files(record.id)
        await self._records.remove(record)
