"""What a client can ask, against a real engine."""

import asyncio
import re
from contextlib import closing

import pytest

from fetchml.core.model import FailureReason, Status
from fetchml.core.requests.logs import LogRange
from fetchml.errors import Forbidden, NotFound, Unavailable, ValidationFailed
from fetchml.ports.store import TaskQuery
from fetchml.views import HealthStatus
from tests.support.engine_box import ADMIN, ALICE, BOB, VIEWER, Box, ended, running

HELLO = {"job_name": "hello", "command": ["sh", "-c", "echo hi; echo data > $FETCHML_OUTPUTS/a"]}
SLEEP = {"job_name": "sleep", "command": ["sleep", "1000"]}
FAIL = {"job_name": "fail", "command": ["sh", "-c", "exit 3"]}


async def test_task_runs_and_its_result_is_kept(box: Box) -> None:
    async with box.engine() as engine:
        created = await engine.submissions.create_task(ALICE, HELLO)
        assert created.status is Status.QUEUED
        assert re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{17,}", created.id)
        task = await ended(engine, created.id)
        assert (task.status, task.exit_code, task.error) == (Status.COMPLETED, 0, None)
        assert task.created_at <= task.started_at <= task.ended_at  # type: ignore[operator]
        assert await engine.logs.tail(task) == "hi\n"
        assert [file.path for file in await engine.outputs.list(BOB, task.id)] == ["a"]
        with closing(await engine.outputs.open(BOB, task.id, "a")) as output:
            assert await output.read(100) == b"data\n"
        for path in ("b", "../outputs/a", "/etc/passwd", "a/", "", "a\0"):
            with pytest.raises(NotFound):
                await engine.outputs.open(ALICE, task.id, path)
        stats = await engine.status.queue_stats(VIEWER)
        assert (stats.queued, stats.running, stats.completed, stats.failed) == (0, 0, 1, 0)


@pytest.mark.slow
async def test_failed_command_is_retried_as_often_as_asked(box: Box) -> None:
    async with box.engine() as engine:
        created = await engine.submissions.create_task(ALICE, {**FAIL, "max_retries": 1})
        task = await ended(engine, created.id)
        assert (task.failure_reason, task.exit_code) == (FailureReason.EXIT_CODE, 3)
        assert (task.attempt, task.retry_count) == (2, 1)


async def test_time_limit_ends_a_task(box: Box) -> None:
    async with box.engine() as engine:
        created = await engine.submissions.create_task(ALICE, {**SLEEP, "timeout_seconds": 1})
        task = await ended(engine, created.id)
        assert task.failure_reason is FailureReason.TIMEOUT
        assert task.error == "timed out after 1 s"


async def test_delete_cancels_a_running_task_and_a_repeat_hides_nothing(box: Box) -> None:
    async with box.engine() as engine:
        created = await engine.submissions.create_task(ALICE, SLEEP)
        await running(engine, created.id)
        await engine.changes.delete(ALICE, created.id)
        await engine.changes.delete(ALICE, created.id)
        task = await ended(engine, created.id)
        assert (task.status, task.error) == (Status.FAILED, "cancelled by alice")
        await engine.changes.delete(ALICE, created.id)
        assert await engine.tasks.get(ALICE, created.id) == task


async def test_cancelled_queued_task_never_runs(box: Box) -> None:
    async with box.engine(max_running=1) as engine:
        holds = await engine.submissions.create_task(ALICE, SLEEP)
        waits = await engine.submissions.create_task(ALICE, HELLO)
        assert (await engine.tasks.explain(BOB, waits.id)).missing[0].resource == "slots"
        assert (await engine.changes.cancel(ALICE, waits.id)).status is Status.FAILED
        assert await engine.logs.tail(await engine.tasks.get(ALICE, waits.id)) is None
        assert (await engine.changes.cancel(ADMIN, holds.id)).cancel is not None
        assert (await ended(engine, holds.id)).error == "cancelled by root"


async def test_deleted_task_is_gone_from_reads_and_stays_in_statistics(box: Box) -> None:
    async with box.engine() as engine:
        task = await ended(engine, (await engine.submissions.create_task(ALICE, HELLO)).id)
        results = await asyncio.gather(
            *(engine.changes.delete(ALICE, task.id) for _ in range(5)), return_exceptions=True
        )
        assert sum(result is None for result in results) == 1
        assert all(isinstance(result, NotFound) for result in results if result is not None)
        for verb in (engine.tasks.get, engine.changes.cancel, engine.tasks.explain):
            with pytest.raises(NotFound):
                await verb(ALICE, task.id)
        assert (await engine.tasks.list(ALICE, TaskQuery())).total == 0
        assert (await engine.status.queue_stats(ALICE)).completed == 1
        assert not (box.data_dir / "tasks" / task.id).exists()
    async with box.engine() as engine:
        assert (await engine.tasks.list(ALICE, TaskQuery())).total == 0
        assert (await engine.status.queue_stats(ALICE)).completed == 1


