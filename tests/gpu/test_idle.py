"""A task that leaves its GPU idle, on a whole server: reported, notified, warned and stopped; one
that uses its GPU is left alone."""

from typing import Any

import pytest

from testbed.gpu.stand_in import GpuBox, gpu, uuid
from tests.gpu.conftest import Boxed
from tests.support.program import Task
from tests.support.waiting import until
from tests.support.webhook_receiver import Receiver

pytestmark = pytest.mark.slow

RULE = {
    "FETCHML_GPU_IDLE_START_SECONDS": "0",
    "FETCHML_GPU_IDLE_SECONDS": "5",
    "FETCHML_GPU_IDLE_ACTION": "stop",
    "FETCHML_GPU_IDLE_WARNING_SECONDS": "10",
    "FETCHML_NOTIFICATIONS_ALLOW_PRIVATE": "true",
}
"""Use is reported every 10 s: the second report finds the task idle, the third one stops it."""
WAITS = "trap 'echo warned' USR1; trap 'echo ended; exit 7' TERM; while :; do sleep 0.1; done"


async def test_idle_task_is_stopped_and_a_busy_one_is_not(boxed: Boxed, gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0, use=93), gpu(1, use=93))
    async with Receiver().listening() as receiver:
        server = await boxed(**RULE).start()
        notify = [{"url": receiver.url, "on": ["idle", "failed", "completed"]}]
        wanted: dict[str, Any] = {"gpu": 1, "notify": notify, "warn_seconds": 1}
        idle = await server.submit_running(WAITS, job_name="idle", **wanted)
        busy = await server.submit_running(WAITS, job_name="busy", **wanted)
        [of_the_idle] = (await server.get(idle)).gpu_uuids
        number = 0 if of_the_idle == uuid(0) else 1
        gpu_box.set(*(gpu(each, use=2 if each == number else 93) for each in (0, 1)))
        marked = await until(lambda: server.shown(idle), lambda task: "idle_since" in task)
        assert marked["status"] == "running"
        assert "idle" in await server.explained(idle)
        metrics = (await server.rest.get("/metrics")).body.decode()
        assert f'fetchml_task_gpu_idle_seconds{{task_id="{idle}"' in metrics
        [told] = await receiver.until(1)
        assert (told.json["type"], told.json["data"]["task"]["id"]) == ("task.idle", idle)
        ended = await server.ended(idle)
        assert (ended.status, ended.failure_reason) == (Task.failed, Task.IDLE), ended
        assert "its GPUs were idle for" in ended.error
        # Beside that, the shell reports the signals that its `sleep` got too.
        output = (await server.get(idle)).output.splitlines()
        assert [line for line in output if line in ("warned", "ended")] == ["warned", "ended"]
        [_, failed] = await receiver.until(2)
        assert failed.json["data"]["task"]["failure_reason"] == "IDLE"
        other = await server.shown(busy)
        assert (other["status"], "idle_since" in other) == ("running", False)
        assert "idle" not in await server.explained(busy)
        assert len(receiver.got) == 2
