"""Checkpoints and interruptions, over real processes."""

from contextlib import closing

import pytest

from fetchml.core.audit import Action
from fetchml.core.model import FailureReason, Principal, Status, Task
from fetchml.core.storage import Kind
from fetchml.engine.engine import Engine
from fetchml.errors import BadRequest, Conflict, Forbidden, NotFound, ValidationFailed
from fetchml.files.layout import CHECKPOINT
from fetchml.ports.store import AuditQuery
from fetchml.views import OutputFile
from tests.hostile.storage_box import disk_watch
from tests.support.engine_box import ADMIN, ALICE, BOB, VIEWER, Box, ended, running
from tests.support.waiting import until

COUNTS = 'cd "$FETCHML_CHECKPOINT"; echo $FETCHML_ATTEMPT >> attempts; cat attempts; '


def job(script: str, **fields: object) -> dict[str, object]:
    return {"job_name": "a", "command": ["sh", "-c", script], "checkpoint": True, **fields}


async def checkpoint(engine: Engine, task: Task, who: Principal = ALICE) -> list[OutputFile]:
    return await engine.outputs.list(who, task.id, "checkpoint")


async def saved(engine: Engine, task: Task) -> None:
    """Returns when the running task has written to its checkpoint."""
    await until(lambda: checkpoint(engine, task))


async def test_checkpoint_stays_from_attempt_to_attempt(box: Box) -> None:
    async with box.engine() as engine:
        task = await engine.submissions.create_task(
            ALICE, job(COUNTS + "test $FETCHML_ATTEMPT = 2", max_retries=1)
        )
        done = await ended(engine, task.id)
        assert (done.status, done.attempt) == (Status.COMPLETED, 2)
        assert await engine.logs.tail(done) == "1\n2\n"
        [file] = await checkpoint(engine, task, BOB)
        assert (file.path, file.size_bytes) == ("attempts", 4)
        found = await engine.outputs.open(BOB, task.id, "attempts", "checkpoint")
        with closing(found) as opened:
            assert await opened.read(100) == b"1\n2\n"
        assert await engine.outputs.list(ALICE, task.id) == []
        with pytest.raises(NotFound):
            await engine.outputs.open(ALICE, task.id, "../outputs", "checkpoint")
        with pytest.raises(BadRequest, match="folder: must be one of outputs, checkpoint"):
            await engine.outputs.list(ALICE, task.id, "attempts")


async def test_task_without_checkpoint_has_none(box: Box) -> None:
    async with box.engine() as engine:
        script = 'echo "[$FETCHML_CHECKPOINT]"'
        task = await engine.submissions.create_task(ALICE, job(script, checkpoint=False))
        assert await engine.logs.tail(await ended(engine, task.id)) == "[]\n"
        assert await checkpoint(engine, task) == []


async def test_checkpoint_is_charged_and_goes_with_the_task(box: Box) -> None:
    async with box.engine() as engine:
        script = 'head -c 5000000 /dev/zero > "$FETCHML_CHECKPOINT/big"; echo ready; '
        task = await engine.submissions.create_task(
            ALICE, job(script + "until [ -e go ]; do sleep 0.02; done")
        )
        await running(engine, task.id)
        await saved(engine, task)

        async def charged() -> int:
            await disk_watch(box, engine).measure_live()
            return box.usage.used_by("alice")[Kind.OUTPUTS].bytes

        await until(charged, lambda size: size > 4_900_000)
        (box.data_dir / f"tasks/{task.id}/attempts/1/workspace/go").touch()
        kept = (await ended(engine, task.id)).kept
        assert kept is not None
        assert kept.outputs_bytes > 4_900_000
        assert box.usage.used_by("alice")[Kind.OUTPUTS].bytes == kept.outputs_bytes
        await box.parts.ended.remove_outputs([task.id])
        assert Kind.OUTPUTS not in box.usage.used_by("alice")
        assert await checkpoint(engine, task) == []
        await engine.changes.delete(ALICE, task.id)
        assert not (box.data_dir / "tasks" / task.id).exists()


@pytest.mark.slow
async def test_checkpoint_of_a_waiting_task_is_charged(box: Box) -> None:
    async with box.engine() as engine:
        script = 'head -c 5000000 /dev/zero > "$FETCHML_CHECKPOINT/big"; exit 1'
        task = await engine.submissions.create_task(ALICE, job(script, max_retries=100))

        async def waits() -> bool:
            found = await engine.tasks.get(ALICE, task.id)
            return found.retry_count > 2 and found.status is Status.QUEUED

        await until(waits)
        await disk_watch(box, engine).measure_live()
        assert box.usage.used_by("alice")[Kind.OUTPUTS].bytes > 4_900_000
        await engine.changes.cancel(ALICE, task.id)
        await disk_watch(box, engine).measure_live()
        assert box.usage.used_by("alice")[Kind.OUTPUTS].bytes > 4_900_000


async def test_first_attempt_begins_with_another_tasks_checkpoint(box: Box) -> None:
    async with box.engine() as engine:
        first = await engine.submissions.create_task(ALICE, job(COUNTS))
        await ended(engine, first.id)
        script = COUNTS + "test $FETCHML_ATTEMPT = 2"
        request = job(script, checkpoint_from=first.id, max_retries=1)
        del request["checkpoint"]
        second = await engine.submissions.create_task(BOB, request)
        done = await ended(engine, second.id)
        assert await engine.logs.tail(done) == "1\n1\n2\n"
        [file] = await checkpoint(engine, first)
        assert file.size_bytes == 2
        assert not list((box.data_dir / "tasks" / second.id).glob(f"{CHECKPOINT}.*"))


