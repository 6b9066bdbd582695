"""The floor of REST: an aiohttp handler that takes JSON, gives JSON, and does nothing else."""

import asyncio

import uvloop
from aiohttp import web


async def create(request: web.Request) -> web.Response:
    task = await request.json()
    return web.json_response({"id": "1", "status": "queued", **task}, status=201)


async def serve(*routes: web.RouteDef) -> None:
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, handle_signals=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"ready http=127.0.0.1:{site.port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(web.post("/v1/tasks", create)))
