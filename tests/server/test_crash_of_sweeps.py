"""The server is killed while it stores a sweep: the sweep is there with all of its tasks, or not at
all, a repeated request finds or makes it, and each task runs once."""

import asyncio
import random
import signal
from typing import Any

import aiohttp
import pytest

from tests.support.program import Backend, Server, all_ended
from tests.support.scripts import COUNTED
from tests.support.server_fixtures import Serve
from tests.support.waiting import soon

pytestmark = pytest.mark.slow

SIZE = 12
ROUNDS = 3
AT_ONCE = 3
LARGE = 150


def request(name: str, size: int = SIZE, **task: Any) -> dict[str, Any]:
    script = f"{COUNTED} exit {{n}}"
    return {
        "name": name,
        "task": {"job_name": name, "command": ["sh", "-c", script], **task},
        "parameters": {"n": {"range": [0, size - 1]}},
    }


async def create(server: Server, wanted: dict[str, Any]) -> str:
    """Its id. The name is the idempotency key."""
    reply = await soon(server.rest.submit(wanted, "/v1/sweeps", Idempotency_Key=wanted["name"]))
    assert reply.status == 201, reply.body
    return str(reply.json["id"])


async def tasks_of(server: Server, sweep_id: str) -> list[str]:
    path = f"/v1/tasks?view=full&limit=1000&sweep_id={sweep_id}"
    tasks = (await server.rest.get(path)).json["tasks"]
    return [each["id"] for each in sorted(tasks, key=lambda each: int(each["sweep_index"]))]


async def stored(server: Server) -> dict[str, str]:
    """Ids of all sweeps by name. Each of them is whole, and no task is outside of them."""
    sweeps = (await server.rest.get("/v1/sweeps?limit=1000")).json["sweeps"]
    for each in sweeps:
        assert len(await tasks_of(server, each["id"])) == each["total"]
        assert sum(each["counts"].values()) == each["total"]
    everything = (await server.rest.get("/v1/tasks?limit=0")).json["total"]
    assert everything == sum(each["total"] for each in sweeps)
    found = {str(each["name"]): str(each["id"]) for each in sweeps}
    assert len(found) == len(sweeps), "a sweep was made twice"
    return found


@pytest.mark.parametrize(
    ("step", "is_there", "follows"),
    [("documents_put", False, True), ("tasks_put", False, False), ("committed", True, True)],
)
async def test_killed_within_the_commit(
    serve: Serve, processes_backend: Backend, step: str, is_there: bool, follows: bool
) -> None:
    server = await serve(processes_backend, FETCHML_TASKS_MAX_RUNNING="3").start()
    before: dict[str, str] = {}
    wanted = request("second")
    if follows:
        before["first"] = first = await create(server, request("first", hold=True))
        after = [{"sweep_id": first, "same_index": True, "condition": "ended"}]
        wanted = request("second", after=after, inputs_from=[first])
    await server.kill_and_start(FETCHML_CRASH_AT=step)
    with pytest.raises(aiohttp.ClientError):
        await create(server, wanted)
    assert await server.died() == -signal.SIGKILL

    await server.start()
    found = await stored(server)
    assert found.keys() == before.keys() | ({"second"} if is_there else set())
    second = await create(server, wanted)
    assert found.get("second", second) == second
    assert await stored(server) == {**before, "second": second}
    expected = list(range(SIZE))
    ids = await tasks_of(server, second)
    if follows:
        ids += await tasks_of(server, first)
        expected *= 2
        for task_id in await tasks_of(server, first):
            body = b'{"hold":false}'
            headers = {"Content_Type": "application/json"}
            reply = await server.rest.ask("PATCH", f"/v1/tasks/{task_id}", body, **headers)
            assert reply.status == 200
    async with server.watch() as updates:
        ended = await all_ended(updates, ids)
    assert [ended[each].exit_code for each in ids] == expected
    assert {(each.attempt, each.retry_count) for each in ended.values()} == {(1, 0)}
    assert [await server.starts(each) for each in ids] == [1] * len(ids)
    await server.assert_idle(*ids)


async def test_killed_at_random(serve: Serve, processes_backend: Backend) -> None:
    """While several sweeps are stored, which start after those of earlier rounds."""
    dice = random.Random(16)  # noqa: S311  # dice, no secret
    server = serve(processes_backend)
    acknowledged: dict[str, str] = {}
    wanted: dict[str, dict[str, Any]] = {}

    async def submit(name: str) -> None:
        acknowledged[name] = await create(server, wanted[name])

    for number in range(ROUNDS):
        await server.start()
        known = await stored(server)
        assert acknowledged.items() <= known.items()
        names = [f"r{number}-{place}" for place in range(AT_ONCE)]
        for name in names:
            on = [{"sweep_id": each, "same_index": dice.random() < 0.5} for each in known.values()]
            wanted[name] = request(name, LARGE, hold=True, after=on[:3])
        submits = [asyncio.create_task(submit(name)) for name in names]
        for _ in range(dice.randrange(AT_ONCE)):
            await soon(asyncio.wait(submits, return_when=asyncio.FIRST_COMPLETED))
            submits = [each for each in submits if not each.done()]
        await server.kill()
        await asyncio.gather(*submits, return_exceptions=True)
    await server.start()
    known = await stored(server)
    assert acknowledged.items() <= known.items()
    for name, each in wanted.items():
        made = await create(server, each)
        assert known.get(name, made) == made
    assert (await stored(server)).keys() == wanted.keys()
