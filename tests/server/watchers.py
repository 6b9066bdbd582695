"""Watchers over both transports that are cut off at random, and the expected changes."""

import asyncio
import random
import socket
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing, suppress
from typing import Any, NamedTuple

import aiohttp
import grpc
import msgspec

from fetchml.v1 import task_pb2
from tests.support.program import ENDED, Server, Task
from tests.support.rest_world import Client
from tests.support.waiting import SECONDS, soon

LAST = "last"
"""The job name of the task after which watchers leave."""
CUT = (aiohttp.ClientError, grpc.aio.AioRpcError, ConnectionError)
TYPES = ("task_update", "task_complete", "task_deleted", "task_batch")
KINDS: dict[str, dict[str, Any]] = {
    "succeeds": {"script": "exit 0"},
    "fails": {"script": "exit 3"},
    "is-retried": {"script": '[ "$FETCHML_ATTEMPT" = 2 ]', "max_retries": 1},
    "is-cancelled": {"script": "sleep 600"},
}


class Change(NamedTuple):
    """One message about a change as a watcher sees it."""

    seq: int
    kind: str
    task_id: str
    job_name: str
    status: str
    attempt: int

    @property
    def is_last(self) -> bool:
        return self.job_name == LAST and self.status == "completed"


def with_completes(changes: Iterable[Change]) -> list[Change]:
    """What /ws sends for the changes that gRPC sends."""
    told = []
    for change in changes:
        told.append(change)
        if change.kind == "task_update" and change.status in ("completed", "failed"):
            told.append(change._replace(seq=change.seq + 1, kind="task_complete"))
    return told


def change_of(update: task_pb2.WatchTasksResponse) -> Change:
    task = update.task
    kind = task_pb2.WatchTasksResponse.Type.Name(update.type)
    assert kind in ("task_update", "task_deleted"), update
    return Change(
        update.seq, kind, task.id, task.job_name, Task.Status.Name(task.status), task.attempt
    )


async def over_grpc(server: Server, since: int) -> AsyncGenerator[Change]:
    watcher = asyncio.current_task()
    assert watcher is not None
    async with server.watch(since) as updates:
        try:
            async for update in updates:
                yield change_of(update)
        except asyncio.CancelledError:
            if watcher.cancelling():
                raise
            # The channel was closed, before it had heard that the server is gone.
            raise ConnectionError("the channel was closed") from None


async def over_ws(server: Server, since: int, query: str = "") -> AsyncGenerator[Change]:
    async for message in messages(server.rest, f"since={since}&view=full{query}"):
        task = message["task"]
        yield Change(
            message["seq"],
            message["type"],
            task["id"],
            task["job_name"],
            task["status"],
            task["attempt"],
        )


async def messages(client: Client, query: str) -> AsyncGenerator[dict[str, Any]]:
    """Those of /ws about tasks."""
    url = client.url(f"/ws?{query}")
    async with client.session.ws_connect(url, headers=client.with_key({})) as ws:
        try:
            async for frame in ws:
                message = msgspec.json.decode(frame.data)
                if message["type"] == "ping":
                    await ws.send_json({"type": "pong"})
                    continue
                assert message["type"] in TYPES, message
                yield message
        finally:
            # No goodbye: what a cut looks like.
            with suppress(OSError, AttributeError):
                ws.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
    raise aiohttp.ClientConnectionError("the stream ended")


async def watch_with_cuts(
    server: Server,
    stream: Callable[[Server, int], AsyncGenerator[Change]],
    last: str,
    dice: random.Random,
) -> list[Change]:
    """All messages up to the last, of kind `last`, read in pieces of random length, through
    restarts too."""
    seen: list[Change] = []
    async with asyncio.timeout(2 * SECONDS):
        while not seen or not (seen[-1].is_last and seen[-1].kind == last):
            await server.up.wait()
            since = seen[-1].seq if seen else 0
            left = dice.randint(1, 25)
            with suppress(*CUT):
                async with aclosing(stream(server, since)) as changes:
                    async for change in changes:
                        seen.append(change)
                        left -= 1
                        if not left or (change.is_last and change.kind == last):
                            break
    return seen


async def batches_with_cuts(server: Server, dice: random.Random) -> list[dict[str, Any]]:
    """All messages of a connection in batches up to the end of the last task, through cuts and
    restarts."""
    seen: list[dict[str, Any]] = []
    async with asyncio.timeout(2 * SECONDS):
        while True:
            await server.up.wait()
            since = seen[-1]["seq"] if seen else 0
            left = dice.randint(1, 3)
            query = f"since={since}&view=full&batch=1"
            with suppress(*CUT):
                async with aclosing(messages(server.rest, query)) as stream:
                    async for message in stream:
                        seen.append(message)
                        last = [task for task in message["tasks"] if task["job_name"] == LAST]
                        if any(task["status"] == "completed" for task in last):
                            return seen
                        left -= 1
                        if not left:
                            break


async def churn(server: Server, dice: random.Random, tasks: int) -> None:
    """Tasks come, run, are retried, cancelled while queued and while running, and deleted."""
    live: dict[str, str] = {}
    async with server.watch(since=None) as updates:
        for _ in range(tasks):
            kind = dice.choice(list(KINDS))
            task_id = await server.submit(**KINDS[kind], job_name=kind)
            live[task_id] = kind
            if dice.random() < 0.2:  # perhaps before it runs
                live[task_id] = "is-cancelled"
                await delete(server, task_id)
        while live:
            task = (await soon(anext(updates))).task
            if task.status in ENDED and task.id in live:
                # A delete within a minute of a cancel deletes nothing (reading 3).
                if live.pop(task.id) != "is-cancelled" and dice.random() < 0.5:
                    await delete(server, task.id)
            elif task.status == Task.running and live.get(task.id) == "is-cancelled":
                await delete(server, task.id)


async def delete(server: Server, task_id: str) -> None:
    assert (await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")).status == 204


async def journal(server: Server) -> list[Change]:
    """All changes there ever were, up to the last, read in one go."""
    changes = []
    async with asyncio.timeout(SECONDS), aclosing(over_grpc(server, 0)) as stream:
        async for change in stream:
            changes.append(change)  # an endless stream
            if change.is_last:
                break
    return changes
