"""Replays of what a real engine ran, and which settings they may change."""

import pytest

from fetchml.config.settings import Settings
from fetchml.core.gpus.allocator import Placement
from fetchml.core.whatif import request
from fetchml.core.whatif.whatif import Changed
from fetchml.errors import Forbidden, ValidationFailed
from fetchml.history import whatif_process, whatif_service
from fetchml.server.wiring import limits_with
from tests.support.engine_box import ADMIN, ALICE, BOB, VIEWER, Box, ended

SHORT = {"job_name": "short", "command": ["sleep", "0.2"], "gpu": 1}


async def test_starts_of_tasks_that_really_ran_come_back(box: Box) -> None:
    async with box.engine(gpu=2, user_gpus=1) as engine:
        box.parts.history.remove_left_over()  # As the program does when it starts.
        tasks = [
            await engine.submissions.create_task(who, SHORT)
            for who in (ALICE, ALICE, ALICE, BOB, BOB)
        ]
        failing = {**SHORT, "command": ["false"], "max_retries": 1}
        tasks.append(await engine.submissions.create_task(BOB, failing))
        for task in tasks:
            await ended(engine, task.id)
        found = await box.parts.what_ifs.replay(ADMIN, {})
    assert found.tasks == 6
    # The one that fails starts again.
    assert found.starts == found.same_starts == 7
    assert found.changes == ()
    assert found.recorded.waits.p90 == pytest.approx(found.replayed.waits.p90, abs=0.5)
    assert {each.user for each in found.replayed.users} == {"alice", "bob"}


async def test_other_gpus_change_the_replay_only(box: Box) -> None:
    async with box.engine(gpu=1) as engine:
        box.parts.history.remove_left_over()  # As the program does when it starts.
        for task in [await engine.submissions.create_task(ALICE, SHORT) for _ in range(4)]:
            await ended(engine, task.id)
        found = await box.parts.what_ifs.replay(ADMIN, {"gpus": 4, "user_id": "nobody"})
    assert found.changes == (Changed("gpus", "1", "4"),)
    assert found.replayed.waits.p90 == 0
    assert found.recorded.waits.p90 >= 0.6
    assert found.same_starts == found.starts == 4


@pytest.mark.parametrize("private", [False, True])
async def test_only_admins_replay(box: Box, private: bool) -> None:
    async with box.engine(private=private) as engine:
        box.parts.history.remove_left_over()  # As the program does when it starts.
        task = await engine.submissions.create_task(ALICE, {**SHORT, "command": ["true"]})
        await ended(engine, task.id)
        for who in (ALICE, VIEWER):
            with pytest.raises(Forbidden, match="Only admins replay the history"):
                await box.parts.what_ifs.replay(who, {})
        assert (await box.parts.what_ifs.replay(ADMIN, {})).tasks == 1


async def test_a_replay_beyond_its_limits_is_reported(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with box.engine() as engine:
        box.parts.history.remove_left_over()  # As the program does when it starts.
        task = await engine.submissions.create_task(ALICE, {**SHORT, "command": ["true"]})
        await ended(engine, task.id)
        monkeypatch.setattr(whatif_service, "SECONDS", 0.001)
        with pytest.raises(ValidationFailed, match="choose a shorter period"):
            await box.parts.what_ifs.replay(ADMIN, {})
        monkeypatch.setattr(whatif_service, "SECONDS", whatif_process.SECONDS)
        monkeypatch.setattr(whatif_service, "PROCESS", "fetchml.no_such_module")
        with pytest.raises(ValidationFailed, match="MiB of memory: choose a shorter one"):
            await box.parts.what_ifs.replay(ADMIN, {})
        before = "2020-01-01T00:00:00Z"
        with pytest.raises(ValidationFailed, match=r"until: must be after .* the first change"):
            await box.parts.what_ifs.replay(ADMIN, {"until": before})
        assert list(box.parts.what_ifs._store.history.folder.iterdir()) == []


def test_settings_have_the_units_and_rules_of_the_configuration() -> None:
    asked = {
        "tasks.reserve_after": "60",
        "gpu.placement": "spread",
        "scheduling.preemption": "true",
        "resources.memory_gb": "7",
    }
    limits, changes = limits_with(Settings(), asked)
    assert limits.reserve_after_ms == 60_000
    assert limits.placement is Placement.SPREAD
    assert limits.preemption
    assert limits.capacity.memory_gb == 7
    assert changes[1:3] == (
        Changed("gpu.placement", "fill", "spread"),
        Changed("scheduling.preemption", "false", "true"),
    )
    unchanged, none = limits_with(Settings(), {"gpu.placement": "fill"})
    assert none == ()
    assert unchanged == limits_with(Settings(), {})[0]


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("quotas.user_gpu", "1", "unknown setting quotas.user_gpu; expected one of gpu.placement"),
        ("slurm.token_file", "/etc/shadow", "unknown setting"),
        ("x" * 10_000, "1", "unknown setting x"),
        ("", "", "unknown setting"),
        ("quotas.user_gpus", "-1", "expected int >= 0"),
        ("quotas.user_gpus", "9" * 5_000, "quotas.user_gpus: integer value out of range"),
        ("tasks.max_running", "0", "expected int >= 1"),
        ("scheduling.preemption", "maybe", "expected bool"),
        ("gpu.placement", "best", "expected one of fill, spread"),
    ],
)
def test_a_wrong_setting_is_named(name: str, text: str, rule: str) -> None:
    with pytest.raises(ValidationFailed) as raised:
        limits_with(Settings(), {name: text})
    [violation] = raised.value.violations
    assert violation.field == "settings"
    assert rule in violation.rule
    assert len(violation.rule) <= 500


def test_a_period_is_seven_days_unless_it_is_named() -> None:
    day = 86_400_000
    _, since, until, wrong = request.read({}, 100 * day)
    assert (since, until, wrong) == (93 * day, 100 * day, [])
    _, since, until, wrong = request.read({"until": "1970-01-11T00:00:00Z"}, 100 * day)
    assert (since, until, wrong) == (3 * day, 10 * day, [])
    # A period ends now at the latest.
    assert request.read({"until": "2970-01-01T00:00:00Z"}, 100 * day)[2] == 100 * day
