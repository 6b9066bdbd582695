"""Jupyter services against a real engine, store and processes. Jupyter itself is a stand-in."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from fetchml.adapters.jupyter.link import http_session
from fetchml.core.audit import Action
from fetchml.core.model import Principal, Role, Status, Task, TaskSpec
from fetchml.core.requests import jupyter
from fetchml.core.requests.jupyter import Service, ServiceStatus
from fetchml.engine.engine import Engine
from fetchml.errors import Forbidden, NotFound, Unavailable, ValidationFailed
from fetchml.jupyter import service as module
from fetchml.jupyter import workspaces
from fetchml.ports.store import TaskQuery
from fetchml.views import JupyterView, QueueStats, UpdateType, WatchFilter
from tests.support.engine_box import ADMIN, ALICE, BOB, VIEWER, Box, ended

FAKE = str(Path(__file__).parents[1] / "support" / "fake_jupyter.py")
LIVING = {ServiceStatus.STARTING, ServiceStatus.RUNNING, ServiceStatus.STOPPING}

real_spec = jupyter.task_spec


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def task_spec(record: Service, image: str) -> TaskSpec:
        return replace(real_spec(record, image), command=(sys.executable, FAKE, "--plain-process"))

    monkeypatch.setattr(jupyter, "task_spec", task_spec)


async def until(
    box: Box, service_id: str, is_so: Callable[[JupyterView], object], who: Principal = ADMIN
) -> JupyterView:
    await until_so(lambda: is_so(box.jupyter.get(who, service_id)))
    return box.jupyter.get(who, service_id)


async def until_so(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def running(box: Box, service_id: str) -> JupyterView:
    return await until(box, service_id, lambda found: found.status is ServiceStatus.RUNNING)


async def over(box: Box, service_id: str) -> JupyterView:
    """Ended, and nothing more becomes known of it."""
    await until(box, service_id, lambda found: found.status not in LIVING)
    await until_so(lambda: service_id not in box.jupyter._watches)
    return box.jupyter.get(ADMIN, service_id)


def pid_of(box: Box, workspace: str) -> int:
    return int((box.workspaces / workspace / "pid").read_text())


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
            _ = link.socket_path


async def test_the_workspace_outlives_its_service(box: Box) -> None:
    async with box.engine():
        first = await box.jupyter.start(ALICE, {"name": "a", "workspace": "team/notes"})
        await running(box, first.id)
        (box.workspaces / "team/notes/kept").write_text("kept")
        await box.jupyter.stop(ALICE, first.id)
        await over(box, first.id)
        second = await box.jupyter.start(BOB, {"name": "b", "workspace": "team/notes"})
        third = await box.jupyter.start(BOB, {"name": "c", "workspace": "team/notes"})
        await running(box, second.id)
        await running(box, third.id)
        assert (box.workspaces / "team/notes/kept").read_text() == "kept"
        assert second.token != third.token


async def test_services_are_absent_from_lists_of_tasks(box: Box) -> None:
    async with box.engine() as engine:
        task = await engine.create_task(ALICE, {"job_name": "a", "command": ["true"]})
        live = await box.jupyter.start(ALICE, {"name": "live"})
        stopped = await box.jupyter.start(ALICE, {"name": "stopped"})
        await running(box, live.id)
        await box.jupyter.stop(ALICE, stopped.id)
        await over(box, stopped.id)
        await ended(engine, task.id)
        await unseen(engine, task, live.id, stopped.id)
        entries = await engine._audit.entries(ADMIN)
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
        page = await engine.list_tasks(ADMIN, query)
        assert {found.id for found in page.tasks} <= {task.id}
        assert page.total <= 1
    assert await engine.queue_stats(ADMIN) == QueueStats(0, 0, 1, 0, 1)
    for service in services:
        with pytest.raises(NotFound):
            await engine.get_task(ADMIN, service)
        with pytest.raises(NotFound):
            await engine.explain_task(ADMIN, service)
        with pytest.raises(NotFound):
            await engine.cancel_task(ADMIN, service)
        with pytest.raises(NotFound):
            await engine.delete_task(ADMIN, service)
        with pytest.raises(NotFound):
            await engine.list_outputs(ADMIN, service)
        with pytest.raises(NotFound):
            await engine.open_output(ADMIN, service, "a")
        with pytest.raises(NotFound):
            await anext(engine.read_logs(ADMIN, service))


async def test_services_are_absent_from_watches_of_tasks(box: Box) -> None:
    async with box.engine() as engine:
        snapshot = engine.watch(ADMIN, WatchFilter(), snapshot=True)
        made = await box.jupyter.start(ALICE, {"name": "a"})
        await running(box, made.id)
        async with contextlib.aclosing(snapshot) as updates:
            assert (await anext(updates)).type is UpdateType.SYNCED
        last = await engine.create_task(ALICE, {"job_name": "last", "command": ["true"]})
        await ended(engine, last.id)
        watch = engine.watch(ADMIN, WatchFilter(), since=0)
        seen = set[str]()
        async with asyncio.timeout(10), contextlib.aclosing(watch) as updates:
            async for update in updates:
                assert update.task is not None
                seen.add(update.task.id)
                if update.task.status is Status.COMPLETED:
                    break
        assert seen == {last.id}


async def test_each_role_may_do_only_what_it_should(box: Box) -> None:
    async with box.engine():
        with pytest.raises(Forbidden):
            await box.jupyter.start(VIEWER, {"name": "a"})
        made = await box.jupyter.start(ALICE, {"name": "a"})
        for who in (BOB, VIEWER):
            assert box.jupyter.get(who, made.id).token is None
            assert [found.token for found in box.jupyter.list(who)] == [None]
            with pytest.raises(Forbidden):
                await box.jupyter.stop(who, made.id)
        for who in (ALICE, ADMIN):
            assert box.jupyter.get(who, made.id).token == made.token
        for verb in (box.jupyter.get, box.jupyter.stop):
            with pytest.raises(NotFound):
                await _called(verb, ADMIN, "no such")
        await box.jupyter.stop(ADMIN, made.id)
        assert (await over(box, made.id)).reason == "stopped by root"


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


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({}, "name: is required"),
        ({"name": ""}, "name: must not be empty"),
        ({"name": "a", "workspace": "/etc"}, "workspace: .* absolute"),
        ({"name": "a", "workspace": "../a"}, r"workspace: .* \.\."),
        ({"name": "a", "workspace": "a/../b"}, r"workspace: .* \.\."),
        ({"name": "a", "workspace": "a//b"}, "workspace: .* empty part"),
        ({"name": "a", "workspace": "a\0"}, "workspace: .* NUL"),
        ({"name": "a", "workspace": "a\nb"}, "workspace: must be printable"),
        ({"name": "a", "workspace": "a" * 256}, "workspace: .* over"),
        ({"name": "a", "image": "a b"}, "image: must be an image name"),
        ({"name": "a", "cpu": 3}, "cpu: asks for 3, this box has 2"),
        ({"name": "a", "gpu": -1}, "gpu: must be between"),
        ({"name": "a", "memory_gb": "1"}, "memory_gb: must be an integer"),
    ],
)
async def test_a_rejected_request_changes_nothing(box: Box, request_: Any, said: str) -> None:
    async with box.engine():
        with pytest.raises(ValidationFailed, match=said):
            await box.jupyter.start(ALICE, request_)
        assert box.jupyter.list(ADMIN) == []
        assert not box.workspaces.exists()


async def test_starts_are_rejected_while_the_server_has_no_room(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with box.engine(has_containers=False, jupyter_command=("no-such-jupyter",)):
        with pytest.raises(Unavailable, match="there is no 'no-such-jupyter' on"):
            await box.jupyter.start(ALICE, {"name": "a"})
    async with box.engine(min_free_bytes=1 << 60):
        with pytest.raises(Unavailable, match="disk"):
            await box.jupyter.start(ALICE, {"name": "a"})
    async with box.engine() as engine:
        monkeypatch.setattr(module, "MAX_LIVE", 1)
        await box.jupyter.start(ALICE, {"name": "a"})
        with pytest.raises(Unavailable, match="stop some"):
            await box.jupyter.start(ALICE, {"name": "a"})
        monkeypatch.setattr(module, "MAX_LIVE", 5)
        monkeypatch.setattr(workspaces, "MAX_WORKSPACES", 1)
        with pytest.raises(Unavailable, match="1 workspaces"):
            await box.jupyter.start(ALICE, {"name": "b"})
        await box.jupyter.start(ALICE, {"name": "b", "workspace": "a"})
        await engine.drain()
        with pytest.raises(Unavailable, match="shutting down"):
            await box.jupyter.start(ALICE, {"name": "a"})


async def test_no_workspace_lies_outside_of_the_root(box: Box, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    box.workspaces.mkdir(parents=True)
    (box.workspaces / "link").symlink_to(outside)
    (box.workspaces / "file").write_text("")
    (box.workspaces / "team").mkdir()
    (box.workspaces / "team" / "link").symlink_to(outside, target_is_directory=True)
    async with box.engine():
        for place in ("link", "link/a", "file", "file/a", "team/link", "team/link/a/b"):
            with pytest.raises(ValidationFailed, match="is a link, or no folder"):
                await box.jupyter.start(ALICE, {"name": "a", "workspace": place})
        assert box.jupyter.list(ADMIN) == []
    assert list(outside.iterdir()) == []


async def test_no_workspace_lies_in_another(box: Box) -> None:
    """Whatever a container does to the folders of its own, no path of others leads through it."""
    async with box.engine():
        made = await box.jupyter.start(ALICE, {"name": "a", "workspace": "team/notes"})
        await running(box, made.id)
        await box.jupyter.stop(ALICE, made.id)
        await over(box, made.id)
        for place in ("team", "team/notes/inner", "team/notes/inner/more"):
            with pytest.raises(ValidationFailed, match="lies in another workspace"):
                await box.jupyter.start(BOB, {"name": "a", "workspace": place})
        await box.jupyter.start(BOB, {"name": "a", "workspace": "team/notes2"})
    async with box.engine():
        with pytest.raises(ValidationFailed, match="lies in another workspace"):
            await box.jupyter.start(BOB, {"name": "a", "workspace": "team/notes/inner"})
    # What the owner of the box has removed is no workspace any more.
    for file in (box.workspaces / "team/notes").iterdir():
        file.unlink()
    (box.workspaces / "team/notes").rmdir()
    async with box.engine():
        await box.jupyter.start(BOB, {"name": "a", "workspace": "team/notes/inner"})


async def test_a_link_placed_while_the_service_waits_is_rejected(box: Box, tmp_path: Path) -> None:
    async with box.engine(max_running=1) as engine:
        task = await engine.create_task(ALICE, {"job_name": "a", "command": ["sleep", "1000"]})
        made = await box.jupyter.start(ALICE, {"name": "a"})
        waits = box.jupyter.get(ALICE, made.id)
        assert (waits.status, waits.reason) == (
            ServiceStatus.STARTING,
            "It waits for 1 slots (0 of 1 free).",
        )
        (box.workspaces / "a").rmdir()
        (box.workspaces / "a").symlink_to(tmp_path)
        await engine.cancel_task(ALICE, task.id)
        done = await over(box, made.id)
        assert done.status is ServiceStatus.ERROR
        assert done.reason == "its workspace 'a' on its way is a link, or no folder"


async def test_a_service_holds_the_resources_that_it_asked_for(box: Box) -> None:
    async with box.engine() as engine:
        made = await box.jupyter.start(ALICE, {"name": "a", "cpu": 2, "gpu": 1})
        task = await engine.create_task(BOB, {"job_name": "a", "command": ["true"], "gpu": 1})
        assert "1 gpu (0 of 1 free)" in (await engine.explain_task(BOB, task.id)).reason
        await running(box, made.id)
        await box.jupyter.stop(ALICE, made.id)
        assert (await ended(engine, task.id)).status is Status.COMPLETED


async def test_a_restarted_server_adopts_a_running_service(box: Box) -> None:
    async with box.engine():
        made = await box.jupyter.start(ALICE, {"name": "a"})
        await running(box, made.id)
        pid = pid_of(box, "a")
    (box.workspaces / "a" / "pid").unlink()
    async with box.engine():
        up = await running(box, made.id)
        assert (up.token, up.created_at) == (made.token, made.created_at)
        link = box.jupyter.link(made.id)
        assert link is not None
        assert msgspec.json.decode(await _status(link)) == {"pid": pid}
    os.kill(pid, signal.SIGKILL)
    async with box.engine():
        done = await over(box, made.id)
        assert (done.status, done.reason) == (ServiceStatus.ERROR, "ended by SIGKILL")
    async with box.engine():
        assert box.jupyter.get(ADMIN, made.id) == done


async def _status(link: Any) -> bytes:
    headers = {"Authorization": f"token {link.token}"}
    async with (
        http_session(link, answer_seconds=5) as session,
        session.get(f"http://jupyter{link.base_path}api/status", headers=headers) as answer,
    ):
        body: bytes = await answer.read()
    return body


async def test_a_service_that_dies_shows_its_last_words(box: Box) -> None:
    (box.workspaces / "a").mkdir(parents=True)
    (box.workspaces / "a" / "dies").touch()
    async with box.engine():
        made = await box.jupyter.start(ALICE, {"name": "a"})
        done = await over(box, made.id)
        assert done.status is ServiceStatus.ERROR
        said = "Jupyter ended by itself with exit code 3"
        assert done.reason == f"{said}: no such token: …", "the token is left out"
        state = box.jupyter.state(made.id)
        assert state is not None
        assert state.why == said, "who has no key does not see the log"
    async with box.engine():
        assert box.jupyter.get(ADMIN, made.id) == done


async def test_lone_records_and_lone_tasks_are_cleaned_up(box: Box) -> None:
    async with box.engine() as engine:
        made = await box.jupyter.start(ALICE, {"name": "a"})
        await running(box, made.id)
        lone = Service("lone", "alice", "b", "i", "b", "b", "token", 1)
        await engine._store.put_document(module.KIND, "lone", msgspec.json.encode(lone))
        await engine._store.delete_document(module.KIND, made.id)
    async with box.engine() as engine:
        assert box.jupyter.list(ADMIN) == []
        assert await engine._store.list_documents(module.KIND) == []
        await until_so(lambda: not engine.services.live())
        with pytest.raises(ProcessLookupError):
            os.kill(pid_of(box, "a"), 0)


async def test_an_idle_service_is_warned_and_stopped(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    async with box.engine(idle_ms=1000):
        made = await box.jupyter.start(ALICE, {"name": "a"})
        warned = await until(box, made.id, lambda found: found.stops_at)
        assert warned.status is ServiceStatus.RUNNING
        assert warned.last_activity is not None
        assert warned.stops_at is not None
        assert warned.stops_at >= warned.last_activity + 1000
        state = box.jupyter.state(made.id)
        assert state is not None
        assert state.stops_at == warned.stops_at
        box.jupyter.note_use(made.id)
        used = box.jupyter.get(ALICE, made.id)
        assert used.stops_at is None
        assert used.last_activity is not None
        assert used.last_activity > warned.last_activity
        done = await over(box, made.id)
        assert (done.status, done.reason) == (ServiceStatus.STOPPED, "idle for 1 s")
        assert done.ended_at is not None
        assert done.ended_at >= used.last_activity + 1000
    assert caplog.text.count("is idle and will be stopped") == 2


@pytest.mark.parametrize("sign", ["busy", "recent", "silent"])
async def test_a_busy_or_silent_service_is_not_stopped(box: Box, sign: str) -> None:
    kernels = {
        "busy": [{"execution_state": "busy", "last_activity": "2001-01-01T00:00:00Z"}],
        "recent": [{"execution_state": "idle", "last_activity": "2999-01-01T00:00:00Z"}],
        "silent": [],
    }[sign]
    place = box.workspaces / "a"
    place.mkdir(parents=True)
    (place / "kernels.json").write_text(msgspec.json.encode(kernels).decode())
    if sign == "silent":
        (place / "silent").touch()
    async with box.engine(idle_ms=300):
        made = await box.jupyter.start(ALICE, {"name": "a"})
        up = await running(box, made.id)
        await asyncio.sleep(1)  # It is about what does not happen.
        found = box.jupyter.get(ALICE, made.id)
        assert (found.status, found.stops_at) == (ServiceStatus.RUNNING, None)
        if sign != "silent":
            assert found.last_activity is not None
            assert up.last_activity is not None
            assert found.last_activity > up.last_activity


async def test_old_services_are_forgotten_but_their_workspaces_stay(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with box.engine() as engine:
        made = [await box.jupyter.start(ALICE, {"name": name}) for name in "abc"]
        for each in made[:2]:
            await running(box, each.id)
            await box.jupyter.stop(ALICE, each.id)
            await over(box, each.id)
        await box.jupyter.prune()
        assert len(box.jupyter.list(ADMIN)) == 3
        monkeypatch.setattr(module, "MAX_ENDED", 1)
        await box.jupyter.prune()
        assert [each.id for each in box.jupyter.list(ADMIN)] == [made[2].id, made[1].id]
        monkeypatch.setattr(module, "KEPT_MS", -1)
        await box.jupyter.prune()
        assert [each.id for each in box.jupyter.list(ADMIN)] == [made[2].id]
        assert len(await engine._store.list_documents(module.KIND)) == 1
        kept = {folder.name for folder in (box.data_dir / "tasks").iterdir()}
        assert kept == {made[2].id}
        assert (box.workspaces / "a" / "pid").exists()


async def test_the_number_of_ended_services_is_bounded(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ENDED", 2)
    (box.workspaces / "a").mkdir(parents=True)
    (box.workspaces / "a" / "dies").touch()
    async with box.engine():
        made = [await box.jupyter.start(ALICE, {"name": "a"}) for _ in range(5)]
        await until_so(lambda: len(box.jupyter.list(ADMIN)) == 2)
        assert [each.id for each in box.jupyter.list(ADMIN)] == [made[4].id, made[3].id]


async def test_a_start_completes_when_its_caller_leaves(box: Box) -> None:
    async with box.engine():
        leaving = asyncio.create_task(box.jupyter.start(ALICE, {"name": "a"}))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert leaving.cancelled()
        # It waits until the one that was begun is there.
        second = await box.jupyter.start(ALICE, {"name": "b"})
        [_, first] = box.jupyter.list(ALICE)
        await running(box, first.id)
        await running(box, second.id)


async def test_the_configured_image_is_run_for_the_requested_name(box: Box) -> None:
    async with box.engine() as engine:
        mapped = await box.jupyter.start(ALICE, {"name": "a", "image": "mapped", "gpu": 1})
        task = await engine.services.find(mapped.id)
        assert task is not None
        assert (mapped.image, task.spec.image) == ("mapped", "real")
        assert (task.spec.priority, task.spec.max_retries, task.spec.timeout_seconds) == (10, 0, 0)
        assert (task.spec.gpu, task.service, task.user) == (1, True, "alice")
