"""The audit over a real store, also after a restart."""

import asyncio

import pytest

from fetchml.core.audit import OK, Action, AuditEntry
from fetchml.core.model import Principal, Role
from fetchml.engine.engine import Engine
from fetchml.errors import Forbidden, Unauthorized
from tests.support.engine_box import ADMIN, ALICE, BOB, VIEWER, Box, ended
from tests.support.waiting import until

SLEEP = {"job_name": "sleep", "command": ["sleep", "1000"]}
TRUE = {"job_name": "true", "command": ["true"]}
REMOTE = Principal("alice", Role.USER, "key-a", "192.0.2.7")


def told(entries: list[AuditEntry]) -> list[tuple[str, str | None, str | None, str]]:
    return [(entry.action, entry.target, entry.user, entry.address) for entry in entries]


async def test_every_change_is_recorded(box: Box) -> None:
    async with box.engine() as engine:
        first = await engine.submissions.create_task(REMOTE, SLEEP)
        batch = await engine.submissions.create_tasks(BOB, [TRUE, TRUE])
        await engine.changes.cancel(REMOTE, first.id)
        await ended(engine, first.id)
        await engine.changes.cancel(REMOTE, first.id)  # it has ended: nothing is done
        for task in batch:
            await ended(engine, task.id)
        await engine.changes.delete(ADMIN, batch[0].id)
        expected = [
            (Action.TASK_DELETE, batch[0].id, "root", ""),
            (Action.TASK_CANCEL, first.id, "alice", "192.0.2.7"),
            (Action.TASK_CREATE, batch[1].id, "bob", ""),
            (Action.TASK_CREATE, batch[0].id, "bob", ""),
            (Action.TASK_CREATE, first.id, "alice", "192.0.2.7"),
        ]
        entries = await box.parts.audit.entries(ADMIN)
        assert told(entries) == expected
        assert {entry.outcome for entry in entries} == {OK}
        assert entries[1].key_id == entries[4].key_id == "key-a"
        assert [entry.at for entry in entries] == sorted((e.at for e in entries), reverse=True)
    async with box.engine() as engine:
        assert await box.parts.audit.entries(ADMIN) == entries


async def test_delete_of_a_live_task_is_recorded_as_a_cancel(box: Box) -> None:
    async with box.engine() as engine:
        task = await engine.submissions.create_task(ALICE, SLEEP)
        await engine.changes.delete(ALICE, task.id)
        await ended(engine, task.id)
        await engine.changes.delete(ALICE, task.id)  # repeated within a minute: nothing is done
        actions = [entry.action for entry in await box.parts.audit.entries(ADMIN)]
        assert actions == [Action.TASK_CANCEL, Action.TASK_CREATE]


async def test_entries_are_filtered_and_paged(box: Box) -> None:
    async with box.engine() as engine:
        tasks = [await engine.submissions.create_task(who, SLEEP) for who in (ALICE, BOB, ALICE)]
        for task in tasks:
            await engine.changes.cancel(ADMIN, task.id)
            await ended(engine, task.id)
        whole = await box.parts.audit.entries(ADMIN)
        assert len(whole) == 6
        pages = list[AuditEntry]()
        while page := await box.parts.audit.entries(
            ADMIN, limit=4, before=pages[-1].id if pages else None
        ):
            pages += page
        assert pages == whole
        for filters, expected in (
            ({"user": "alice"}, [whole[3], whole[5]]),
            ({"user": "root"}, whole[:3]),
            ({"action": "task.create"}, whole[3:]),
            ({"action": "task.cancel", "limit": 1}, whole[:1]),
            ({"target": tasks[1].id}, [whole[1], whole[4]]),
            ({"since": whole[0].at + 60_000}, []),
            ({"since": tasks[0].created_at}, whole),
        ):
            assert await box.parts.audit.entries(ADMIN, **filters) == expected, filters


async def settled(box: Box, engine: Engine) -> list[AuditEntry]:
    """All entries, once a change behind them is durable: refusals are not waited for."""
    task = await engine.submissions.create_task(ALICE, TRUE)
    await ended(engine, task.id)
    entries = await box.parts.audit.entries(ADMIN, limit=1000)
    return [entry for entry in entries if entry.target != task.id]


async def test_a_flood_of_refusals_is_bounded_and_counted(box: Box) -> None:
    async with box.engine() as engine:
        for number in range(5_000):
            secret = "fml_" + "x" * 43
            box.parts.audit.refused(
                None, "192.0.2.7", f"GET /v1/{secret}\n\ud800{number}", Unauthorized()
            )
        box.parts.audit.refused(VIEWER, "192.0.2.8", "POST /v1/tasks", Forbidden("A viewer's key"))
        for number in range(5_000):
            box.parts.audit.refused(None, f"192.0.2.{number}", "GET /v1/tasks", Unauthorized())
        entries = await settled(box, engine)
    assert 200 <= len(entries) <= 230
    assert {entry.action for entry in entries} == {Action.ACCESS_REFUSED}
    first, of_the_viewer = entries[-1], entries[-21]
    assert (first.user, first.address, first.outcome) == (None, "192.0.2.7", "UNAUTHORIZED")
    assert "fml_x" not in str(entries)
    assert "fml_[redacted]" in str(first.detail)
    assert (of_the_viewer.user, of_the_viewer.outcome) == ("eve", "FORBIDDEN")
    assert str(of_the_viewer.detail) == (
        "POST /v1/tasks: A viewer's key (4980 more refusals before this one were not kept)"
    )


async def test_only_the_newest_entries_are_kept(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    async with box.engine():
        done = [box.parts.audit.done(ADMIN, Action.KEY_REVOKE, str(n)) for n in range(50)]
        await asyncio.gather(*done)
        monkeypatch.setattr(box.parts.store._maintenance, "_audit_rows", 20)  # type: ignore[attr-defined]
        monkeypatch.setattr(box.parts.store._maintenance, "_next_expiry_at", 0.0)  # type: ignore[attr-defined]
        entries = await until(
            lambda: box.parts.audit.entries(ADMIN), lambda found: len(found) == 20
        )
        assert [entry.target for entry in entries] == [str(n) for n in range(49, 29, -1)]
