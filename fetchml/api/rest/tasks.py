"""Tasks over REST: each operation converts a request, calls the engine, and converts the result."""

from functools import partial

from aiohttp import web

from fetchml.api.http.body import read_object
from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.http.streams import ended_with_client
from fetchml.api.listing import ListRequest, listing
from fetchml.api.message_fields import ESTIMATE
from fetchml.api.task_json import task_json
from fetchml.core.acceptance import ignored_fields
from fetchml.core.requests.checks import unknown_fields
from fetchml.core.requests.listing import STATUS_FILTER, Filters
from fetchml.core.requests.update import KNOWN_FIELDS as UPDATE_FIELDS
from fetchml.engine.engine import Engine
from fetchml.errors import BadRequest
from fetchml.ports.store import TaskPage
from fetchml.views import ValidatedTask

_LIST = (
    "status", "states", "user_id", "job_name_prefix", "experiment_id", "sweep_id", "text",
    "labels", "fold_sweeps", "fold_experiments",
    "created_after", "created_before", "id_suffix", "limit", "offset", "page_size", "page_token",
    "view",
)  # fmt: skip
"""Query parameters of the list."""


class TaskOperations:
    def __init__(self, engine: Engine, *, body_timeout_seconds: float) -> None:
        self._engine = engine
        self._body_timeout_seconds = body_timeout_seconds

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/v1/tasks", self.create),
            Route("GET", "/v1/tasks", self.list),
            Route("GET", "/v1/tasks/{id}", self.get),
            Route("DELETE", "/v1/tasks/{id}", self.delete),
            Route("PATCH", "/v1/tasks/{id}", self.update),
            Route("POST", "/v1/tasks/{id}/retry", self.retry),
        ]

    async def create(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http, "view", "validate_only")
        full = query.full_view()
        key = idempotency_key(request.http)
        validate_only = query.flag("validate_only")
        fields = await read_object(request, self._body_timeout_seconds)
        if validate_only:
            with ended_with_client(request):
                valid = await self._engine.submissions.validate_task(
                    request.principal, fields, key, with_estimate=full
                )
            ignored = query.ignored + ignored_fields(fields)
            return request.json(_validated(valid, full=full), ignored=ignored)
        with ended_with_client(request):
            task = await self._engine.submissions.create_task(request.principal, fields, key)
        ignored = query.ignored + ignored_fields(fields)
        return request.json(task_json(task, full=full), status=201, ignored=ignored)

    async def list(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http, *_LIST, repeated=("states", "labels"))
        full = query.full_view()
        wanted = listing(_list_request(query, full=full))
        page = TaskPage([], 0)
        if not wanted.impossible:
            who = request.principal
            with ended_with_client(request):
                async with self._engine.tasks.turn_to_list(who, wanted.query):
                    page = await self._engine.tasks.list(
                        who, wanted.query, whole=not wanted.by_token
                    )
        body = {
            "tasks": await request.rows(partial(task_json, full=full), wanted.shown(page)),
            "total": page.total,
            "limit": wanted.size,
            "offset": wanted.query.offset,
        }
        if token := wanted.next_token(page):
            body["next_page_token"] = token
        return request.json(body, ignored=query.ignored)

    async def get(self, request: RestRequest, task_id: str) -> web.StreamResponse:
        query = Query(request.http, "view")
        full = query.full_view()
        task = await self._engine.tasks.get(request.principal, task_id)
        output = await self._engine.logs.tail(task)
        return request.json(task_json(task, full=full, output=output), ignored=query.ignored)

    async def update(self, request: RestRequest, task_id: str) -> web.StreamResponse:
        query = Query(request.http, "view")
        full = query.full_view()
        fields = await read_object(request, self._body_timeout_seconds)
        task = await self._engine.changes.update(request.principal, task_id, fields)
        ignored = query.ignored + unknown_fields(fields, UPDATE_FIELDS)
        return request.json(task_json(task, full=full), ignored=ignored)

    async def retry(self, request: RestRequest, task_id: str) -> web.StreamResponse:
        query = Query(request.http, "view")
        full = query.full_view()
        key = idempotency_key(request.http)
        task = await self._engine.changes.retry(request.principal, task_id, key)
        return request.json(task_json(task, full=full), status=201, ignored=query.ignored)

    async def delete(self, request: RestRequest, task_id: str) -> web.StreamResponse:
        await self._engine.changes.delete(request.principal, task_id)
        return request.empty()


def _validated(valid: ValidatedTask, *, full: bool) -> dict[str, object]:
    body = task_json(valid.task, full=full)
    del body["id"]
    if valid.estimate is not None:
        body["start_estimate"] = ESTIMATE.json(valid.estimate)
    return body


def _list_request(query: Query, *, full: bool) -> ListRequest:
    """Raises BadRequest."""
    return ListRequest(
        Filters(
            user=query.text("user_id") or "",
            job_name_prefix=query.text("job_name_prefix") or "",
            experiment_id=query.text("experiment_id") or "",
            sweep_id=query.text("sweep_id") or "",
            fold_sweeps=query.flag("fold_sweeps"),
            fold_experiments=query.flag("fold_experiments"),
            text=query.text("text") or "",
            labels=query.texts("labels"),
            created_after=query.time("created_after"),
            created_before=query.time("created_before"),
            id_suffix=query.text("id_suffix") or "",
        ),
        status=next(iter(query.status("status", STATUS_FILTER)), None),
        states=query.states("states"),
        limit=query.number("limit"),
        offset=query.number("offset"),
        page_size=query.number("page_size") or 0,
        page_token=query.text("page_token") or "",
        full=full,
    )


def idempotency_key(request: web.BaseRequest) -> str | None:
    """Return the `Idempotency-Key` header (reading 5). Raises BadRequest if it is repeated."""
    keys = request.headers.getall("Idempotency-Key", ())
    if len(keys) > 1:
        raise BadRequest("Idempotency-Key: must be sent once")
    return keys[0] if keys else None
