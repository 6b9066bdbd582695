"""The history of use over REST."""

from aiohttp import web

from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.http.streams import ended_with_client
from fetchml.api.usage_mappings import (
    GPU_HISTORY,
    GPU_HOLD,
    GPU_HOURS,
    GPU_HOURS_LIST,
    GPU_POINT,
    GPU_TRACK,
    TASK_POINT,
    TASK_USAGE,
)
from fetchml.engine.engine import Engine


class UsageOperations:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/tasks/{id}/usage", self.of_task),
            Route("GET", "/v1/gpus/history", self.of_gpus),
            Route("GET", "/v1/usage", self.by_day),
        ]

    async def of_task(self, request: RestRequest, task_id: str) -> web.StreamResponse:
        query = Query(request.http, "since", "until", "points", "attempt")
        with ended_with_client(request):
            history = await self._engine.task_usage(
                request.principal,
                task_id,
                since=query.time("since"),
                until=query.time("until"),
                points=query.number("points"),
                attempt=query.number("attempt"),
            )
        body = {
            **TASK_USAGE.json(history),
            "points": await request.rows(TASK_POINT.json, history.points),
        }
        return request.json(body, ignored=query.ignored)

    async def of_gpus(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http, "since", "until", "points")
        with ended_with_client(request):
            history = await self._engine.usage.of_gpus(
                request.principal, query.time("since"), query.time("until"), query.number("points")
            )
        gpus = [
            {
                **GPU_TRACK.json(track),
                "points": await request.rows(GPU_POINT.json, track.points),
                "holds": await request.rows(GPU_HOLD.json, track.holds),
            }
            for track in history.gpus
        ]
        return request.json({**GPU_HISTORY.json(history), "gpus": gpus}, ignored=query.ignored)

    async def by_day(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http, "since", "until")
        with ended_with_client(request):
            found = await self._engine.usage.by_day(
                request.principal, query.time("since"), query.time("until")
            )
        body = {
            **GPU_HOURS_LIST.json(found),
            "days": await request.rows(GPU_HOURS.json, found.rows),
        }
        return request.json(body, ignored=query.ignored)
