"""Several Jupyter services at once, with a server that is killed while they start and while they
run."""

import asyncio
from pathlib import Path

import pytest

from tests.jupyter.service import Serve, Service
from tests.support.program import Backend, Server
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

SERVICES = 4
AT_A_TIME = 4
ALL_RUN_SECONDS = 240
IDLE_SECONDS = 8


async def test_services_at_once_lose_and_leave_nothing(
    serve: Serve, jupyter_backend: Backend
) -> None:
    variables = {"FETCHML_JUPYTER_IDLE_SECONDS": "0", "FETCHML_TASKS_MAX_RUNNING": f"{SERVICES}"}
    server = await serve(jupyter_backend, **variables)
    services = [await Service.start(server, workspace=f"w{n}") for n in range(SERVICES)]
    await server.kill_and_start()

    turn = asyncio.Semaphore(AT_A_TIME)

    async def use(service: Service) -> str:
        async with turn:
            kernel = await service.new_kernel()
            assert await service.run(kernel, f"kept = {service.id!r}; 6*7") == "42"
            return kernel

    async with asyncio.timeout(ALL_RUN_SECONDS):
        while set((await statuses(server)).values()) != {"running"}:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        kernels = await asyncio.gather(*map(use, services))
    assert (await statuses(server)).keys() == {service.id for service in services}
    assert listening(server) == {port_of(server.http_address), port_of(server.grpc_address)}
    ids = {service.id for service in services}
    ours = [each for each in server.backend.containers() if each.labels.get("fetchml.task") in ids]
    assert len(ours) == SERVICES
    for container in ours:
        assert container.attrs["HostConfig"]["NetworkMode"] == "none"
        assert not container.attrs["HostConfig"]["PortBindings"]

    await server.kill()
    await server.start(FETCHML_JUPYTER_IDLE_SECONDS=str(IDLE_SECONDS))
    stopped, idle = services[::2], services[1::2]
    for service, kernel in zip(stopped, kernels[::2], strict=True):
        await service.until("running")
        assert await service.run(kernel, "kept") == repr(service.id), "it is the same kernel"
        await service.stop()
    for service in services:
        shown = await service.until("stopped")
        by = f"idle for {IDLE_SECONDS} s" if service in idle else "stopped by admin"
        assert shown["reason"] == by
    assert server.log.count("jupyter is idle and will be stopped") == len(idle), "each was warned"
    await eventually(lambda: not server.backend.left_of(service.id for service in services))
    assert {path.name for path in (server.data_dir / "jupyter").iterdir()} == {
        f"w{n}" for n in range(SERVICES)
    }, "workspaces stay"
    await server.assert_idle()


async def statuses(server: Server) -> dict[str, str]:
    reply = await server.rest.get("/v1/jupyter/services")
    return {shown["id"]: shown["status"] for shown in reply.json}


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def listening(server: Server) -> set[int]:
    """The TCP ports on which the server's process listens."""
    listeners = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{server.pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":  # LISTEN
                listeners[f"socket:[{fields[9]}]"] = int(fields[1].rpartition(":")[2], 16)
    opened = {str(fd.readlink()) for fd in Path(f"/proc/{server.pid}/fd").iterdir()}
    return {listeners[name] for name in opened & listeners.keys()}
