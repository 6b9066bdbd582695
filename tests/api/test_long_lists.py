"""Encoding a long list lets other requests run in between."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from fetchml.api.grpc.groups.experiments import ExperimentService
from fetchml.api.grpc.rpc_context import RpcContext
from fetchml.api.grpc.snapshots import SnapshotService
from fetchml.api.http import request as http
from fetchml.api.http.streams import Streams
from fetchml.api.rest.experiments import ExperimentOperations
from fetchml.api.rest.snapshots import SnapshotOperations
from fetchml.core.model import Principal, Role
from fetchml.core.requests.experiment import Experiment
from fetchml.core.requests.snapshot import Snapshot
from fetchml.system import pacing
from fetchml.v1.experiment_pb2 import ListExperimentsRequest
from fetchml.v1.snapshot_pb2 import ListSnapshotsRequest

COUNT = 2000
WHO = Principal("ada", Role.USER, "key")


class Listed:
    """The largest number of experiments or snapshots."""

    def __init__(self, *found: Any) -> None:
        self._found = list(found)

    def list(self, who: Principal) -> list[Any]:
        return self._found


ENGINE: Any = None
"""Not asked here."""
EXPERIMENTS: Any = Listed(*(Experiment(str(n), "ada", "a", 0) for n in range(COUNT)))
SNAPSHOTS: Any = Listed(*(Snapshot(str(n), 1, 1, 0, 0, ("ada",)) for n in range(COUNT)))


def over_http() -> http.RestRequest:
    request = http.RestRequest(make_mocked_request("GET", "/"), "trace")
    request.principal = WHO
    return request


@pytest.mark.parametrize(
    "ask",
    [
        lambda: ExperimentService(EXPERIMENTS, ENGINE).ListExperiments(
            ListExperimentsRequest(), RpcContext(WHO, {})
        ),
        lambda: SnapshotService(SNAPSHOTS).ListSnapshots(
            ListSnapshotsRequest(), RpcContext(WHO, {})
        ),
        lambda: ExperimentOperations(EXPERIMENTS, ENGINE, body_timeout_seconds=1).list(over_http()),
        lambda: SnapshotOperations(
            SNAPSHOTS, Streams(), body_timeout_seconds=1, send_timeout_seconds=1
        ).list(over_http()),
    ],
    ids=["experiments, gRPC", "snapshots, gRPC", "experiments, REST", "snapshots, REST"],
)
async def test_long_list_lets_other_requests_run(
    ask: Callable[[], Awaitable[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "LONGEST_SECONDS", 0.0)
    monkeypatch.setattr(pacing, "SHORT_SECONDS", 0.0)
    asking = asyncio.ensure_future(ask())
    turns = 0
    while not asking.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > COUNT // http.ROWS_PER_STEP, "it asks after every few whether that is due"
    await asking
