"""Experiments over REST."""

from functools import partial

from aiohttp import web

from fetchml.api.experiment_mappings import EXPERIMENT
from fetchml.api.http.body import read_object
from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.core.model import Principal
from fetchml.core.requests.checks import unknown_fields
from fetchml.core.requests.experiment import KNOWN_FIELDS, Experiment
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
        ]

    async def list(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http, "limit", "offset", "view")
        full = query.full_view()
        found = query.cut(self._experiments.list(request.principal))
        body = await request.rows(partial(self._shown, request.principal, full=full), found)
        return request.json(body, ignored=query.ignored)

    async def create(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http, "view")
        full = query.full_view()
        fields = await read_object(request, self._body_timeout_seconds)
        made = await self._experiments.create(request.principal, fields)
        ignored = query.ignored + unknown_fields(fields, KNOWN_FIELDS)
        return request.json(
            self._shown(request.principal, made, full=full), status=201, ignored=ignored
        )

    async def get(self, request: RestRequest, experiment_id: str) -> web.StreamResponse:
        query = Query(request.http, "view")
        full = query.full_view()
        found = self._experiments.get(request.principal, experiment_id)
        return request.json(self._shown(request.principal, found, full=full), ignored=query.ignored)

    def _shown(self, who: Principal, found: Experiment, *, full: bool) -> dict[str, object]:
        return EXPERIMENT.json(self._experiments.with_counts(who, found), full=full)
