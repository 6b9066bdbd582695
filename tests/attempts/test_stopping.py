"""Requests to end an attempt while the backend fails."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from fetchml.attempts import stopping
from fetchml.attempts.stopping import StopRequest
from fetchml.core.events import Manner
from tests.support.waiting import soon


class FailingLauncher:
    """Fails for the first tries of each kind."""

    def __init__(self, **failures: int) -> None:
        self._failures = failures
        self.calls: list[str] = []
        self.failed = asyncio.Event()

    async def _end(self, kind: str) -> None:
        self.calls.append(kind)
        if self._failures.get(kind, 0) > 0:
            self._failures[kind] -= 1
            self.failed.set()
            raise OSError("the backend is away")

    async def warn(self, launch: object) -> None:
        await self._end("warn")

    async def stop(self, launch: object) -> None:
        await self._end("stop")

    async def kill(self, launch: object) -> None:
        await self._end("kill")


def carrying_out(request: StopRequest, launcher: Any) -> asyncio.Task[None]:
    async def has_started() -> bool:
        return True

    launch: Any = SimpleNamespace(task_id="t", grace_ms=0)
    return asyncio.create_task(
        request.carry_out(launcher, lambda: launch, warn_seconds=3600, has_started=has_started)
    )


@pytest.mark.parametrize("fails", ["warn", "stop"])
async def test_harder_request_ends_the_tries_of_a_softer_one(
    monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    monkeypatch.setattr(stopping, "AGAIN_SECONDS", 3600)
    launcher, request = FailingLauncher(**{fails: 1000}), StopRequest()
    ending = carrying_out(request, launcher)
    request.make(Manner.WARN if fails == "warn" else Manner.TERMINATE)
    await soon(launcher.failed.wait())
    request.make(Manner.KILL)
    await soon(ending)
    assert launcher.calls == [fails, "kill"]


async def test_failing_backend_loses_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "AGAIN_SECONDS", 0)
    monkeypatch.setattr(stopping, "STOP_MARGIN_SECONDS", 0)
    launcher, request = FailingLauncher(stop=2, kill=2), StopRequest()
    request.make(Manner.TERMINATE)
    await soon(carrying_out(request, launcher))
    assert launcher.calls == ["stop"] * 3 + ["kill"] * 3
