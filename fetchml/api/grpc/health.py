"""The standard health service.

The implementation in `grpc_health` holds a lock while it writes to a watcher, so a client without a
key that reads nothing would block all health checks and the shutdown. This one shares nothing.
"""
# ruff: noqa: N802  # methods have the RPCs' names

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from fetchml.errors import NotFound

_Response = health_pb2.HealthCheckResponse


class HealthService(health_pb2_grpc.HealthServicer):
    """Reports the server's health for each service. `""` names the server as a whole."""

    def __init__(
        self, services: frozenset[str], accepts_work: Callable[[], bool], *, every: float = 1.0
    ) -> None:
        """`every`: seconds between two checks for a watcher."""
        self._services = services | {""}
        self._accepts_work = accepts_work
        self._every = every

    async def Check(self, request: Any, context: Any) -> Any:
        status = self._status(request.service)
        if status == _Response.SERVICE_UNKNOWN:
            raise NotFound("No such service")
        return _Response(status=status)

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        sent = None
        while True:
            status = self._status(request.service)
            if status != sent:
                yield _Response(status=status)
                sent = status
            await asyncio.sleep(self._every)

    def _status(self, service: str) -> int:
        if service not in self._services:
            return int(_Response.SERVICE_UNKNOWN)
        return int(_Response.SERVING if self._accepts_work() else _Response.NOT_SERVING)
