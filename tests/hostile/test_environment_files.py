"""Files of environments: read one at a time by user, no longer than the client waits."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from fetchml.core.model import Role
from fetchml.environments.environment_service import BuilderSettings
from fetchml.environments.sources import EnvironmentSources
from tests.environments.bench import Builder
from tests.support.rest_world import Client, Reply, World, rest_world
from tests.support.waiting import soon, until_true

SNAPSHOT = "5" * 64
FILES = 20
MOST_TIMES_SLOWER = 40
"""A submit beside the attack. The reader's thread and the event loop share an interpreter, whose
turns are 5 ms long, and a submit alone takes a few milliseconds. Reads in the order of the requests
would make it wait for seconds."""


class Reads:
    """Every read of a file of an environment."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        self.open: dict[str, int] = {}
        self.most_open = 0
        self.threads = set[str]()
        self.go_on = threading.Event()
        self.go_on.set()
        self._read = EnvironmentSources.read
        self._read_file = EnvironmentSources._read
        reads = self

        def whole(*given: Any) -> Any:
            return reads.whole(*given)

        def file(*given: Any) -> bytes:
            return reads.file(*given)

        patch.setattr(EnvironmentSources, "read", whole)
        patch.setattr(EnvironmentSources, "_read", file)

    def whole(self, *given: Any) -> Any:
        self.open[given[3]] = 1
        self.most_open = max(self.most_open, len(self.open))
        try:
            return self._read(*given)
        finally:
            del self.open[given[3]]

    def file(self, *given: Any) -> bytes:
        self.begun += 1
        self.threads.add(threading.current_thread().name)
        self.go_on.wait()
        return self._read_file(*given)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A snapshot has requirements files that all include each other."""
    async with rest_world() as made:
        environments: Any = made.engine.parts.environments
        environments._settings = BuilderSettings(Builder(), Path("uv"), "", None)
        await made.engine.add_snapshot(SNAPSHOT)
        tree = made.engine.parts.snapshots._files._root / SNAPSHOT / "tree"
        tree.mkdir(parents=True)
        others = "".join(f"-r {number}.txt\n" for number in range(FILES))
        content = (others + "a\n" * (25 << 10))[: (1 << 20) // FILES]
        for number in range(FILES):
            (tree / f"{number}.txt").write_text(content)
        yield made


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


async def asked(client: Client, number: int) -> Reply:
    environment = {"requirements": f"{number}.txt"}
    return await client.submit(
        {"job_name": "a", "snapshot_id": SNAPSHOT, "environment": environment},
        "/v1/tasks?validate_only=true",
    )


async def test_reads_end_with_their_clients(world: World, reads: Reads) -> None:
    reads.go_on.clear()
    attack = [asyncio.create_task(asked(world.client, number)) for number in range(8)]
    await until_true(lambda: reads.begun == 1)
    for each in attack:
        each.cancel()
    await soon(asyncio.wait(attack))
    turns = world.engine.parts.environments._reading._turns._locks
    # The first one holds its turn until its thread ends; the others have left.
    await until_true(lambda: [users for _, users in turns.values()] == [1])
    reads.go_on.set()
    await until_true(lambda: not turns)
    assert reads.begun == 1


async def test_files_of_more_than_1_mib_in_all_are_refused(world: World, reads: Reads) -> None:
    tree = world.engine.parts.snapshots._files._root / SNAPSHOT / "tree"
    for number in range(FILES):
        (tree / f"{number}.txt").write_text(f"-r {(number + 1) % FILES}.txt\n" + "a" * (400 << 10))
    reply = await soon(asked(world.client, 0))
    assert reply.status == 422
    assert "0.txt: it and the files it names are larger than 1 MiB" in reply.error
    assert reads.begun == 3


@pytest.mark.slow
async def test_submits_of_others_go_on_beside_reads(world: World, reads: Reads) -> None:
    bob = world.as_(world.secrets[Role.ADMIN])

    async def submit() -> float:
        began = time.monotonic()
        assert (await soon(bob.submit())).status == 201
        return time.monotonic() - began

    alone = median([await submit() for _ in range(20)])
    attack = [asyncio.create_task(asked(world.client, number)) for number in range(8)]
    await until_true(lambda: reads.begun > 0)
    beside: list[float] = []
    while len(beside) < 20 and not attack[-1].done():
        beside.append(await submit())
    print(f"a submit alone {alone * 1e3:.1f} ms, beside {median(beside) * 1e3:.1f} ms")
    for each in attack:
        each.cancel()
    assert len(beside) > 5
    assert median(beside) < MOST_TIMES_SLOWER * alone
