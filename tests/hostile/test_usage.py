"""The largest histories of use hold the event loop for no long turn."""

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import Mock

import pytest

from fetchml.api.operations import operations
from fetchml.core.requests.usage import MAX_ROWS
from fetchml.core.usage import SAMPLE_MS, DayUse, GpuHold, GpuSample, TaskSample, UserDay
from fetchml.ports.usage import UsageBatch
from fetchml.v1 import usage_pb2
from tests.api.test_usage import NOW, since, text
from tests.hostile.turns import LONGEST_SECONDS, longest_turn
from tests.support import rest_world
from tests.support.engine_box import ALICE
from tests.support.memory_engine import memory_engine
from tests.support.memory_store import MemoryStore


def fill(store: MemoryStore, task_id: str) -> None:
    """What a store may return at most, prepared as it would come from a thread."""
    usage = store.usage
    usage.record(
        UsageBatch(
            NOW,
            [TaskSample(NOW - n * SAMPLE_MS, task_id, 1, n, n, n, n) for n in range(1, 2_001)],
            [
                GpuSample(NOW - n * SAMPLE_MS, f"GPU-{gpu}", 1, 1, 1, 1, held=True)
                for gpu in range(10)
                for n in range(1, 2_001)
            ],
            [GpuHold("GPU-1", f"t{n}", "user", NOW - n, NOW) for n in range(1, 1_001)],
            {UserDay("2025-10-09", f"user{n:06}"): DayUse(n) for n in range(MAX_ROWS)},
        )
    )


def prepare(store: MemoryStore) -> None:
    """Answers are made ahead: the real store makes them in a thread."""
    for name in ("task_history", "gpu_uuids", "gpu_history", "gpu_holds", "days"):
        setattr(store.usage, name, once(getattr(store.usage, name)))


def once(call: Callable[..., Any]) -> Callable[..., Any]:
    answers: list[Any] = []

    async def answer(*arguments: Any) -> Any:
        if not answers:
            answers.append(await call(*arguments))
        return answers[0]

    return answer


PERIOD = 2_001 * SAMPLE_MS
WINDOW = "since=2025-10-09T00:00:00Z&until=2025-10-09T01:00:00Z"


@pytest.mark.slow
async def test_largest_replies_over_rest() -> None:
    async with rest_world.rest_world() as rest:
        task_id = (await rest.client.submit({"job_name": "a"})).json["id"]
        fill(rest.store, task_id)
        prepare(rest.store)
        span = f"points=2000&since={text(NOW - PERIOD)}&until={text(NOW + 1_000)}"
        for path in (
            f"/v1/tasks/{task_id}/usage?points=2000",
            f"/v1/gpus/history?{span}",
            f"/v1/usage?{WINDOW}",
        ):
            url, headers = rest.client.url(path), rest.client.with_key({})

            async def ask(url: Any = url, headers: Any = headers) -> None:
                # Received by the same loop, whose turns count too: in small parts.
                async with rest.client.session.get(url, headers=headers) as reply:
                    assert reply.status == 200
                    async for _ in reply.content.iter_chunked(1 << 14):
                        pass

            await ask()
            assert await longest_turn(ask) < LONGEST_SECONDS, path


@pytest.mark.slow
async def test_largest_replies_over_grpc() -> None:
    async with memory_engine() as memory:
        rows = {row.rpc.name: row for row in operations(Mock(engine=memory.engine))}
        task_id = (await memory.engine.submissions.create_task(ALICE, {"job_name": "a"})).id
        fill(memory.store, task_id)
        prepare(memory.store)
        begin, end = since(NOW - PERIOD), since(NOW + 1_000)
        for name, request in (
            ("GetTaskUsage", usage_pb2.GetTaskUsageRequest(task_id=task_id, points=2_000)),
            (
                "GetGpuHistory",
                usage_pb2.GetGpuHistoryRequest(since=begin, until=end, points=2_000),
            ),
            ("ListGpuHours", usage_pb2.ListGpuHoursRequest()),
        ):
            work = partial(rows[name].answer, ALICE, request)
            await work()
            assert await longest_turn(work) < LONGEST_SECONDS, request
