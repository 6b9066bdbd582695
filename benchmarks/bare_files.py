"""A server of one large file, as quick as the machine: where a dataset is fetched from."""

import asyncio

import uvloop
from aiohttp import web

from benchmarks.other_work import DATASET_BYTES

CHUNK = b"\x5a" * (1 << 20)


async def file(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(DATASET_BYTES)})
    await response.prepare(request)
    for _ in range(DATASET_BYTES // len(CHUNK)):
        await response.write(CHUNK)
    return response


async def serve() -> None:
    app = web.Application()
    app.router.add_get("/{name}", file)
    runner = web.AppRunner(app, access_log=None, handle_signals=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"ready http=127.0.0.1:{site.port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())
