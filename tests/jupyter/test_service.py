"""Jupyter services over a real engine, store and processes: life cycle and visibility."""

import asyncio
import contextlib
from typing import Any

import pytest

from fetchml.core.audit import Action
from fetchml.core.jupyter import ServiceStatus
from fetchml.core.model import Principal, Role, Status, Task
from fetchml.engine.engine import Engine
from fetchml.errors import NotFound, ValidationFailed
from fetchml.ports.store import TaskQuery
from fetchml.views import QueueStats, UpdateType, WatchFilter
from tests.jupyter.stand_in import over, pid_of, running
from tests.support.engine_box import ADMIN, ALICE, BOB, Box, ended
from tests.support.waiting import SECONDS

pytestmark = pytest.mark.usefixtures("stand_in")


async def test_from_start_to_stop(box: Box) -> None:
    async with box.engine():
        made = await box.jupyter.start(ALICE, {"name": "my notes", "cpu": 1})
        assert made.status is ServiceStatus.STARTING
        assert made.token is not None
        assert len(made.token) >= 43
        assert (made.user, made.image, made.workspace) == (
            "alice",
            "jupyter/pytorch:latest",
            "my notes",
        )
        up = await running(box, made.id)
        assert (up.token, up.reason, up.cpu) == (made.token, None, 1)
        assert up.last_activity is not None
        assert up.started_at is not None
        link = box.jupyter.link(made.id)
        assert link is not None
        assert (link.service_id, link.token) == (made.id, made.token)
        await box.jupyter.stop(ALICE, made.id)
        stopping = box.jupyter.get(ALICE, made.id)
        assert (stopping.status, stopping.reason) == (ServiceStatus.STOPPING, "stopped by alice")
        await box.jupyter.stop(ALICE, made.id)
        done = await over(box, made.id)
        assert (done.status, done.reason) == (ServiceStatus.STOPPED, "stopped by alice")
        assert (done.token, done.stops_at) == (None, None)
        assert box.jupyter.link(made.id) is None
        await box.jupyter.stop(ALICE, made.id)
        with pytest.raises(OSError, match="closed"):
            await link.connector.connect()


@pytest.mark.slow
async def test_workspace_of_another_user_is_refused_unless_it_is_shared(box: Box) -> None:
    async with box.engine():
        await box.jupyter.start(ALICE, {"name": "notes"})
        await box.jupyter.start(ALICE, {"name": "a", "workspace": "shared/notes"})
        for request in ({"name": "notes"}, {"name": "a", "workspace": "notes"}):
            with pytest.raises(ValidationFailed, match="workspace: 'notes' belongs to alice"):
                await box.jupyter.start(BOB, request)
        await box.jupyter.start(BOB, {"name": "a", "workspace": "shared/notes"})
        await box.jupyter.start(ADMIN, {"name": "a", "workspace": "notes"})
        await box.jupyter.start(ALICE, {"name": "b", "workspace": "notes"})
        assert len(box.jupyter.list(ADMIN)) == 5


@pytest.mark.slow
async def test_the_workspace_outlives_its_service(box: Box) -> None:
    async with box.engine():
        first = await box.jupyter.start(ALICE, {"name": "a", "workspace": "shared/notes"})
        await running(box, first.id)
        (box.workspaces / "shared/notes/kept").write_text("kept")
        await box.jupyter.stop(ALICE, first.id)
        await over(box, first.id)
        second = await box.jupyter.start(BOB, {"name": "b", "workspace": "shared/notes"})
        third = await box.jupyter.start(BOB, {"name": "c", "workspace": "shared/notes"})
        await running(box, second.id)
        await running(box, third.id)
        assert (box.workspaces / "shared/notes/kept").read_text() == "kept"
        assert second.token != third.token


@pytest.mark.slow
async def test_services_are_absent_from_lists_of_tasks(box: Box) -> None:
    async with box.engine() as engine:
        task = await engine.submissions.create_task(ALICE, {"job_name": "a", "command": ["true"]})
        live = await box.jupyter.start(ALICE, {"name": "live"})
        stopped = await box.jupyter.start(ALICE, {"name": "stopped"})
        await running(box, live.id)
        await box.jupyter.stop(ALICE, stopped.id)
        await over(box, stopped.id)
        await ended(engine, task.id)
        await unseen(engine, task, live.id, stopped.id)
        entries = await box.parts.audit.entries(ADMIN)
        assert [(entry.action, entry.target) for entry in entries] == [
            (Action.JUPYTER_STOP, stopped.id),
            (Action.JUPYTER_START, stopped.id),
            (Action.JUPYTER_START, live.id),
            (Action.TASK_CREATE, task.id),
        ]
    async with box.engine() as engine:
        await running(box, live.id)
        await unseen(engine, task, live.id, stopped.id)
        await box.jupyter.stop(ALICE, live.id)
        await over(box, live.id)
        await unseen(engine, task, live.id, stopped.id)
    async with box.engine() as engine:
        await unseen(engine, task, live.id, stopped.id)


