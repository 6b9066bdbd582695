"""A server of one large file, as quick as the machine: where a dataset is fetched from."""

import uvloop
from aiohttp import web

from benchmarks.bare_http import serve
from benchmarks.other_work import DATASET_BYTES

CHUNK = b"\x5a" * (1 << 20)


async def file(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(DATASET_BYTES)})
    await response.prepare(request)
    for _ in range(DATASET_BYTES // len(CHUNK)):
        await response.write(CHUNK)
    return response


if __name__ == "__main__":
    uvloop.run(serve(web.get("/{name}", file)))
