"""Changes of tasks and retries, against a real engine and store."""

import asyncio
from contextlib import aclosing

import pytest

from fetchml.core.audit import Action
from fetchml.core.model import Status
from fetchml.engine.engine import Engine
from fetchml.errors import Conflict, Forbidden, NotFound, ValidationFailed
from fetchml.ports.store import AuditQuery, TaskQuery
from fetchml.views import Update, UpdateType, WatchFilter
from tests.support.engine_box import ADMIN, ALICE, BOB, VIEWER, Box, ended, running
from tests.support.waiting import soon

SLEEP = {"job_name": "sleep", "command": ["sleep", "1000"]}
ECHO = {"job_name": "echo", "command": ["sh", "-c", "echo $SECRET"], "env": {"SECRET": "s"}}


async def updates_of(
    engine: Engine, task_id: str
) -> list[tuple[UpdateType, dict[str, str] | None]]:
    """All messages about a task up to now."""
    updates = list[Update]()
    last = await engine.submissions.create_task(ALICE, {"job_name": "last", "command": ["true"]})
    watch = engine.watches.watch(ADMIN, WatchFilter(), 0, completes=True)
    async with aclosing(watch) as messages:
        async for message in messages:
            if message.task is not None and message.task.id == last.id:
                break
            updates.append(message)
    return [
        (update.type, update.task.spec.metadata)
        for update in updates
        if update.task is not None and update.task.id == task_id
    ]


async def test_urgent_task_overtakes(box: Box) -> None:
    async with box.engine(max_running=1) as engine:
        holds = await engine.submissions.create_task(ALICE, SLEEP)
        await running(engine, holds.id)
        waits = [await engine.submissions.create_task(ALICE, ECHO) for _ in range(2)]
        changed = await engine.changes.update(ALICE, waits[1].id, {"priority": 9})
        assert changed.spec.priority == 9
        assert (await engine.tasks.explain(ALICE, waits[1].id)).position == 1
        with pytest.raises(Conflict, match="can change only while the task waits; it is running"):
            await engine.changes.update(ALICE, holds.id, {"priority": 9})
        await engine.changes.cancel(ALICE, holds.id)
        first, second = [await ended(engine, task.id) for task in reversed(waits)]
        assert first.allocated_at is not None
        assert second.allocated_at is not None
        assert first.allocated_at <= second.allocated_at
    async with box.engine() as engine:
        assert (await engine.tasks.get(ALICE, waits[1].id)).spec.priority == 9


async def test_labels_change_at_any_time_and_the_end_counts_once(box: Box) -> None:
    async with box.engine() as engine:
        created = await engine.submissions.create_task(ALICE, {**ECHO, "metadata": {"a": "1"}})
        await engine.changes.update(ALICE, created.id, {"metadata": {"b": "2"}})
        task = await ended(engine, created.id)
        assert task.spec.metadata == {"a": "1", "b": "2"}
        before = await engine.status.queue_stats(ADMIN)
        kept = box.usage.used_by("alice")
        edited = await engine.changes.update(ADMIN, task.id, {"metadata": {"a": None, "c": "3"}})
        assert edited.spec.metadata == {"b": "2", "c": "3"}
        assert (edited.status, edited.ended_at) == (Status.COMPLETED, task.ended_at)
        assert await engine.status.queue_stats(ADMIN) == before
        assert box.usage.used_by("alice") == kept
        page = await engine.tasks.list(ALICE, TaskQuery(states=(Status.COMPLETED,)))
        assert (page.total, [each.spec.metadata for each in page.tasks]) == (
            1,
            [{"b": "2", "c": "3"}],
        )
        assert [task.id for task in (await engine.tasks.list(ALICE, TaskQuery(
            labels=(("c", "3"),)))).tasks] == [task.id]  # fmt: skip
        messages = await updates_of(engine, task.id)
        assert messages[-1] == (UpdateType.TASK_UPDATE, {"b": "2", "c": "3"})
        assert [kind for kind, _ in messages].count(UpdateType.TASK_COMPLETE) == 1
        same = await engine.changes.update(ALICE, task.id, {"metadata": {"c": "3"}})
        assert same == edited
    async with box.engine() as engine:
        assert (await engine.tasks.get(ALICE, task.id)).spec.metadata == {"b": "2", "c": "3"}
        found = await box.parts.store.list_audit(AuditQuery(action=Action.TASK_UPDATE))
        assert [(entry.user, entry.target, entry.detail) for entry in found] == [
            ("root", task.id, "labels a, c"),
            ("alice", task.id, "labels b"),
        ], "a change that changes nothing leaves no entry"
        assert await engine.outputs.list(ALICE, task.id) == []
        await engine.changes.delete(ALICE, task.id)
        with pytest.raises(NotFound):
            await engine.changes.update(ALICE, task.id, {"metadata": {"a": "b"}})


