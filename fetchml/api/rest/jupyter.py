"""Jupyter services over REST."""

from functools import partial

from aiohttp import web

from fetchml.api.http.body import read_object
from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.mappings import JUPYTER_SERVICE
from fetchml.core.jupyter import KNOWN_FIELDS
from fetchml.core.requests.checks import unknown_fields
from fetchml.jupyter.jupyter_service import JupyterServices


class JupyterOperations:
    def __init__(self, jupyter: JupyterServices, *, body_timeout_seconds: float) -> None:
        self._jupyter = jupyter
        self._body_timeout_seconds = body_timeout_seconds

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/jupyter/services", self.list),
            Route("POST", "/v1/jupyter/services", self.start),
            Route("GET", "/v1/jupyter/services/{id}", self.get),
            Route("DELETE", "/v1/jupyter/services/{id}", self.stop),
        ]

    async def list(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http, "limit", "offset", "view")
        full = query.full_view()
        found = query.cut(self._jupyter.list(request.principal))
        body = await request.rows(partial(JUPYTER_SERVICE.json, full=full), found)
        return request.json(body, ignored=query.ignored)

    async def start(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http, "view")
        full = query.full_view()
        fields = await read_object(request, self._body_timeout_seconds)
        started = await self._jupyter.start(request.principal, fields)
        ignored = query.ignored + unknown_fields(fields, KNOWN_FIELDS)
        return request.json(JUPYTER_SERVICE.json(started, full=full), status=201, ignored=ignored)

    async def get(self, request: RestRequest, service_id: str) -> web.StreamResponse:
        query = Query(request.http, "view")
        full = query.full_view()
        found = self._jupyter.get(request.principal, service_id)
        return request.json(JUPYTER_SERVICE.json(found, full=full), ignored=query.ignored)

    async def stop(self, request: RestRequest, service_id: str) -> web.StreamResponse:
        await self._jupyter.stop(request.principal, service_id)
        return request.empty()
