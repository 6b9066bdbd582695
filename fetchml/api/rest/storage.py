"""Storage over REST."""

from aiohttp import web

from fetchml.api.http.body import read_object
from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.mappings import PRUNED, STORAGE
from fetchml.core.requests.checks import unknown_fields
from fetchml.core.requests.pruning import KNOWN_FIELDS
from fetchml.engine.retention import Retention


class StorageOperations:
    def __init__(self, retention: Retention, *, body_timeout_seconds: float) -> None:
        self._retention = retention
        self._body_timeout_seconds = body_timeout_seconds

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/storage", self.get),
            Route("POST", "/v1/storage/prune", self.prune),
        ]

    async def get(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http)
        body = STORAGE.json(self._retention.report(request.principal))
        return request.json(body, ignored=query.ignored)

    async def prune(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http)
        fields = await read_object(request, self._body_timeout_seconds)
        pruned = await self._retention.prune(request.principal, fields)
        ignored = query.ignored + unknown_fields(fields, KNOWN_FIELDS)
        return request.json(PRUNED.json(pruned), ignored=ignored)
