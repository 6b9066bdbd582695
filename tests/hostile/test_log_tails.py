"""Looking for the last lines of hostile logs takes long, and delays nobody else's work."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path

import grpc
import pytest

from fetchml.core.model import Principal, Role
from fetchml.core.requests.logs import LogRange, LogSearch
from fetchml.engine import logs
from fetchml.engine.engine import Engine
from fetchml.files import log_search
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.log_search import ReadLog
from fetchml.v1 import task_pb2
from tests.support import grpc_world
from tests.support.memory_engine import MemoryEngine, memory_engine
from tests.support.rest_world import World, rest_world
from tests.support.waiting import soon, until_true

STREAMS = 40
"""Of one key; more than the default pool has threads on any machine."""
SLOW = 7
"""A search for this number of lines takes until it is released."""
LINES = b"one\ntwo\nthree\n"
ALICE = Principal("alice", Role.USER, "key-a")


class Searches:
    def __init__(self) -> None:
        self.released = threading.Event()
        self.lock = threading.Lock()
        self.running = self.most = self.count = 0
        self.threads: set[str] = set()

    def last_lines(self, read: ReadLog, lines: int, first: int, end: int) -> int:
        if lines != SLOW:
            return log_search.last_lines(read, lines, first, end)
        with self.lock:
            self.running += 1
            self.count += 1
            self.most = max(self.most, self.running)
            self.threads.add(threading.current_thread().name.rpartition("_")[0])
        self.released.wait()
        with self.lock:
            self.running -= 1
        return first


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> Iterator[Searches]:
    searches = Searches()
    monkeypatch.setattr(logs, "last_lines", searches.last_lines)
    yield searches
    searches.released.set()


def assert_took_turns(searches: Searches) -> None:
    assert (searches.count, searches.most) == (STREAMS, 1)
    assert searches.threads == {"log-search"}


@pytest.fixture
async def rest() -> AsyncIterator[World]:
    async with rest_world(streams_per_key=STREAMS) as world:
        yield world


async def test_rest_searches_take_turns_within_the_limit(rest: World, searches: Searches) -> None:
    task_id = str((await rest.client.submit()).json["id"])
    await rest.engine.log(task_id, LINES)
    path = f"/v1/tasks/{task_id}/logs"
    slow = {asyncio.create_task(rest.client.get(f"{path}?tail={SLOW}")) for _ in range(STREAMS + 1)}
    try:
        ended, slow = await soon(asyncio.wait(slow, return_when=asyncio.FIRST_COMPLETED))
        assert [(await each).status for each in ended] == [429]
        await until_true(lambda: searches.running)
        other = rest.as_(rest.secrets[Role.ADMIN])
        assert (await soon(other.get(path))).body == LINES
        assert (await soon(other.get(f"{path}?tail=1"))).body == b"three\n"
    finally:
        searches.released.set()
        replies = await soon(asyncio.gather(*slow))
    assert {reply.body for reply in replies} == {LINES}
    assert_took_turns(searches)


@pytest.fixture
async def rpc(tmp_path: Path) -> AsyncIterator[grpc_world.World]:
    async with grpc_world.grpc_world(tmp_path, streams_per_key=STREAMS) as world:
        yield world


async def test_grpc_searches_take_turns_within_the_limit(
    rpc: grpc_world.World, searches: Searches
) -> None:
    tasks, own = rpc.client.tasks, rpc.client.metadata
    created = await tasks.CreateTask(task_pb2.CreateTaskRequest(job_name="a"), metadata=own)
    await rpc.engine.log(created.id, LINES)

    async def read(metadata: object, **fields: int) -> bytes:
        request = task_pb2.StreamTaskLogsRequest(task_id=created.id, **fields)  # type: ignore[arg-type]
        chunks = tasks.StreamTaskLogs(request, metadata=metadata)
        return b"".join([chunk.data async for chunk in chunks])

    slow = {asyncio.create_task(read(own, tail=SLOW)) for _ in range(STREAMS + 1)}
    try:
        ended, slow = await soon(asyncio.wait(slow, return_when=asyncio.FIRST_COMPLETED))
        for each in ended:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await each
            assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await until_true(lambda: searches.running)
        other = (("x-api-key", rpc.secrets[Role.ADMIN]),)
        assert await soon(read(other)) == LINES
        assert await soon(read(other, tail=1)) == b"three\n"
    finally:
        searches.released.set()
        replies = await soon(asyncio.gather(*slow))
    assert set(replies) == {LINES}
    assert_took_turns(searches)


@pytest.fixture
async def engine() -> AsyncIterator[MemoryEngine]:
    async with memory_engine() as engine:
        yield engine


async def look_for_lines(engine: Engine, task_id: str) -> None:
    await engine.logs.start(ALICE, task_id, LogRange(tail=SLOW))


async def look_for_text(engine: Engine, task_id: str) -> None:
    await engine.logs.search(ALICE, task_id, LogSearch("never", backwards=True))


@pytest.mark.parametrize("look", [look_for_lines, look_for_text])
async def test_search_ends_with_its_caller(
    engine: MemoryEngine,
    monkeypatch: pytest.MonkeyPatch,
    look: Callable[[Engine, str], Coroutine[None, None, None]],
) -> None:
    """Its thread is free for the next one, even in a log of a claimed 4 TiB."""
    reads = 0
    read_log = AttemptFolder.read_log

    def counted(folder: AttemptFolder, offset: int, limit: int) -> tuple[int, bytes]:
        nonlocal reads
        reads += 1
        return read_log(folder, offset, limit)

    monkeypatch.setattr(AttemptFolder, "read_log", counted)
    monkeypatch.setattr(log_search, "SECONDS", 3600)
    task = await engine.engine.submissions.create_task(ALICE, {"job_name": "a"})
    await engine.log(task.id, LINES)
    with (engine.attempt(task.id).run / f"log.{0:020}").open("r+b") as file:
        file.truncate(1 << 42)
    for _ in range(5):
        before = reads
        call = asyncio.create_task(look(engine.engine, task.id))
        await until_true(lambda before=before: reads > before)  # type: ignore[misc]
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(call)
    last = await soon(engine.engine.logs.search(ALICE, task.id, LogSearch("one", limit=1)))
    assert [match.text for match in last.matches] == ["one"]
