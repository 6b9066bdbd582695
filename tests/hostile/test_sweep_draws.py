"""Sweeps of random samples: drawn in portions, in a thread, no longer than the client waits."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fetchml.core.model import Role
from fetchml.core.sweeps.definition import MAX_PARAMETERS, Definition
from fetchml.core.sweeps.search_space import MAX_TASKS
from fetchml.engine.sweeps import DRAWN_AT_ONCE
from tests.support.rest_world import Client, Reply, World, rest_world
from tests.support.waiting import soon, until_true

PORTION = DRAWN_AT_ONCE // MAX_PARAMETERS
"""Tasks."""


def random_sweep(parameters: int, samples: int) -> dict[str, object]:
    bounds = {f"p{number}": {"log_uniform": [1e-5, 1 + number]} for number in range(parameters)}
    return {"task": {"job_name": "a"}, "parameters": bounds, "mode": "random", "samples": samples}


ATTACK = random_sweep(MAX_PARAMETERS, MAX_TASKS)


class Drawn:
    """The tasks that were drawn, by the number of the sweep's parameters."""

    def __init__(self, world: World, patch: pytest.MonkeyPatch) -> None:
        self.tasks = Counter[int]()
        self.threads = set[str]()
        self.waited_in_lock = False
        drawn = Definition.drawn

        def counted(wanted: Definition, seed: int, indexes: range) -> Any:
            # The first task is drawn for the rules that all requests are checked by.
            if threading.current_thread() is not threading.main_thread():
                self.threads.add(threading.current_thread().name)
                self.waited_in_lock |= world.engine.engine.sweeps._expanding.locked()
                self.tasks[len(wanted.axes)] += len(indexes)
            return drawn(wanted, seed, indexes)

        patch.setattr(Definition, "drawn", counted)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with rest_world() as made:
        yield made


@pytest.fixture
def drawn(world: World, monkeypatch: pytest.MonkeyPatch) -> Drawn:
    return Drawn(world, monkeypatch)


async def create(client: Client, request: object, query: str = "") -> Reply:
    return await client.submit(request, f"/v1/sweeps{query}")


async def test_draws_end_with_their_client(world: World, drawn: Drawn) -> None:
    attack = [asyncio.create_task(create(world.client, ATTACK)) for _ in range(4)]
    await until_true(lambda: drawn.tasks[MAX_PARAMETERS] > 0)
    for each in attack:
        each.cancel()
    await soon(asyncio.wait(attack))
    await until_true(lambda: not world.engine.engine.sweeps._turns._locks)
    assert drawn.tasks[MAX_PARAMETERS] < MAX_TASKS // 4


async def test_sweeps_of_others_go_on_beside_draws(world: World, drawn: Drawn) -> None:
    bob = world.as_(world.secrets[Role.ADMIN])
    attack = [asyncio.create_task(create(world.client, ATTACK)) for _ in range(4)]
    await until_true(lambda: drawn.tasks[MAX_PARAMETERS] > 0)
    for _ in range(5):
        assert (await soon(create(bob, random_sweep(2, 10)))).status == 201
    most = drawn.tasks[MAX_PARAMETERS]
    for each in attack:
        each.cancel()
    assert most <= 5 * 5 * PORTION, "its draws wait for no more than a few portions"
