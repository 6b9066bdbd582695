"""Supervision of Jupyter services: restarts, ends, idleness, removal."""

import asyncio
import os
import signal
from typing import Any

import msgspec
import pytest

from fetchml.adapters.jupyter.link import http_session
from fetchml.core.jupyter_services import ServiceStatus
from fetchml.core.requests.jupyter import Service
from fetchml.jupyter import records, supervision
from tests.jupyter.stand_in import over, pid_of, running, until_shown
from tests.support.engine_box import ADMIN, ALICE, Box
from tests.support.waiting import SECONDS, until_true

pytestmark = pytest.mark.usefixtures("stand_in")


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
        http_session(link, answer_seconds=SECONDS) as session,
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
    async with box.engine():
        made = await box.jupyter.start(ALICE, {"name": "a"})
        await running(box, made.id)
        lone = Service("lone", "alice", "b", "i", "b", "b", "token", 1)
        await box.parts.store.put_document(records.KIND, "lone", msgspec.json.encode(lone))
        await box.parts.store.delete_document(records.KIND, made.id)
    async with box.engine():
        assert box.jupyter.list(ADMIN) == []
        assert await box.parts.store.list_documents(records.KIND) == []
        await until_true(lambda: not box.parts.services.live())
        with pytest.raises(ProcessLookupError):
            os.kill(pid_of(box, "a"), 0)


@pytest.mark.slow
async def test_an_idle_service_is_warned_and_stopped(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    async with box.engine(idle_ms=1000):
        made = await box.jupyter.start(ALICE, {"name": "a"})
        warned = await until_shown(box, made.id, lambda found: found.stops_at)
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


@pytest.mark.slow
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
    async with box.engine():
        made = [await box.jupyter.start(ALICE, {"name": name}) for name in "abc"]
        for each in made[:2]:
            await running(box, each.id)
            await box.jupyter.stop(ALICE, each.id)
            await over(box, each.id)
        await box.jupyter.supervision.prune()
        assert len(box.jupyter.list(ADMIN)) == 3
        monkeypatch.setattr(supervision, "MAX_ENDED", 1)
        await box.jupyter.supervision.prune()
        assert [each.id for each in box.jupyter.list(ADMIN)] == [made[2].id, made[1].id]
        monkeypatch.setattr(supervision, "KEPT_MS", -1)
        await box.jupyter.supervision.prune()
        assert [each.id for each in box.jupyter.list(ADMIN)] == [made[2].id]
        assert len(await box.parts.store.list_documents(records.KIND)) == 1
        kept = {folder.name for folder in (box.data_dir / "tasks").iterdir()}
        assert kept == {made[2].id}
        assert (box.workspaces / "a" / "pid").exists()


async def test_the_number_of_ended_services_is_bounded(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "MAX_ENDED", 2)
    (box.workspaces / "a").mkdir(parents=True)
    (box.workspaces / "a" / "dies").touch()
    async with box.engine():
        made = [await box.jupyter.start(ALICE, {"name": "a"}) for _ in range(5)]
        await until_true(lambda: len(box.jupyter.list(ADMIN)) == 2)
        assert [each.id for each in box.jupyter.list(ADMIN)] == [made[4].id, made[3].id]
