"""Tasks and sweeps after sweeps, against a real engine and store."""

from pathlib import Path
from typing import Any

import pytest

from fetchml.core.dependencies import request
from fetchml.core.model import FailureReason, Status, Task
from fetchml.engine.engine import Engine
from fetchml.errors import Conflict, ValidationFailed
from fetchml.ports.store import TaskQuery
from tests.support.engine_box import ADMIN, ALICE, BOB, Box, ended
from tests.support.waiting import soon

TRUE = {"job_name": "true", "command": ["true"]}
HELD = {**TRUE, "hold": True}
UNKNOWN = "00000000-0000-7000-8000-000000000000"


async def sweep(engine: Engine, task: dict[str, Any], size: int = 2, **more: Any) -> str:
    request = {"task": task, "parameters": {"n": {"range": [0, size - 1]}}, **more}
    return (await engine.sweeps.create(ALICE, request)).sweep.id


async def tasks_of(engine: Engine, sweep_id: str) -> list[Task]:
    """Its tasks by their index."""
    page = await engine.tasks.list(ADMIN, TaskQuery(sweep_id=sweep_id, limit=99))
    return sorted(page.tasks, key=lambda task: task.spec.sweep.index if task.spec.sweep else -1)


async def outcomes(engine: Engine, sweep_id: str) -> list[FailureReason | None]:
    found = [await soon(ended(engine, task.id)) for task in await tasks_of(engine, sweep_id)]
    return [task.failure_reason for task in found]


async def after(engine: Engine, sweep_id: str, condition: str = "completed") -> Task:
    named = [{"sweep_id": sweep_id, "condition": condition}]
    return await engine.submissions.create_task(ALICE, {**TRUE, "after": named})


async def release(engine: Engine, sweep_id: str) -> None:
    for task in await tasks_of(engine, sweep_id):
        await engine.changes.update(ALICE, task.id, {"hold": False})


async def test_all_of_a_sweep_and_each_index(box: Box) -> None:
    write = ["sh", "-c", 'echo {n} > "$FETCHML_OUTPUTS/n"']
    read = ["sh", "-c", 'test "$(cat "$FETCHML_INPUTS/write/n")" = {n}']
    async with box.engine() as engine:
        first = await sweep(engine, {"job_name": "write", "command": write, "hold": True}, 3)
        reads = await sweep(
            engine, {"job_name": "read", "command": read, "inputs_from": [first]}, 3
        )
        whole = await sweep(
            engine, {**TRUE, "after": [{"sweep_id": first}, {"sweep_id": reads}]}, 2
        )
        last = await after(engine, whole)
        made, reading = await tasks_of(engine, first), await tasks_of(engine, reads)
        for writes, each in zip(made, reading, strict=True):
            assert each.spec.inputs_from == (writes.id,)
            [on] = each.spec.after or ()
            assert (on.task_id, on.sweep_id, on.same_index) == (writes.id, first, True)
            assert (await engine.tasks.explain(ALICE, each.id)).reason == (
                f"It waits until task {writes.id} of sweep {first} completes (it is queued)."
            )
        [waits, _] = await tasks_of(engine, whole)
        await engine.changes.update(ALICE, made[2].id, {"hold": False})
        await soon(ended(engine, reading[2].id))
        assert (await engine.tasks.explain(BOB, waits.id)).reason == (
            f"It waits until all tasks of sweep {first} complete (2 have not ended) and all tasks "
            f"of sweep {reads} complete (2 have not ended)."
        )
        await release(engine, first)
        for sweep_id in (first, reads, whole):
            assert set(await outcomes(engine, sweep_id)) == {None}
        done = await soon(ended(engine, last.id))
        ends = [task.ended_at or 0 for task in await tasks_of(engine, whole)]
        assert (done.started_at or 0) >= max(ends)


async def test_failure_is_named_and_a_retry_goes_on(box: Box, tmp_path: Path) -> None:
    script = f'test -e "{tmp_path}/mended" || exit {{n}}'
    async with box.engine() as engine:
        fails = await sweep(engine, {"job_name": "a", "command": ["sh", "-c", script]})
        each = await sweep(engine, {**TRUE, "after": [{"sweep_id": fails, "same_index": True}]})
        all_of_it = await after(engine, fails)
        others = [await after(engine, fails, how) for how in ("ended", "failed")]
        bad = (await tasks_of(engine, fails))[1]
        failed = await soon(ended(engine, all_of_it.id))
        assert failed.failure_reason is FailureReason.DEPENDENCY_FAILED
        assert failed.error == (
            f"it waited for all tasks of sweep {fails} to complete, and task {bad.id} has failed"
        )
        assert await outcomes(engine, each) == [None, FailureReason.DEPENDENCY_FAILED]
        waited = (await tasks_of(engine, each))[1]
        assert waited.error == f"it waited for a task that failed: {bad.id} of sweep {fails}"
        with pytest.raises(Conflict, match="It would fail again"):
            await engine.changes.retry(ALICE, waited.id)
        for other in others:
            assert (await soon(ended(engine, other.id))).status is Status.COMPLETED
        late = await soon(ended(engine, (await after(engine, fails)).id))
        assert (late.attempt, late.error) == (0, failed.error)
        late = await soon(ended(engine, (await after(engine, fails, "failed")).id))
        assert late.status is Status.COMPLETED

        (tmp_path / "mended").touch()
        assert (await engine.sweeps.retry(ALICE, fails)).tasks == 1
        assert (await engine.sweeps.retry(ALICE, each)).tasks == 1
        mended, again = (await tasks_of(engine, fails))[1], (await tasks_of(engine, each))[1]
        assert [on.task_id for on in again.spec.after or ()] == [mended.id]
        assert await outcomes(engine, each) == [None, None]
        again = await engine.changes.retry(ALICE, all_of_it.id)
        assert (await soon(ended(engine, again.id))).status is Status.COMPLETED
        late = await soon(ended(engine, (await after(engine, fails, "failed")).id))
        assert (
            late.error == f"it starts only if a task fails, and all have completed of sweep {fails}"
        )


