"""Tasks that bring their datasets: fetched before they run, held while they live."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fetchml.core.model import FailureReason, Status
from fetchml.errors import ValidationFailed
from fetchml.ports.store import TaskQuery
from tests.datasets.conftest import sha256
from tests.datasets.origin import File, OriginServer, origin_server
from tests.support.engine_box import ALICE, Box, ended, running
from tests.support.waiting import SECONDS

ROWS = b"1,2,3"


@pytest.fixture
async def origin() -> AsyncIterator[OriginServer]:
    async with origin_server() as server:
        server.answers["/rows.csv"] = File(ROWS)
        yield server


def request(origin: OriginServer, script: str, **spec: str) -> dict[str, object]:
    dataset = {"name": "mnist", "source": origin.url("/rows.csv"), **spec}
    return {"job_name": "a", "command": ["sh", "-c", script], "dataset_specs": [dataset]}


def held(box: Box) -> list[Path]:
    return list((box.data_dir / "datasets" / "held").iterdir())


async def test_a_task_sees_what_was_fetched_for_it(box: Box, origin: OriginServer) -> None:
    async with box.engine() as engine:
        script = "cat $FETCHML_DATASETS/mnist/rows.csv $FETCHML_DATASETS/mnt/rows/rows.csv"
        wanted = request(origin, script, sha256=sha256(ROWS))
        elsewhere = {"name": "b", "source": origin.url("/rows.csv"), "mount_path": "/mnt/rows"}
        wanted["dataset_specs"] = [*wanted["dataset_specs"], elsewhere]  # type: ignore[misc]
        task = await ended(engine, (await engine.submissions.create_task(ALICE, wanted)).id)
        assert task.status is Status.COMPLETED
        assert await engine.logs.tail(task) == ROWS.decode() * 2
    assert held(box) == []


async def test_another_sum_fails_the_task_before_it_runs(box: Box, origin: OriginServer) -> None:
    async with box.engine() as engine:
        wanted = {**request(origin, "true", sha256="0" * 64), "max_retries": 3}
        task = await ended(engine, (await engine.submissions.create_task(ALICE, wanted)).id)
    assert (task.failure_reason, task.attempt) == (FailureReason.PREPARE_FAILED, 1)
    assert task.error is not None
    assert sha256(ROWS) in task.error
    assert "0" * 64 in task.error


async def test_a_fetch_that_stalls_holds_up_no_other_task_and_can_be_cancelled(
    box: Box, origin: OriginServer
) -> None:
    file = origin.answers["/rows.csv"] = File(ROWS)
    file.hold = asyncio.Event()
    async with box.engine() as engine:
        waiting = await engine.submissions.create_task(ALICE, request(origin, "true"))
        await asyncio.wait_for(origin.was_asked.wait(), SECONDS)
        other = await engine.submissions.create_task(ALICE, {"job_name": "b", "command": ["true"]})
        assert (await ended(engine, other.id)).status is Status.COMPLETED
        explained = await engine.tasks.explain(ALICE, waiting.id)
        assert explained.reason == "It is being prepared: fetching mnist."
        await engine.changes.cancel(ALICE, waiting.id)
        assert (await ended(engine, waiting.id)).error == "cancelled by alice"
        assert list((box.data_dir / "datasets" / "partial").iterdir()) == []


async def test_what_a_task_uses_is_held_until_its_end_across_a_restart(
    box: Box, origin: OriginServer
) -> None:
    wait = "while [ ! -e go ]; do sleep 0.02; done; cat $FETCHML_DATASETS/mnist/rows.csv"
    async with box.engine() as engine:
        task = await engine.submissions.create_task(ALICE, request(origin, wait))
        await running(engine, task.id)
    assert [path.name for path in held(box)] == [f"{task.id}-1"]
    async with box.engine() as engine:
        assert len(held(box)) == 1
        (box.data_dir / "tasks" / task.id / "attempts/1/workspace/go").touch()
        assert await engine.logs.tail(await ended(engine, task.id)) == ROWS.decode()
    assert held(box) == []
    assert len(origin.requests) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "rule"),
    [
        ({"source": "s3://bucket/key"}, "item 0 source must be of a scheme that the server allows"),
        ({"source": "http://h/x", "mount_path": "/etc/x"}, "must not lie over a system path"),
        ({"source": "http://h/x", "mount_path": "/data"}, "must not be /data itself"),
        ({}, "item 0 needs a name or a source"),
        ({"source": "../x"}, "item 0 source must lie in the server's datasets"),
        ({"source": "/etc/passwd"}, "item 0 source must lie in the server's datasets"),
        ({"source": "file:///etc/hosts"}, "item 0 source must lie in the server's datasets"),
        ({"source": "out/etc/no-such-file"}, "item 0 source must lie in the server's datasets"),
        ({"source": "loop/x"}, "item 0 source must lie in the server's datasets"),
        ({"source": "http://169.254.169.254/x"}, "item 0 source is at a private or local address"),
    ],
)
async def test_impossible_dataset_is_rejected_at_once(
    box: Box, spec: dict[str, str], rule: str
) -> None:
    box.datasets_root.mkdir()
    (box.datasets_root / "out").symlink_to("/")
    (box.datasets_root / "loop").symlink_to("loop")
    refused = {"job_name": "a", "dataset_specs": [spec]}
    async with box.engine() as engine:
        with pytest.raises(ValidationFailed, match=rule):
            await engine.submissions.create_task(ALICE, refused)
        with pytest.raises(ValidationFailed, match=rf"tasks\[1\].dataset_specs: .*{rule}"):
            await engine.submissions.create_tasks(ALICE, [{"job_name": "a"}, refused])
        assert (await engine.tasks.list(ALICE, TaskQuery(limit=0))).total == 0


async def test_without_a_root_only_urls_are_accepted(box: Box, origin: OriginServer) -> None:
    async with box.engine(has_datasets=False) as engine:
        with pytest.raises(ValidationFailed, match=r"\[datasets\] root is not set"):
            await engine.submissions.create_task(
                ALICE, {"job_name": "a", "dataset_specs": [{"name": "d"}]}
            )
        task = await engine.submissions.create_task(ALICE, request(origin, "true"))
        assert (await ended(engine, task.id)).exit_code == 0


async def test_dataset_that_may_still_appear_is_accepted(box: Box) -> None:
    """A file inside the root that is missing at the submit, and one that a link inside names."""
    box.datasets_root.mkdir()
    (box.datasets_root / "old").write_text("x")
    (box.datasets_root / "link").symlink_to("old")
    specs = [{"source": "later"}, {"source": "link"}, {"source": f"{box.datasets_root}/old"}]
    async with box.engine() as engine:
        await engine.submissions.create_task(
            ALICE, {"job_name": "a", "dataset_specs": specs, "cpu": 2}
        )