async def test_idempotency_key_makes_one_task(box: Box) -> None:
    async with box.engine() as engine:
        tasks = await asyncio.gather(
            *(engine.submissions.create_task(ALICE, HELLO, "k1") for _ in range(20))
        )
        assert len({task.id for task in tasks}) == 1
        with pytest.raises(ValidationFailed, match="another request"):
            await engine.submissions.create_task(ALICE, FAIL, "k1")
        assert (await engine.submissions.create_task(BOB, HELLO, "k1")).id != tasks[0].id
    async with box.engine() as engine:
        assert (await engine.submissions.create_task(ALICE, HELLO, "k1")).id == tasks[0].id
        assert (await engine.tasks.list(ALICE, TaskQuery(user="alice"))).total == 1


async def test_batch_is_all_or_nothing(box: Box) -> None:
    async with box.engine() as engine:
        with pytest.raises(ValidationFailed) as refused:
            await engine.submissions.create_tasks(ALICE, [HELLO, {"job_name": "a b"}, {}])
        assert [v.field for v in refused.value.violations] == [
            "tasks[1].job_name",
            "tasks[2].job_name",
        ]
        assert (await engine.tasks.list(ALICE, TaskQuery())).total == 0
        tasks = await engine.submissions.create_tasks(ALICE, [HELLO] * 3)
        assert sorted(task.id for task in tasks) == [task.id for task in tasks]


@pytest.mark.slow
async def test_a_batch_that_is_sent_again_gives_the_same_tasks(box: Box) -> None:
    async with box.engine() as engine:
        first = await engine.submissions.create_tasks(ALICE, [HELLO, FAIL], ["k1", "k2"])
        ids = [task.id for task in first]
    async with box.engine() as engine:
        one = await engine.submissions.create_task(ALICE, FAIL, "k2")
        assert one.id == ids[1]
        # One more, before them and without a key: only that one is made.
        again = await engine.submissions.create_tasks(
            ALICE, [SLEEP, HELLO, FAIL], [None, "k1", "k2"]
        )
        assert [task.id for task in again[1:]] == ids
        assert again[0].id not in ids
        both = [
            engine.submissions.create_tasks(ALICE, [HELLO] * 2, keys)
            for keys in (["a", "b"], ["b", "a"])
        ]
        made, turned = await asyncio.gather(*both)
        assert [task.id for task in made] == [task.id for task in reversed(turned)]
        assert (await engine.tasks.list(ALICE, TaskQuery(user="alice"))).total == 5


async def test_invalid_keys_of_a_batch_are_rejected(box: Box) -> None:
    async with box.engine() as engine:
        await engine.submissions.create_task(ALICE, HELLO, "used")
        for keys, field, rule in (
            (["new", "used"], "tasks[1].idempotency_key", "another request"),
            (["a b", "new"], "tasks[0].idempotency_key", "visible ASCII"),
            (["new", "new"], "tasks[1].idempotency_key", r"that of tasks\[0\] too"),
        ):
            with pytest.raises(ValidationFailed, match=rule) as refused:
                await engine.submissions.create_tasks(ALICE, [FAIL, FAIL], keys)
            assert [violation.field for violation in refused.value.violations] == [field]
        assert (await engine.tasks.list(ALICE, TaskQuery())).total == 1


async def test_roles(box: Box) -> None:
    async with box.engine() as engine:
        with pytest.raises(Forbidden):
            await engine.submissions.create_task(VIEWER, HELLO)
        task = await engine.submissions.create_task(ALICE, SLEEP)
        for who in (BOB, VIEWER):
            assert (await engine.tasks.get(who, task.id)).id == task.id
            with pytest.raises(Forbidden):
                await engine.changes.cancel(who, task.id)
            with pytest.raises(Forbidden):
                await engine.changes.delete(who, task.id)
        await engine.changes.delete(ADMIN, task.id)


