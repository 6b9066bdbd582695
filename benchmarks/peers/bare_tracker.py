"""The floor of single metrics: an aiohttp handler that takes JSON and keeps nothing."""

import uvloop
from aiohttp import web

from benchmarks.bare_http import serve


async def log_metric(request: web.Request) -> web.Response:
    await request.json()
    return web.json_response({})


if __name__ == "__main__":
    uvloop.run(serve(web.post("/api/2.0/mlflow/runs/log-metric", log_metric)))
