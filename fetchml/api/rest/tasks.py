"""Tasks over REST: each operation converts a request, calls the engine, and converts the result."""

from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from fetchml.api.http.body import read_object
from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.mappings import EXPLANATION
from fetchml.api.task_json import task_json
from fetchml.core.acceptance import ignored_fields
from fetchml.core.requests.paging import DEFAULT_LIMIT, STATUS_FILTER, range_fault
from fetchml.errors import BadRequest
from fetchml.ports.store import TaskQuery

if TYPE_CHECKING:
    from fetchml.engine.engine import Engine


class TaskOperations:
    def __init__(self, engine: "Engine", *, body_timeout_seconds: float) -> None:
        self._engine = engine
        self._body_timeout_seconds = body_timeout_seconds

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/v1/tasks", self.create),
            Route("GET", "/v1/tasks", self.list),
            Route("GET", "/v1/tasks/{id}", self.get),
            Route("DELETE", "/v1/tasks/{id}", self.delete),
            Route("GET", "/v1/tasks/{id}/explain", self.explain),
        ]

    async def create(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http, "view")
        full = query.full_view()
        key = _idempotency_key(request.http)
        fields = await read_object(request, self._body_timeout_seconds)
        task = await self._engine.create_task(request.principal, fields, key)
        ignored = query.ignored + ignored_fields(fields)
        return request.json(task_json(task, full=full), status=201, ignored=ignored)

    async def list(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http, "status", "limit", "offset", "view")
        full = query.full_view()
        states = query.status("status", STATUS_FILTER)
        limit = _or(query.number("limit"), DEFAULT_LIMIT)
        if fault := range_fault("limit", limit):
            raise BadRequest(fault)
        offset = _or(query.number("offset"), 0)
        page = await self._engine.list_tasks(
            request.principal, TaskQuery(states=states, limit=limit, offset=offset, brief=not full)
        )
        body = {
            "tasks": await request.rows(partial(task_json, full=full), page.tasks),
            "total": page.total,
            "limit": limit,
            "offset": offset,
        }
        return request.json(body, ignored=query.ignored)

    async def get(self, request: RestRequest, task_id: str) -> web.StreamResponse:
        query = Query(request.http, "view")
        full = query.full_view()
        task = await self._engine.get_task(request.principal, task_id)
        output = await self._engine.task_output(task)
        return request.json(task_json(task, full=full, output=output), ignored=query.ignored)

    async def delete(self, request: RestRequest, task_id: str) -> web.StreamResponse:
        await self._engine.delete_task(request.principal, task_id)
        return request.empty()

    async def explain(self, request: RestRequest, task_id: str) -> web.StreamResponse:
        query = Query(request.http)
        explanation = await self._engine.explain_task(request.principal, task_id)
        return request.json(EXPLANATION.json(explanation), ignored=query.ignored)


def _or(number: int | None, default: int) -> int:
    return default if number is None else number


def _idempotency_key(request: web.BaseRequest) -> str | None:
    """Return the `Idempotency-Key` header (reading 5). Raises BadRequest if it is repeated."""
    keys = request.headers.getall("Idempotency-Key", ())
    if len(keys) > 1:
        raise BadRequest("Idempotency-Key: must be sent once")
    return keys[0] if keys else None
