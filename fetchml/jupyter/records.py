"""Records of Jupyter services, with the secrets that they derive from the server's key.

The key is `<data-dir>/jupyter.key`; the secrets are stored nowhere. A copy of the database alone,
such as a backup, opens no running service.
"""

import asyncio
import base64
import hmac
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec.structs import replace

from fetchml.core import permissions
from fetchml.core.jupyter import Service
from fetchml.core.model import ENDED, Principal, Server, Task
from fetchml.engine.service_tasks import ServiceTasks
from fetchml.errors import NotFound
from fetchml.files import own_file
from fetchml.files.layout import JUPYTER_KEY
from fetchml.ports.store import Store
from fetchml.records import RecordSet


def load_key(data_dir: Path) -> bytes:
    """Return the key; see `own_file.load_key`. Raises OSError."""
    return own_file.load_key(data_dir / JUPYTER_KEY)


def token_of(key: bytes, service_id: str) -> str:
    """Return the token of a service: 43 characters that cannot be guessed without the key."""
    digest = hmac.digest(key, service_id.encode(), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def relay_secret(key: bytes, service_id: str, attempt: int) -> bytes:
    """Return the secret that the server shares with an attempt's relay on a node of a cluster."""
    return hmac.digest(key, f"relay {service_id} {attempt}".encode(), "sha256")


KIND = "service"

log = logging.getLogger(__name__)


class ServiceRecords:
    """All services that are shown, live and ended. Used from one event loop."""

    def __init__(
        self, store: Store, tasks: ServiceTasks, *, private: bool, token_key: Callable[[], bytes]
    ) -> None:
        """`token_key` is called by `load`; raises OSError."""
        self._records = RecordSet(store, KIND, Service, lambda each: each.id, stored=self._stored)
        self.change = self._records.change
        self.settled = self._records.settled
        self._tasks = tasks
        self._private = private
        self._load_token_key = token_key
        self._token_key = b""
        self._task_of: dict[str, Task] = {}
        self._is_loaded = False

    async def load(self) -> None:
        """Read all records from the open store, and cancel live tasks that have none."""
        self._token_key = await asyncio.to_thread(self._load_token_key)
        await self._records.load(self._with_task)
        for task in self._tasks.live():
            if task.id not in self._records:
                log.error("a service's record was not found", extra={"service_id": task.id})
                await self._tasks.cancel(
                    task.id, Server("the server, because its record was not found")
                )
        self._is_loaded = True

    def __iter__(self) -> Iterator[Service]:
        """Oldest first."""
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def get(self, service_id: str) -> Service | None:
        return self._records.get(service_id)

    def find(self, who: Principal, service_id: str) -> Service:
        """Return the record if `who` may see it. Raises NotFound."""
        record = self._records.get(service_id)
        if record is None or not permissions.may_see(who, record, private=self._private):
            raise NotFound(f"Jupyter service {service_id[:64]!r} not found")
        return record

    def seen_by(self, who: Principal) -> Iterator[Service]:
        """Newest first."""
        for record in self._records.newest_first():
            if permissions.may_see(who, record, private=self._private):
                yield record

    def task_of(self, record: Service) -> Task:
        return self._task_of[record.id]

    def is_live(self, record: Service) -> bool:
        return self.task_of(record).status not in ENDED

    def live(self) -> Iterator[Service]:
        return filter(self.is_live, self._records)

    def token_of(self, service_id: str) -> str:
        return token_of(self._token_key, service_id)

    def relay_secret(self, task: Task) -> bytes:
        return relay_secret(self._token_key, task.id, task.attempt)

    async def add(self, record: Service, task: Task) -> None:
        """Add a service; its record is durable on return."""
        await self._records.put(record)
        self._task_of[record.id] = task

    async def update(self, record: Service) -> None:
        """Replace a record; durable on return."""
        await self._records.put(record)

    async def remove(self, record: Service) -> None:
        await self._records.remove(record.id)
        del self._task_of[record.id]

    def task_changed(self, task: Task) -> None:
        """Note the newest version of a service's task."""
        # A change during `load` is newer than what `load` finds in the store.
        if task.id in self._records or not self._is_loaded:
            self._task_of[task.id] = task

    async def _with_task(self, stored: Service) -> Service | None:
        task = await self._tasks.find(stored.id)
        if task is None:  # The server ended before the task was durable.
            return None
        self._task_of.setdefault(stored.id, task)
        return replace(stored, token=stored.token or self.token_of(stored.id))

    def _stored(self, record: Service) -> Service:
        """Without the token, so that a copy of the database opens no service."""
        if record.token == self.token_of(record.id):
            return replace(record, token="")
        return record
