"""Runs that a test logs over the MLflow protocol, as its clients do."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from tests.support.program import Server
from tests.support.rest_world import JSON

API = "/mlflow/api/2.0/mlflow"
FILES = "/mlflow/api/2.0/mlflow-artifacts/artifacts"
MOST_POINTS = 1000
"""Of one request."""


@dataclass(frozen=True)
class LoggedRun:
    """A run of the administrator."""

    server: Server
    id: str

    async def log(
        self,
        metrics: Mapping[str, Sequence[float]],
        *,
        first_step: int = 0,
        params: Mapping[str, str] | None = None,
    ) -> None:
        """Log the values of each metric, a step each."""
        now = int(time.time() * 1000)
        points = [
            {"key": key, "value": number(value), "timestamp": now + step, "step": step}
            for key, values in metrics.items()
            for step, value in enumerate(values, first_step)
        ]
        pairs = [{"key": key, "value": value} for key, value in (params or {}).items()]
        for first in range(0, max(1, len(points)), MOST_POINTS):
            batch = {"run_id": self.id, "metrics": points[first : first + MOST_POINTS]}
            await post(self.server, "runs/log-batch", {**batch, "params": pairs})

    async def keep(self, path: str, content: bytes) -> None:
        """Log a file as an artifact."""
        client = self.server.rest
        address = client.url(f"{FILES}/0/{self.id}/artifacts/{quote(path)}")
        async with client.session.put(address, data=content, headers=client.with_key({})) as reply:
            assert reply.status == 200, await reply.text()

    async def end(self) -> None:
        end = {"run_id": self.id, "status": "FINISHED", "end_time": int(time.time() * 1000)}
        await post(self.server, "runs/update", end)


async def start_run(server: Server, name: str) -> LoggedRun:
    started = {"experiment_id": "0", "run_name": name, "start_time": int(time.time() * 1000)}
    reply = await post(server, "runs/create", started)
    return LoggedRun(server, reply["run"]["info"]["run_id"])


def number(value: float) -> float | str:
    """As MLflow's clients write it."""
    if math.isnan(value):
        return "NaN"
    return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, value)


async def post(server: Server, path: str, body: object) -> Any:
    client = server.rest
    async with client.session.post(
        client.url(f"{API}/{path}"), data=msgspec.json.encode(body), headers=client.with_key(JSON)
    ) as reply:
        text = await reply.read()
        assert reply.status == 200, (reply.status, text)
        return msgspec.json.decode(text)
