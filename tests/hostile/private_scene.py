"""Requests of another user to a private server, whose names nobody can guess."""

import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fetchml.core.model import Role
from testbed.gpu.stand_in import GpuBox, gpu
from tests.support import grpc_world, rest_world
from tests.support.archives import archive
from tests.support.program import Backend, Server
from tests.support.waiting import soon, until

ADA = "ada-secret-name"
JOB, EXPERIMENT, NOTEBOOK = "ada-secret-job", "ada-secret-experiment", "ada-secret-notebook"
VOLUME, SECRET = "ada-secret-volume", "ADA_SECRET_TOKEN"
NAMES = ("ada-secret", "ada_secret")
HOOK = "http://127.0.0.1:9/ada-secret-hook"
FAKE_JUPYTER = Path(__file__).parents[1] / "support" / "fake_jupyter.py"


class Scene:
    """A private server after Ada's work, and Bob's clients."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.hers: dict[str, str] = {}
        """Kind → id. The keys are the names of path parameters and request fields."""
        self.own: dict[str, str] = {}
        self.ada: rest_world.Client
        self.bob: tuple[rest_world.Client, grpc_world.Client]

    async def play(self) -> None:
        self.ada, _ = await self.server.clients(await self.server.key(ADA, Role.USER))
        self.bob = await self.server.clients(await self.server.key("bob", Role.USER))
        kept = await self.ada.ask(
            "PUT", f"/v1/secrets/{SECRET}", b'{"value":"ada-secret-value"}', **rest_world.JSON
        )
        assert kept.status == 200
        for client, hook in ((self.ada, HOOK), (self.bob[0], "http://127.0.0.1:9/mine")):
            targets = json.dumps({"notify": [{"url": hook, "on": ["completed", "failed"]}]})
            kept = await client.ask(
                "PUT", "/v1/notifications/settings", targets.encode(), **rest_world.JSON
            )
            assert kept.status == 200, kept.body
        days = [datetime.now(UTC) + timedelta(days=each) for each in (300, 301)]
        starts, ends = (day.strftime("%Y-%m-%dT00:00:00Z") for day in days)
        booked = {"user_id": ADA, "gpu": 1, "starts_at": starts, "ends_at": ends}
        made = await self.server.rest.submit(booked, "/v1/bookings")
        assert made.status == 201, made.body
        self.hers = await self._made(self.ada, JOB, EXPERIMENT, b"hers")
        # Bob's task gives its place to Ada's, and waits with a reason from then on.
        self.own = await self._made(self.bob[0], "mine", "mine", b"own", preemptible=True)
        await self.server.running(self.own["task_id"])
        urgent = await self._submit(self.ada, JOB, "sleep 600", gpu=2, priority=10)
        await self.server.running(urgent)
        self.hers["urgent"] = urgent
        # Hers is large and has waited longest: what becomes free is reserved for it.
        self.hers["large"] = await self._submit(self.ada, JOB, "true", gpu=3, priority=9)
        self.own["waiting"] = await self._submit(self.bob[0], "mine", "true", gpu=1)
        service = await self.ada.submit({"name": NOTEBOOK}, "/v1/jupyter/services")
        assert service.status == 201, service.body
        self.hers["service_id"] = service.json["id"]
        for client, ids in ((self.ada, self.hers), (self.bob[0], self.own)):
            ids["notification_id"] = await until(partial(self._notification, client))

    async def _notification(self, client: rest_world.Client) -> str:
        """The id of one; empty until there is one. Its delivery fails, so it is kept."""
        listed = (await client.get("/v1/notifications")).json["notifications"]
        return str(listed[0]["id"]) if listed else ""

    async def _made(
        self, client: rest_world.Client, job: str, name: str, code: bytes, **fields: Any
    ) -> dict[str, str]:
        made = await client.submit({"name": name}, "/v1/experiments")
        snapshot = await client.ask(
            "PUT", "/v1/snapshots", archive({"file": code}), Content_Type="application/gzip"
        )
        ids = {"experiment_id": made.json["id"], "snapshot_id": snapshot.json["id"]}
        failed = await self._submit(client, job, f"echo {job}; exit 3", **ids)
        await self.server.ended(failed)
        script = f"echo {job} > $FETCHML_OUTPUTS/result; sleep 600"
        task = await self._submit(client, job, script, gpu=2, **ids, **fields)
        if job == JOB:
            await self.server.running(task)
            await client.ask("DELETE", f"/v1/tasks/{task}")
            await self.server.ended(task)
        ids["later"] = await self._submit(
            client,
            job,
            "true",
            hold=True,
            checkpoint=True,
            after=[{"task_id": failed, "condition": "ended"}],
            inputs_from=[failed],
        )
        sweep = {
            "name": job,
            "task": {"job_name": job, "command": ["echo", "{text}"], "hold": True},
            "parameters": {"text": {"values": [job]}},
        }
        swept = await soon(client.submit(sweep, "/v1/sweeps"))
        assert swept.status == 201, swept.body
        return {**ids, "task_id": task, "failed": failed, "sweep_id": swept.json["id"]}

    async def _submit(self, client: rest_world.Client, job: str, script: str, **more: Any) -> str:
        request = {"job_name": job, "command": ["sh", "-c", script], **more}
        reply = await soon(client.submit(request))
        assert reply.status == 201, reply.body
        return str(reply.json["id"])

    def leaks(self, text: str, sent: str = "") -> list[str]:
        """Return what a reply reveals about Ada, apart from what the request itself named."""
        found = [name for name in NAMES if name in text.lower()]
        return found + [id_ for id_ in self.hers.values() if id_ in text and id_ not in sent]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(
    tmp_path_factory: pytest.TempPathFactory, gpu_libraries: Path
) -> AsyncIterator[Scene]:
    folder = tmp_path_factory.mktemp("scene")
    gpu_box = GpuBox(folder / "nvidia", gpu_libraries)
    gpu_box.set(gpu(0), gpu(1), gpu(2))
    (folder / "hers").mkdir()
    settings = f'[volumes.{VOLUME}]\npath = "{folder / "hers"}"\nusers = ["{ADA}"]\nmax_gb = 1\n'
    (folder / "fetchml.toml").write_text(settings)
    server = Server(
        folder / "data",
        Backend({"FETCHML_LAUNCHER": "process"}, lambda: ()),
        FETCHML_CONFIG=str(folder / "fetchml.toml"),
        FETCHML_AUTH_PRIVATE="true",
        FETCHML_NOTIFICATIONS_ALLOW_PRIVATE="true",
        LD_LIBRARY_PATH=gpu_box.environment["LD_LIBRARY_PATH"],
        FETCHML_TASKS_MAX_RUNNING="4",
        FETCHML_TASKS_RESERVE_AFTER="0",
        FETCHML_SCHEDULING_PREEMPTION="true",
        FETCHML_JUPYTER_COMMAND=f"{sys.executable} {FAKE_JUPYTER} --plain-process",
    )
    try:
        await server.start()
        made = Scene(server)
        await made.play()
        yield made
        await server.stop()
    finally:
        await server.close()
