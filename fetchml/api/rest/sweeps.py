"""Sweeps over REST."""

from aiohttp import web

from fetchml.api.http.body import read_object
from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.http.streams import ended_with_client
from fetchml.api.mappings import SWEEP
from fetchml.api.rest.tasks import idempotency_key
from fetchml.api.task_json import task_json
from fetchml.core.acceptance import ignored_fields
from fetchml.core.requests.checks import unknown_fields
from fetchml.core.sweeps.definition import KNOWN_FIELDS
from fetchml.engine.engine import Engine
from fetchml.engine.sweeps import SweepView


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
