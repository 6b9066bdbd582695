"""Requests forwarded by a trusted proxy. tests/envoy has a real one, which adds an address."""

from pathlib import Path

import grpc
import pytest

from fetchml.config.proxies import Network, Proxies
from fetchml.v1 import task_pb2
from tests.support.grpc_world import grpc_world
from tests.support.rest_world import rest_world

KEY = "fml_" + "x" * 43
BEHIND = Proxies([Network.parse("127.0.0.1")])


async def test_rest_client_address_comes_from_a_trusted_proxy() -> None:
    async with rest_world(proxies=BEHIND) as rest:
        await rest.as_(KEY).get("/v1/queue", X_Forwarded_For="1.1.1.1, 203.0.113.7")
        [refused] = rest.store.audit
        assert refused.address == "203.0.113.7"
        await rest.client.submit(X_Forwarded_For="203.0.113.8")
        [task] = rest.engine.tasks.values()
        assert task.sender is not None
        assert task.sender.address == "203.0.113.8"


async def test_grpc_client_address_comes_from_a_trusted_proxy(tmp_path: Path) -> None:
    async with grpc_world(tmp_path, proxies=BEHIND) as world:
        client = world.client
        with pytest.raises(grpc.aio.AioRpcError):
            await client.tasks.CreateTask(
                task_pb2.CreateTaskRequest(),
                metadata=(("x-api-key", KEY), ("x-forwarded-for", "1.1.1.1, 203.0.113.7")),
            )
        [refused] = world.store.audit
        assert refused.address == "203.0.113.7"
        await client.tasks.CreateTask(
            task_pb2.CreateTaskRequest(job_name="a"),
            metadata=(*client.metadata, ("x-forwarded-for", "203.0.113.8")),
        )
        [task] = world.engine.tasks.values()
        assert task.sender is not None
        assert task.sender.address == "203.0.113.8"
