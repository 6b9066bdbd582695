"""The ends of a session that its command does not bring about, and their audit entries."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from fetchml.access.frames import frame
from fetchml.access.service import AccessOptions, TaskAccess
from fetchml.access.session import ExecSession, Exit, Output
from fetchml.core.audit import Action
from fetchml.core.model import Principal, Role, Status
from fetchml.core.requests.access import ExecRequest
from fetchml.errors import Conflict
from fetchml.ports.launcher import EnterError, LaunchSpec
from tests.support.tasks import task
from tests.support.waiting import soon

ALICE = Principal("alice", Role.USER, "key", "::1")


class FakeHelper:
    """What it has sent is in a queue; it ends when it is closed."""

    def __init__(self, *sent: bytes) -> None:
        self.sent = asyncio.Queue[bytes]()
        for each in sent:
            self.sent.put_nowait(each)

    async def read(self) -> bytes:
        return await self.sent.get()

    async def write(self, data: bytes) -> None:
        pass

    async def close(self) -> None:
        self.sent.put_nowait(b"")


class World:
    """`TaskAccess` with one running task of Alice's."""

    def __init__(self, helper: FakeHelper | None, options: AccessOptions) -> None:
        """`helper`: `None` if the task can't be entered."""
        self._helper = helper
        self.audited: list[tuple[Action, str]] = []
        run = LaunchSpec("t", 1, "job", Path("/"), "image", ("run",), {})
        parts: Any = self
        self.access = TaskAccess(parts, parts, lambda _: run, parts, options)

    async def get(self, *_: object) -> object:
        return task(status=Status.RUNNING, attempt=1)

    async def enter(self, *_: object) -> FakeHelper:
        if self._helper is None:
            raise EnterError("its container is gone")
        return self._helper

    def done(self, _: Principal, action: Action, target: str, detail: str) -> asyncio.Future[None]:
        self.audited.append((action, detail))
        durable = asyncio.get_running_loop().create_future()
        durable.set_result(None)
        return durable

    def exec(self) -> AbstractAsyncContextManager[ExecSession]:
        return self.access.exec(ALICE, "t", ExecRequest(("sh",)))

    async def run(self) -> list[Output | Exit]:
        async with self.exec() as session:
            return [part async for part in session.outputs()]


HELLO = frame("h", b"1")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (AccessOptions(idle_seconds=1, max_seconds=0), "The session was idle for 1 s "),
        (AccessOptions(idle_seconds=0, max_seconds=1), "Session limit of 1 s reached "),
    ],
)
async def test_session_ends_at_its_limit(options: AccessOptions, reason: str) -> None:
    world = World(FakeHelper(HELLO, frame("o", b"out")), options)
    with pytest.raises(Conflict, match=reason):
        await soon(world.run())
    assert [action for action, _ in world.audited] == [Action.TASK_EXEC, Action.TASK_EXEC_END]
    assert reason in world.audited[-1][1]
    assert len(world.access.sessions) == 0


async def test_use_postpones_the_idle_limit_only() -> None:
    helper = FakeHelper(HELLO)
    world = World(helper, AccessOptions(idle_seconds=3600, max_seconds=1))

    async def use(session: ExecSession) -> None:
        while True:
            before = session.last_use
            await session.write(b"in")
            assert session.last_use > before
            helper.sent.put_nowait(frame("a"))
            await asyncio.sleep(0.01)

    async def run() -> None:
        async with world.exec() as session:
            using = asyncio.create_task(use(session))
            try:
                async for _ in session.outputs():
                    pass
            finally:
                using.cancel()

    with pytest.raises(Conflict, match="Session limit of 1 s reached "):
        await soon(run())


@pytest.mark.parametrize(
    ("helper", "reason"),
    [
        (lambda: None, "Cannot enter the task: its container is gone"),
        (lambda: FakeHelper(b""), "Cannot enter the task: it has just ended"),
        (lambda: FakeHelper(frame("z")), "Cannot enter the task: it has just ended"),
    ],
)
async def test_every_start_has_an_end_in_the_audit(
    helper: Callable[[], FakeHelper | None], reason: str
) -> None:
    world = World(helper(), AccessOptions())
    with pytest.raises(Conflict, match=reason):
        await soon(world.run())
    assert [action for action, _ in world.audited] == [Action.TASK_EXEC, Action.TASK_EXEC_END]
    assert reason in world.audited[-1][1]


async def test_exit_is_audited() -> None:
    world = World(FakeHelper(HELLO, frame("x", b"\x07")), AccessOptions())
    assert await soon(world.run()) == [Exit(7)]
    assert world.audited[-1] == (Action.TASK_EXEC_END, "after 0 s: exit code 7")