async def test_private_server_hides_others_tasks(box: Box) -> None:
    async with box.engine(private=True) as engine:
        task = await engine.submissions.create_task(ALICE, HELLO)
        with pytest.raises(NotFound):
            await engine.tasks.get(BOB, task.id)
        with pytest.raises(NotFound):
            await anext(engine.logs.read(BOB, task.id))
        for query in (TaskQuery(), TaskQuery(user="alice"), TaskQuery(job_name_prefix="h")):
            assert await engine.tasks.list(BOB, query) == await engine.tasks.list(
                BOB, TaskQuery(offset=10**30)
            )
            assert (await engine.tasks.list(ADMIN, query)).total == 1
        await ended(engine, task.id)


async def test_full_disk_refuses_new_work_only(box: Box) -> None:
    async with box.engine(min_free_bytes=1 << 60) as engine:
        with pytest.raises(Unavailable, match="disk"):
            await engine.submissions.create_task(ALICE, HELLO)
        health = engine.status.health()
        assert (health.status, health.accepts_work) == (HealthStatus.UNHEALTHY, False)
        assert (await engine.tasks.list(ALICE, TaskQuery())).total == 0


async def test_draining_server_rejects_new_tasks(box: Box) -> None:
    async with box.engine() as engine:
        await box.parts.lifecycle.drain()
        with pytest.raises(Unavailable):
            await engine.submissions.create_task(ALICE, HELLO)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"datasets": ["mnist"]}, "dataset 'mnist': not found"),
        ({"command": ["/no/such/program"]}, "/no/such/program"),
    ],
)
async def test_missing_input_fails_the_task_with_a_reason(
    box: Box, request_: dict[str, object], error: str
) -> None:
    async with box.engine() as engine:
        created = await engine.submissions.create_task(
            ALICE, {"job_name": "a", "max_retries": 3, **request_}
        )
        task = await ended(engine, created.id)
        assert error in (task.error or "")
        assert task.attempt == 1


async def test_dataset_is_there_for_the_task(box: Box) -> None:
    (box.datasets_root / "mnist").mkdir(parents=True)
    (box.datasets_root / "mnist" / "x").write_text("pixels")
    request = {"job_name": "a", "command": ["sh", "-c", "cat $FETCHML_DATASETS/mnist/x"]}
    async with box.engine() as engine:
        created = await engine.submissions.create_task(ALICE, {**request, "datasets": ["mnist"]})
        assert await engine.logs.tail(await ended(engine, created.id)) == "pixels"


async def test_pages_from_memory_and_from_disk_are_the_same(box: Box) -> None:
    async with box.engine(max_running=1) as engine:
        await engine.submissions.create_task(ALICE, SLEEP)
        for who in (ALICE, BOB):
            await engine.submissions.create_tasks(who, [{**HELLO, "cpu": 2}] * 8)
        cancelled = await engine.tasks.list(ALICE, TaskQuery(user="bob", limit=3))
        for task in cancelled.tasks:
            await engine.changes.cancel(BOB, task.id)
        queries = [
            TaskQuery(states=states, user=user, limit=limit, offset=offset)
            for states in ((), (Status.QUEUED,), (Status.FAILED,), (Status.RUNNING, Status.FAILED))
            for user in (None, "bob")
            for limit in (0, 2, 50)
            for offset in (0, 3, 1000)
        ]
        before = cancelled.tasks[1]
        queries.append(TaskQuery(limit=4, before=(before.created_at, before.id)))
        for query in queries:
            page = await engine.tasks.list(ALICE, query)
            assert page == await box.parts.store.list_tasks(query), query


@pytest.mark.slow
async def test_log_has_the_times_of_its_bytes(box: Box) -> None:
    async with box.engine() as engine:
        script = "echo first; sleep 1.2; echo second"
        task = await engine.submissions.create_task(
            ALICE, {"job_name": "a", "command": ["sh", "-c", script]}
        )
        task = await ended(engine, task.id)
        info = await engine.logs.info(ALICE, task.id, LogRange())
        assert (info.attempt, info.attempts, info.end, info.may_grow) == (1, 1, 13, False)
        assert [time.offset for time in info.times] == [0, 6]
        first, second = (time.at for time in info.times)
        assert task.started_at is not None
        assert task.ended_at is not None
        # The shim measures both from the start, which it takes a moment apart.
        assert task.started_at <= first < second <= task.ended_at + 1000
        later = engine.logs.read(ALICE, task.id, LogRange(since=second))
        assert [chunk.data async for chunk in later] == [b"second\n"]
