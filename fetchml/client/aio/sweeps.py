"""The calls for sweeps."""

from collections.abc import Mapping
from typing import Unpack

from fetchml.client import sweep_rpcs
from fetchml.client.aio.access import AsyncAccess
from fetchml.client.sweep_rpcs import SweepFields, Values
from fetchml.v1.sweep_pb2 import ListBestTasksResponse, ListSweepsResponse, Sweep
from fetchml.v1.task_pb2 import CreateTaskRequest


class AsyncSweeps(AsyncAccess):
    async def create_sweep(
        self,
        task: CreateTaskRequest,
        parameters: Mapping[str, Values],
        **fields: Unpack[SweepFields],
    ) -> Sweep:
        """Create a sweep with all of its tasks; returns once the server has stored it. Retries
        never create a second one.

        `{lr}` in `args`, `command` and values of `env` of the task stands for the parameter `lr`.
        `parameters` has a list of values for each, or a SweepParameter.
        """
        return await self.call(sweep_rpcs.create_sweep(task, parameters, fields))

    async def validate_sweep(
        self,
        task: CreateTaskRequest,
        parameters: Mapping[str, Values],
        **fields: Unpack[SweepFields],
    ) -> Sweep:
        """Check a sweep as `create_sweep` does, and create nothing. Returns it without id, with
        its `total` and its first five `tasks`."""
        rpc = sweep_rpcs.create_sweep(task, parameters, fields, validate_only=True)
        return await self.call(rpc)

    async def sweeps(
        self, *, user_id: str = "", limit: int | None = None, offset: int | None = None
    ) -> ListSweepsResponse:
        """Return sweeps, newest first, at most `limit` (50 by default), and the `total`."""
        return await self.call(sweep_rpcs.list_sweeps(user_id, limit, offset))

    async def get_sweep(self, sweep_id: str) -> Sweep:
        """Return a sweep with the number of its tasks by status. `list(sweep_id=…)` yields
        them."""
        return await self.call(sweep_rpcs.get_sweep(sweep_id))

    async def cancel_sweep(self, sweep_id: str) -> int:
        """Cancel all tasks of a sweep that have not ended. Returns their number."""
        return (await self.call(sweep_rpcs.cancel_sweep(sweep_id))).tasks

    async def retry_sweep(self, sweep_id: str) -> int:
        """Submit the failed tasks of a sweep again, cancelled ones included. Returns their
        number."""
        return (await self.call(sweep_rpcs.retry_sweep(sweep_id))).tasks

    async def best_of_sweep(
        self, sweep_id: str, metric: str, *, goal: str = "min", limit: int | None = None
    ) -> ListBestTasksResponse:
        """Return the completed tasks with the best values of a metric, at most `limit` (10 by
        default). `goal` is `min` or `max`."""
        return await self.call(sweep_rpcs.list_best_tasks(sweep_id, metric, goal, limit))
