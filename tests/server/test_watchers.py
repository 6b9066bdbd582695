"""Every watcher sees every change once and in order, wherever it is cut off."""

import asyncio
import itertools
import random
import socket
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import Any, NamedTuple

import aiohttp
import msgspec
import pytest

from fetchml.v1 import task_pb2
from tests.server.watchers import (
    LAST,
    Change,
    batches_with_cuts,
    change_of,
    churn,
    delete,
    journal,
    over_grpc,
    over_ws,
    watch_with_cuts,
    with_completes,
)
from tests.support.program import Backend, Server, Task
from tests.support.server_fixtures import Serve
from tests.support.waiting import SECONDS, soon, until

Type = task_pb2.WatchTasksResponse


@pytest.mark.slow
async def test_watchers_cut_off_at_random_miss_nothing(
    serve: Serve, processes_backend: Backend
) -> None:
    """Also by the death of the server."""
    dice = random.Random(1)  # noqa: S311  # no secret
    server = await serve(processes_backend, FETCHML_TASKS_MAX_RUNNING="3").start()
    async with asyncio.TaskGroup() as group:
        watchers = [
            group.create_task(watch_with_cuts(server, *stream, random.Random(dice.random())))  # noqa: S311
            for stream in ((over_grpc, "task_update"), (over_ws, "task_complete"))
            for _ in range(3)
        ]
        await churn(server, dice, 20)
        await server.kill_and_start()
        await churn(server, dice, 20)
        await server.submit("exit 0", job_name=LAST)
    everything = await journal(server)
    assert [change.seq for change in everything] == list(range(2, 2 * len(everything) + 1, 2))
    for watcher in watchers[:3]:
        assert watcher.result() == everything
    for watcher in watchers[3:]:
        assert watcher.result() == with_completes(everything)
    assert {change.status for change in everything} == set(Task.Status.keys()[1:])
    assert any(change.kind == "task_deleted" for change in everything)
    assert any(change.attempt == 2 for change in everything)


async def test_batches_miss_no_end_wherever_they_are_cut(
    serve: Serve, processes_backend: Backend
) -> None:
    """Also by the death of the server."""
    dice = random.Random(3)  # noqa: S311  # no secret
    server = await serve(processes_backend, FETCHML_TASKS_MAX_RUNNING="3").start()
    async with asyncio.TaskGroup() as group:
        watchers = [
            group.create_task(batches_with_cuts(server, random.Random(dice.random())))  # noqa: S311
            for _ in range(3)
        ]
        await churn(server, dice, 12)
        await server.kill_and_start()
        await churn(server, dice, 12)
        await server.submit("exit 0", job_name=LAST)
    everything = await journal(server)
    newest = {change.task_id: change for change in everything}
    states = {(change.task_id, change.status, change.attempt) for change in everything}
    assert any(change.kind == "task_deleted" for change in newest.values())
    for watcher in watchers:
        told = watcher.result()
        assert [each["seq"] for each in told] == sorted({each["seq"] for each in told})
        shown: dict[str, str] = {}
        for message in told:
            changed = [(task, "task_update") for task in message["tasks"]]
            changed += [(task, "task_deleted") for task in message.get("deleted", ())]
            for task, kind in changed:
                assert (task["id"], task["status"], task["attempt"]) in states
                shown[task["id"]] = f"{kind} {task['status']}"
        assert shown == {key: f"{each.kind} {each.status}" for key, each in newest.items()}


@pytest.mark.slow
async def test_cut_after_any_message_misses_nothing(
    serve: Serve, processes_backend: Backend
) -> None:
    """Who resumes with its number gets each later message once: over either transport, whichever
    the number came from, with filters, and after a restart."""
    server = await serve(processes_backend, FETCHML_TASKS_MAX_RUNNING="1").start()
    ids = [
        await server.submit("exit 3", job_name="fails", max_retries=1),
        await server.submit("true", job_name="succeeds"),
        await server.submit("sleep 600", job_name="cancelled"),
    ]
    await delete(server, ids[2])
    for task_id in ids:
        await server.ended(task_id)
    await delete(server, ids[1])
    await server.ended(await server.submit("true", job_name=LAST))
    everything = await journal(server)
    assert Counter(each.kind for each in with_completes(everything)) == {
        "task_update": len(everything) - 1,
        "task_complete": 4,
        "task_deleted": 1,
    }
    filters: list[tuple[str, dict[str, Any], Callable[[Change], bool]]] = [
        ("", {}, lambda _: True),
        (f"&task_id={ids[1]}", {"task_id": ids[1]}, lambda each: each.task_id == ids[1]),
        (
            "&status=completed",
            {"states": [Task.completed]},
            lambda each: each.status == "completed",
        ),
    ]
    for _ in range(2):
        for query, where, lets_through in filters:
            of_grpc = [each for each in everything if lets_through(each)]
            of_ws = [each for each in with_completes(everything) if lets_through(each)]
            for since in [0, *(each.seq for each in of_ws)]:
                stream = over_ws(server, since, query)
                later = [each for each in of_ws if each.seq > since]
                assert await taken(stream, len(later)) == later, f"since={since}{query}"
                async with server.watch(since=since, **where) as updates:
                    for each in of_grpc:
                        if each.seq > since:
                            assert change_of(await soon(anext(updates))) == each
        await server.kill_and_start()


