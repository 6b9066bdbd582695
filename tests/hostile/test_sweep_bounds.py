"""A sweep makes many tasks of one small request: its memory, and its turns of the event loop."""

from pathlib import Path

import pytest

from fetchml.core.footprint import footprint
from fetchml.core.model import Principal, Role
from fetchml.core.sweeps import model, tasks
from fetchml.engine import sweeps
from fetchml.engine.sweeps import Sweeps
from fetchml.errors import Unavailable, ValidationFailed
from fetchml.ports.store import TaskQuery
from tests.support.engine_box import ALICE, Box

WORD = "{n}" + "x" * 30_000


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "data")


async def test_memory_of_one_sweep_is_bounded_before_its_tasks_are_made(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def counted(encoded: bytes) -> int:
        made.append(footprint(encoded))
        return made[-1]

    monkeypatch.setattr(tasks, "footprint", counted)
    monkeypatch.setattr(sweeps, "MAX_TASK_BYTES", 1 << 20)
    request = {
        "task": {"job_name": "a", "command": [WORD] * 4},
        "parameters": {"n": {"range": [1, 1_000]}},
    }
    async with box.engine() as engine:
        for validate_only in (False, True):
            made.clear()
            with pytest.raises(ValidationFailed, match="MiB of the server's memory"):
                await engine.sweeps.create(ALICE, request, validate_only=validate_only)
            assert sum(made[:-1]) <= 1 << 20
        assert (await engine.tasks.list(ALICE, TaskQuery(limit=0))).total == 0
        assert engine.sweeps.totals().sweeps == 0


@pytest.mark.slow
async def test_few_users_cannot_take_all_places_of_sweeps(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"MAX_SWEEPS": 10, "RESERVED": 4, "MAX_OF_ONE_USER": 8, "FEW": 2}.items():
        monkeypatch.setattr(model, name, value)
    async with box.engine() as engine:
        taken = [await fill(engine.sweeps, user) for user in ("eve", "mallory", "oscar")]
    assert [count for count, _ in taken] == [6, 2, 2]
    assert "server limit of 6 sweeps reached for users with" in taken[0][1]
    assert "server limit of 10 sweeps reached" in taken[2][1]


async def fill(sweeps: Sweeps, user: str) -> tuple[int, str]:
    """Create sweeps until the user gets no further place; return their number and the reason."""
    who = Principal(user, Role.USER, f"key-{user}")
    request = {"task": {"job_name": "a"}, "parameters": {"n": {"values": ["1"]}}}
    for count in range(model.MAX_SWEEPS + 1):
        try:
            await sweeps.create(who, request)
        except Unavailable as error:
            return count, str(error)
    raise AssertionError("nothing bounds the sweeps")
