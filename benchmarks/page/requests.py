"""What tabs ask of the server while more changes than they can show, without a browser: clients
that hold the same connections and read the same lists."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from benchmarks.figures import Benchmark, Figure, median
from benchmarks.processes import KEY, NO_QUOTAS, Server, fetchml
from fetchml.client import AsyncClient
from fetchml.v1.task_pb2 import CreateTaskRequest

TABS = 10
ROUNDS = 5
SECONDS = 10
READ_EVERY_SECONDS = 4
MOST_OF_A_CORE = 0.01
TASKS = 450
"""Tasks that are created each second: more than a watch sends, so each gets a resync."""
HELD = CreateTaskRequest(job_name="bench", args="--epochs 5", hold=True)
WATCH = "/ws?view=full&batch=1&since=9007199254740991"
LIST = "/v1/tasks?fold_sweeps=true&fold_experiments=true&view=full&page_size=60"


def run(folder: Path) -> Benchmark:
    with fetchml(folder / "requests", tasks_max_running="2", **NO_QUOTAS) as server:
        with_tabs, without, messages = asyncio.run(_rounds(server))
    used = median([tabs - alone for tabs, alone in zip(with_tabs, without, strict=True)])
    yield Figure(
        f"page: what {TABS} tabs ask of the server in a flood, without a browser "
        f"({messages:.0f} messages a second)",
        "the same flood without them",
        f"{100 * used:.2f} % of a core: {1000 * median(with_tabs):.1f} ms a second against "
        f"{1000 * median(without):.1f} ms",
        f"≤ {MOST_OF_A_CORE:.0%}",
        used <= MOST_OF_A_CORE,
    )


async def _rounds(server: Server) -> tuple[list[float], list[float], float]:
    """The processor time of the server in each second of the flood, with the tabs and without, and
    the messages that the tabs got in a second."""
    with_tabs, without = [], []
    received = [0]
    async with (
        aiohttp.ClientSession(f"http://{server.http}", headers={"X-API-Key": KEY}) as session,
        AsyncClient(server.grpc, KEY) as client,
    ):
        await _flood(client, server)
        for _ in range(ROUNDS):
            without.append(await _flood(client, server))
            async with AsyncExitStack() as tabs, asyncio.TaskGroup() as tasks:
                reading = [
                    tasks.create_task(
                        _read(session, await tabs.enter_async_context(socket), received)
                    )
                    for socket in (session.ws_connect(WATCH) for _ in range(TABS))
                ]
                with_tabs.append(await _flood(client, server))
                for each in reading:
                    each.cancel()
    return with_tabs, without, received[0] / ROUNDS / SECONDS


async def _flood(client: AsyncClient, server: Server) -> float:
    before, begun = server.cpu_seconds(), time.monotonic()
    for second in range(SECONDS):
        await asyncio.sleep(begun + second - time.monotonic())
        await client.submit_many([HELD] * TASKS)
    await asyncio.sleep(begun + SECONDS - time.monotonic())
    return (server.cpu_seconds() - before) / SECONDS


async def _read(
    session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse, received: list[int]
) -> None:
    """As the page: a resync causes a reading, unless the last one is too recent."""
    read_at = 0.0
    async for _ in socket:
        received[0] += 1
        if time.monotonic() - read_at > READ_EVERY_SECONDS:
            read_at = time.monotonic()
            async with session.get(LIST) as reply:
                reply.raise_for_status()
                await reply.read()
