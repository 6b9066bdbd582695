"""Ports that nobody uses any more are closed, and their end is in the audit."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from fetchml.access import relays
from fetchml.access.relays import PinnedConnector, Relay, Relays
from fetchml.core.audit import Action
from fetchml.core.model import Principal, Role
from fetchml.ports.launcher import LaunchSpec
from tests.support.waiting import until_true

ADA = Principal("ada", Role.USER, "key-a")
BEN = Principal("ben", Role.ADMIN, "key-b")
RUN = LaunchSpec("t", 1, "job", Path("/"), "image", ("run",), {})


class Helper:
    """Runs until the task ends, or the relay is closed."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.closed = False

    async def read(self) -> bytes:
        await self.over.wait()
        return b""

    async def write(self, data: bytes) -> None:
        raise AssertionError("nothing is written to it")

    async def close(self) -> None:
        self.closed = True


class Audit:
    def __init__(self) -> None:
        self.entries: list[tuple[Action, str, str, str]] = []

    def done(
        self, who: Principal, action: Action, target: str, detail: str
    ) -> asyncio.Future[None]:
        self.entries.append((action, who.user, target, detail))
        durable = asyncio.get_running_loop().create_future()
        durable.set_result(None)
        return durable


@pytest.mark.parametrize("end", ["unused", "task"])
async def test_each_key_that_used_a_port_has_its_end_recorded(
    monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(relays, "LINGER_SECONDS", 0.2 if end == "unused" else 3600)
    audit, helper = Audit(), Helper()
    parts: Any = audit
    opened = Relays(lambda *_: _never(), parts)

    async def make(_: LaunchSpec, port: int) -> Relay:
        return Relay(helper, PinnedConnector(os.open("/", os.O_PATH)), port)

    monkeypatch.setattr(opened, "_make", make)
    async with opened.running():
        relay = await opened.find(ADA, RUN, 6006)
        relay.connections += 1
        assert await opened.find(BEN, RUN, 6006) is relay
        assert await opened.find(ADA, RUN, 6006) is relay
        begun = [(Action.TASK_PORT, user, "t", "port 6006") for user in ("ada", "ben")]
        assert audit.entries == begun
        if end == "task":
            helper.over.set()
        else:
            await asyncio.sleep(0.5)  # More than its time, but there is a connection.
            assert audit.entries == begun
            relay.connections -= 1
        await until_true(lambda: helper.closed)
        assert audit.entries[2:] == [
            (Action.TASK_PORT_END, user, "t", "port 6006") for user in ("ada", "ben")
        ]
        assert len(opened.limit) == 0


async def _never() -> Any:
    raise AssertionError("the test makes the relay")
