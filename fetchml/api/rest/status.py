"""Status of the server over REST: health, probes, queue, metrics, and the API's description."""

import time
from functools import partial

from aiohttp import web

import fetchml
from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.mappings import ESTIMATE, QUEUE
from fetchml.api.rest.description import description
from fetchml.api.rest.metrics import Metrics, ServerState
from fetchml.api.task_json import health_json, task_json
from fetchml.engine.engine import Engine
from fetchml.engine.gpus.gpus import Gpus
from fetchml.environments.kept import KeptEnvironments
from fetchml.errors import Unavailable
from fetchml.user_secrets.service import UserSecrets
from fetchml.views import WaitingTask


class ServerOperations:
    def __init__(
        self,
        engine: Engine,
        gpus: Gpus,
        secrets: UserSecrets,
        environments: KeptEnvironments,
        metrics: Metrics,
    ) -> None:
        self._engine = engine
        self._gpus = gpus
        self._secrets = secrets
        self._environments = environments
        self._metrics = metrics
        self._openapi = description().encode()

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/health", self.health, keyless=True),
            Route("GET", "/livez", self.health, keyless=True),
            Route("GET", "/readyz", self.ready, keyless=True),
            Route("GET", "/openapi.yaml", self.openapi, keyless=True),
            Route("GET", "/v1/queue", self.queue),
            Route("GET", "/v1/queue/waiting", self.waiting),
            Route("GET", "/metrics", self.metrics),
        ]

    async def health(self, request: RestRequest) -> web.StreamResponse:
        """Return 200 in every state, with the state in the body (contract reading 27)."""
        now_ms = time.time_ns() // 1_000_000
        return request.json(health_json(self._engine.status.health(), fetchml.__version__, now_ms))

    async def ready(self, request: RestRequest) -> web.StreamResponse:
        health = self._engine.status.health()
        if not health.accepts_work:
            raise Unavailable(f"Not ready: {'; '.join(health.reasons)}")
        return await self.health(request)

    async def openapi(self, request: RestRequest) -> web.StreamResponse:
        return request.raw(self._openapi, {"Content-Type": "application/yaml"})

    async def queue(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http)
        stats = await self._engine.status.queue_stats(request.principal)
        return request.json(QUEUE.json(stats), ignored=query.ignored)

    async def waiting(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http, "limit", "view")
        full = query.full_view()
        found = await self._engine.list_waiting(request.principal, query.number("limit"))
        body = {
            "waiting": await request.rows(partial(_waiting, full=full), found.tasks),
            "total": found.total,
        }
        return request.json(body, ignored=query.ignored)

    async def metrics(self, request: RestRequest) -> web.StreamResponse:
        status = self._engine.status
        body = self._metrics.text(
            ServerState(
                await status.queue_stats(request.principal),
                status.health(),
                self._gpus.list(request.principal),
                status.gpu_use(request.principal),
                status.ahead_counts,
                status.calibration,
                status.queue_use,
                self._engine.usage.newest(request.principal),
                self._engine.notifications.counts,
                self._engine.sweeps.totals(),
                self._environments.counts(),
                len(self._secrets),
                self._gpus.bookings.counts(),
                status.run_counts(request.principal),
            )
        )
        return request.raw(body, {"Content-Type": Metrics.CONTENT_TYPE})


def _waiting(waiting: WaitingTask, *, full: bool) -> dict[str, object]:
    body: dict[str, object] = {
        "task": task_json(waiting.task, full=full),
        "reason": waiting.reason,
    }
    if waiting.position is not None:
        body["position"] = waiting.position
    if waiting.estimate is not None:
        body["estimate"] = ESTIMATE.json(waiting.estimate)
    return body
