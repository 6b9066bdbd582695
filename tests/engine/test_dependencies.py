"""Tasks after others, against a real engine and store: what can be named, and restarts."""

import pytest

from fetchml.core.model import Condition, FailureReason, Status, Task
from fetchml.engine.engine import Engine
from fetchml.errors import Conflict, ValidationFailed
from tests.support.engine_box import ADMIN, ALICE, BOB, Box, ended, running
from tests.support.waiting import soon

SLEEP = {"job_name": "sleep", "command": ["sleep", "1000"]}
TRUE = {"job_name": "true", "command": ["true"]}
FALSE = {"job_name": "false", "command": ["false"]}


async def after(engine: Engine, *task_ids: str, condition: str = "completed") -> Task:
    named = [{"task_id": each, "condition": condition} for each in task_ids]
    return await engine.submissions.create_task(ALICE, {**TRUE, "after": named})


async def test_tasks_run_after_others(box: Box) -> None:
    async with box.engine() as engine:
        first = await engine.submissions.create_task(ALICE, {**TRUE, "hold": True})
        second = await after(engine, first.id)
        third = await after(engine, first.id, second.id, condition="ended")
        never = await after(engine, first.id, condition="failed")
        waiting = await engine.tasks.waiting(ALICE)
        assert [each.task.id for each in waiting.tasks] == [first.id, second.id, third.id, never.id]
        assert {each.position for each in waiting.tasks} == {None}
        await engine.changes.update(ALICE, first.id, {"hold": False})
        done = [await soon(ended(engine, each.id)) for each in (first, second, third)]
        assert {each.status for each in done} == {Status.COMPLETED}
        starts = [each.started_at or 0 for each in done]
        ends = [each.ended_at or 0 for each in done]
        assert ends[0] <= starts[1]
        assert ends[1] <= starts[2]
        failed = await soon(ended(engine, never.id))
        assert failed.failure_reason is FailureReason.DEPENDENCY_FAILED
        assert first.id in (failed.error or "")
        with pytest.raises(Conflict, match="submit this one again"):
            await engine.changes.retry(ALICE, never.id)
        late = await soon(ended(engine, (await after(engine, never.id)).id))
        assert late.failure_reason is FailureReason.DEPENDENCY_FAILED
        assert (await soon(ended(engine, (await after(engine, first.id)).id))).attempt == 1
        again = await engine.changes.retry(ALICE, second.id)
        assert again.spec.after is None


async def test_only_visible_tasks_can_be_named(box: Box) -> None:
    async with box.engine(private=True) as engine:
        bobs = await engine.submissions.create_task(BOB, SLEEP)
        gone = await soon(ended(engine, (await engine.submissions.create_task(ALICE, TRUE)).id))
        await engine.changes.delete(ALICE, gone.id)
        hidden = await soon(ended(engine, (await engine.submissions.create_task(BOB, TRUE)).id))
        await engine.changes.delete(BOB, hidden.id)
        unknown = "00000000-0000-7000-8000-000000000000"
        for named, rule in (
            (unknown, f"there is no task '{unknown}'"),
            (bobs.id, f"there is no task '{bobs.id}'"),
            (hidden.id, f"there is no task '{hidden.id}'"),
            (gone.id, f"task {gone.id} was deleted"),
        ):
            with pytest.raises(ValidationFailed) as error:
                await engine.submissions.create_task(ALICE, {**TRUE, "after": [named]})
            [violation] = error.value.violations
            assert (violation.field, violation.rule) == ("after", rule)
            with pytest.raises(ValidationFailed, match="after"):
                await engine.submissions.create_tasks(ALICE, [TRUE, {**TRUE, "after": [named]}])
        allowed = await engine.submissions.create_task(ADMIN, {**TRUE, "after": [bobs.id]})
        await engine.changes.cancel(BOB, bobs.id)
        assert (await soon(ended(engine, allowed.id))).status is Status.FAILED


async def test_restart_goes_on(box: Box) -> None:
    async with box.engine() as engine:
        runs = await engine.submissions.create_task(ALICE, SLEEP)
        await running(engine, runs.id)
        well = await soon(ended(engine, (await engine.submissions.create_task(ALICE, TRUE)).id))
        held = await engine.submissions.create_task(
            ALICE, {**TRUE, "hold": True, "after": [well.id], "start_after": "2020-01-01T00:00:00Z"}
        )
        waits = await after(engine, runs.id, well.id, condition=Condition.ENDED)
        breaks = await after(engine, runs.id)
    async with box.engine() as engine:
        explained = await engine.tasks.explain(ALICE, waits.id)
        assert runs.id in explained.reason
        assert well.id not in explained.reason
        assert "held" in (await engine.tasks.explain(ALICE, held.id)).reason
        await engine.changes.cancel(ALICE, runs.id)
        await engine.changes.update(ALICE, held.id, {"hold": False})
        outcomes = [await soon(ended(engine, each.id)) for each in (waits, held, breaks)]
        assert [each.failure_reason for each in outcomes] == [
            None,
            None,
            FailureReason.DEPENDENCY_FAILED,
        ]


async def test_check_of_a_held_back_task_has_no_estimate(box: Box) -> None:
    async with box.engine() as engine:
        valid = await engine.submissions.validate_task(
            ALICE, {**TRUE, "hold": True}, with_estimate=True
        )
        assert valid.estimate is None
        valid = await engine.submissions.validate_task(ALICE, TRUE, with_estimate=True)
        assert valid.estimate is not None
        failing = await engine.submissions.create_task(ALICE, FALSE)
        await soon(ended(engine, failing.id))
