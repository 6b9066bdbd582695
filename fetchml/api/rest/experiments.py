"""Experiments over REST."""

from functools import partial

from aiohttp import web

from fetchml.api.http.body import read_object
from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.mappings import EXPERIMENT
from fetchml.core.requests.experiment import KNOWN_FIELDS
from fetchml.engine.experiments import Experiments


class ExperimentOperations:
    def __init__(self, experiments: Experiments, *, body_timeout_seconds: float) -> None:
        self._experiments = experiments
        self._body_timeout_seconds = body_timeout_seconds

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/experiments", self.list),
            Route("POST", "/v1/experiments", self.create),
            Route("GET", "/v1/experiments/{id}", self.get),
            Route("DELETE", "/v1/experiments/{id}", self.delete),
            Route("POST", "/v1/experiments/{id}/archive", self.archive),
        ]

    async def list(self, call: RestRequest) -> web.StreamResponse:
        query = Query(call.request, "limit", "offset", "view")
        full = query.full_view()
        found = query.cut(self._experiments.list(call.who))
        body = await call.rows(partial(EXPERIMENT.json, full=full), found)
        return call.json(body, ignored=query.ignored)

    async def create(self, call: RestRequest) -> web.StreamResponse:
        query = Query(call.request, "view")
        full = query.full_view()
        fields = await read_object(call, self._body_timeout_seconds)
        made = await self._experiments.create(call.who, fields)
        ignored = query.ignored + [name for name in fields if name not in KNOWN_FIELDS]
        return call.json(EXPERIMENT.json(made, full=full), status=201, ignored=ignored)

    async def get(self, call: RestRequest, experiment_id: str) -> web.StreamResponse:
        query = Query(call.request, "view")
        full = query.full_view()
        found = self._experiments.get(call.who, experiment_id)
        return call.json(EXPERIMENT.json(found, full=full), ignored=query.ignored)

    async def delete(self, call: RestRequest, experiment_id: str) -> web.StreamResponse:
        await self._experiments.delete(call.who, experiment_id)
        return call.empty()

    async def archive(self, call: RestRequest, experiment_id: str) -> web.StreamResponse:
        query = Query(call.request, "view")
        full = query.full_view()
        archived = await self._experiments.archive(call.who, experiment_id)
        return call.json(EXPERIMENT.json(archived, full=full), ignored=query.ignored)
