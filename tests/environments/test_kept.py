"""What users and admins see and remove of the environments that the server keeps."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fetchml.auth.audit import Audit
from fetchml.core.model import Principal, Role
from fetchml.environments.environment_service import CachedEnvironments
from fetchml.errors import BadRequest, NotFound
from fetchml.system.clock import Clock
from tests.environments.bench import Bench
from tests.support.memory_store import MemoryStore

BOB, ADA, ROOT, VIEWER = (
    Principal(name, role, "")
    for name, role in (
        ("bob", Role.USER),
        ("ada", Role.USER),
        ("root", Role.ADMIN),
        ("bob", Role.VIEWER),
    )
)


class World:
    """Bob has two environments, of which a task holds the second, and Ada has one."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder)
        self.store: Any = MemoryStore()
        self.kept = CachedEnvironments(self.bench.environments, Audit(self.store, clock_ms=Clock()))

    async def play(self) -> None:
        bench = self.bench
        self.one, two = (bench.snapshot(requirements_txt=text) for text in (b"one", b"two"))
        self.held = bench.task("b", two)
        for task in (bench.task("a", self.one), self.held, bench.task("c", self.one, user="ada")):
            await bench.provide(task)
            if task is not self.held:
                await bench.environments.release(task)

    def ids(self, who: Principal, **query: Any) -> list[str]:
        return [each.record.id for each in self.kept.page(who, **query).environments]


@pytest.fixture
async def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    await made.play()
    return made


async def test_everyone_sees_their_own_and_admins_all(world: World) -> None:
    hers, second, first = world.ids(ROOT)
    assert world.ids(BOB) == world.ids(VIEWER) == [second, first]
    assert world.ids(ADA) == [hers]
    assert world.ids(BOB, user="ada") == []
    assert world.ids(ROOT, user="bob") == [second, first]
    page = world.kept.page(ROOT, limit=1, offset=1)
    assert [each.record.id for each in page.environments] == [second]
    assert page.total == 3
    assert [each.tasks for each in world.kept.page(BOB).environments] == [1, 0]
    record = page.environments[0].record
    assert (record.kind, record.path, record.image) == ("requirements", "requirements.txt", "image")
    assert record.snapshot_id == world.held.spec.snapshot_id
    wrongs: list[dict[str, Any]] = [{"limit": 1001}, {"limit": -1}, {"offset": -1}]
    for wrong in wrongs:
        with pytest.raises(BadRequest):
            world.kept.page(BOB, **wrong)


async def test_use_moves_an_environment_to_the_front(world: World) -> None:
    hers, second, first = world.ids(ROOT)
    await world.bench.provide(world.bench.task("d", world.one))
    assert world.ids(ROOT) == [first, hers, second]


async def test_environment_that_is_removed_twice_was_not_in_use(world: World) -> None:
    [first] = world.ids(BOB)[1:]
    done = await asyncio.gather(
        *(world.kept.delete(who, first) for who in (BOB, ROOT)), return_exceptions=True
    )
    assert [type(each) for each in done if each is not None] == [NotFound]
    assert [entry.target for entry in world.store.audit] == [first]
