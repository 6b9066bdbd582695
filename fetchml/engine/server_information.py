"""What the server reports about itself: its settings for clients, and its diagnosis."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import fetchml
from fetchml.core.model import Principal
from fetchml.core.permissions import AdminOnly, refusal
from fetchml.core.requests.submission import SubmissionRules
from fetchml.core.state import State
from fetchml.errors import forbid
from fetchml.ports.gpu import GpuInventory, GpuState
from fetchml.views import Finding, Quotas, ServerInfo


class ServerInformation:
    def __init__(
        self,
        state: State,
        rules: SubmissionRules,
        *,
        launcher: str,
        dataset_names: Callable[[], Awaitable[Sequence[str]]],
        jupyter_images: Sequence[str],
        user_storage_bytes: int,
        private: bool,
        environments: bool,
    ) -> None:
        self._state = state
        self._rules = rules
        self._launcher = launcher
        self._dataset_names = dataset_names
        self._jupyter_images = jupyter_images
        self._user_storage_bytes = user_storage_bytes
        self._private = private
        self._environments = environments

    async def get(self, who: Principal) -> ServerInfo:
        defaults, limits, capacity = self._rules.defaults, self._state.limits, self._state.capacity
        return ServerInfo(
            version=fetchml.__version__,
            launcher=self._launcher,
            image=defaults.image,
            command=defaults.command,
            allow_images=self._rules.allow_images,
            cpu=capacity.cpu,
            memory_gb=capacity.memory_gb,
            gpu=capacity.gpu,
            max_running=limits.max_running,
            preemption=limits.preemption,
            task_limits=defaults.limits,
            max_retries=defaults.max_retries,
            quotas=Quotas(
                gpus=limits.user_gpus,
                running=limits.user_running,
                queued=limits.user_queued,
                queued_bytes=limits.user_queued_bytes,
                storage_bytes=self._user_storage_bytes,
            ),
            datasets=await self._dataset_names(),
            jupyter_images=self._jupyter_images,
            volumes=[n for n, each in self._rules.volumes.items() if each.is_for(who.user)],
            private=self._private,
            user=who.user,
            role=who.role,
            environments=self._environments,
        )


FRESH_SECONDS = 5
"""Age up to which findings are returned again: the checks ask Docker and read the disk."""

Examine = Callable[[GpuState | None], Sequence[Finding]]
"""Runs all checks; blocks for seconds. The argument is `None` on a server with plain slots."""


def examine_nothing(_: GpuState | None) -> Sequence[Finding]:
    return ()


class Diagnosis:
    """Used from one event loop."""

    def __init__(
        self,
        examine: Examine,
        inventory: GpuInventory | None,
        own: Callable[[], Sequence[Finding]] = tuple,
    ) -> None:
        """`own`: findings that need no look at the host."""
        self._examine = examine
        self._own = own
        self._inventory = inventory
        self._one = asyncio.Lock()
        self._found: tuple[float, Sequence[Finding]] | None = None
        """When the last examination ended, by the monotonic clock, and its findings."""

    async def run(self, who: Principal) -> Sequence[Finding]:
        """Examine the host; callers at the same time share one examination. Raises Forbidden."""
        forbid(refusal(who, AdminOnly.FINDINGS))
        async with self._one:
            if self._found is None or time.monotonic() - self._found[0] > FRESH_SECONDS:
                gpus = None if self._inventory is None else self._inventory.state
                found = await asyncio.to_thread(self._examine, gpus)
                self._found = time.monotonic(), found
            return [*self._found[1], *self._own()]
