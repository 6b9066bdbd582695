"""The metrics of training runs: conditions, holds, interrupts, checkpoints and volumes."""

import time
from pathlib import Path

import pytest

from fetchml.api.rest.metrics import run_metrics
from fetchml.core.model import Principal
from fetchml.core.requests.volumes import Volume
from fetchml.engine.engine import Engine
from fetchml.errors import StorageQuotaReached
from tests.support.engine_box import ALICE, BOB, Box, ended, running
from tests.support.waiting import until_true

TRUE = {"job_name": "a", "command": ["true"]}
WAITS = {"job_name": "a", "command": ["sleep", "600"]}
SAVE = """
cd "$FETCHML_CHECKPOINT"
if ! test -e x; then
    head -c 5000 /dev/zero >x
    exec sleep 600
fi
"""
SAVES = {"job_name": "a", "command": ["sh", "-c", SAVE], "checkpoint": True}


def metrics(engine: Engine, who: Principal = ALICE) -> dict[str, float]:
    """The values other than 0, by name and labels."""
    return {
        "/".join([sample.name.removeprefix("fetchml_"), *sample.labels.values()]): sample.value
        for metric in run_metrics(engine.status.run_counts(who))
        for sample in metric.samples
        if sample.value
    }


async def test_held_back_tasks_and_failed_conditions(box: Box) -> None:
    async with box.engine() as engine:
        held = await engine.submissions.create_task(ALICE, {**TRUE, "hold": True})
        later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        for _ in range(2):
            await engine.submissions.create_task(BOB, {**TRUE, "start_after": later})
        await engine.submissions.create_task(ALICE, {**TRUE, "after": [held.id]})
        failing = {"task_id": held.id, "condition": "failed"}
        never = await engine.submissions.create_task(ALICE, {**TRUE, "after": [failing]})
        states = {"hold": 1, "dependency": 2, "start_after": 2}
        assert metrics(engine) == {f"tasks_held_back/{why}": n for why, n in states.items()}
    # They follow from the stored tasks; totals begin again.
    async with box.engine() as engine:
        assert metrics(engine) == {f"tasks_held_back/{why}": n for why, n in states.items()}
        await engine.changes.update(ALICE, held.id, {"hold": False})
        await ended(engine, never.id)
        assert metrics(engine) == {"tasks_held_back/start_after": 2, "dependency_failures_total": 1}


async def test_interrupts_and_checkpoints(box: Box) -> None:
    async with box.engine() as engine:
        first = await engine.submissions.create_task(ALICE, SAVES)
        await running(engine, first.id)
        file = box.data_dir / f"tasks/{first.id}/checkpoint/x"
        await until_true(lambda: file.exists() and file.stat().st_size == 5000)
        assert metrics(engine) == {"checkpoints_provided_total/new": 1}
        await engine.changes.interrupt(ALICE, first.id)
        assert (await ended(engine, first.id)).attempt == 2
        copy = await engine.submissions.create_task(ALICE, {**SAVES, "checkpoint_from": first.id})
        await ended(engine, copy.id)
        found = metrics(engine)
        assert found.pop("checkpoint_copied_bytes_total") >= 5000
        assert found == {
            "checkpoints_provided_total/new": 1,
            "checkpoints_provided_total/kept": 1,
            "checkpoints_provided_total/copied": 1,
            "interrupts_total": 1,
        }
        blocker = await engine.submissions.create_task(ALICE, {**WAITS, "gpu": 1})
        await running(engine, blocker.id)
        waits = await engine.submissions.create_task(
            ALICE, {**SAVES, "checkpoint_from": copy.id, "gpu": 1}
        )
        await engine.changes.delete(ALICE, copy.id)
        await engine.changes.cancel(ALICE, blocker.id)
        await ended(engine, waits.id)
        assert metrics(engine)["checkpoint_failures_total"] == 1


async def test_volumes_of_the_caller(box: Box, tmp_path: Path) -> None:
    volumes = {
        "all": Volume(str(tmp_path), read_only=False, max_bytes=1 << 12),
        "alices": Volume(str(tmp_path), users=("alice",), max_bytes=1 << 30),
        "free": Volume(str(tmp_path)),
    }
    async with box.engine(volumes=volumes) as engine:
        async with box.parts.volumes.watching():
            await until_true(lambda: "volume_bytes/alices" in metrics(engine))
            await until_true(lambda: "volume_bytes/all" in metrics(engine))
        found, of_bob = metrics(engine), metrics(engine, BOB)
        assert found["volume_bytes/all"] > 1 << 12
        assert found["volume_files/all"] > 1
        limits = {"volume_limit_bytes/all": 1 << 12, "volume_limit_bytes/alices": 1 << 30}
        assert found.items() >= limits.items()
        assert not any("free" in name for name in found)
        assert {name for name in of_bob if "alices" in name} == set()
        with pytest.raises(StorageQuotaReached):
            await engine.submissions.create_task(BOB, {**TRUE, "volumes": ["all"]})
        assert metrics(engine)["volume_refusals_total"] == 1
