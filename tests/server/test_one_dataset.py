"""Two hundred tasks request the same new dataset at the same time."""

import asyncio
from hashlib import sha256

from tests.datasets.origin import File, origin_server
from tests.support.program import Backend, Task, all_ended
from tests.support.server_fixtures import Serve
from tests.support.waiting import soon

TASKS = 200
ROWS = b"0123456789abcdef" * (1 << 16)


async def test_shared_dataset_is_fetched_once_without_blocking_others(
    serve: Serve, processes_backend: Backend
) -> None:
    variables = {
        "FETCHML_DATASETS_ALLOW_PRIVATE": "true",
        "FETCHML_TASKS_MAX_RUNNING": str(TASKS + 1),
    }
    async with origin_server() as origin:
        file = origin.answers["/rows"] = File(ROWS)
        file.hold = asyncio.Event()
        server = await serve(processes_backend, **variables).start()
        dataset = {
            "name": "rows",
            "source": origin.url("/rows"),
            "sha256": sha256(ROWS).hexdigest(),
        }
        tasks = [
            await server.submit("wc -c < $FETCHML_DATASETS/rows/rows", dataset_specs=[dataset])
            for _ in range(TASKS)
        ]
        await soon(origin.was_asked.wait())
        other = await server.ended(await server.submit("true"))
        assert other.status == Task.completed, "it needs no dataset"
        file.hold.set()
        async with server.watch() as updates:
            ended = await all_ended(updates, tasks)
        assert {task.status for task in ended.values()} == {Task.completed}
        assert len(origin.requests) == 1
        assert int((await server.get(tasks[-1])).output) == len(ROWS)
        assert list((server.data_dir / "datasets/held").iterdir()) == []
        await server.assert_idle(*tasks, other.id)
