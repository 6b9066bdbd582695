"""The machine's GPUs through NVIDIA's library, which may be slow, hang, or disappear."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from fetchml.adapters.nvml.reader import GpuReader, unknown
from fetchml.core.gpus.allocator import Obstacle
from fetchml.ports.gpu import GpuState, OwnerOf
from fetchml.system.threads import WorkerThread

_EVERY_SECONDS = 2.0
_SILENT_SECONDS = 10.0
"""After this time without an answer the driver is reported as silent."""
_CHECK_SECONDS = 1.0
"""Longest wait for a task's memory. It is free when the processes are gone, but drivers may take a
little longer."""
_CHECK_PAUSE_SECONDS = 0.002
SILENT = "no response from the NVIDIA driver"

log = logging.getLogger(__name__)

T = TypeVar("T")


class NvmlInventory:
    """`GpuInventory` through NVML.

    One thread takes readings and another checks GPUs, so that a check does not wait for a reading.
    A third receives errors. All are daemons: a driver that hangs must not keep the server from
    exiting.
    """

    def __init__(
        self, *, every_seconds: float = _EVERY_SECONDS, silent_seconds: float = _SILENT_SECONDS
    ) -> None:
        self._every = every_seconds
        self._silent = silent_seconds
        self._state = GpuState(problem="not checked yet")
        self._wake = asyncio.Event()
        self._requests: list[asyncio.Future[GpuState]] = []

    @property
    def state(self) -> GpuState:
        return self._state

    async def open(self, on_change: Callable[[GpuState], None], owner_of: OwnerOf) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = GpuReader(owner_of, self._read_soon)
        self._on_change = on_change
        self._read_thread = WorkerThread("nvml-read")
        self._check_thread = WorkerThread("nvml-check")
        self._reported: object = None
        self._reading = asyncio.create_task(self._read_repeatedly())
        await self.refresh()

    async def refresh(self) -> GpuState:
        request: asyncio.Future[GpuState] = self._loop.create_future()
        self._requests.append(request)
        self._wake.set()
        return await request

    async def check(
        self, uuids: Sequence[str], holders: Collection[str] = ()
    ) -> Mapping[str, Obstacle | None]:
        obstacles: dict[str, Obstacle | None] = {}
        left, pause = list(uuids), _CHECK_PAUSE_SECONDS
        give_up = self._loop.time() + _CHECK_SECONDS
        while True:
            faults = self._check_thread.call(self._reader.faults, left, holders)
            done, _ = await asyncio.wait([faults], timeout=self._silent)
            obstacles |= _check_result(faults, left)
            left = [uuid for uuid, reason in obstacles.items() if reason]
            if not done or not left or self._loop.time() > give_up:
                break
            await asyncio.sleep(pause)
            pause *= 2
        if left:
            self._wake.set()
        return obstacles

    def forgive(self, uuid: str) -> None:
        self._reader.forgive(uuid)
        self._wake.set()

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        for request in self._requests:
            request.cancel()
        closed = self._read_thread.call(self._reader.close)
        await asyncio.wait([closed], timeout=self._silent)
        self._read_thread.end()
        self._check_thread.end()

    async def _read_repeatedly(self) -> None:
        while True:
            requests, self._requests = self._requests, []
            self._wake.clear()
            reading = self._read_thread.call(self._reader.read)
            done, _ = await asyncio.wait([reading], timeout=self._silent)
            if not done:
                log.error("%s; no GPU is assigned until it responds", SILENT)
                self._publish(self._reader.silent(self._state, SILENT), requests)
                await asyncio.wait([reading])
            try:
                state = reading.result()
            except Exception as error:
                log.exception("The GPUs could not be read")
                state = self._reader.silent(self._state, f"they could not be read: {error}")
            self._publish(state, requests)
            if not self._requests:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._every):
                        await self._wake.wait()

    def _publish(self, state: GpuState, requests: list[asyncio.Future[GpuState]]) -> None:
        self._state = state
        reported = (state.gpus, state.driver, state.problem, state.notes)
        if self._reported != reported:
            self._reported = reported
            self._on_change(state)
        for future in requests:
            if not future.done():
                future.set_result(state)

    def _read_soon(self) -> None:
        """Called in the events thread."""
        with suppress(RuntimeError):  # The loop is closed, so nothing waits.
            self._loop.call_soon_threadsafe(self._wake.set)


def _check_result(
    checking: asyncio.Future[dict[str, Obstacle | None]], uuids: Sequence[str]
) -> dict[str, Obstacle | None]:
    """Return the result of a check; without an answer no GPU is healthy."""
    if not checking.done():
        return dict.fromkeys(uuids, unknown(SILENT))
    if error := checking.exception():
        log.error("GPUs could not be checked", exc_info=error)
        return dict.fromkeys(uuids, unknown(f"it could not be checked: {error}"))
    return checking.result()