async def test_changes_while_a_task_ends_are_not_lost(box: Box) -> None:
    """Also in the moment in which the end is decided and not yet durable."""
    async with box.engine() as engine:
        for _ in range(5):
            task = await engine.submissions.create_task(
                ALICE, {"job_name": "a", "command": ["true"]}
            )
            number, over = 0, False
            while not over:
                over = (await engine.tasks.get(ALICE, task.id)).status is Status.COMPLETED
                number += 1
                labels = {"n": str(number)}
                changed = await engine.changes.update(ALICE, task.id, {"metadata": labels})
                assert changed.spec.metadata == labels
            last = await engine.tasks.get(ALICE, task.id)
            assert (last.status, last.spec.metadata) == (Status.COMPLETED, {"n": str(number)})
        assert (await engine.status.queue_stats(ADMIN)).completed == 5


async def test_only_the_owner_and_admins_change_and_retry(box: Box) -> None:
    async with box.engine(private=False) as engine:
        task = await engine.submissions.create_task(ALICE, SLEEP)
        for who in (BOB, VIEWER):
            with pytest.raises(Forbidden):
                await engine.changes.update(who, task.id, {"priority": 1})
            with pytest.raises(Forbidden):
                await engine.changes.retry(who, task.id)
        await engine.changes.update(ADMIN, task.id, {"metadata": {"by": "root"}})
        with pytest.raises(ValidationFailed, match="body: names no field"):
            await engine.changes.update(ALICE, task.id, {"name": "x"})
        await engine.changes.cancel(ALICE, task.id)
        await ended(engine, task.id)


async def test_retry_runs_the_same_with_the_same_secrets(box: Box) -> None:
    async with box.engine() as engine:
        created = await engine.submissions.create_task(ALICE, {**ECHO, "metadata": {"a": "1"}})
        with pytest.raises(Conflict, match="cancel it first"):
            await engine.changes.retry(
                ALICE, (await engine.submissions.create_task(ALICE, SLEEP)).id
            )
        first = await ended(engine, created.id)
        new, twin = await asyncio.gather(
            engine.changes.retry(ADMIN, first.id, "key"),
            engine.changes.retry(ADMIN, first.id, "key"),
        )
        assert new.id == twin.id != first.id
        assert (new.user, new.spec) == ("alice", first.spec)
        again = await ended(engine, new.id)
        assert await engine.logs.tail(again) == "s\n"
        [entry] = (await box.parts.store.list_audit(AuditQuery(action=Action.TASK_RETRY)))[-1:]
        assert (entry.user, entry.target, entry.detail) == ("root", new.id, f"of {first.id}")
        for task in (await engine.tasks.list(ALICE, TaskQuery(states=(Status.RUNNING,)))).tasks:
            await engine.changes.cancel(ALICE, task.id)
            await soon(ended(engine, task.id))


async def test_earlier_attempts_survive_a_restart(box: Box) -> None:
    script = '[ "$FETCHML_ATTEMPT" = 2 ] && sleep 1000; exit 3'
    request = {"job_name": "again", "command": ["sh", "-c", script], "max_retries": 1}
    async with box.engine() as engine:
        task = await engine.submissions.create_task(ALICE, request)
        watch = engine.watches.watch(ADMIN, WatchFilter(task_id=task.id), 0)
        async with aclosing(watch) as updates:
            while task.attempt < 2 or task.status is not Status.RUNNING:
                update = await soon(anext(updates))
                assert update.task is not None
                task = update.task
        [first] = task.earlier_attempts
        assert (first.number, first.exit_code) == (1, 3)
    async with box.engine() as engine:
        assert (await engine.tasks.get(ALICE, task.id)).earlier_attempts == (first,)
        await engine.changes.cancel(ALICE, task.id)
        over = await ended(engine, task.id)
        assert over.earlier_attempts == (first,)
    async with box.engine() as engine:
        assert await engine.tasks.get(ALICE, task.id) == over
