"""The views of SQL queries: what they show, and to whom."""

from pathlib import Path

import duckdb
import pytest

from fetchml.core.sql_views import VIEWS
from fetchml.errors import Forbidden, ValidationFailed
from tests.support.history_box import ADMIN, ANN, BOB, EVE, SECRET, history_box

ANN_ID, BOB_ID = (f"0000000{number}-0000-7000-8000-000000000000" for number in (0, 1))
OF_RUNS = ("metrics", "points", "params", "tags")
OWNER = {
    view.name: "run_id" if view.name in OF_RUNS else "user_id"
    for view in VIEWS
    if view.name != "gpus" and not view.admins_only
}
"""The column that tells whose a row is; `gpus` has none."""


async def test_views_have_the_documented_columns(tmp_path: Path) -> None:
    async with history_box(tmp_path / "data") as box:
        names = [view.name for view in VIEWS]
        folder = box.folder / "test"
        folder.mkdir()
        await box.opened.store.history.export(names, folder, None)
        for view in VIEWS:
            with duckdb.connect() as connection:
                rows = connection.read_parquet(str(folder / view.name))
                found = [*zip(rows.columns, map(str, rows.types), strict=True)]
                assert found == [(column.name, column.type) for column in view.columns], view.name
                assert rows.fetchall(), f"{view.name} is empty: the test shows nothing"
            assert SECRET.encode() not in (folder / view.name).read_bytes()


async def test_values_are_in_the_units_of_users(tmp_path: Path) -> None:
    async with history_box(tmp_path / "data") as box:
        [ann, bob] = await box.rows(
            "SELECT id, status, wait_seconds, run_seconds, retry_count, parameters['lr'], "
            "labels['team'], command, ended_at FROM tasks ORDER BY id"
        )
        assert ann == [
            *(ANN_ID, "completed", 1740, 899, 1, "0.0", "ann", "run", "2026-01-01T12:00:00Z")
        ]
        assert bob == [BOB_ID, "running", 1740, None, 1, "0.1", "bob", "run", None]
        attempts = await box.rows(
            "SELECT task_id, number, outcome, run_seconds, exit_code, error "
            "FROM attempts ORDER BY ALL"
        )
        assert attempts == [
            [ANN_ID, 1, "retry", 60, 1, "exit code 1"],
            [ANN_ID, 2, "completed", 899, 0, None],
            [BOB_ID, 1, "retry", 60, 1, "exit code 1"],
            [BOB_ID, 2, "running", None, None, None],
        ]
        events = await box.rows("SELECT user_id, status FROM events ORDER BY seq")
        assert events == [
            ["ann", "queued"], ["ann", "running"], ["ann", "completed"],
            ["bob", "queued"], ["bob", "running"],
        ]  # fmt: skip
        usage = "SELECT user_id, samples, cpu_cores, memory_mb, read_mb_per_second FROM usage"
        assert await box.rows(f"{usage} ORDER BY 1") == [
            ["ann", 2, 1.5, 100, 1], ["bob", 2, 1.5, 100, 1]
        ]  # fmt: skip
        metrics = await box.rows("SELECT key, step, value, points FROM metrics")
        assert metrics == [["loss", 2, 1 / 3, 3]] * 2


async def test_shared_gpus_count_in_fractions(tmp_path: Path) -> None:
    """Ann's task held the GPU from 11:30 to 12:00, Bob's holds it since 11:45; it is 13:00."""
    async with history_box(tmp_path / "data") as box:
        rows = await box.rows(
            "SELECT hour, user_id, gpu_hours, energy_kwh, utilisation_percent, experiment_id "
            "FROM gpu_hours ORDER BY hour, user_id"
        )
        assert rows == [
            ["2026-01-01T11:00:00Z", "ann", 0.375, pytest.approx(0.075), 10, "exp-ann"],
            ["2026-01-01T11:00:00Z", "bob", 0.125, pytest.approx(0.025), 10, "exp-bob"],
            ["2026-01-01T12:00:00Z", "bob", 1, pytest.approx(0.2), 10, "exp-bob"],
        ]


async def test_on_a_private_server_a_user_sees_only_what_is_theirs(tmp_path: Path) -> None:
    async with history_box(tmp_path / "data", private=True) as box:
        seen = " UNION ALL ".join(
            f"SELECT '{view}', list(DISTINCT {owner} ORDER BY {owner}) FROM {view}"  # noqa: S608
            for view, owner in OWNER.items()
        )
        assert all(len(owners) == 2 for _, owners in await box.rows(seen, ADMIN))
        for view, owners in await box.rows(seen, ANN):
            assert owners in (["ann"], ["0" * 32]), view
        assert all(owners is None for _, owners in await box.rows(seen, EVE))


async def test_on_an_open_server_all_see_all_but_the_audit(tmp_path: Path) -> None:
    async with history_box(tmp_path / "data") as box:
        for who in (ANN, BOB, EVE):
            assert await box.value("SELECT count(*) FROM tasks", who) == 2
            assert "audit" not in [view.name for view in box.history.views(who)]
            with pytest.raises(Forbidden):
                await box.rows("SELECT 1 FROM Audit", who)
            with pytest.raises(Forbidden):
                await box.history.export(who, "audit")
        assert await box.value("SELECT count(*) FROM audit WHERE user_id = 'ann'") == 3
        with pytest.raises(ValidationFailed, match="did you mean tasks"):
            await box.history.export(ADMIN, "taks")