async def test_what_can_not_be_named_is_refused(box: Box) -> None:
    async with box.engine(private=True) as engine:
        two = await sweep(engine, TRUE)
        request = {"task": TRUE, "parameters": {"n": {"range": [1, 2]}}}
        bobs = (await engine.sweeps.create(BOB, request)).sweep.id
        pruned = await sweep(engine, TRUE)
        for task in await tasks_of(engine, pruned):
            await soon(ended(engine, task.id))
        await engine.changes.delete(ALICE, (await tasks_of(engine, pruned))[1].id)
        whole = [
            (UNKNOWN, f"there is no sweep '{UNKNOWN}'"),
            (bobs, f"there is no sweep '{bobs}'"),
            (pruned, f"1 task of sweep {pruned} was deleted"),
        ]
        for named, rule in whole:
            with pytest.raises(ValidationFailed) as error:
                await after(engine, named)
            assert [(each.field, each.rule) for each in error.value.violations] == [("after", rule)]
            for by_index in (False, True):
                on = {"sweep_id": named, "same_index": by_index}
                with pytest.raises(ValidationFailed) as error:
                    await sweep(engine, {**TRUE, "after": [on]})
                [found] = error.value.violations
                assert (found.field, found.rule) == ("task.after", rule)
        alone = "can be named by their index only for the tasks of another sweep"
        for field, value in (
            ("after", [{"sweep_id": two, "same_index": True}]),
            ("inputs_from", [two]),
        ):
            with pytest.raises(ValidationFailed, match=f"{field}: {two} is a sweep.*{alone}"):
                await engine.submissions.create_task(ALICE, {**TRUE, field: value})
            with pytest.raises(ValidationFailed, match="has 2 tasks and this one has 3 tasks"):
                await sweep(engine, {**TRUE, field: value}, 3)
        with pytest.raises(ValidationFailed, match=f"there is no task '{bobs}'"):
            await sweep(engine, {**TRUE, "inputs_from": [bobs]})
        first = (await tasks_of(engine, two))[1].id
        both = [{"task_id": first, "condition": "ended"}, {"sweep_id": two, "same_index": True}]
        with pytest.raises(ValidationFailed, match=f"task '{first}' twice, once .* index \\(1\\)"):
            await sweep(engine, {**TRUE, "after": both})
        command = ["sh", "-c", 'echo {n} > "$FETCHML_OUTPUTS/n"']
        made = await sweep(engine, {"job_name": "write", "command": command})
        gone = (await tasks_of(engine, made))[0].id
        await soon(ended(engine, gone))
        assert len(await box.parts.ended.remove_outputs([gone])) == 1
        with pytest.raises(ValidationFailed) as error:
            await sweep(engine, {**TRUE, "inputs_from": [made]})
        [found] = error.value.violations
        assert found.field == "task.inputs_from"
        assert found.rule == f"the outputs of task {gone} of sweep {made} were removed"
        checked = await engine.sweeps.create(
            ALICE,
            {**request, "task": {**TRUE, "after": [{"sweep_id": two, "same_index": True}]}},
            validate_only=True,
        )
        assert [each.spec.after[0].task_id for each in checked.tasks if each.spec.after][1] == first


async def test_restart_goes_on(box: Box) -> None:
    """A failed task that was deleted meanwhile still counts for those that waited before."""
    async with box.engine() as engine:
        fails = {"job_name": "a", "command": ["sh", "-c", "exit {n}"], "hold": True}
        first = await sweep(engine, fails)
        waits = [await after(engine, first, how) for how in ("ended", "failed")]
        each = await sweep(engine, {**TRUE, "after": [{"sweep_id": first, "same_index": True}]})
        good, bad = await tasks_of(engine, first)
        await engine.changes.update(ALICE, bad.id, {"hold": False})
        await soon(ended(engine, bad.id))
        explained = (await engine.tasks.explain(ALICE, waits[1].id)).reason
        assert explained == (
            f"It waits until all tasks of sweep {first} end, one or more of them failed (1 has not "
            f"ended; task {bad.id} has failed)."
        )
        await engine.changes.delete(ALICE, bad.id)
    async with box.engine() as engine:
        assert (await engine.tasks.explain(ALICE, waits[1].id)).reason == explained
        await engine.changes.update(ALICE, good.id, {"hold": False})
        for task in waits:
            assert (await soon(ended(engine, task.id))).status is Status.COMPLETED
        assert await outcomes(engine, each) == [None, FailureReason.DEPENDENCY_FAILED]


async def test_sweeps_that_are_followed_by_index_are_bounded(box: Box) -> None:
    async with box.engine(max_running=1) as engine:
        many = [await sweep(engine, HELD) for _ in range(request.MAX_FOLLOWED + 1)]
        for field, value in (
            ("after", [{"sweep_id": each, "same_index": True} for each in many]),
            ("inputs_from", many),
        ):
            with pytest.raises(ValidationFailed, match="not name more than 10 sweeps by index"):
                await sweep(engine, {**TRUE, field: value})
