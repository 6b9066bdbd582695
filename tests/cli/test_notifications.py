"""`fetchml notifications` and `fetchml submit --notify`, with a receiver."""

import asyncio
from pathlib import Path

from tests.support.cli_server import Ran, Server
from tests.support.waiting import until
from tests.support.webhook_receiver import Receiver


async def test_messages_from_the_command_line(tmp_path: Path) -> None:
    allowed = {"FETCHML_NOTIFICATIONS_ALLOW_PRIVATE": "true"}
    server = await asyncio.to_thread(Server(tmp_path / "data", **allowed).start)

    async def run(*arguments: str) -> Ran:
        return await asyncio.to_thread(server.run, *arguments)

    async def done(*arguments: str) -> str:
        return (await run(*arguments)).succeeded()

    try:
        async with Receiver().listening() as receiver:
            assert (await done("notifications", "test", receiver.url)).startswith("delivered in")
            key = await done("notifications", "secret", receiver.url)
            assert receiver.got[0].is_signed_with(key.strip())
            receiver.status = 410
            failed = await run("notifications", "test", receiver.url)
            assert failed.code == 1
            assert "returned 410" in failed.err
            wrong = await run("submit", "--notify", "ended,https://a.example", "--", "true")
            assert wrong.code == 2
            assert "any of started, completed, failed, preempted, idle" in wrong.err
            target = f"failed,{receiver.url}"
            task_id = (await done("submit", "--notify", target, "--", "false")).strip()
            # The test messages, and the one of the task.
            assert (await receiver.until(3))[2].json["type"] == "task.failed"
            listed = await until(
                lambda: done("notifications", "ls", "--dead", "-o", "name"), lambda out: out.strip()
            )
            assert listed.split() == [receiver.got[2].id]
            assert task_id in await done("notifications", "ls", "-o", "wide")
            assert "failed" in await done("show", task_id)
            receiver.status = 200
            assert "1 message waits" in await done("notifications", "retry", "--all")
            assert (await receiver.until(4))[3].id == receiver.got[2].id
            assert target.partition(",")[2] in await done("notifications", "set", target)
            assert await done("notifications", "set", "--none") == ""
    finally:
        await asyncio.to_thread(server.stop)
