"""The history of use over REST and gRPC, on real sockets, with a store in memory."""

import time

from fetchml.core.model import Status
from fetchml.core.usage import (
    MAX_HOLDS,
    MAX_POINTS_IN_ALL,
    MAX_ROWS,
    SAMPLE_MS,
    DayUse,
    GpuHold,
    GpuSample,
    TaskSample,
    UserDay,
)
from fetchml.ports.usage_store import UsageBatch
from tests.support import rest_world
from tests.support.memory_store import MemoryStore

DAY_MS = 86_400_000
START = time.time_ns() // 1_000_000 // SAMPLE_MS * SAMPLE_MS - 3_000_000
"""Fifty minutes ago."""
NOW = START + 3_000_000


def fill(store: MemoryStore, task_id: str) -> None:
    store.usage.record(
        UsageBatch(
            START,
            [
                TaskSample(START + n * SAMPLE_MS, task_id, 1 + n // 50, n, 16 * n, 1024 * n, 512)
                for n in range(100)
            ],
            [
                GpuSample(START + n * SAMPLE_MS, "slot-1", n, 1024, None, 300, held=n < 50)
                for n in range(100)
            ],
            [GpuHold("slot-1", task_id, "user", START, START + 500_000)],
            {
                UserDay("2025-10-08", "bob"): DayUse(1_800_000, 0, 2, 1),
                UserDay("2025-10-09", "ada"): DayUse(3_600_000, 7_200_000, 1),
                UserDay("2025-10-09", "bob"): DayUse(gpu_ms=1),
            },
        )
    )


def text(ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms // 1000))


async def test_usage_of_a_task(rest: rest_world.World) -> None:
    task_id = str((await rest.client.submit({"job_name": "a"})).json["id"])
    path = f"/v1/tasks/{task_id}/usage"
    nothing = (await rest.client.get(path)).json
    assert nothing == {"task_id": task_id, "step_seconds": 10, "points": []}
    fill(rest.store, task_id)
    found = (await rest.client.get(path)).json
    assert len(found["points"]) == 100
    assert found["step_seconds"] == 10
    assert found["points"][64] == {
        "at": f"{text(START + 640_000)[:-1]}.000Z",
        "attempt": 2,
        "samples": 1,
        "cpu_cores": 0.64,
        "cpu_cores_max": 0.64,
        "memory_mb": 64.0,
        "memory_mb_max": 64.0,
        "read_mb_per_second": 64.0,
        "read_mb_per_second_max": 64.0,
        "write_mb_per_second": 0.5,
        "write_mb_per_second_max": 0.5,
    }
    assert found["total"]["cpu_cores"] == 0.495
    assert found["total"]["cpu_cores_max"] == 0.99
    assert found["total"]["samples"] == 100
    few = (await rest.client.get(f"{path}?points=3")).json
    assert [point["samples"] for point in few["points"]] == [34, 34, 32]
    assert few["step_seconds"] == 340
    assert few["total"] == found["total"]
    second = (await rest.client.get(f"{path}?attempt=2&points=2000")).json
    assert len(second["points"]) == 50
    part = (await rest.client.get(f"{path}?since={text(START + 900_000)}&until={text(NOW)}")).json
    assert len(part["points"]) == 10
    assert (await rest.client.get(f"{path}?attempt=3")).json["points"] == []
    reply = await rest.client.get(f"{path}?step=5")
    assert reply.headers["X-FetchML-Ignored"] == "step"


async def test_bad_queries(rest: rest_world.World) -> None:
    for query in [
        "points=0",
        "points=2001",
        "points=-1",
        "points=9e9",
        "points=" + "9" * 5000,
        "points=1&points=2",
        "since=yesterday",
        "since=2026-13-01T00:00:00Z",
        "since=2026-01-01",
        "until=0001-01-01T00:00:00Z",
        "since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
        "since=%00",
        "since=",
    ]:
        task_id = (await rest.client.submit({"job_name": "a"})).json["id"]
        paths = [f"/v1/tasks/{task_id}/usage", "/v1/gpus/history"]
        if "points" not in query:
            paths.append("/v1/usage")
        for path in paths:
            reply = await rest.client.get(f"{path}?{query}")
            assert (reply.status, reply.code) == (400, "BAD_REQUEST"), path
            assert reply.error.split(":")[0] in ("points", "since", "until")
            assert len(reply.error) < 200
        assert (await rest.client.get("/v1/tasks/none/usage")).status == 404
        for attempt in ("0", "-1", "x"):
            reply = await rest.client.get(f"/v1/tasks/{task_id}/usage?attempt={attempt}")
            assert reply.status == 400


async def test_history_of_gpus(rest: rest_world.World) -> None:
    fill(rest.store, "t")
    fill_of_a_lost_gpu = UsageBatch(
        START, gpus=[GpuSample(NOW - 5_000, "GPU-gone", None, None, None, None, held=False)]
    )
    rest.store.usage.record(fill_of_a_lost_gpu)
    # The times are those of the import, which may be long ago.
    period = f"since={text(NOW - 3_600_000)}&until={text(NOW)}"
    found = (await rest.client.get(f"/v1/gpus/history?{period}&points=60")).json
    assert found["step_seconds"] == 60
    by_uuid = {gpu["uuid"]: gpu for gpu in found["gpus"]}
    assert list(by_uuid) == [*(f"slot-{number}" for number in range(8)), "GPU-gone"]
    assert by_uuid["slot-0"]["points"] == by_uuid["slot-0"]["holds"] == []
    points, [hold] = by_uuid["slot-1"]["points"], by_uuid["slot-1"]["holds"]
    assert sum(point["samples"] for point in points) == 100
    assert points[1]["utilisation_percent_max"] > points[1]["utilisation_percent"]
    assert (points[1]["memory_used_mb"], points[1]["power_w_max"]) == (1024, 300)
    assert "temperature_c" not in points[1]
    assert (points[1]["held_percent"], points[-1]["held_percent"]) == (100, 0)
    assert hold == {
        "task_id": "t",
        "user_id": "user",
        "since": f"{text(START)[:-1]}.000Z",
        "until": f"{text(START + 500_000)[:-1]}.000Z",
    }
    [lost] = by_uuid["GPU-gone"]["points"]
    assert lost.keys() == {"at", "samples", "held_percent"}
    old = (await rest.client.get(f"/v1/gpus/history?until={text(START - DAY_MS)}")).json
    assert all(gpu["points"] == gpu["holds"] == [] for gpu in old["gpus"])
    future = (await rest.client.get(f"/v1/gpus/history?since={text(NOW + DAY_MS)}")).json
    assert future["gpus"] == []


async def test_replies_are_bounded(rest: rest_world.World) -> None:
    gpus = [
        GpuSample(NOW - n * SAMPLE_MS, f"GPU-{gpu}", 1, 1, 1, 1, held=True)
        for gpu in range(20)
        for n in range(1, 300)
    ]
    holds = [GpuHold("GPU-1", f"t{n}", "user", NOW - 5_000, NOW - 1) for n in range(5_000)]
    days = {UserDay("2025-10-09", f"user{n}"): DayUse(1) for n in range(MAX_ROWS + 1)}
    rest.store.usage.record(UsageBatch(START, gpus=gpus, holds=holds, days=days))
    found = (await rest.client.get("/v1/gpus/history?points=2000")).json
    assert sum(len(gpu["points"]) for gpu in found["gpus"]) <= MAX_POINTS_IN_ALL
    assert sum(len(gpu["holds"]) for gpu in found["gpus"]) == MAX_HOLDS
    window = "since=2025-10-09T00:00:00Z&until=2025-10-10T00:00:00Z"
    reply = await rest.client.get(f"/v1/usage?{window}")
    assert (reply.status, reply.code) == (400, "BAD_REQUEST")
    assert "fewer days" in reply.error


async def test_days(rest: rest_world.World) -> None:
    fill(rest.store, "t")
    found = (
        await rest.client.get("/v1/usage?since=2025-10-08T12:00:00Z&until=2025-10-09T00:00:00Z")
    ).json
    assert found["first_day"] == "2025-10-08"
    assert found["last_day"] == "2025-10-09"
    assert found["days"] == [
        {
            "day": "2025-10-09",
            "user_id": "ada",
            "gpu_hours": 1.0,
            "cpu_hours": 2.0,
            "completed": 1,
            "failed": 0,
        },
        {
            "day": "2025-10-09",
            "user_id": "bob",
            "gpu_hours": 0.0,
            "cpu_hours": 0.0,
            "completed": 0,
            "failed": 0,
        },
        {
            "day": "2025-10-08",
            "user_id": "bob",
            "gpu_hours": 0.5,
            "cpu_hours": 0.0,
            "completed": 2,
            "failed": 1,
        },
    ]
    assert (await rest.client.get("/v1/usage")).json["days"] == []
    far = await rest.client.get("/v1/usage?since=1970-01-01T00:00:00Z")
    assert far.error == "since: must be at most 400 days before until"


async def test_deleted_task_has_no_usage(rest: rest_world.World) -> None:
    task_id = (await rest.client.submit({"job_name": "a"})).json["id"]
    fill(rest.store, task_id)
    await rest.engine.change(task_id, status=Status.COMPLETED, ended_at=START)
    assert (await rest.client.ask("DELETE", f"/v1/tasks/{task_id}")).status == 204
    assert (await rest.client.get(f"/v1/tasks/{task_id}/usage")).status == 404
    assert rest.store.usage.tasks == []
    assert rest.store.usage.holds == []
