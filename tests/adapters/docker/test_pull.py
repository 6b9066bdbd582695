"""What `[tasks] pull` and `registry_credentials` make of pulls, at a registry of the test's own."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fetchml.config.settings import Settings, TaskSettings
from fetchml.ports.launcher import AttemptExit, Launcher, PrepareError
from fetchml.server import wiring
from fetchml.server.gateway_socket import gateway_socket
from testbed.docker_engine import Engine
from tests.support.launcher_bench import Bench, end_of, silent
from tests.support.launcher_bench import bench as open_bench
from tests.support.registry import registry
from tests.support.waiting import soon

pytestmark = pytest.mark.slow

LOGIN = "ada:a-password"
SHOWN = f"Basic {base64.b64encode(LOGIN.encode()).decode()}"


@dataclass
class Puller:
    bench: Bench
    launcher: Launcher
    engine: Engine

    async def prepare(self, image: str) -> None:
        """A task comes to its gate, and is taken away."""
        run = self.bench.run("/noise", image=image)
        try:
            await soon(self.launcher.prepare(run, silent))
        finally:
            await soon(self.launcher.remove(run))

    def forget(self, image: str) -> None:
        self.engine.client.images.remove(image, force=True)


@pytest.fixture
def docker_host(docker_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setenv("DOCKER_HOST", docker_engine.host)
    return docker_engine


@asynccontextmanager
async def puller(folder: Path, engine: Engine, image: str, **tasks: Any) -> AsyncIterator[Puller]:
    """A launcher as a server with these `[tasks]` has it."""
    settings = Settings(data_dir=folder, tasks=TaskSettings(network="none", **tasks))

    def make(watch: Any) -> Launcher:
        return wiring.launcher(settings, watch, None)

    folder.mkdir(exist_ok=True)  # noqa: ASYNC240 - in a test
    with gateway_socket(folder):
        async with open_bench(folder, image, make) as bench:
            yield Puller(bench, await bench.open(), engine)


@pytest.mark.parametrize(("when", "again"), [("always", True), ("missing", False)])
async def test_a_registry_is_asked_before_each_task_or_once(
    tmp_path: Path, docker_host: Engine, python_image: str, when: str, again: bool
) -> None:
    asked = list[str]()
    async with puller(tmp_path, docker_host, python_image, pull=when) as one:
        with registry(asked=asked) as address:
            image = f"{address}/{when}:1"
            try:
                await one.prepare(image)
                assert asked
                asked.clear()
                await one.prepare(image)
                assert bool(asked) == again
            finally:
                one.forget(image)


async def test_always_runs_no_image_that_its_registry_does_not_have(
    tmp_path: Path, docker_host: Engine, python_image: str
) -> None:
    """It is on this machine: it was only built here, or the registry has it no more."""
    image = "127.0.0.1:1/built-here:1"
    docker_host.client.images.get(python_image).tag(image)
    try:
        async with puller(tmp_path, docker_host, python_image, pull="always") as one:
            with pytest.raises(
                PrepareError, match=f"cannot pull image {image}: cannot reach its registry"
            ):
                await one.prepare(image)
        async with puller(tmp_path, docker_host, python_image, pull="missing") as one:
            await one.prepare(image)
    finally:
        docker_host.client.images.remove(image)


async def test_always_does_not_pull_for_a_running_task(
    tmp_path: Path, docker_host: Engine, python_image: str
) -> None:
    """The server was restarted under it, and its registry is away."""
    image = "127.0.0.1:1/away:1"
    docker_host.client.images.get(python_image).tag(image)
    async with puller(tmp_path, docker_host, image, pull="missing") as one:
        run = one.bench.run("sh", "-c", "echo began; until [ -e go ]; do sleep 0.02; done")
        folder = await one.bench.start(one.launcher, run)
        await one.bench.until_log(run, b"began")
        settings = Settings(data_dir=tmp_path, tasks=TaskSettings(network="none", pull="always"))
        later = wiring.launcher(settings, one.bench.watch, None)
        await later.open("later", lambda *_: None)
        said = list[str]()
        await soon(later.prepare(run, said.append))
        assert said == []
        await later.close()
        (folder.workspace / "go").touch()
        assert await soon(one.launcher.wait(run)) == AttemptExit()
    docker_host.client.images.remove(image)


async def test_never_contacts_no_registry(
    tmp_path: Path, docker_host: Engine, python_image: str
) -> None:
    asked = list[str]()
    async with puller(tmp_path, docker_host, python_image, pull="never") as one:
        with registry(asked=asked) as address:
            with pytest.raises(
                PrepareError, match=r"the server does not pull images \(\[tasks\] pull\)"
            ) as no:
                await one.prepare(f"{address}/never:1")
            assert no.value.permanent
        assert asked == []
        # What the owner has put there runs.
        run = one.bench.run("true")
        await one.bench.start(one.launcher, run)
        assert await soon(one.launcher.wait(run)) == AttemptExit()
        assert end_of(run).code == 0


@pytest.mark.parametrize("with_credentials", [True, False])
async def test_logins_are_used_only_where_they_may_be(
    tmp_path: Path,
    docker_host: Engine,
    python_image: str,
    monkeypatch: pytest.MonkeyPatch,
    with_credentials: bool,
) -> None:
    asked, logins = list[str](), tmp_path / "logins"
    logins.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(logins))
    options: dict[str, Any] = {} if with_credentials else {"registry_credentials": False}
    async with puller(tmp_path / "data", docker_host, python_image, **options) as one:
        with registry(login=LOGIN, asked=asked) as address:
            secret = {"auth": base64.b64encode(LOGIN.encode()).decode()}
            (logins / "config.json").write_text(json.dumps({"auths": {address: secret}}))
            image = f"{address}/private:1"
            if with_credentials:
                await one.prepare(image)
                one.forget(image)
                assert SHOWN in asked
            else:
                with pytest.raises(PrepareError, match="or its registry requires a login"):
                    await one.prepare(image)
                assert asked
                assert set(asked) == {""}
