"""A server whose shared folder is behind FUSE, as is each node's: it hangs, breaks off, and is not
mounted, while the nodes see it all the time."""

import asyncio
import json
import os
import time
from pathlib import Path

import pytest

from testbed.fuse_folder import fuse_folders
from testbed.slurm import NODES, Slurm
from tests.server.test_slurm_faults import assert_ran_once, counted
from tests.support.scripts import until_file
from tests.support.server_fixtures import Serve
from tests.support.slurm_fixtures import backend_of
from tests.support.waiting import soon, until

pytestmark = pytest.mark.slow

PROMPT_SECONDS = 9.0
"""Less than a single access to the disk may take."""
READS = (
    "", "/logs", "/logs/info", "/logs?tail=3", "/logs/search?q=a",
    "/outputs", "/outputs/file", "/archive",
)  # fmt: skip
"""Paths below a task. The first is the task itself."""
READERS = 10
"""Of each: more than the server has threads for other work."""
AWAY_SECONDS = float(os.environ.get("FETCHML_TEST_AWAY_SECONDS", "0"))
"""The least time for which the folder hangs. It costs no processor time, but a minute of a run."""


async def test_shared_folder_of_the_server_hangs_and_breaks_off(
    serve: Serve, slurm: Slurm, shared: Path, starts: Path, tmp_path: Path
) -> None:
    source = tmp_path / "of-the-file-server"
    nodes = [slurm.inside(name) for name in NODES]

    def let_end(task_id: str) -> None:
        (source / f"tasks/{task_id}/attempts/1/workspace/go").touch()

    with fuse_folders(source, shared, *nodes) as folder:
        server = await serve(backend_of(slurm, "rest", shared)).start()

        async def is_degraded() -> bool:
            return await server.health() == "degraded"

        async def is_healthy() -> bool:
            return await server.health() == "healthy"

        script = counted(starts, until_file("go") + "exit 4")
        task_ids = [await server.submit_running(script) for _ in range(3)]
        hung, broken, unmounted = task_ids

        folder.hang()
        back_at = time.monotonic() + AWAY_SECONDS
        let_end(hung)
        readers = [
            asyncio.create_task(server.rest.get(f"/v1/tasks/{hung}{part}"))
            for part in READS
            for _ in range(READERS)
        ]
        assert await until(is_degraded)
        began = time.monotonic()
        task_ids.append(await server.submit(counted(starts, "exit 4")))
        assert "is away" in await server.explained(task_ids[-1])
        assert time.monotonic() - began < PROMPT_SECONDS
        replies = await soon(asyncio.gather(*readers))
        assert {reply.status for reply in replies[:READERS]} == {200}, "all but its output is known"
        assert {reply.status for reply in replies[READERS:-READERS]} == {503}
        archives = {reply.status for reply in replies[-READERS:]}
        assert archives == {503, 429}, "few archives of a user are written at once"
        codes = {json.loads(reply.body)["code"] for reply in replies if reply.status == 503}
        assert codes == {"SERVICE_UNAVAILABLE"}
        await asyncio.sleep(back_at - time.monotonic())
        assert await is_degraded()
        folder.go_on()
        await assert_ran_once(server, starts, [hung, task_ids[-1]])
        assert await until(is_healthy)

        folder.break_off()
        let_end(broken)
        assert await until(is_degraded)
        task_ids.append(await server.submit(counted(starts, "exit 4")))

        folder.unmount()
        let_end(unmounted)
        task_ids.append(await server.submit(counted(starts, "exit 4")))
        assert await is_degraded()
        assert await asyncio.to_thread(os.listdir, shared) == [], "nothing is created meanwhile"
        await asyncio.to_thread(folder.mount)
        await assert_ran_once(server, starts, task_ids)
        assert await until(is_healthy)
        await soon(server.stop())