async def test_source_is_checked_at_the_submit(box: Box) -> None:
    async with box.engine(private=True) as engine:
        alices = await engine.submissions.create_task(ALICE, job(COUNTS))
        without = await engine.submissions.create_task(ALICE, job("true", checkpoint=False))
        pruned = await engine.submissions.create_task(ALICE, job(COUNTS))
        for task in (alices, without, pruned):
            await ended(engine, task.id)
        await box.parts.ended.remove_outputs([pruned.id])
        for who, source, rule in (
            (BOB, alices.id, "task not found"),
            (ALICE, "no-id", "task not found"),
            (ALICE, without.id, "that task has no checkpoint: it was submitted without"),
            (ALICE, pruned.id, "was removed with its outputs"),
        ):
            for request in (job("true", checkpoint_from=source),):
                with pytest.raises(ValidationFailed, match=rule) as refused:
                    await engine.submissions.create_task(who, request)
                assert [each.field for each in refused.value.violations] == ["checkpoint_from"]
                with pytest.raises(ValidationFailed, match=rule):
                    await engine.submissions.create_tasks(who, [request])
        await engine.submissions.create_task(ADMIN, job("true", checkpoint_from=alices.id))


async def test_source_that_goes_before_the_start_fails_the_task(box: Box) -> None:
    async with box.engine(max_running=1) as engine:
        source = await engine.submissions.create_task(ALICE, job(COUNTS))
        empty = await engine.submissions.create_task(ALICE, job("true"))
        await ended(engine, source.id)
        await engine.changes.cancel(ALICE, empty.id)
        holds = await engine.submissions.create_task(ALICE, job("sleep 600", checkpoint=False))
        await running(engine, holds.id)
        waits = await engine.submissions.create_task(ALICE, job("true", checkpoint_from=source.id))
        await engine.changes.delete(ALICE, source.id)
        await engine.changes.cancel(ALICE, holds.id)
        task = await ended(engine, waits.id)
        assert task.failure_reason is FailureReason.PREPARE_FAILED
        assert task.error == f"the task {source.id} has left no checkpoint"


async def test_copy_counts_against_the_quota(box: Box) -> None:
    async with box.engine(user_storage=6_000_000) as engine:
        script = 'head -c 4000000 /dev/zero > "$FETCHML_CHECKPOINT/big"'
        first = await engine.submissions.create_task(ALICE, job(script))
        await ended(engine, first.id)
        second = await engine.submissions.create_task(ALICE, job("true", checkpoint_from=first.id))
        task = await ended(engine, second.id)
        assert task.failure_reason is FailureReason.PREPARE_FAILED
        assert "of 5.7 MiB allowed, and this takes 3.8 MiB more" in (task.error or "")
        third = await engine.submissions.create_task(BOB, job("true", checkpoint_from=first.id))
        assert (await ended(engine, third.id)).status is Status.COMPLETED


async def interruptible(engine: Engine) -> Task:
    """Return a task that has saved a checkpoint, and that ends in its second attempt."""
    script = COUNTS + "test $FETCHML_ATTEMPT = 2 && exit 0; sleep 600"
    task = await engine.submissions.create_task(ALICE, job(script))
    await saved(engine, task)
    await running(engine, task.id)
    return task


async def test_interrupted_task_goes_on_from_its_checkpoint(box: Box) -> None:
    async with box.engine() as engine:
        task = await interruptible(engine)
        for who in (BOB, VIEWER):
            with pytest.raises(Forbidden):
                await engine.changes.interrupt(who, task.id)
        done = await engine.changes.interrupt(ADMIN, task.id)
        assert (done.task_id, done.attempt) == (task.id, 1)
        assert done.started_at is not None
        assert done.checkpoint_saved_at is not None
        assert done.started_at - 1000 <= done.checkpoint_saved_at <= done.interrupted_at
        after = await ended(engine, task.id)
        assert (after.status, after.attempt, after.retry_count) == (Status.COMPLETED, 2, 0)
        assert (after.infra_retries, after.preempted) == (0, 0)
        assert await engine.logs.tail(after) == "1\n2\n"
        with pytest.raises(Conflict, match="Only a running task"):
            await engine.changes.interrupt(ALICE, task.id)
        audit = await box.parts.store.list_audit(AuditQuery(action=Action.TASK_INTERRUPT))
        assert [(e.user, e.target, e.detail) for e in audit] == [("root", task.id, "attempt 1")]


async def test_cancel_warns_and_waits_for_the_command(box: Box) -> None:
    script = "trap 'echo warned; exit 0' USR1; echo ready; while :; do sleep 0.02; done"
    async with box.engine() as engine:
        task = await engine.submissions.create_task(ALICE, job(script, warn_seconds=600))

        async def ready() -> bool:
            now = await engine.tasks.get(ALICE, task.id)
            return "ready" in (await engine.logs.tail(now) or "")

        await until(ready)
        await running(engine, task.id)
        await engine.changes.cancel(ALICE, task.id)
        done = await ended(engine, task.id)
        assert (done.failure_reason, done.exit_code) == (FailureReason.CANCELLED, 0)
        assert "warned" in (await engine.logs.tail(done) or "")


async def test_next_server_finds_the_checkpoint(box: Box) -> None:
    async with box.engine() as engine:
        task = await interruptible(engine)
    async with box.engine() as engine:
        await engine.changes.interrupt(ALICE, task.id)
        done = await ended(engine, task.id)
        assert await engine.logs.tail(done) == "1\n2\n"
