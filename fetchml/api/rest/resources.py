"""Experiments, sweeps and Jupyter services over REST, as far as the table of
`fetchml.api.operation_table` does not have them."""

from functools import partial

from aiohttp import web

from fetchml.api.http.body import read_object
from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.http.streams import ended_with_client
from fetchml.api.message_fields import EXPERIMENT, JUPYTER_SERVICE, SWEEP
from fetchml.api.rest.tasks import idempotency_key
from fetchml.api.task_json import task_json
from fetchml.core import jupyter
from fetchml.core.acceptance import ignored_fields
from fetchml.core.model import Principal
from fetchml.core.requests import experiment
from fetchml.core.requests.checks import unknown_fields
from fetchml.core.requests.experiment import Experiment
from fetchml.core.sweeps.definition import KNOWN_FIELDS
from fetchml.engine.engine import Engine
from fetchml.engine.experiments import Experiments
from fetchml.engine.sweeps import SweepView
from fetchml.jupyter.jupyter_service import JupyterServices


class ExperimentOperations:
    def __init__(self, experiments: Experiments, *, body_timeout_seconds: float) -> None:
        self._experiments = experiments
        self._body_timeout_seconds = body_timeout_seconds

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/experiments", self.list),
            Route("POST", "/v1/experiments", self.create),
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
        ignored = query.ignored + unknown_fields(fields, experiment.KNOWN_FIELDS)
        return request.json(
            self._shown(request.principal, made, full=full), status=201, ignored=ignored
        )

    def _shown(self, who: Principal, found: Experiment, *, full: bool) -> dict[str, object]:
        return EXPERIMENT.json(self._experiments.with_counts(who, found), full=full)


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
        ignored = query.ignored + unknown_fields(fields, jupyter.KNOWN_FIELDS)
        return request.json(JUPYTER_SERVICE.json(started, full=full), status=201, ignored=ignored)

    async def get(self, request: RestRequest, service_id: str) -> web.StreamResponse:
        query = Query(request.http, "view")
        full = query.full_view()
        found = self._jupyter.get(request.principal, service_id)
        return request.json(JUPYTER_SERVICE.json(found, full=full), ignored=query.ignored)

    async def stop(self, request: RestRequest, service_id: str) -> web.StreamResponse:
        await self._jupyter.stop(request.principal, service_id)
        return request.empty()


class SweepOperations:
    def __init__(self, engine: Engine, *, body_timeout_seconds: float) -> None:
        self._engine = engine
        self._body_timeout_seconds = body_timeout_seconds

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/v1/sweeps", self.create),
        ]

    async def create(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http, "validate_only")
        key = idempotency_key(request.http)
        validate_only = query.flag("validate_only")
        fields = await read_object(request, self._body_timeout_seconds)
        with ended_with_client(request):
            made = await self._engine.sweeps.create(
                request.principal, fields, key, validate_only=validate_only
            )
        ignored = query.ignored + unknown_fields(fields, KNOWN_FIELDS)
        if isinstance(task := fields.get("task"), dict):
            ignored += [f"task.{name}" for name in ignored_fields(task)]
        if validate_only:
            return request.json(_validated(made), ignored=ignored)
        return request.json(SWEEP.json(made), status=201, ignored=ignored)


def _validated(view: SweepView) -> dict[str, object]:
    body = SWEEP.json(view)
    tasks = [task_json(task, full=True) for task in view.tasks]
    for each in (body, *tasks):
        del each["id"]
    for task in tasks:
        del task["sweep_id"]
    return {**body, "tasks": tasks}
