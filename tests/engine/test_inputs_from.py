"""Outputs of tasks as inputs of others, against a real engine with processes."""

import pytest

from fetchml.core.model import FailureReason, Status, Task
from fetchml.engine.engine import Engine
from fetchml.errors import Conflict, ValidationFailed
from tests.support.engine_box import ADMIN, ALICE, BOB, Box, ended
from tests.support.waiting import soon

WRITE = {"command": ["sh", "-c", 'echo "$FETCHML_JOB_NAME" > "$FETCHML_OUTPUTS/name"']}
READ = ["sh", "-c", 'cd "$FETCHML_INPUTS" && grep . $(find -L . -name name | sort) /dev/null']


async def writer(engine: Engine, name: str) -> Task:
    return await engine.submissions.create_task(ALICE, {"job_name": name, **WRITE})


async def test_outputs_are_inputs_by_job_name(box: Box) -> None:
    async with box.engine() as engine:
        made = [await writer(engine, name) for name in ("one", "twin", "twin")]
        ids = [task.id for task in made]
        reads = await engine.submissions.create_task(
            ALICE, {"job_name": "read", "command": READ, "inputs_from": ids}
        )
        assert [each.task_id for each in reads.spec.after or ()] == ids
        task = await soon(ended(engine, reads.id))
        assert (task.status, task.failure_reason) == (Status.COMPLETED, None), task.error
        lines = (await engine.logs.tail(task) or "").splitlines()
        twins = sorted(ids[1:])
        assert lines == ["./one/name:one", *(f"./twin/{each}/name:twin" for each in twins)]
        again = await engine.changes.retry(ALICE, reads.id)
        assert again.spec.inputs_from == tuple(ids)
        assert (await soon(ended(engine, again.id))).status is Status.COMPLETED


async def test_files_of_a_live_task_are_not_removed(box: Box) -> None:
    async with box.engine(private=True) as engine:
        made = await soon(ended(engine, (await writer(engine, "made")).id))
        held = {"job_name": "read", "command": READ, "inputs_from": [made.id], "hold": True}
        waits = await engine.submissions.create_task(ALICE, held)
        with pytest.raises(Conflict, match=f"Task {waits.id} gets its outputs"):
            await engine.changes.delete(ALICE, made.id)
        admins = await engine.submissions.create_task(ADMIN, held)
        await engine.changes.cancel(ALICE, waits.id)
        with pytest.raises(Conflict, match="Another task gets its outputs"):
            await engine.changes.delete(ALICE, made.id)
        assert await box.parts.ended.remove([made.id]) == []
        assert await box.parts.ended.remove_outputs([made.id]) == []
        await engine.changes.update(ADMIN, admins.id, {"hold": False})
        assert (await soon(ended(engine, admins.id))).status is Status.COMPLETED
        [removed] = await box.parts.ended.remove_outputs([made.id])
        assert removed.id == made.id
        with pytest.raises(ValidationFailed, match="were removed"):
            await engine.submissions.create_task(ALICE, held)
        await engine.changes.delete(ALICE, made.id)
        with pytest.raises(ValidationFailed, match="was deleted"):
            await engine.submissions.create_task(ALICE, held)


async def test_only_visible_outputs_can_be_mounted(box: Box) -> None:
    async with box.engine(private=True) as engine:
        made = await writer(engine, "made")
        await soon(ended(engine, made.id))
        with pytest.raises(ValidationFailed) as error:
            await engine.submissions.create_task(BOB, {"job_name": "a", "inputs_from": [made.id]})
        [violation] = error.value.violations
        assert (violation.field, violation.rule) == (
            "inputs_from",
            f"there is no task '{made.id}'",
        )
    async with box.engine() as engine:
        shared = await engine.submissions.create_task(
            BOB, {"job_name": "a", "command": READ, "inputs_from": [made.id]}
        )
        assert (await soon(ended(engine, shared.id))).status is Status.COMPLETED


async def test_failed_tasks_outputs_only_if_asked_for(box: Box) -> None:
    async with box.engine() as engine:
        command = ["sh", "-c", 'echo x > "$FETCHML_OUTPUTS/name"; exit 1']
        fails = await engine.submissions.create_task(ALICE, {"job_name": "f", "command": command})
        read = {"job_name": "read", "command": READ, "inputs_from": [fails.id]}
        none = await engine.submissions.create_task(ALICE, read)
        some = await engine.submissions.create_task(
            ALICE, {**read, "after": [{"task_id": fails.id, "condition": "ended"}]}
        )
        assert (await soon(ended(engine, none.id))).failure_reason is (
            FailureReason.DEPENDENCY_FAILED
        )
        assert (await soon(ended(engine, some.id))).status is Status.COMPLETED
        never = await engine.submissions.create_task(ALICE, {"job_name": "n", "hold": True})
        await engine.changes.cancel(ALICE, never.id)
        after = [{"task_id": never.id, "condition": "ended"}]
        empty = {"job_name": "e", "command": ["true"], "inputs_from": [never.id], "after": after}
        task = await engine.submissions.create_task(ALICE, empty)
        assert (await soon(ended(engine, task.id))).status is Status.COMPLETED
