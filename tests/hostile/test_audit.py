"""Floods of audit entries do not displace the entries of others."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from fetchml.adapters.duckdb.store import DuckDBStore
from fetchml.core.audit import Action, AuditEntry
from fetchml.ports.store import AuditQuery
from tests.hostile.attacked import Attacked
from tests.support.waiting import until, wait_until

ROWS = 1000


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[DuckDBStore]:
    store = DuckDBStore(folder, time_zone=ZoneInfo("UTC"), min_free_bytes=0, audit_rows=ROWS)
    await store.open(recent_limit=10, on_fatal=print)
    yield store
    await store.close()


@pytest.mark.slow
async def test_server_prunes_at_its_start(tmp_path: Path) -> None:
    """A user has created experiments without end."""
    attacked = Attacked(tmp_path / "data", FETCHML_HISTORY_AUDIT_ROWS=str(ROWS))
    try:
        attacked.server.stop()
        async with opened(tmp_path / "data") as store:
            for number in range(1400):
                action, who = Action.EXPERIMENT_CREATE, "mallory"
                last = store.append_audit(
                    AuditEntry(f"{number:08}-0000", 1, action, "::1", user=who)
                )
            await last
        attacked.server.start()

        def entries(query: str) -> list[dict[str, object]]:
            body = attacked.ask(attacked.admin, "GET", f"/v1/audit?limit=1000{query}").body
            return list(body["entries"])

        wait_until(lambda: len(entries("&user_id=mallory")) < ROWS)
        assert len(entries("&user_id=mallory")) == ROWS - 2, "the server has pruned"
        created = entries("&action=key.create")
        assert len(created) == 2, "mallory's and bob's key"
    finally:
        attacked.close()


async def kept_of(tmp_path: Path, *given: tuple[int, Action, str]) -> Counter[tuple[str, str]]:
    """How many are kept of so many entries of each kind, by action and user; oldest first."""
    (tmp_path / "data").mkdir(mode=0o700)
    number = 0
    async with opened(tmp_path / "data") as store:
        for count, action, user in given:
            for _ in range(count):
                number += 1
                last = store.append_audit(
                    AuditEntry(f"{number:08}-0000", number, action, "::1", user=user)
                )
            await last

        async def pruned() -> Sequence[AuditEntry]:
            store._maintenance._next_expiry_at = 0.0
            return await store.list_audit(AuditQuery(limit=number))

        kept = await until(pruned, lambda found: len(found) <= ROWS)
    assert len(kept) == ROWS, "none is removed that need not be"
    return Counter((entry.action, str(entry.user)) for entry in kept)


async def test_flood_displaces_only_entries_of_its_own_kind(tmp_path: Path) -> None:
    kept = await kept_of(
        tmp_path,
        (100, Action.TASK_CANCEL, "alice"),
        (20, Action.ACCESS_REFUSED, "mallory"),
        (30, Action.GPU_DRAIN, "root"),
        (3000, Action.EXPERIMENT_CREATE, "mallory"),
    )
    assert kept[Action.TASK_CANCEL, "alice"] == 100
    assert kept[Action.ACCESS_REFUSED, "mallory"] == 20
    assert kept[Action.GPU_DRAIN, "root"] == 30
    assert kept[Action.EXPERIMENT_CREATE, "mallory"] == ROWS - 150


async def test_many_users_cannot_displace_security_entries(tmp_path: Path) -> None:
    kept = await kept_of(
        tmp_path,
        (400, Action.KEY_CREATE, "root"),
        *((50, Action.EXPERIMENT_CREATE, f"user {number}") for number in range(100)),
    )
    assert kept[Action.KEY_CREATE, "root"] == ROWS // 4
    assert all(7 <= kept[Action.EXPERIMENT_CREATE, f"user {n}"] <= 8 for n in range(100))


async def test_refusals_do_not_displace_completed_actions(tmp_path: Path) -> None:
    kept = await kept_of(
        tmp_path,
        (200, Action.TASK_DELETE, "alice"),
        (5, Action.KEY_REVOKE, "root"),
        (2000, Action.ACCESS_REFUSED, "None"),
    )
    assert kept[Action.TASK_DELETE, "alice"] == 200
    assert kept[Action.KEY_REVOKE, "root"] == 5