async def unseen(engine: Engine, task: Task, *services: str) -> None:
    for query in (TaskQuery(), TaskQuery(job_name_prefix=""), TaskQuery(job_name_prefix="jup")):
        page = await engine.tasks.list(ADMIN, query)
        assert {found.id for found in page.tasks} <= {task.id}
        assert page.total <= 1
    assert await engine.status.queue_stats(ADMIN) == QueueStats(0, 0, 1, 0, 1)
    for service in services:
        with pytest.raises(NotFound):
            await engine.tasks.get(ADMIN, service)
        with pytest.raises(NotFound):
            await engine.tasks.explain(ADMIN, service)
        with pytest.raises(NotFound):
            await engine.changes.cancel(ADMIN, service)
        with pytest.raises(NotFound):
            await engine.changes.delete(ADMIN, service)
        with pytest.raises(NotFound):
            await engine.outputs.list(ADMIN, service)
        with pytest.raises(NotFound):
            await engine.outputs.open(ADMIN, service, "a")
        with pytest.raises(NotFound):
            await anext(engine.logs.read(ADMIN, service))


async def test_services_are_absent_from_watches_of_tasks(box: Box) -> None:
    async with box.engine() as engine:
        snapshot = engine.watches.watch(ADMIN, WatchFilter(), snapshot=True)
        made = await box.jupyter.start(ALICE, {"name": "a"})
        await running(box, made.id)
        async with contextlib.aclosing(snapshot) as updates:
            assert (await anext(updates)).type is UpdateType.SYNCED
        last = await engine.submissions.create_task(
            ALICE, {"job_name": "last", "command": ["true"]}
        )
        await ended(engine, last.id)
        watch = engine.watches.watch(ADMIN, WatchFilter(), since=0)
        seen = set[str]()
        async with asyncio.timeout(SECONDS), contextlib.aclosing(watch) as updates:
            async for update in updates:
                assert update.task is not None
                seen.add(update.task.id)
                if update.task.status is Status.COMPLETED:
                    break
        assert seen == {last.id}


async def _called(verb: Any, *args: object) -> None:
    result = verb(*args)
    if asyncio.iscoroutine(result):
        await result


async def test_a_private_server_hides_others_services(box: Box) -> None:
    async with box.engine(private=True):
        made = await box.jupyter.start(ALICE, {"name": "a", "workspace": "same"})
        other = await box.jupyter.start(BOB, {"name": "b", "workspace": "same"})
        assert [found.id for found in box.jupyter.list(BOB)] == [other.id]
        assert [found.id for found in box.jupyter.list(ADMIN)] == [other.id, made.id]
        for verb in (box.jupyter.get, box.jupyter.stop):
            with pytest.raises(NotFound):
                await _called(verb, BOB, made.id)
        await running(box, made.id)
        await running(box, other.id)
        assert pid_of(box, "alice/same") != pid_of(box, "bob/same")
        up = Principal("..", Role.USER, "key-up")
        with pytest.raises(ValidationFailed, match="workspace: can't be"):
            await box.jupyter.start(up, {"name": "a"})


async def test_a_service_holds_the_resources_that_it_asked_for(box: Box) -> None:
    async with box.engine() as engine:
        made = await box.jupyter.start(ALICE, {"name": "a", "cpu": 2, "gpu": 1})
        task = await engine.submissions.create_task(
            BOB, {"job_name": "a", "command": ["true"], "gpu": 1}
        )
        assert "1 GPU (0 of 1 free)" in (await engine.tasks.explain(BOB, task.id)).reason
        await running(box, made.id)
        await box.jupyter.stop(ALICE, made.id)
        assert (await ended(engine, task.id)).status is Status.COMPLETED


async def test_a_start_completes_when_its_caller_leaves(box: Box) -> None:
    async with box.engine():
        leaving = asyncio.create_task(box.jupyter.start(ALICE, {"name": "a"}))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert leaving.cancelled()
        # It waits until the first start is complete.
        second = await box.jupyter.start(ALICE, {"name": "b"})
        [_, first] = box.jupyter.list(ALICE)
        await running(box, first.id)
        await running(box, second.id)


async def test_the_configured_image_is_run_for_the_requested_name(box: Box) -> None:
    async with box.engine():
        mapped = await box.jupyter.start(ALICE, {"name": "a", "image": "mapped", "gpu": 1})
        task = await box.parts.services.find(mapped.id)
        assert task is not None
        assert (mapped.image, task.spec.image) == ("mapped", "real")
        assert (task.spec.priority, task.spec.max_retries, task.spec.timeout_seconds) == (10, 0, 0)
        assert (task.spec.gpu, task.service, task.user) == (1, True, "alice")