async def taken(stream: AsyncGenerator[Change], number: int) -> list[Change]:
    async with aclosing(stream):
        return [await soon(anext(stream)) for _ in range(number)]


async def first(
    server: Server, number: int, until: str | None = None, **where: Any
) -> AsyncIterator[Type]:
    """The first updates there ever were, up to the end of the task `until`."""
    async with server.watch(**where) as updates:
        for _ in range(number):
            update = await soon(anext(updates))
            yield update
            if update.task.id == until and update.task.status == Task.completed:
                return


@pytest.mark.slow
@pytest.mark.parametrize(("kept", "many", "size"), [(1_000, 30_000, 1000), (200_000, 8_000, 4000)])
async def test_slow_watcher_gets_a_resync(
    serve: Serve, processes_backend: Backend, kept: int, many: int, size: int
) -> None:
    """Who takes nothing for a while gets it all, or is told that some is no longer kept. `many`
    tasks of this size are more than the connections hold, and the first more than the server's
    memory keeps."""
    variables = {"FETCHML_TASKS_MAX_RUNNING": "1", "FETCHML_HISTORY_JOURNAL_ROWS": str(kept)}
    server = await serve(processes_backend, **variables).start()
    await server.submit_running("sleep 600")
    url, headers = server.rest.url("/ws?since=0&view=full"), server.rest.with_key({})
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=narrow)) as session,
        session.ws_connect(url, headers=headers) as ws,
        server.watch() as updates,
    ):
        batch = task_pb2.CreateTasksRequest(
            tasks=[task_pb2.CreateTaskRequest(job_name="many", args="x" * size)] * (many // 60)
        )
        await server.grpc.tasks.CreateTasks(iter([batch] * 60))
        streams = (News(told_over_grpc(updates)), News(told_over_ws(ws)))
        if kept < many:
            await until_pruned(server, 2 * many // 3)
            await read_until(streams, lambda told: told.is_resync)
        last = await server.submit("true", job_name=LAST)
        await read_until(streams, lambda told: told.task_id == last)
    for stream in streams:
        seqs = [0, *(told.seq for told in stream.read if not told.is_resync)]
        resyncs = [told.seq for told in stream.read if told.is_resync]
        gaps = [after - 1 for before, after in itertools.pairwise(seqs) if after != before + 2]
        assert gaps == resyncs
        assert len(resyncs) == (1 if kept < many else 0)


class Told(NamedTuple):
    is_resync: bool
    seq: int
    task_id: str


class News:
    """What is read of a stream, piece by piece."""

    def __init__(self, stream: AsyncIterator[Told]) -> None:
        self._stream = stream
        self.read: list[Told] = []

    async def read_until(self, holds: Callable[[Told], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not self.read or not holds(self.read[-1]):
                self.read.append(await anext(self._stream))


async def read_until(streams: Iterable[News], holds: Callable[[Told], bool]) -> None:
    """Read all at once: the server closes a connection that takes nothing for a minute."""
    await asyncio.gather(*(stream.read_until(holds) for stream in streams))


async def told_over_grpc(updates: AsyncIterator[Type]) -> AsyncIterator[Told]:
    async for update in updates:
        yield Told(update.type == Type.resync, update.seq, update.task.id)


async def told_over_ws(ws: aiohttp.ClientWebSocketResponse) -> AsyncIterator[Told]:
    async for frame in ws:
        message = msgspec.json.decode(frame.data)
        if message["type"] == "resync":
            yield Told(True, message["seq"], "")
        elif message["type"] == "task_update":
            yield Told(False, message["seq"], message["task"]["id"])


def narrow(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that keeps little of what its owner does not take."""
    made = socket.socket(*address[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)
    return made


async def until_pruned(server: Server, seq: int) -> None:
    """Wait until the store no longer keeps the change."""

    async def first_type() -> object:
        async with server.watch(since=seq) as updates:
            return (await anext(updates)).type

    await until(first_type, lambda found: found == Type.resync)
